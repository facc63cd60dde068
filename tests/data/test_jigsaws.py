"""JIGSAWS on small files in the layout of the release, its folds, and the segment features of kinematics."""

import json
from pathlib import Path

import numpy as np
import pytest
from jigsaws_release import SURGEONS, recording, release

from aqa_lib import data
from aqa_lib.data import AssessmentSet, kinematics, splits
from aqa_lib.data.readers import jigsaws
from aqa_lib.errors import UserError
from aqa_lib.evaluation import spearman
from aqa_lib.study.parts import parts_of
from benchmarks import jigsaws_stand_in

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return release(tmp_path_factory.mktemp("jigsaws"))


def load(root, **options):
    with pytest.warns(UserWarning, match="leaves out 2 trials: Suturing_C009: its kinematics are empty; Suturing_D009"):
        return data.load("jigsaws", root, task="Suturing", **options)


def test_trials_scores_and_surgeons(root):
    s = load(root)  # statistics of 8 segments
    assert len(s) == 9 and s.features.shape == (9, 8, 76 * 5) and s.name == "jigsaws Suturing" and not s.surrogate
    for kind in ("dct", "magnitudes"):
        assert load(root, kind=kind, segments=5, coefficients=3).features.shape == (9, 5, 76 * 3)
    row = s.table.set_index("id")
    assert row.loc["Suturing_C001", "score"] == sum([3, 4, 5, 1, 2, 3]) and row.loc["Suturing_C001", "skill"] == "E"
    assert list(row.loc["Suturing_C001", list(jigsaws.ITEMS)]) == [3, 4, 5, 1, 2, 3]
    scored = ~np.isnan(s.scores)
    assert s.judges.shape == (9, 6) and s.judges[list(s.ids).index("Suturing_C001")].tolist() == [3, 4, 5, 1, 2, 3]
    assert (s.judges[scored].sum(1) == s.scores[scored]).all() and np.isnan(s.judges[~scored]).all()
    assert (s.meta["judging"], s.meta["awards"]) == ("sum", [1, 5, 1])
    assert row.loc["Suturing_C001", "frames"] == 57 and row.loc["Suturing_C001", "seconds"] == 57 / 30
    assert list(s.ids[np.isnan(s.scores)]) == ["Suturing_B009"] and set(s.groups) == set(SURGEONS)
    assert [t for t, _ in s.meta["skipped"]] == ["Suturing_C009", "Suturing_D009"]
    one, copy = (s.features[list(s.ids).index(f"Suturing_B00{i}")] for i in (1, 9))
    np.testing.assert_array_equal(one, copy)


def test_nodes_stand_together(root):
    """Node m, channel c, coefficient k is column (19 m + c) K + k; the patient side is the second half."""
    dct = {"kind": "dct", "segments": 10}
    s, patient = load(root, **dct), load(root, nodes="patient", **dct)
    assert s.meta["nodes"] == list(jigsaws.NODES) and patient.meta["nodes"] == ["patient left", "patient right"]
    np.testing.assert_array_equal(patient.features, s.features[:, :, 38 * 8 :])
    x = recording(0, 55)
    nodes = s.features[0].reshape(10, 4, 19, 8)
    np.testing.assert_allclose(nodes[0, 2, 18, 0], x[:5, 2 * 19 + 18].mean(), rtol=1e-5)


def test_the_set_survives_its_file(root, tmp_path):
    s = load(root)
    back = AssessmentSet.read(s.save(tmp_path / "s"))
    np.testing.assert_array_equal(jigsaws.mirrored(back), jigsaws.mirrored(s))
    assert back.meta == s.meta


def test_dct_is_a_fit_of_cosines():
    """Least squares on the cosines gives the same numbers; a recording of K frames comes back whole."""
    x = recording(3, 40)
    features = kinematics.segment_features(x, "dct", segments=4, coefficients=6).reshape(4, 76, 6)
    t = np.arange(10)
    basis = np.stack([np.cos(np.pi * k * (t + 0.5) / 10) for k in range(10)], axis=1)
    for i in range(4):
        fit = np.linalg.solve(basis, x[10 * i : 10 * i + 10])
        np.testing.assert_allclose(features[i], fit[:6].T, atol=1e-5)


