"""MTL-AQA: the published pickles where they are at hand, and small ones of the same form, whole and broken."""

import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aqa_lib import data
from aqa_lib.data import AssessmentSet, splits
from aqa_lib.data.files.store import Store
from aqa_lib.data.readers import mtl_aqa
from aqa_lib.errors import UserError

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "mtl_aqa"
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"the annotations of MTL-AQA are not at {REAL}")


def dive(**changes):
    fields = dict(primary_view=0, start_frame=100, end_frame=185, position=2, difficulty=3.0, armstand=0)
    fields |= dict(rotation_type=2, ss_no=7, tw_no=0, final_score=72.0)
    return fields | changes


AWARDS = [7.0, 8.0, 8.0, 8.0, 8.5, 9.0, 6.0]  # without 6, 7 and 8.5, 9: 8 + 8 + 8 = 24
KEYS = [(1, 1), (1, 2), (2, 10), (2, 11), (26, 3)]


@pytest.fixture
def folder(tmp_path):
    """Five dives in every form, as the public repositories hand them out."""
    root = tmp_path / "mtl"
    root.mkdir()
    plain = {key: dive(final_score=72.0 + i) for i, key in enumerate(KEYS)}
    judged = {key: v | {"judge_scores": np.array(AWARDS)} for key, v in plain.items()}
    numbered = {key: v | {"dive_number": "407C"} for key, v in judged.items()}
    captions = {(np.int64(k[0]), k[1]): ["<sos>", "very", "nice", "<eos>"] for k in [*KEYS, (9, 9)]}
    write(root, "final_annotations_dict", plain)
    write(root, "augmented_final_annotations_dict", judged)
    write(root, "final_annotations_dict_with_dive_number", numbered, protocol=4)
    write(root, "final_captions_dict", captions)
    write(root, "train_split_0", [(26, 3), (1, 1), (2, 10)])
    write(root, "test_split_0", [(1, 2), (2, 11)])
    (root / "vocab.json").write_text(json.dumps({"ix_to_word": {"0": "very"}, "word_to_ix": {"very": 0, "nice": 1}}))
    return root


def write(root, name, value, protocol=3):
    (root / f"{name}.pkl").write_bytes(pickle.dumps(value, protocol))


def change(root, name, edit):
    """Edit what a pickle of the folder holds."""
    value = pickle.loads((root / f"{name}.pkl").read_bytes())
    value = edit(value) or value
    write(root, name, value)


def test_each_form_gives_what_it_has(folder):
    full = data.load("mtl_aqa", folder)
    assert full.ids.tolist() == ["01_001", "01_002", "02_010", "02_011", "26_003"]
    assert full.scores.tolist() == [72, 73, 74, 75, 76] and full.difficulty.tolist() == [3] * 5
    assert full.groups.tolist() == ["event 01", "event 01", "event 02", "event 02", "event 26"]
    assert full.table["split"].tolist() == ["train", "test", "train", "test", "train"]
    first = full.table.iloc[0]
    assert (first["position"], first["rotation"], first["armstand"]) == ("tuck", "inward", False)
    assert (first["somersaults"], first["twists"]) == (7, 0)
    assert (first["start_frame"], first["end_frame"], first["duration"]) == (100, 185, 85)
    assert first["dive_number"] == "407C" and first["caption"] == "very nice"
    assert full.meta["vocabulary"] == {"very": 0, "nice": 1}
    assert full.judges.shape == (5, 7) and full.judges[0].tolist() == AWARDS
    assert full.features is None and not full.surrogate

    judged = data.load("mtl_aqa", folder, annotations="judges")
    assert judged.judges.shape == (5, 7) and "dive_number" not in judged.table
    plain = data.load("mtl_aqa", folder, annotations="original")
    assert (judged.meta["judging"], judged.meta["awards"]) == ("middle", [0, 10, 0.5]) and "judging" not in plain.meta
    assert plain.judges is None and "judge_rule" not in plain.meta and plain.scores.tolist() == full.scores.tolist()
    (folder / mtl_aqa.FORMS["dive_numbers"]).unlink()
    assert data.load("mtl_aqa", folder).meta["annotations"] == "judges"
    (folder / "final_captions_dict.pkl").unlink()
    (folder / "vocab.json").unlink()
    bare = data.load("mtl_aqa", folder)
    assert "caption" not in bare.table and "vocabulary" not in bare.meta


