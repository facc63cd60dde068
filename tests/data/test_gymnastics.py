"""Rhythmic gymnastics: the published lists where they are at hand, and small ones, whole and broken."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from aqa_lib import data
from aqa_lib.data import AssessmentSet, splits
from aqa_lib.data.files.store import Store
from aqa_lib.data.readers import rhythmic_gymnastics as rg
from aqa_lib.errors import UserError
from aqa_lib.evaluation import spearman_by_group

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "rhythmic_gymnastics"
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"the lists of rhythmic gymnastics are not at {REAL}")

TITLES = "Video_Name\tDifficulty_Score    Execution_Score Total_Score\tPenalty\tVideo_length\n"
TRAIN = "Ball_001\t10.50\t8.30\t18.80\t0.00\t92\nBall_002\t7.20\t4.20\t10.80\t0.60\t93\n"
TRAIN += "Hoop_001\t9.00\t6.95\t15.95\t0\t90\n"
TEST = "Ball_022\t9.10\t7.60\t16.70\t0.00\t91\nHoop_007\t1.00\t2.00\t2.50\t0.50\t95\n"


@pytest.fixture
def lists(tmp_path):
    (tmp_path / "train.txt").write_text(TITLES + TRAIN)
    (tmp_path / "test.txt").write_text(TITLES + TEST)
    return tmp_path


def test_the_lists_are_read(lists):
    s = data.load("rhythmic_gymnastics", lists)
    assert s.ids.tolist() == ["Ball_001", "Ball_002", "Hoop_001", "Ball_022", "Hoop_007"]
    assert s.scores.tolist() == [18.8, 10.8, 15.95, 16.7, 2.5] and s.difficulty.tolist() == [10.5, 7.2, 9, 9.1, 1]
    assert s.groups.tolist() == ["ball", "ball", "hoop", "ball", "hoop"]
    assert s.table["split"].tolist() == ["train"] * 3 + ["test"] * 2
    assert s.table["penalty"].tolist() == [0, 0.6, 0, 0, 0.5] and s.table["duration"].tolist() == [92, 93, 90, 91, 95]
    assert s.features is None
    (lists / "train.txt").write_text(TRAIN)  # a list without the line of titles is a list
    assert len(data.load("rhythmic_gymnastics", lists)) == 5


def test_one_routine_and_another_score(lists):
    ball = data.load("rhythmic_gymnastics", lists, routine="ball", score="execution")
    assert ball.ids.tolist() == ["Ball_001", "Ball_002", "Ball_022"] and ball.scores.tolist() == [8.3, 4.2, 7.6]
    assert splits.official(ball).test.tolist() == [2]
    with pytest.raises(UserError, match="one group only"):
        splits.leak_free(ball)
    with pytest.raises(UserError, match="nothing of the routine 'clubs'"):
        data.load("rhythmic_gymnastics", lists, routine="clubs")
    with pytest.raises(UserError, match="did you mean 'ribbon'"):
        data.load("rhythmic_gymnastics", lists, routine="ribon")
    with pytest.raises(UserError, match="did you mean 'execution'"):
        data.load("rhythmic_gymnastics", lists, score="execusion")


@real
def test_all_routines_are_evaluated_routine_by_routine():
    """The groups of the whole set give what four sets of one routine give, and Fisher's mean of it."""
    s = data.load("rhythmic_gymnastics", REAL)
    test = splits.official(s).test
    rhos, mean = spearman_by_group(s.difficulty[test], s.scores[test], s.groups[test])
    assert list(rhos) == list(rg.ROUTINES)
    for routine in rg.ROUTINES:
        one = data.load("rhythmic_gymnastics", REAL, routine=routine)
        held = one.table[one.table["split"] == "test"]
        assert len(one) == 250 and set(one.groups) == {routine} and len(held) == 50
        assert rhos[routine] == pytest.approx(spearmanr(held["difficulty"], held["total"]).statistic)
    assert mean == pytest.approx(np.tanh(np.mean([np.arctanh(r) for r in rhos.values()])))


def test_features_are_joined(lists):
    ids = ["Hoop_007", "Ball_001", "Ball_002", "Hoop_001", "Ball_022"]
    Store.write(lists / "vst.features", {"rgb": {v: np.full((2, 3), i) for i, v in enumerate(ids)}})
    s = rg.load(lists, features=lists / "vst.features")
    assert AssessmentSet.read(s.save(lists / "s")).meta["options"]["features"] == str(lists / "vst.features")
    s = data.load("rhythmic_gymnastics", lists, features="vst.features")
    assert s.features[:, 0, 0].tolist() == [1, 2, 3, 4, 0] and s.lengths is None


@pytest.mark.parametrize(
    "file, text, sentence",
    [
        ("train.txt", TRAIN + "Ball_003\t10.5\t8.3", r"train.txt, line 5: 3 fields, not 6; is the file cut off"),
        ("train.txt", TRAIN + "Ball_003\tx\t8.3\t1\t0\t90", r"train.txt, line 5, difficulty: 'x' is not a number"),
        ("test.txt", TEST + "Ball_003\t1\t8.3\tnan\t0\t90", r"test.txt, line 4, total: 'nan' is not a finite number"),
        ("test.txt", TEST + "Rope_003\t1\t8.3\t1\t0\t90", r"line 4: 'Rope_003' begins with none of the routines"),
        ("test.txt", TEST + "Ball_001\t1\t8.3\t1\t0\t90", r"'Ball_001' stands there twice"),
        ("train.txt", TRAIN + TRAIN, r"'Ball_001' stands there twice"),
    ],
)
def test_what_is_broken_is_named(lists, file, text, sentence):
    (lists / file).write_text(TITLES + text)
    with pytest.raises(UserError, match=sentence) as error:
        data.load("rhythmic_gymnastics", lists)
    assert "\n" not in str(error.value)


def test_a_missing_list_and_a_changed_one(lists):
    before = data.fingerprint("rhythmic_gymnastics", lists)
    (lists / "test.txt").write_text(TITLES + TEST.replace("16.70", "16.80"))
    assert data.fingerprint("rhythmic_gymnastics", lists) != before
    (lists / "test.txt").unlink()
    with pytest.raises(UserError, match="there is no file .*test.txt"):
        data.load("rhythmic_gymnastics", lists)
    with pytest.raises(UserError, match="nowhere does not exist"):
        data.load("rhythmic_gymnastics", lists / "nowhere")


@real
def test_the_published_counts():
    lines = rg.checks(REAL)
    assert len(lines) == 9 and all(found == expected for _, found, expected in lines)
    assert rg.checks(REAL, routine="hoop") == [
        ("hoop, train", 200, 200),
        ("hoop, test", 50, 50),
        ("videos whose parts give the total", 250, 250),
    ]
    duration = data.load("rhythmic_gymnastics", REAL).table["duration"]
    assert (duration.min(), duration.median(), duration.max()) == (87, 92, 99)