def test_dct_does_not_depend_on_how_long_a_segment_is():
    def wave(frames):
        t = (np.arange(frames) + 0.5) / frames
        return (2 + 3 * np.cos(np.pi * 2 * t))[:, None]

    for frames in (12, 300):
        np.testing.assert_allclose(kinematics.dct(wave(frames), 4), [[2, 0, 3, 0]], atol=1e-12)
    np.testing.assert_allclose(kinematics.dct(np.full((2, 1), 7.0), 4), [[7, 0, 0, 0]], atol=1e-12)


def test_magnitudes_do_not_know_the_phase():
    """A wave and the same wave upside down, beside a mean of -2: the signs go, the sizes stay."""
    t = (np.arange(12) + 0.5) / 12
    x = np.stack([-2 + 3 * np.cos(2 * np.pi * t), -2 - 3 * np.cos(2 * np.pi * t)], axis=1)
    found = kinematics.segment_features(x, "magnitudes", 1, 4).reshape(2, 4)
    np.testing.assert_allclose(found, [[2, 0, 3, 0], [2, 0, 3, 0]], atol=1e-6)


def test_statistics_by_hand():
    x = np.array([[1.0, 0], [3, 0], [2, 6], [8, 2], [8, 4]])
    features = kinematics.segment_features(x, "statistics", segments=2).reshape(2, 2, 5)
    np.testing.assert_allclose(features[0], [[2, 1, 1, 3, 2], [0, 0, 0, 0, 0]])  # frames 0, 1
    np.testing.assert_allclose(features[1, 1], [4, np.sqrt(8 / 3), 2, 6, 3], rtol=1e-6)


