"""Which videos are unscored, and the figure that ranks them."""

import dataclasses

import numpy as np
import pytest
from helpers import noise_set

from aqa_lib import methods
from aqa_lib.data.splits import label_draw, official
from aqa_lib.errors import UserError
from aqa_lib.figures.ensemble import ranked
from aqa_lib.study.unscored import unscored


def test_unscored_are_those_that_no_run_has_seen_and_no_test_measures():
    scores = noise_set(60).scores.copy()
    scores[[2, 3, 50]] = np.nan  # two training videos, one test video
    data = dataclasses.replace(noise_set(60), scores=scores)
    split = official(data)
    settings = methods.get("pi_model").resolve({"fraction": 0.4, "validation": 0.3})
    rest, drawn = unscored(data, split, settings), label_draw(data, 0.4, 0, "stratified", split)
    assert len(drawn) == round(0.4 * 43) and set(rest) == set(range(60)) - set(drawn) - set(split.test)
    assert list(unscored(data, split, {**settings, "fraction": 1.0, "validation": 0.0})) == [2, 3, 50]


def test_a_set_that_is_scored_throughout_is_one_sentence():
    data = noise_set(60)
    settings = methods.get("ridge").resolve({"fraction": 1.0})
    with pytest.raises(UserError, match="'noise' has a score for every video, and fraction = 1 "):
        unscored(data, official(data), settings)


def test_the_figure_has_the_best_first_and_every_spread_at_its_video():
    figure = ranked([3.0, 9.0, 5.0], [0.1, np.nan, 0.3], ["a", "b", "c"], "t", surrogate=False)
    (points,) = figure.data
    assert list(points.text) == ["b", "c", "a"] and list(points.y) == [9, 5, 3]
    assert list(points.error_y.array) == [0, 0.3, 0.1] and not figure.layout.annotations
