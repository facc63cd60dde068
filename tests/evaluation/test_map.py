"""mAP@tIoU against the reference evaluator's answers, a plain walk over lists, hand cases and real ground truth."""

import json
import time
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqa_lib.errors import UserError
from aqa_lib.evaluation import ACTIVITYNET, THUMOS14, localisation, mean_average_precision, tie_range

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
FIXTURES = sorted((SHARED / "map_fixtures").glob("[0-9]*.json"))


def shared(name):
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return json.loads(path.read_text())


def plain_walk(truth, found, thresholds):
    """The definition word by word: lists of (video, label, start, end[, score]) -> {label: [ap ...]}."""
    ap = {}
    for label in dict.fromkeys(instance[1] for instance in truth):
        mine = sorted((d for d in found if d[1] == label), key=lambda d: -d[4])  # stable
        ap[label] = []
        for tau in thresholds:
            taken, right = set(), []
            for video, _, start, end, _ in mine:
                best, which = -1.0, None
                for j, (v, c, s, e) in enumerate(truth):
                    if v != video or c != label or j in taken:
                        continue
                    both = max(0.0, min(e, end) - max(s, start))
                    overlap = both / ((end - start) + (e - s) - both)
                    if overlap > best:
                        best, which = overlap, j
                right.append(best >= tau)
                if right[-1]:
                    taken.add(which)
            hits, precision = 0, []
            for k, hit in enumerate(right):
                hits += hit
                precision.append(hits / (k + 1))
            total, top = 0.0, 0.0
            for hit, p in zip(reversed(right), reversed(precision), strict=True):
                top = max(top, p)
                total += top * hit
            ap[label].append(total / sum(instance[1] == label for instance in truth))
    return ap


def table(rows):
    return pd.DataFrame(rows, columns=["video", "label", "start", "end", "score"][: len(rows[0]) if rows else 5])