def test_cut_covers_every_frame_once():
    for frames in (7, 10, 61):
        bounds = kinematics.cut(frames, 7)
        assert bounds[0] == 0 and bounds[-1] == frames and set(np.diff(bounds)) <= {frames // 7, -(-frames // 7)}
    with pytest.raises(UserError, match="6 frames, fewer than the 7 segments"):
        kinematics.cut(6, 7)


def mirrored_recording(x):
    """The recording seen in a mirror, worked out with matrices: sides exchanged, x turned."""
    s = np.diag([-1.0, 1, 1])
    out = np.empty_like(x)
    for side, other in ((0, 1), (1, 0), (2, 3), (3, 2)):
        p, r, v, w, grip = np.split(x[:, 19 * other : 19 * other + 19], [3, 12, 15, 18], axis=1)
        r = s @ r.reshape(-1, 3, 3) @ s
        w = np.linalg.det(s) * w @ s  # rotational velocity is axial
        out[:, 19 * side : 19 * side + 19] = np.hstack([p @ s, r.reshape(-1, 9), v @ s, w, grip])
    return out


@pytest.mark.parametrize("kind", kinematics.KINDS)
@pytest.mark.parametrize("nodes", ["all", "master", "patient"])
def test_mirrored_features_are_those_of_the_mirrored_recording(root, kind, nodes):
    s = load(root, kind=kind, nodes=nodes, coefficients=4)
    columns = {"all": slice(0, 76), "master": slice(0, 38), "patient": slice(38, 76)}[nodes]
    x = mirrored_recording(recording(0, 55))[:, columns]
    wanted = kinematics.segment_features(x, kind, 8, 4)
    np.testing.assert_allclose(jigsaws.mirrored(s)[0], wanted, rtol=1e-5, atol=1e-5)


def test_mirrored_twice_is_the_same(root):
    s = load(root, kind="statistics")
    again = kinematics.mirror(jigsaws.mirrored(s), *jigsaws.mirror_map(4), "statistics")
    np.testing.assert_array_equal(again, s.features)


def test_axial_rule_agrees_with_rotation_matrices():
    """d/dt R = [w] R holds for the mirrored motion with the mirrored w: the sign of rotational velocity is right."""
    rng = np.random.default_rng(1)
    w = rng.standard_normal(3)
    s = np.diag([-1.0, 1, 1])

    def hat(w):
        return np.array([[0, -w[2], w[1]], [w[2], 0, -w[0]], [-w[1], w[0], 0]])

    _, sign = jigsaws.mirror_map(2)
    np.testing.assert_allclose(hat(sign[15:18] * w), s @ hat(w) @ s, atol=1e-12)


# the stand-in


def test_the_stand_in_has_the_layout_and_the_sizes_of_the_release(tmp_path):
    """Every check of the release holds; trials last as long as asked; its skill can be seen; it says what it is."""
    seconds = {"Suturing": 6, "Needle_Passing": 5, "Knot_Tying": 3}
    jigsaws_stand_in.write(tmp_path / "a", seconds)
    found = jigsaws.checks(tmp_path / "a")
    assert len(found) == 3 * 7 and all(expected in (None, value) for _, value, expected in found)
    s = data.load("jigsaws", tmp_path / "a")
    assert len(s) == 103 and s.surrogate and s.name == "jigsaws (stand-in)" and "made up" in s.meta["source"]
    for task, mean in seconds.items():
        of = s.table[s.table["task"] == task]
        assert of["seconds"].mean() == pytest.approx(mean, rel=0.15)
        assert spearman(of["seconds"].to_numpy(), of["score"].to_numpy()) < -0.3
    assert s.scores.min() >= 6 and s.scores.max() <= 30 and len(set(s.scores)) > 10
    assert [len(fold.test) for fold in every(s, "fold:four")] == [25, 26, 26, 26]
    r = np.loadtxt(tmp_path / "a" / "Suturing" / "kinematics" / "AllGestures" / "Suturing_B001.txt")[5, 3:12]
    np.testing.assert_allclose(r.reshape(3, 3) @ r.reshape(3, 3).T, np.eye(3), atol=1e-5)


def test_a_stand_in_is_never_taken_for_the_release(tmp_path):
    """The mark is part of the fingerprint and of the block's name; a folder that holds a release is left alone."""
    release(tmp_path)
    before = data.fingerprint("jigsaws", tmp_path)
    with pytest.raises(UserError, match="is not empty and holds no stand-in"):
        jigsaws_stand_in.write(tmp_path)
    (tmp_path / jigsaws.MARK).write_text("made up")
    assert data.fingerprint("jigsaws", tmp_path) != before
    assert load(tmp_path).name == "jigsaws Suturing (stand-in)" and load(tmp_path).surrogate
    block = {"split": "fold:louo/*", "parts": {"task": ["Suturing"]}, "published": True}
    with pytest.warns(UserWarning, match="leaves out"):
        parts = parts_of({"name": "jigsaws"}, {"one surgeon out": block}, str(tmp_path))
    assert {(part.block, part.published) for part in parts} == {("one surgeon out, stand-in", False)}


# folds


def every(s, kind):
    return [splits.get(name)(s) for name in splits.every(s, kind)]


def four(trials):
    return {"Suturing": [list(trials[k::4]) for k in range(4)]}


def test_leave_one_user_out(root):
    s = load(root)
    assert splits.names(s) == ["leak_free", *(f"fold:louo/{name}" for name in SURGEONS)]
    seen = []
    for split in every(s, "fold:louo"):
        assert not set(s.groups[split.train]) & set(s.groups[split.test])
        seen += list(split.test)
    assert sorted(seen) == list(np.flatnonzero(~np.isnan(s.scores)))
    b = splits.get("fold:louo/B")(s)
    assert b.name == "fold:louo/B" and "Suturing_B009" not in s.ids[b.train]  # unlabelled, but of the surgeon held out
    assert "Suturing_B009" in s.ids[splits.get("fold:louo/C")(s).train]
    unseen = splits.leak_free(s)
    assert not set(s.groups[unseen.train]) & set(s.groups[unseen.test])


def test_four_folds(root, tmp_path):
    trials = [t for t in load(root).ids if not t.endswith("009")]
    (tmp_path / "folds.json").write_text(json.dumps(four(trials[:7])))
    s = load(root, folds=str(tmp_path / "folds.json"))
    for k, split in enumerate(every(s, "fold:four"), 1):
        assert split.name == f"fold:four/{k}" and list(s.ids[split.test]) == trials[:7][k - 1 :: 4]
        # the eighth scored trial is in no fold, the unlabelled one is trained on everywhere
        assert set(s.ids[split.train]) == set(trials[:7]) - set(s.ids[split.test]) | {"Suturing_B009"}


def test_there_is_no_official_split(root):
    with pytest.raises(UserError, match="no official split"):
        splits.official(load(root))


def test_a_missing_list_of_folds_is_asked_for_by_name(root):
    words = "no splits fold:four.*four_fold.json.*option folds, --set data.options.folds=splits.pkl"
    for ask in (lambda s: splits.every(s, "fold:four"), lambda s: splits.get("fold:four/2")(s)):
        with pytest.raises(UserError, match=words) as error:
            ask(load(root))
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="four.json: the option folds .--set data.options.folds=FILE. names"):
        data.load("jigsaws", root, task="Suturing", folds="four.json")
    with pytest.raises(UserError, match="unknown kind of splits .*fold:louo"):
        splits.every(load(root), "fold:five")