def test_the_judge_rule_lists_what_deviates_and_mends_nothing(folder):
    s = data.load("mtl_aqa", folder)
    # 24 x 3 = 72: the first is right, the others were given 1, 2, 3 and 4 too much
    assert s.table["off"].tolist() == [0, -1, -2, -3, -4]
    rule = s.meta["judge_rule"]
    assert rule["deviating"] == {"26_003": -4.0, "02_011": -3.0, "02_010": -2.0, "01_002": -1.0}
    assert rule["share_within"] == 0.2 and rule["largest"] == 4.0
    assert s.scores.tolist() == [72, 73, 74, 75, 76]


def test_the_rule_against_dropping_by_hand():
    rng = np.random.default_rng(0)
    judges, difficulty = rng.integers(0, 21, (50, 7)) / 2, rng.uniform(1.5, 4, 50)
    for awards, d, score in zip(judges, difficulty, mtl_aqa.judge_rule(judges, difficulty), strict=True):
        left = awards.tolist()
        for extreme in (max, max, min, min):
            left.remove(extreme(left))
        assert score == pytest.approx(sum(left) * d)


def test_a_store_is_joined_by_event_and_dive(folder):
    x = {key: np.full((2 + i, 3), i, dtype=np.float32) for i, key in enumerate(KEYS)}
    names = {(1, 1): "1_1", (1, 2): "run/01_02", (2, 10): "02_010", (2, 11): "2-11", (26, 3): "26_003"}
    Store.write(folder / "i3d.features", {"rgb": {names[k]: v for k, v in reversed(x.items())}})
    s = data.load("mtl_aqa", folder, features="i3d.features")
    assert s.features.shape == (5, 6, 3) and s.lengths.tolist() == [2, 3, 4, 5, 6]
    assert [s.features[i][0, 0] for i in range(5)] == [0, 1, 2, 3, 4] and len(s.features[0]) == 2
    absolute = data.load("mtl_aqa", folder, features=folder / "i3d.features")
    assert absolute.features.equals(s.features)
    # the store's content is part of what tells one run from another
    before = data.fingerprint("mtl_aqa", folder, "i3d.features")
    assert before != data.fingerprint("mtl_aqa", folder)
    Store.write(folder / "i3d.features", {"rgb": {names[k]: v + 1 for k, v in x.items()}})
    assert data.fingerprint("mtl_aqa", folder, "i3d.features") != before

    Store.write(folder / "few.features", {"rgb": {"1_1": x[1, 1]}})
    with pytest.raises(UserError, match="lacks 4 of 5 videos, the first being '01_002'"):
        data.load("mtl_aqa", folder, features="few.features")
    Store.write(folder / "twice.features", {"rgb": {"1_1": x[1, 1], "01_001": x[1, 1]}})
    with pytest.raises(UserError, match="are both dive 01_001"):
        data.load("mtl_aqa", folder, features="twice.features")
    with pytest.raises(UserError, match="no feature store at"):
        data.load("mtl_aqa", folder, features="none.features")
    # other numbers in a name are no dive: not those of a suffix, nor of videos that belong to something else
    extra = {"warming up": x[1, 1], "intro": x[1, 1], "x": x[1, 1], "9" * 5000: x[1, 1]}
    Store.write(folder / "more.features", {"rgb": {names[k]: v for k, v in x.items()} | extra})
    more = data.load("mtl_aqa", folder, features="more.features")
    assert more.features.equals(s.features)
    Store.write(folder / "films.features", {"rgb": {f"{mtl_aqa.name(k)}.mp4": v for k, v in x.items()}})
    with pytest.raises(UserError, match="lacks 5 of 5 videos, the first being '01_001': .* '01_001.mp4'"):
        data.load("mtl_aqa", folder, features="films.features")


