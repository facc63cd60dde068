"""`within`: what is comparable. Standardised features, draws and measures, against plain numpy."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from aqa_lib import data as data_sets
from aqa_lib.data import AssessmentSet, splits
from aqa_lib.data.ragged import Ragged
from aqa_lib.data.splits import Split, label_draw
from aqa_lib.data.standardise import standardised
from aqa_lib.errors import UserError
from aqa_lib.study.study import Study
from aqa_lib.tasks import PAIRS, SCORES
from aqa_lib.training import train
from aqa_lib.training.restore import restore, trained


def make(n=60, T=3, D=4, seed=0, **more):
    """Three movements that lie far apart; in each the last feature says which it is, and the first how good."""
    rng = np.random.default_rng(seed)
    movement = np.arange(n) % 3
    scores = rng.integers(2, size=n).astype(float)
    x = rng.normal(size=(n, T, D)) * (1 + movement[:, None, None]) + 50 * movement[:, None, None]
    x[:, :, 0] += 2 * scores[:, None] * (1 + movement[:, None])
    x[:, :, -1] = movement[:, None]
    pairs = [(i, j) for i in range(n) for j in range(n) if movement[i] == movement[j] and scores[i] > scores[j]]
    table = pd.DataFrame(
        {"movement": [f"m{k}" for k in movement], "split": np.where(np.arange(n) < n - 18, "train", "test")}
    )
    fields = {"features": x, "scores": scores, "ids": [f"i{k:03d}" for k in range(n)], "table": table, "pairs": pairs}
    return AssessmentSet(name="three", **fields | {"within": "movement"} | more)


# ---- the field


def test_the_field_is_kept_and_checked(tmp_path):
    s = make()
    assert AssessmentSet.read(s.save(tmp_path / "s")).within == "movement"
    assert AssessmentSet.read(make(within=None).save(tmp_path / "t")).within is None
    assert s.levels().tolist() == s.table["movement"].tolist() and set(make(within=None).levels()) == {""}
    with pytest.raises(UserError, match=r"within must be a column of the table \(movement, split\), but is 'sport'"):
        make(within="sport")
    for empty in (None, "", np.nan):
        table = s.table.assign(movement=[empty, *s.table["movement"][1:]])
        with pytest.raises(UserError, match="names column movement, which is empty for 'i000'"):
            make(table=table)
    with pytest.raises(UserError, match="ranks 'i000' against 'i001', which differ in movement"):
        make(pairs=[(0, 3), (0, 1)])


def test_ui_prmd_compares_within_a_movement():
    s = data_sets.load("ui_prmd", segments=2)
    assert (s.within, s.measure) == ("movement", "pairwise_accuracy")
    one = data_sets.load("ui_prmd", segments=2, movement="m03")
    assert (one.within, one.measure) == (None, "pairwise_accuracy")


# ---- features


def by_hand(x, levels, train):
    """z of x [N, T, D], a cell at a time."""
    z = np.empty(x.shape)
    for level in set(levels):
        for t in range(x.shape[1]):
            for d in range(x.shape[2]):
                known = np.array([x[i, t, d] for i in train if levels[i] == level], dtype=float)
                mean, deviation = known.mean(), np.sqrt(((known - known.mean()) ** 2).mean())
                if (known == known[0]).all():
                    mean, deviation = 0, 1
                for i in np.flatnonzero(np.array(levels) == level):
                    z[i, t, d] = (x[i, t, d] - mean) / deviation
    return z


def test_features_are_standardised_by_the_training_items_of_their_level():
    s = make()
    split = splits.official(s)
    z, _ = standardised(s, split)
    levels = s.table["movement"].tolist()
    np.testing.assert_allclose(z.features, by_hand(s.features, levels, split.train), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(z.features[:, :, -1], s.features[:, :, -1])  # what does not vary says which it is
    assert z.scores is s.scores or (z.scores == s.scores).all()
    assert standardised(s, splits.official(s))[0] is z  # one copy for all runs on a split
    other = Split("other", split.train[:-3], split.test)
    assert standardised(s, other)[0] is not z
    plain = make(within=None)
    assert standardised(plain, split) == (plain, None)


def test_test_items_do_not_enter_and_unscored_training_items_do():
    s = make()
    split = splits.official(s)
    x = s.features.copy()
    x[split.test] = 1e3
    changed = standardised(dataclasses.replace(s, features=x), split)[0]
    np.testing.assert_array_equal(changed.features[split.train], standardised(s, split)[0].features[split.train])
    scores = s.scores.copy()
    scores[split.train[:20]] = np.nan
    unscored = standardised(dataclasses.replace(s, scores=scores), split)[0]
    np.testing.assert_array_equal(unscored.features, standardised(s, split)[0].features)


def test_videos_of_unequal_length_and_other_views():
    s = make()
    split, levels, rng = splits.official(s), np.array(make().levels()), np.random.default_rng(3)
    videos = [x[: 1 + i % 3] for i, x in enumerate(s.features)]
    flow = [rng.normal(5, 3, (len(v), 2)).astype("float32") for v in videos]
    ragged = dataclasses.replace(s, features=Ragged.of(videos), views={"flow": Ragged.of(flow)})
    z = standardised(ragged, split)[0]
    for view, every in (("rgb", videos), ("flow", flow)):
        for level in set(levels):
            known = np.concatenate([every[i] for i in split.train if levels[i] == level])
            mean, deviation = known.mean(0, dtype=float), known.std(0, dtype=float)
            same = known.min(0) == known.max(0)
            mean[same], deviation[same] = 0, 1
            for i in np.flatnonzero(levels == level):
                np.testing.assert_allclose(z.view(view)[i], (every[i] - mean) / deviation, rtol=1e-3, atol=1e-4)


def test_a_level_that_is_only_tested_on_is_refused():
    s = make()
    train = np.flatnonzero(s.table["movement"] != "m2")
    with pytest.raises(UserError, match="movement 'm2' of 'i002' was not among the training items, .* one of m0, m1"):
        standardised(s, Split("no m2", train, np.array([2])))
    z = standardised(s, Split("no m2", train[10:], train[:10]))[0]  # an m2 in neither part stays as it is
    np.testing.assert_array_equal(z.features[2], s.features[2])


# ---- training, restoring, predicting

RUNS = {"ridge": {}, "svr": {}, "s4aqa": {"steps": 6, "batch": 4, "recover": False, "align": False}}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_that_on_features_standardised_by_hand(name):
    """With labels drawn at random, which `within` has no part in."""
    s = make()
    split, run = splits.official(s), {"fraction": 0.6, "how": "random", **RUNS[name]}
    z = by_hand(s.features, s.table["movement"].tolist(), split.train)
    done = dataclasses.replace(s, features=z, within=None)
    (ours,), (theirs,) = (train(name, d, split, [run]) for d in (s, done))
    columns = [c for c in ours.predictions if c.startswith("step_")]
    np.testing.assert_allclose(ours.predictions[columns], theirs.predictions[columns], rtol=2e-3, atol=2e-3)
    (raw,) = train(name, dataclasses.replace(s, within=None), split, [run])
    assert np.abs(raw.predictions[columns[-1]] - ours.predictions[columns[-1]]).max() > 0.01


def test_a_network_sees_the_standardised_features(monkeypatch):
    """Every batch, and every prediction, is of z."""
    from aqa_lib.training import stack

    s = make()
    split, seen = splits.official(s), []
    monkeypatch.setattr(stack, "Pool", lambda *a, pool=stack.Pool, **k: seen.append(pool(*a, **k)) or seen[-1])
    runs = [{"fraction": 0.4, "seed": k, **RUNS["s4aqa"]} for k in (0, 1)]
    train("s4aqa", s, split, runs)
    (pool,) = seen  # one copy on the device for both runs
    z = by_hand(s.features, s.table["movement"].tolist(), split.train)
    np.testing.assert_allclose(pool.x[:-1].numpy(), z.reshape(-1, 4), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", RUNS)
def test_a_restored_run_brings_its_moments(name):
    s = make()
    split = splits.official(s)
    (result,) = train(name, s, split, [{"fraction": 0.5, **RUNS[name]}], weights=True)
    run = trained(result.weights, json.loads(json.dumps(result.about)))
    recorded = result.predictions[[c for c in result.predictions if c.startswith("step_")][-1]]
    np.testing.assert_allclose(run.predict(s, split.test)["score"], recorded, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(run.predict(s)["score"][split.test], recorded, rtol=1e-4, atol=1e-5)
    # another set: neither `within` nor scores, the column is enough, and its own moments are not looked at
    few = split.test[:4]
    other = AssessmentSet(name="new", features=s.features[few], ids=s.ids[few], table=s.table.iloc[few])
    np.testing.assert_allclose(run.predict(other)["score"], recorded[:4], rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="'new' has no column movement: .* add it to the table"):
        run.predict(dataclasses.replace(other, table=other.table.drop(columns="movement")))
    strange = dataclasses.replace(other, table=other.table.assign(movement=["m0", "m1", "m9", "m0"]))
    with pytest.raises(UserError, match="'new': movement 'm9' of 'i044' was not among the training items") as error:
        run.predict(strange)
    assert "\n" not in str(error.value)
    assert len(run.predict(strange, np.array([0, 1]))["score"]) == 2


def test_a_study_restores_such_a_run_from_its_files(tmp_path, monkeypatch):
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path / "outputs"))
    s = make()
    root = str(s.save(tmp_path / "three.safetensors"))
    study = Study("try")
    (id,) = study.train("ridge", {"name": "file"}, "official", [{"fraction": 0.5}], root=root, weights=True)["id"]
    run = study.read(id)
    table = study.predict([id], {"name": "file", "root": root})
    recorded = run.predictions.set_index("id")[[c for c in run.predictions if c.startswith("step_")][-1]]
    found = table.set_index("id")["score"].loc[recorded.index]
    np.testing.assert_allclose(found, recorded, rtol=1e-4, atol=1e-5)
    assert restore(run).standard.levels.tolist() == ["m0", "m1", "m2"]


def test_methods_without_video_are_as_they_were():
    s = make()
    (result,) = train("guess_training_mean", s, splits.official(s), [{"fraction": 0.5}], weights=True)
    assert not [name for name in result.weights if name.startswith("within")]
    assert trained(result.weights, result.about).standard is None


# ---- draws


def counts(s, drawn):
    """{(level, score): labels}"""
    return s.table.iloc[drawn].assign(score=s.scores[drawn]).groupby(["movement", "score"]).size().to_dict()


@pytest.mark.parametrize("fold", range(1, 6))
def test_two_per_cent_of_ten_movements_have_both_kinds_of_each(fold):
    s = data_sets.load("ui_prmd", segments=1)
    split = splits.get(f"fold:two/{fold}")(s)
    assert len(split.train) == 1600 and not set(split.train) & set(split.test)
    for draw in range(20):
        drawn = label_draw(s, 0.02, draw, split=split)
        found = counts(s, drawn)
        assert len(drawn) == 32 and len(found) == 20 and max(found.values()) <= 3
        more = label_draw(s, 0.1, draw, split=split)
        assert set(counts(s, more).values()) <= {6, 7, 8, 9, 10} and len(more) == 160
        np.testing.assert_array_equal(more[:32], drawn)  # nested
        labels = SCORES.labels(s, split, {"fraction": 0.02, "draw": draw, "how": "stratified"})
        assert not set(labels.unlabelled) & set(split.test) and len(labels.unlabelled) == 1568


def test_draws_are_random_and_fair():
    s = make(n=60)
    split, chosen = Split("all", np.arange(60), np.arange(60)), np.zeros(60)
    for draw in range(600):
        chosen[label_draw(s, 0.2, draw, split=split)] += 1
    np.testing.assert_allclose(chosen / 600, 0.2, atol=0.08)  # 4.9 standard deviations
    assert len({tuple(label_draw(s, 0.2, draw, split=split)) for draw in range(20)}) == 20


def test_continuous_scores_are_spread_in_every_level():
    rng = np.random.default_rng(0)
    s = make(n=300, scores=rng.normal(size=300), pairs=None)
    split = Split("all", np.arange(300), np.arange(300))
    for draw in range(10):
        drawn = label_draw(s, 0.2, draw, split=split)
        for level in ("m0", "m1", "m2"):
            mine = s.table["movement"].to_numpy() == level
            ranks = np.searchsorted(np.sort(s.scores[mine]), s.scores[[i for i in drawn if mine[i]]])
            quarter = np.bincount(ranks // 25, minlength=4)
            assert 19 <= len(ranks) <= 21 and quarter.min() >= 4 and quarter.max() <= 6


def test_without_the_field_draws_have_the_same_bits():
    """Those of the order that was there before: sorted by score and name, halved in the middle."""
    s = make(within=None)
    split = splits.official(s)
    pool = split.train[np.lexsort((s.ids[split.train], s.scores[split.train]))]
    key = splits.chance.key(s.name, split.name, "stratified", 5)
    np.testing.assert_array_equal(label_draw(s, 1.0, 5, split=split), pool[splits.stratified_order(len(pool), key)])


# ---- measures


def test_pairwise_accuracy_is_the_mean_over_levels():
    s = make()
    items, rng = splits.official(s).test, np.random.default_rng(1)
    score = rng.integers(5, size=len(items)).astype(float)
    of = dict(zip(items.tolist(), score, strict=True))
    right = {}
    for better, worse in s.pairs.tolist():
        if better in of and worse in of:
            a, b = of[better], of[worse]
            right.setdefault(s.table["movement"][better], []).append(1.0 if a > b else 0.5 if a == b else 0.0)
    expected = np.mean([np.mean(v) for v in right.values()])
    assert len({len(v) for v in right.values()}) > 1  # else the mean over all pairs is the same
    found = SCORES.measures(s, splits.official(s), items, {"score": score})
    assert found["pairwise_accuracy"] == pytest.approx(expected, abs=1e-12)
    plain = SCORES.measures(make(within=None), splits.official(s), items, {"score": score})["pairwise_accuracy"]
    assert plain == pytest.approx(np.mean(sum(right.values(), [])), abs=1e-12) and plain != found["pairwise_accuracy"]


def test_ranked_pairs_are_measured_in_the_same_way():
    s = make()
    split = splits.official(s)
    items = PAIRS.tested(s, split)
    score = np.random.default_rng(2).normal(size=len(items))
    of, right = dict(zip(items.tolist(), score, strict=True)), {}
    for better, worse in s.pairs.tolist():
        if better in split.test or worse in split.test:
            right.setdefault(s.table["movement"][better], []).append(of[better] > of[worse])
    found = PAIRS.measures(s, split, items, {"score": score})["pairwise_accuracy"]
    assert found == pytest.approx(np.mean([np.mean(v) for v in right.values()]), abs=1e-12)