def test_folds_of_the_literature(tmp_path):
    """The published lists: 9/10/10/10, 7 x 4, 9 x 4 trials, found beside the release, which is made up here."""
    lists = SHARED / "jigsaws_splits" / "four_fold.json"
    if not lists.is_file():
        pytest.skip(f"{lists} is not there")
    tasks = json.loads(lists.read_text())
    for task, members in tasks.items():
        place = tmp_path / task / "kinematics" / "AllGestures"
        place.mkdir(parents=True)
        trials = [t for fold in members for t in fold]
        for i, trial in enumerate(trials):
            np.savetxt(place / f"{trial}.txt", recording(i, 4), fmt="%.4f")
        rows = (f"{t}\tN\t{6 + 6 * (i % 5 // 4)}\t1 1 1 1 1 {1 + 6 * (i % 5 // 4)}" for i, t in enumerate(trials))
        (tmp_path / task / f"meta_file_{task}.txt").write_text("\n".join(rows))
    found = jigsaws.checks(tmp_path, segments=2, coefficients=1, folds=str(lists))
    assert all(expected in (None, value) for _, value, expected in found)
    sizes = [value for what, value, _ in found if what.endswith("of the four folds")]
    assert sizes == [[9, 10, 10, 10], [7] * 4, [9] * 4]
    s = data.load("jigsaws", tmp_path, segments=2, folds=str(lists))
    assert len(s) == 103 and [len(f.test) for f in every(s, "fold:four")] == [25, 26, 26, 26]
    for fold in every(s, "fold:louo"):
        assert not set(s.groups[fold.train]) & set(s.groups[fold.test])
    assert any(set(s.groups[f.train]) & set(s.groups[f.test]) for f in every(s, "fold:four"))  # they leak


def test_the_check_names_scored_trials_that_are_left_out(tmp_path):
    found = {what: (value, expected) for what, value, expected in jigsaws.checks(release(tmp_path), task="Suturing")}
    left_out = "Suturing_C009: its kinematics are empty; Suturing_D009: its kinematics are missing"
    assert found["Suturing: trials left out"] == (left_out, "none")


# what is wrong and where


def spoil(root, path, change):
    file = root / "Suturing" / path
    file.write_text(change(file.read_text()))


KIN = "kinematics/AllGestures/Suturing_C002.txt"
META = "meta_file_Suturing.txt"


