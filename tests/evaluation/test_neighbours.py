"""Neighbourhoods, domains and pictures against cases worked by hand, a brute-force count and planted answers."""

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from aqa_lib.errors import UserError
from aqa_lib.evaluation.neighbours import domains, nearest, neighbour_correlation, overlap, picture, trust
from aqa_lib.figures.representation import spaces

LINE = np.array([[0.0], [1.0], [3.0], [6.0], [10.0]])  # neighbours on a line, worked by hand


def test_nearest_on_a_line_by_hand():
    assert nearest(LINE, 1).ravel().tolist() == [1, 0, 1, 2, 3]
    assert nearest(LINE, 2).tolist() == [[1, 2], [0, 2], [1, 0], [2, 4], [3, 2]]


def test_a_point_is_no_neighbour_of_its_own_even_where_points_coincide():
    x = np.zeros((4, 2))
    assert all(i not in row for i, row in enumerate(nearest(x, 3)))


def test_neighbour_correlation_by_hand_and_by_brute_force():
    # neighbours' scores are 1, 0, 1, 3, 6 for scores 0, 1, 3, 6, 10: mid-ranks 2.5, 1, 2.5, 4, 5 against 1 .. 5
    assert neighbour_correlation(LINE, LINE[:, 0], 1) == pytest.approx(spearmanr([1, 0, 1, 3, 6], range(5))[0])
    assert neighbour_correlation(LINE, LINE[:, 0], 1) == pytest.approx(8.0 / np.sqrt(9.5 * 10))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 5)), rng.normal(size=60)
    d = ((x[:, None] - x[None]) ** 2).sum(-1) + np.diag(np.full(60, np.inf))
    means = [y[np.argsort(row)[:7]].mean() for row in d]
    assert neighbour_correlation(x, y, 7) == pytest.approx(spearmanr(means, y)[0])


def test_neighbour_correlation_of_chance_and_of_order():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 4))
    assert neighbour_correlation(x, x[:, 0], 10) > 0.8
    chance = [neighbour_correlation(x, rng.normal(size=300), 10) for _ in range(20)]
    assert abs(np.mean(chance)) < 0.06


def test_overlap_counts_shared_neighbours():
    swapped = LINE[[1, 0, 2, 3, 4]]  # points 0 and 1 change places: neighbours [1], [0], [0], [2], [3]
    assert overlap(LINE, LINE, 2) == 1.0
    assert overlap(LINE, swapped, 1) == pytest.approx(4 / 5)  # that of point 2 alone is another
    assert overlap(LINE, -3 * LINE, 2) == 1.0  # turned and stretched it is the same arrangement
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 400, 3))
    assert overlap(a, b, 20) == pytest.approx(20 / 399, abs=0.01)


def test_domains_find_a_shift_and_no_more():
    rng = np.random.default_rng(3)
    x, second = rng.normal(size=(400, 6)), np.arange(400) < 100
    none = domains(x, second)
    assert (
        none.share == 0.75
        and none.auc == pytest.approx(0.5, abs=0.1)
        and none.accuracy == pytest.approx(0.75, abs=0.04)
    )
    moved = domains(x + 4.0 * second[:, None] * np.eye(6)[0], second)
    assert moved.accuracy > 0.95 and moved.auc > 0.98
    # normal kinds with means d apart overlap so that the best reader has AUC = Phi(d / sqrt 2) = .760 for d = 1
    half = domains(x + 1.0 * second[:, None] * np.eye(6)[0], second)
    assert half.auc == pytest.approx(0.760, abs=0.06)


def test_trust_against_its_formula():
    rng = np.random.default_rng(4)
    x, drawn, k = rng.normal(size=(40, 6)), rng.normal(size=(40, 3)), 5
    d = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1)) + np.diag(np.full(40, np.inf))
    rank = np.apply_along_axis(rankdata, 1, d)  # 1 = the nearest
    excess = sum(max(0, rank[i, j] - k) for i, row in enumerate(nearest(drawn, k)) for j in row)
    assert trust(x, drawn, k) == pytest.approx(1 - 2 / (40 * k * (2 * 40 - 3 * k - 1)) * excess)
    assert trust(x, x[:, ::-1], k) == 1.0


def test_a_picture_keeps_clusters_and_depends_on_its_seed():
    rng = np.random.default_rng(5)
    kind = np.arange(60) % 2
    x = rng.normal(size=(60, 8)) + 8.0 * kind[:, None]
    drawn = [picture(x, seed=seed, perplexity=10) for seed in (0, 0, 1)]
    assert drawn[0].shape == (60, 3)
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])
    clusters = nearest(picture(x, perplexity=10, init="pca"), 3)
    assert (kind[clusters] == kind[:, None]).mean() > 0.85  # chance: .5


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: nearest(LINE, 5), "k = 5 neighbours need more than 5 points, but there are 5"),
        (lambda: neighbour_correlation(LINE, np.zeros(4)), r"points must be \[N, D\] for values \(4,\)"),
        (lambda: overlap(LINE, LINE[:4], 1), "not of 5 and 4"),
        (lambda: domains(LINE, np.arange(5) < 2), "5 folds need 5 points of each kind, but there are 2"),
        (lambda: picture(LINE, perplexity=5), "a perplexity above 0 and below 5, but it is 5"),
        (lambda: trust(LINE, LINE, 3), "needs more than 6 points"),
    ],
)
def test_what_cannot_be_is_refused(call, says):
    with pytest.raises(UserError, match=says):
        call()


def test_the_figure_counts_who_is_out_of_view():
    rng = np.random.default_rng(6)
    drawn = rng.uniform(-1, 1, size=(200, 3))
    far = drawn.copy()
    far[7] = [0, 0, 50]
    figure = spaces({"near": drawn, "far": far}, np.arange(200.0))
    assert [note.text for note in figure.layout.annotations][:2] == ["near", "far (1 out of view)"]
    low, high = figure.layout.scene2.zaxis.range
    assert -1.6 < low < -1 and 1 < high < 1.6
    assert len(figure.data[1].z) == 200  # it is there still, for who zooms out