def test_other_content_is_another_fingerprint(folder):
    marks = [data.fingerprint("mtl_aqa", folder)]
    change(folder, "final_annotations_dict", lambda d: d[1, 1].update(final_score=1.0))
    marks.append(data.fingerprint("mtl_aqa", folder))
    change(folder, "test_split_0", lambda keys: keys[:1])
    marks.append(data.fingerprint("mtl_aqa", folder))
    assert len(set(marks)) == 3 and data.fingerprint("mtl_aqa", folder) == marks[-1]


FULL = "final_annotations_dict_with_dive_number"


def field(**changes):
    return FULL, lambda known: known[2, 10].update(changes)


BROKEN = {
    "score of text": (field(final_score="high"), r"02_010, final_score: 'high' is not a number"),
    "score of a digit": (field(final_score="72.0"), r"02_010, final_score: '72.0' is not a number"),
    "score NaN": (field(final_score=float("nan")), r"02_010, final_score: nan is not a finite number"),
    "score None": (field(final_score=None), r"02_010, final_score: None is not a number"),
    "score True": (field(final_score=True), r"final_score: True is not a number"),
    "difficulty inf": (field(difficulty=float("inf")), r"02_010, difficulty: inf is not a finite number"),
    "score of many digits": (field(final_score=10**5000), r"final_score: a int is not a number"),
    "number of a dive": (field(dive_number=407), r"dive_number: 407 is not a text"),
    "six judges": (field(judge_scores=np.ones(6)), r"02_010, judge_scores: 6 awards, but 7 judges sit"),
    "judge of text": (field(judge_scores=["a"] * 7), r"judge_scores: 'a' is not a number"),
    "frames": (field(end_frame=100), r"frames 100..100 are no range"),
    "half frame": (field(end_frame=200.5), r"end_frame: 200.5 is not a whole number"),
    "position": (field(position=3), r"position: 3 is none of 0..2"),
    "no dict": ((FULL, lambda known: known.update({(2, 10): 5})), r"02_010: a dict of fields is expected"),
    "no field": ((FULL, lambda known: known[2, 10].pop("tw_no") and None), r"02_010 has no tw_no"),
    "key of text": ((FULL, lambda known: known.update({"2_10": 5})), r"key '2_10' is not a pair of event and dive"),
    "a list": ((FULL, lambda known: [1]), r"holds a list, but a dict by \(event, dive\) is expected"),
    "empty": ((FULL, lambda known: known.clear()), r"holds a dict, but a dict by|is in neither|does not have"),
    "twice in a split": (("train_split_0", lambda keys: keys.append((1, 1))), r"train_split_0.pkl: \(1, 1\) stands"),
    "in both splits": (("test_split_0", lambda keys: keys.append((1, 1))), r"01_001 is in the training and in the"),
    "in no split": (("test_split_0", lambda keys: keys[:1]), r"dive 02_011 of .* is in neither split 0"),
    "unknown in a split": (("test_split_0", lambda keys: keys.append((7, 7))), r"names dive 07_007, which .* does not"),
    "split of numbers": (("test_split_0", lambda keys: [3]), r"key 3 is not a pair of event and dive"),
    "split of a dict": (("test_split_0", lambda keys: {1: 2}), r"holds a dict, but a list of \(event, dive\)"),
    "caption": (("final_captions_dict", lambda c: c.update({(1, 1): 3})), r"caption of dive 01_001 is not a list"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_named_in_one_sentence(folder, name):
    (file, edit), sentence = BROKEN[name]
    change(folder, file, edit)
    with pytest.raises(UserError, match=sentence) as error:
        data.load("mtl_aqa", folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("where", ["final_score", "tw_no", "dive_number", "judge_scores", "start_frame"])
def test_a_value_whose_text_would_fill_the_memory_is_refused_at_once(folder, where):
    value = ()
    for _ in range(60):
        value = (value, value)  # 2^60 tuples, if one were to write them down
    change(folder, FULL, lambda known: known[1, 1].update({where: value}))
    with pytest.raises(UserError, match=where) as error:
        data.load("mtl_aqa", folder)
    assert len(str(error.value)) < 1000


def test_missing_and_foreign_files(folder, tmp_path):
    with pytest.raises(UserError, match="needs root"):
        data.load("mtl_aqa")
    with pytest.raises(UserError, match="nowhere does not exist"):
        data.load("mtl_aqa", tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no annotations of MTL-AQA"):
        data.load("mtl_aqa", tmp_path)
    with pytest.raises(UserError, match="unknown split: there is no .*train_split_3.pkl .*folds 0"):
        data.load("mtl_aqa", folder, fold=3)
    with pytest.raises(UserError, match="did you mean 'original'"):
        data.load("mtl_aqa", folder, annotations="orignal")
    (folder / "vocab.json").write_text("{")
    with pytest.raises(UserError, match="vocab.json is not the vocabulary"):
        data.load("mtl_aqa", folder)
    path = folder / mtl_aqa.FORMS["judges"]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="augmented.*is cut short or is no pickle"):
        data.load("mtl_aqa", folder, annotations="judges")
    path.unlink()
    with pytest.raises(UserError, match="there is no file .*augmented_final"):
        data.load("mtl_aqa", folder, annotations="judges")
    path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UserError, match="asks for os.system"):
        data.load("mtl_aqa", folder, annotations="judges")


@real
def test_the_published_counts():
    for form in mtl_aqa.FORMS:
        lines = mtl_aqa.checks(REAL, annotations=form)
        assert len(lines) == (6 if form == "original" else 10)
        assert all(found == expected for _, found, expected in lines), lines


@real
def test_the_published_annotations():
    s = data.load("mtl_aqa", REAL)
    official = splits.official(s)
    assert (len(official.train), len(official.test)) == (1059, 353)
    train, test = s.scores[official.train], s.scores[official.test]
    assert (train.min(), train.max(), train.mean().round(1), train.std().round(1)) == (0, 102.6, 67.4, 16.5)
    assert (test.min(), test.max(), test.mean().round(1), test.std().round(1)) == (0, 104.5, 65.8, 18.1)
    assert len(np.unique(test)) == 172
    sizes = {1: 191, 2: 108, 3: 73, 4: 129, 5: 90, 6: 60, 7: 99, 9: 88, 10: 44, 13: 30, 14: 87, 17: 169, 18: 72}
    assert Counter(s.table["event"]) == sizes | {22: 48, 26: 124}
    assert set(s.groups[official.test]) == set(s.groups[official.train])  # the official split leaks the event
    apart = splits.leak_free(s)
    assert not set(s.groups[apart.test]) & set(s.groups[apart.train])
    duration = s.table["duration"]
    assert np.percentile(duration, [5, 50, 95]).astype(int).tolist() == [78, 100, 152]
    assert (duration.min(), duration.max()) == (54, 273)
    rule = s.meta["judge_rule"]
    assert len(rule["deviating"]) == 1412 - 1385 and round(rule["largest"], 1) == 19.8
    assert round(100 * rule["share_within"], 1) == 98.1
    assert sum(abs(off) > 1 for off in rule["deviating"].values()) == 22


@real
def test_the_names_of_attributes_agree_with_the_dive_numbers():
    """407C: the first digit is the rotation (5: twisting, 6: armstand, then the second), the letter the position."""
    table = data.load("mtl_aqa", REAL, annotations="dive_numbers").table
    letters = {"pike": "B", "tuck": "C", "free": "D"}
    assert (table["position"].map(letters) == table["dive_number"].str[-1]).all()
    first = table["dive_number"].str[0]
    assert ((first == "6") == table["armstand"]).all()
    twisting = first.isin(["5", "6"]) & (table["dive_number"].str.len() == 5)
    assert ((table["twists"] > 0) == twisting).all()
    digit = first.where(~first.isin(["5", "6"]), table["dive_number"].str[1])
    directions = {"forward": "1", "back": "2", "reverse": "3", "inward": "4"}
    assert (table["rotation"].map(directions) == digit).mean() > 0.99
    halves = table["dive_number"].str[2].astype(int)
    assert (halves == table["somersaults"]).mean() > 0.98


@real
def test_the_set_survives_its_file(tmp_path):
    s = data.load("mtl_aqa", REAL)
    back = AssessmentSet.read(s.save(tmp_path / "mtl.safetensors"))
    pd.testing.assert_frame_equal(back.table, s.table)
    assert back.features is None and back.meta == s.meta and back.judges.tolist() == s.judges.tolist()