@pytest.mark.parametrize(
    "path, change, said",
    [
        (KIN, lambda t: t[:-200], r"C002.txt, line 58: 6\d numbers, not 76; is the file cut off"),
        (KIN, lambda t: t.replace(t.split()[80], "oops", 1), "C002.txt, line 2: 'oops' is not a number"),
        (KIN, lambda t: t.replace(t.split()[80], "nan", 1), "C002.txt, line 2: .*not a finite number|holds NaN"),
        (KIN, lambda t: "\n".join(t.splitlines()[:7]), "C002.txt has 7 frames, fewer than the 8 segments"),
        (META, lambda t: t + t.splitlines()[2], "line 12: 'Suturing_C001' stands there twice"),
        (META, lambda t: t.replace("\t1\t", "\tone\t", 1), "meta_file_Suturing.txt, line 1: 'one' is not a number"),
        (META, lambda t: t[: t.index("\n") - 2], "line 1: 8 fields, not 9 .* is the file cut off"),
        (META, lambda t: "Knot_Tying_B001 N 6 1 1 1 1 1 1\n" + t, "'Knot_Tying_B001' is not named Suturing_"),
    ],
)
def test_a_spoiled_file_is_named(tmp_path, path, change, said):
    spoil(release(tmp_path), path, change)
    with pytest.raises(UserError, match=said) as error:
        jigsaws.load(tmp_path, task="Suturing")
    assert "\n" not in str(error.value)


def test_a_wrong_root_is_named(tmp_path):
    with pytest.raises(UserError, match="'jigsaws' needs root"):
        data.load("jigsaws")
    with pytest.raises(UserError, match="nowhere does not exist"):
        data.load("jigsaws", tmp_path / "nowhere")
    with pytest.raises(UserError, match="no file .*meta_file_Suturing.txt"):
        data.load("jigsaws", tmp_path)
    with pytest.raises(UserError, match="did you mean 'Suturing'"):
        data.load("jigsaws", tmp_path, task="Suture")
    (tmp_path / "Suturing").mkdir()
    (tmp_path / "Suturing" / META).write_text("Suturing_B001 N 6 1 1 1 1 1 1")
    with pytest.raises(UserError, match="no folder .*AllGestures"):
        data.load("jigsaws", tmp_path, task="Suturing")


def test_a_score_left_open_is_unlabelled(tmp_path):
    spoil(release(tmp_path), META, lambda t: t.replace(t.splitlines()[0], "Suturing_B001 N"))
    assert list(load(tmp_path).ids[np.isnan(load(tmp_path).scores)]) == ["Suturing_B001", "Suturing_B009"]


def test_a_score_that_is_not_the_sum_of_its_items_is_listed(tmp_path):
    spoil(release(tmp_path), META, lambda t: t.replace("\t16\t", "\t17\t", 1))
    found = {what: value for what, value, _ in jigsaws.checks(tmp_path, task="Suturing")}
    assert found["Suturing: trials whose items do not sum to the GRS"] == "Suturing_B001"
    assert found["Suturing: trials with a score"] == 8 and found["Suturing: trials without a score"] == 1


def test_other_content_is_another_fingerprint(tmp_path):
    before = data.fingerprint("jigsaws", release(tmp_path))
    assert before == data.fingerprint("jigsaws", tmp_path)
    spoil(tmp_path, META, lambda t: t.replace("\t16\t", "\t17\t", 1))
    marks = [before, data.fingerprint("jigsaws", tmp_path)]
    (tmp_path / "four_fold.json").write_text(json.dumps(four(["Suturing_B001", "Suturing_B002"])))
    marks.append(data.fingerprint("jigsaws", tmp_path))  # another list of folds is another split
    (tmp_path / "four_fold.json").write_text(json.dumps(four(["Suturing_B002", "Suturing_B001"])))
    marks.append(data.fingerprint("jigsaws", tmp_path))
    assert len(set(marks)) == 4