def world(instances, detections, classes, videos, seed=0, length=90.0):
    """Instances, and detections that jitter around them, of some wrong class and some in a wrong video."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(instances):
        start = rng.uniform(0, length)
        where = f"v{rng.integers(videos)}", f"c{rng.integers(classes)}"
        truth.append((*where, start, start + rng.uniform(1, 20)))
    labels = sorted({instance[1] for instance in truth})
    for _ in range(detections):
        video, label, start, end = truth[rng.integers(len(truth))]
        start, end = np.array([start, end]) + (end - start) * rng.normal(0, 0.15, 2).clip(-0.4, 0.4)
        video = f"v{rng.integers(videos)}" if rng.random() < 0.3 else video
        label = labels[rng.integers(len(labels))] if rng.random() < 0.2 else label
        found.append((video, label, float(start), float(end), float(rng.random())))
    return truth, found


def nested(rows, outer):
    videos = {}
    for video, label, start, end, *score in rows:
        one = {"label": label, "segment": [start, end]} | ({"score": score[0]} if score else {})
        videos.setdefault(video, []).append(one)
    if outer == "results":
        return {"results": videos}
    return {"database": {video: {"subset": "test", "annotations": a} for video, a in videos.items()}}


def same(result, ap):
    assert list(result["ap"]) == list(ap)
    for label in ap:
        np.testing.assert_allclose(result["ap"][label], ap[label], rtol=0, atol=1e-12)


@pytest.mark.skipif(not FIXTURES, reason=f"{SHARED / 'map_fixtures'} is not here")
@pytest.mark.parametrize("path", FIXTURES, ids=lambda p: p.stem)
def test_the_reference_evaluators_answers(path):
    case = json.loads(path.read_text())
    given, expected = (case["ground_truth"], case["predictions"], case["thresholds"]), case["expected"]
    if path.stem.startswith("15"):  # the reference takes 0/0 for a hit
        with pytest.raises(UserError, match="segment 1 of video 'v1' .* runs from 5 to 5 s"):
            mean_average_precision(*given)
        return
    if "raises" in expected:
        with pytest.raises(UserError, match="'zzz' .* label that the ground truth lacks"):
            mean_average_precision(*given)
        assert mean_average_precision(*given, ignore_unknown_labels=True)["average_mAP"] == 1
        return
    result, ties = mean_average_precision(*given), case.get("expected_range_over_200_input_orders")
    worst, best = tie_range(*given)
    if ties:
        assert (worst["mAP"] <= np.array(ties["min"]) + 1e-9).all() and (
            best["mAP"] >= np.array(ties["max"]) - 1e-9
        ).all()
        assert (worst["mAP"] <= result["mAP"]).all() and (result["mAP"] <= best["mAP"]).all()
    if not ties or ties["min"] == ties["max"]:
        np.testing.assert_allclose(result["mAP"], expected["mAP"], rtol=0, atol=1e-9)
        assert result["average_mAP"] == pytest.approx(expected["average_mAP"], abs=1e-9)
        assert set(result["ap"]) == set(expected["ap"])
        for label, ap in expected["ap"].items():
            np.testing.assert_allclose(result["ap"][label], ap, rtol=0, atol=1e-9)


def test_by_hand():
    # three instances; the second detection, whose best one is taken, falls back to tIoU 9/11 with the other
    truth = [("v", "a", 0, 10), ("v", "a", 1, 11), ("w", "a", 0, 4), ("w", "b", 0, 4)]
    found = [("v", "a", 0, 10, 0.9), ("v", "a", 0, 10, 0.8), ("x", "a", 0, 4, 0.7), ("w", "a", 0, 3, 0.6)]
    result = mean_average_precision(table(truth), table(found), [0.5, 0.8, 0.9])
    # right: 1 1 0 1 | 1 1 0 0 | 1 0 0 0; a is found up to 1 + 1 + 3/4, b never
    np.testing.assert_allclose(result["ap"]["a"], [2.75 / 3, 2 / 3, 1 / 3])
    np.testing.assert_allclose(result["mAP"], [2.75 / 6, 1 / 3, 1 / 6])
    assert result["average_mAP"] == pytest.approx((2.75 / 6 + 1 / 3 + 1 / 6) / 3)
    nothing = mean_average_precision(table(truth), {"results": {}}, [0.5])
    assert nothing["average_mAP"] == 0 and nothing["ap"]["b"] == [0]


segment = st.tuples(st.integers(0, 24), st.integers(1, 16)).map(lambda t: (t[0] / 2, (t[0] + t[1]) / 2))
names = st.tuples(st.sampled_from("vw"), st.sampled_from("ab"))
truths = st.lists(st.tuples(names, segment).map(lambda t: (*t[0], *t[1])), min_size=1, max_size=10)
scored = st.tuples(names, segment, st.integers(0, 9)).map(lambda t: (*t[0], *t[1], t[2] / 10))


@given(truths, st.lists(scored, max_size=25))
@settings(max_examples=80, deadline=None)
def test_is_the_plain_walk(truth, found):
    found = [d for d in found if d[1] in {instance[1] for instance in truth}]
    thresholds = [0.1, 1 / 3, 0.5, 0.75, 1.0]
    result = mean_average_precision(table(truth), table(found), thresholds)
    same(result, plain_walk(truth, found, thresholds))
    moved = [[(v, c, 4 * s + 64, 4 * e + 64, *x) for v, c, s, e, *x in rows] for rows in (truth, found)]
    same(mean_average_precision(*map(table, moved), thresholds), result["ap"])  # another clock
    last = [("v", truth[0][1], 90, 91, -1.0)]  # a wrong one after all others costs nothing
    same(mean_average_precision(table(truth), table(found + last), thresholds), result["ap"])


def test_crowded_videos_are_the_plain_walk(monkeypatch):
    """Long chains of rivals, and work cut into many parts."""
    truth, found = world(60, 500, 2, 2, seed=3, length=30)
    expected = plain_walk(truth, found, THUMOS14)
    for pairs in (localisation.PAIRS, 400):
        monkeypatch.setattr(localisation, "PAIRS", pairs)
        same(mean_average_precision(table(truth), table(found), THUMOS14), expected)


def test_ten_times_faster_than_a_plain_walk():
    truth, found = world(472, 4410, 100, 100)
    given = nested(truth, "database"), nested(found, "results")
    found = [(v, *rest) for v, rows in given[1]["results"].items() for *rest, in (
        (r["label"], *r["segment"], r["score"]) for r in rows
    )]  # fmt: skip
    start = time.process_time()
    expected = plain_walk(truth, found, ACTIVITYNET)
    walked = time.process_time() - start
    ours = []
    for _ in range(3):
        start = time.process_time()
        result = mean_average_precision(*given, ACTIVITYNET)
        ours.append(time.process_time() - start)
    for label, ap in expected.items():
        np.testing.assert_allclose(result["ap"][label], ap, rtol=0, atol=1e-9)
    assert walked > 10 * min(ours)


@pytest.mark.slow
def test_fifty_thousand_detections_in_two_seconds():
    given = [nested(*x) for x in zip(world(3000, 50_000, 20, 200), ("database", "results"), strict=True)]
    start = time.process_time()
    assert 0.1 < mean_average_precision(*given, THUMOS14)["average_mAP"] < 1
    assert time.process_time() - start < 2


def test_real_thumos14():
    """210 test videos, 3311 instances, times written as strings; what finds each once is perfect."""
    truth = shared("thumos14/gt.json")
    test = {v: x["annotations"] for v, x in truth["database"].items() if x["subset"] == "test"}
    exact = {v: [a | {"score": 0.5} for a in found] for v, found in test.items()}
    assert len(test) == 210 and sum(map(len, test.values())) == 3311
    result = mean_average_precision(truth, {"results": exact}, THUMOS14, subset="test")
    assert result["average_mAP"] == 1 and len(result["ap"]) == 20
    rows = [(v, a["label"], *map(float, a["segment"])) for v, found in test.items() for a in found]
    rng = np.random.default_rng(0)
    found = [
        (v, c, s + rng.normal() / 4, e + 1 + abs(rng.normal()), round(rng.random(), 2)) for v, c, s, e in rows[::3]
    ]
    result = mean_average_precision(truth, table(found), [0.3, 0.5], subset="test")
    same(result, plain_walk(rows, found, [0.3, 0.5]))


def test_real_activitynet12():
    """Nine of 9,869 instances have no length: refused, or counted as never found."""
    truth = shared("activitynet12/activity_net.v1-2.min-missing-removed.json")
    every = [a["segment"] for x in truth["database"].values() for a in x["annotations"]]
    assert len(every) == 9869 and sum(s >= e for s, e in every) == 9
    with pytest.raises(UserError, match="runs from .* allow_empty_instances"):
        mean_average_precision(truth, {"results": {}}, ACTIVITYNET)
    exact = {
        v: [a | {"score": 0.5} for a in x["annotations"] if a["segment"][0] < a["segment"][1]]
        for v, x in truth["database"].items()
        if x["subset"] == "validation"
    }
    result = mean_average_precision(truth, exact, ACTIVITYNET, subset="validation", allow_empty_instances=True)
    lost = sum(s >= e for x in truth["database"].values() if x["subset"] == "validation" for s, e in
               (a["segment"] for a in x["annotations"]))  # fmt: skip
    assert len(result["ap"]) == 100 and 0 < sum(ap[0] < 1 for ap in result["ap"].values()) <= lost


def test_thresholds_are_hit_exactly():
    assert THUMOS14 == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7) and len(ACTIVITYNET) == 10 and ACTIVITYNET[8] == 0.9
    given = table([("v", "a", 0, 10)]), table([("v", "a", 0, 3, 1.0)])  # tIoU 0.3
    assert np.arange(0.1, 0.71, 0.1)[2] > 0.3
    assert mean_average_precision(*given, np.arange(0.1, 0.71, 0.1))["mAP"].tolist() == [1, 1, 1, 0, 0, 0, 0]
    two_thirds = table([("v", "a", 0, 3)]), table([("v", "a", 0, 2, 1.0)])
    assert mean_average_precision(*two_thirds, [2 / 3])["mAP"] == [1]
    for bad in ([], [0.0], [50], [np.nan]):
        with pytest.raises(UserError, match="thresholds"):
            mean_average_precision(*given, bad)


# ---- ties


def test_equal_scores_keep_the_order_of_the_input():
    truth, right, wrong = table([("v", "a", 0, 10)]), ("v", "a", 0, 10, 0.5), ("v", "a", 40, 50, 0.5)
    assert mean_average_precision(truth, table([right, wrong]), [0.5])["average_mAP"] == 1
    assert mean_average_precision(truth, table([wrong, right]), [0.5])["average_mAP"] == 0.5
    for rows in ([right, wrong], [wrong, right]):
        worst, best = tie_range(truth, table(rows), [0.5])
        assert (worst["average_mAP"], best["average_mAP"]) == (0.5, 1)


def test_tie_range_holds_every_order():
    """All 720 orders of six detections with two scores; where the search falls short, it does so rarely."""
    rng, short = np.random.default_rng(5), 0
    for _ in range(12):
        draw = lambda: (f"v{rng.integers(2)}", "a", s := int(rng.integers(0, 20)), s + int(rng.integers(5, 12)))  # noqa: E731
        truth = [draw() for _ in range(rng.integers(2, 5))]
        found = [(*draw(), float(rng.integers(0, 2))) for _ in range(6)]
        every = [plain_walk(truth, list(order), [0.2, 0.5])["a"] for order in permutations(found)]
        worst, best = tie_range(table(truth), table(found), [0.2, 0.5])
        np.testing.assert_array_less(np.min(every, axis=0) - 1e-12, worst["mAP"])
        np.testing.assert_array_less(best["mAP"], np.max(every, axis=0) + 1e-12)
        short += (worst["mAP"] > np.min(every, axis=0) + 1e-9).sum() + (
            best["mAP"] < np.max(every, axis=0) - 1e-9
        ).sum()
    assert short <= 1


def test_tie_range_of_many_holds_random_orders():
    truth, found = world(78, 205, 5, 20, seed=6)
    found = [(*d[:4], round(d[4], 1)) for d in found]
    worst, best = tie_range(table(truth), table(found), THUMOS14)
    rng = np.random.default_rng(0)
    for _ in range(30):
        mixed = mean_average_precision(table(truth), table([found[i] for i in rng.permutation(205)]), THUMOS14)["mAP"]
        assert (worst["mAP"] <= mixed + 1e-12).all() and (mixed <= best["mAP"] + 1e-12).all()
    assert (best["mAP"] - worst["mAP"]).max() > 0.05


# ---- what is refused


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"segment": [3, 3]}, "predictions: segment 2 of video 'v' .* 3 to 3 s, but a segment ends after it starts"),
        ({"segment": [4, 3]}, "4 to 3 s"),
        ({"segment": [0, float("nan")]}, "0 to nan s"),
        ({"segment": [0, float("inf")]}, "0 to inf s"),
        ({"segment": ["0", "x"]}, r"segment 2 of video 'v' \('a'\) has the segment \['0', 'x'\], not two times"),
        ({"segment": [1, 2, 3]}, "not two times"),
        ({"segment": 7}, "not two times"),
        ({"score": float("nan")}, "segment 2 of video 'v' .* score NaN"),
        ({"score": "high"}, "has the score 'high', not a number"),
        ({"score": [1, 2]}, "not a number"),
        ({"label": "A"}, "'A' .* label that the ground truth lacks"),
        ({"label": None}, r"segment 2 of video 'v' \(None\) needs the name of a video and of a class"),
        ({"label": ["a"]}, "needs the name of a video and of a class"),
    ],
)
def test_what_is_impossible_is_refused_with_its_place(change, sentence):
    truth = nested([("v", "a", 0, 10)], "database")
    found = nested([("v", "a", 0, 9, 0.5), ("v", "a", 0, 10, 0.5), ("u", "a", 2, 3, 0.1)], "results")
    found["results"]["v"][1] |= change
    with pytest.raises(UserError, match=sentence):
        mean_average_precision(truth, found, [0.5])


def test_what_is_missing_is_refused():
    truth, found = nested([("v", "a", 0, 10)], "database"), nested([("v", "a", 0, 9, 0.5)], "results")
    for pair, sentence in [
        ((truth, {"results": {"v": [{"label": "a"}]}}), "needs label, segment, score"),
        ((truth, {"results": {"v": 3}}), "needs a list of segments"),
        ((truth, [1]), "mapping of videos"),
        (({"database": {}}, found), "no instance"),
        ((table([("v", "a", 0, 10)]).drop(columns="end"), found), "lacks the column 'end'"),
        ((table([("v", "a", 0, 10)] * 2).assign(id=["x", "x"]), found), "id 'x' stands in two rows"),
        ((table([("v", "a", 0, 10), ("v", np.nan, 0, 1)]), found), r"segment 2 of video 'v' \(nan\) needs the name"),
        ((table([(np.nan, "a", 0, 10)]), found), "segment 1 of video nan .* needs the name of a video"),
    ]:
        with pytest.raises(UserError, match=sentence):
            mean_average_precision(*pair, [0.5])
    with pytest.raises(UserError, match="subset 'val'"):
        mean_average_precision(truth, found, [0.5], subset="val")
    assert mean_average_precision(truth, found, [0.5], subset="test")["average_mAP"] == 1
