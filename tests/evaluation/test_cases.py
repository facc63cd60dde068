"""Gains of single videos, by hand: what belongs to the video stays in other runs, and chance does not."""

import numpy as np
from scipy import stats

from aqa_lib.evaluation import cases

TRUE = np.array([10.0, 20.0, 30.0])
BASE = np.array([[12.0, 20.0, 34.0], [14.0, 20.0, 26.0]])  # errors 2 0 4, then 4 0 -4
FULL = np.array([[11.0, 23.0, 30.0], [11.0, 21.0, 30.0]])


def test_gains_by_hand():
    assert cases.gains(BASE, FULL, TRUE).tolist() == [[1, -3, 4], [3, -1, 4]]
    assert [half.tolist() for half in cases.halves(BASE, FULL, TRUE)] == [[1, -3, 4], [3, -1, 4]]
    assert cases.kept(BASE, FULL, TRUE) == {"helped most": (4, 4), "hurt most": (-3, -1)}
    both = np.concatenate([BASE, BASE[::-1]])  # draws 0 and 2 are a half: their mean prediction, not their mean error
    assert cases.halves(both, both, TRUE)[0].tolist() == [0, 0, 0]
    assert cases.halves(both, np.tile(TRUE, (4, 1)), TRUE)[0].tolist() == [3, 0, 0]  # 34 and 26 are 30 on average


def test_a_shift_of_all_scores_is_no_gain():
    assert cases.levelled(TRUE + np.array([[5.0], [-2.0]]), TRUE).tolist() == [TRUE.tolist()] * 2
    moved = cases.levelled(BASE + 7.0, TRUE)
    assert np.allclose(moved, cases.levelled(BASE, TRUE)) and np.allclose((moved - TRUE).mean(1), 0)


def world(seed, own):
    """Errors of 40 videos in 6 draws; `own`: how much of the full method's gain is the video's."""
    rng = np.random.default_rng(seed)
    true = rng.normal(50, 10, 40)
    base = true + 6 + rng.normal(size=(6, 40))
    gain = own * rng.uniform(0, 5, 40)
    return base, base - gain + rng.normal(size=(6, 40)), true, gain


def test_halves_agree_only_on_what_is_the_videos():
    lasting, chance = ([world(seed, own)[:3] for seed in range(8)] for own in (1.0, 0.0))
    assert cases.agreement(lasting).low > 0.5
    found = cases.agreement(chance)
    assert found.low < 0 < found.high
    rhos = [stats.spearmanr(*cases.halves(*w)).statistic for w in lasting]
    low, high = stats.t.interval(0.95, 7, np.mean(rhos), stats.sem(rhos))
    assert np.allclose(cases.agreement(lasting), [np.mean(rhos), low, high])
    assert cases.agreement(lasting[:1]).low > 0.5  # of one world: over its videos


def test_a_gain_follows_what_it_was_made_from():
    worlds = [world(seed, 1.0) for seed in range(6)]
    made = [cases.gains(*w[:3]) for w in worlds]
    several = cases.follows(made, [w[3] for w in worlds])
    by_hand = [np.mean([stats.spearmanr(row, w[3]).statistic for row in g]) for g, w in zip(made, worlds, strict=True)]
    assert np.isclose(several.mean, np.mean(by_hand)) and several.low > 0.5
    assert cases.follows(made[:1], [worlds[0][3]], [np.repeat(["a", "b"], 20)]).low > 0.3
    other = cases.follows(made, [np.random.default_rng(i).normal(size=40) for i in range(6)])
    assert other.low < 0 < other.high
