"""Who is compared: settings that go to who knows them, all that a data set suits, what it does not allow."""

import numpy as np
import pandas as pd
import pytest
from helpers import of_scores, ours

from aqa_lib import methods
from aqa_lib.commands import main
from aqa_lib.data import AssessmentSet, load
from aqa_lib.data.ragged import Ragged
from aqa_lib.data.splits import leak_free
from aqa_lib.errors import UserError
from aqa_lib.methods.base import Setting
from aqa_lib.study.comparison import averaged, check, compare_variants
from aqa_lib.study.study import Study
from aqa_lib.study.variants import by_name, contestants, guessed, guesses, reference
from aqa_lib.training import train

WORLD = {"name": "surrogate", "n_train": 60, "n_test": 30, "D": 16}
WORLD_OPTIONS = {k: v for k, v in WORLD.items() if k != "name"}
QUICK = {"steps": 20, "batch": 8}


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path / "outputs"))
    return Study("explore")


# ---- variants


def test_settings_go_to_the_methods_that_know_them():
    shared = {"steps": 30, "lr": 1e-3, "how": "random", "masks": 2, "epochs": 3, "s4aqa": {"lr": 5e-3}}
    found = by_name(["ridge", "pi_model", "s4aqa"], shared)
    assert list(found) == ["ridge", "Pi-model", "S4AQA", "AA"]
    found = {method: settings for method, settings in reversed(found.values())}
    assert found["ridge"] == {"how": "random"}
    assert found["pi_model"] == {"steps": 30, "lr": 1e-3, "how": "random", "epochs": 3}
    assert found["s4aqa"] == {"steps": 30, "lr": 5e-3, "how": "random", "masks": 2, "epochs": 3}
    with pytest.raises(UserError, match="lambda1"):
        by_name(["s4aqa"], {"lambdal": 40.0})


def test_what_needs_segments_is_left_out_where_there_is_one():
    """Real clips of one segment, which come with the project: what stays can be trained on them."""
    blocks = {"leak-free": {"split": "leak_free"}}
    variants, left_out = contestants({"name": "finger_tapping"}, blocks, [], {"steps": 2, "fraction": 0.2})
    assert "masks = 1 leaves nothing of the 1 segment; give fewer, or recover = false" in left_out["S4AQA"]
    assert {"S4AQA", "S4L", "C3D-AVG-MTL"} <= set(left_out) and not set(left_out) & set(variants)
    assert {"AA", "ridge", "SVR", "USDL", "ACTION-NET", "TRS", "UCVME", "Pseudo-labels"} <= set(variants)
    assert all("\n" not in why for why in left_out.values())
    data = load("finger_tapping")
    for name, settings in variants.values():
        (result,) = train(name, data, leak_free(data), [settings])
        assert result.complete, (name, result.reason)
        assert np.isfinite(result.predictions.iloc[:, -1]).all(), name


def test_a_method_keeps_an_optimiser_of_its_own(monkeypatch):
    own = {**methods.get("pi_model").SETTINGS, "lr": Setting(0.01, "its own", low=0)}
    monkeypatch.setattr(methods.get("pi_model"), "SETTINGS", own)
    (found,) = by_name(["pi_model"], {"steps": 30, "lr": 1e-3, "weight_decay": 0.1}).values()
    assert found[1] == {"steps": 30}
    own = {k: v for k, v in own.items() if k != "lr"} | {"weight_decay": Setting(0.0, "its own", low=0)}
    monkeypatch.setattr(methods.get("pi_model"), "SETTINGS", own)
    (found,) = by_name(["pi_model"], {"steps": 30, "lr": 1e-3, "weight_decay": 0.1}).values()
    assert found[1] == {"steps": 30, "lr": 1e-3}


def test_the_variants_of_all_methods_have_titles_of_their_own():
    titles = [title for name in methods.names() for title in methods.get(name).compared_as()]
    assert len(titles) == len(set(titles))
    for name in methods.names():
        method = methods.get(name)
        for settings in [*method.compared_as().values(), *method.ablation.values()]:
            assert method.resolve(settings).items() >= settings.items()
        for other, settings in method.beside.values():
            methods.get(other).resolve(settings)
    shared = {"steps": 5, "s4aqa": {"lr": 1e-2}}
    assert by_name(["AA"], shared) == {
        "AA": ("s4aqa", {**shared["s4aqa"], "steps": 5, "recover": False, "align": False})
    }
    with pytest.raises(UserError, match="did you mean 'AA"):
        by_name(["AAA"], {})


def test_only_who_asks_for_all_methods_depends_on_what_methods_there_are(monkeypatch):
    monkeypatch.setattr(methods, "asked", None)
    by_name(["ridge"], {"steps": 20, "lambda1": 1.0, "vat": {"eps": 1.0}})
    contestants(WORLD, {"a": {}}, ["ridge"], {"steps": 20})
    with pytest.raises(UserError):
        methods.get("rigde")
    given = {"data": "surrogate", "options": {"size": "quick"}, "blocks": {"a": {}}, "methods": ["ridge"]}
    check(given)
    assert methods.asked is None
    contestants(WORLD, {"a": {}}, [], {"steps": 20})
    assert methods.asked == methods.names() and {"ridge", "s4aqa"} < set(methods.asked)


def test_contestants_are_all_that_the_data_set_suits(tmp_path):
    """A set without groups, attributes, flow or stills leaves only what needs none of them, and says why."""
    variants, left_out = contestants({"name": "file"}, {"a": {}}, [], {"steps": 20, "modality": "rgb"}, ours(tmp_path))
    assert guessed(variants) == [] and {"S4AQA", "AA", "ridge"} <= set(variants)
    assert "block 'a', split official: data set 'ours' has no attributes" in left_out["no video: attributes"]
    assert "rot90" in left_out["S4L"] and "ridge, turned views" not in {**variants, **left_out}
    full, nobody = contestants(WORLD, {"a": {}}, [], {"steps": 20})
    assert set(guessed(full)) == {t for t in full if t.startswith("no video")} and "no video: group mean" in full
    others = {t for n in set(methods.names()) - set(of_scores()) for t in methods.get(n).compared_as()}
    assert set(nobody) - others == {"no video: duration"} and full["ridge, turned views"][1] == {"modality": "turned"}
    assert guesses(WORLD, {"a": {}}, {}).keys() == set(guessed(full))
    asked, _ = contestants(WORLD, {"a": {}}, ["ridge"], {})
    assert list(asked) == [*guessed(full), "ridge"]
    assert reference(full, "s4aqa") == "S4AQA" and reference(asked, "s4aqa") == next(iter(asked))


def test_what_a_data_set_does_not_allow_is_listed_and_the_others_are_compared(study, tmp_path):
    """Where T = 1 nothing can be recovered: S4AQA is listed with the reason, AA stays."""
    path, shared = ours(tmp_path, T=1), QUICK
    for names in ([], ["s4aqa", "ridge"]):
        variants, left_out = contestants({"name": "file"}, {"a": {}}, names, shared, path)
        assert "masks = 1 leaves nothing of the 1 segment" in left_out["S4AQA"]
        assert "AA" in variants and "S4AQA" not in variants and reference(variants, "s4aqa") == "AA"
    runs = compare_variants(study, {"name": "file"}, variants, {"a": {}}, [0.4], 1, root=path)
    assert set(runs["variant"]) == {"AA", "ridge"} and runs["value"].notna().all()
    given = {"data": "file", "options": {}, "root": path, "blocks": {"a": {}}, "steps": 20, "fractions": [0.4]}
    check(given | {"methods": [], "method": "s4aqa"})
    check(given | {"methods": ["ridge"], "method": "s4aqa"})
    with pytest.raises(UserError, match="block 'a', split official: method s4aqa: masks = 1 leaves nothing"):
        check(given | {"method": "s4aqa"})  # a notebook that asks about this method alone


def test_data_without_scores_are_refused_in_a_sentence_and_the_next_set_trains(study, tmp_path, capsys):
    """As THUMOS14: actions, and no features; in a notebook, and before `aqa study` starts one."""
    actions = pd.DataFrame({"video": ["0", "31"], "label": ["a", "b"], "start": [0.0, 1.0], "end": [1.0, 2.0]})
    path = ours(tmp_path, features=None, scores=np.full(40, np.nan), actions=actions)
    words = "data set 'ours' has no scores to learn from"
    for method in ("ridge", "s4aqa", "guess_group_mean"):
        with pytest.raises(UserError, match=words):
            study.train(method, {"name": "file"}, root=path, runs=[{"fraction": 0.4}])
    assert study.train("ridge", WORLD, runs=[{"fraction": 0.4}])["state"].tolist() == ["complete"]
    for notebook in ("30_compare", "31_ablation", "20_train"):
        given = ["--set", "data.name=file", "--set", f"data.root={path}", "--only", notebook]
        blocks = ["--set", f"{notebook}.blocks={{a: {{split: official}}}}"] if notebook != "20_train" else []
        assert main(["study", "configs/study.yaml", *given, *blocks]) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"aqa: {notebook}: ") and words in err and err.count("\n") == 1


def test_a_method_is_looked_at_on_every_part(tmp_path):
    """The second world is too short for three masks."""
    blocks = {"long": {}, "short": {"options": {"T": 3}}}
    masks = {"steps": 20, "masks": 3}
    _, left_out = contestants(WORLD | {"T": 6}, blocks, ["s4aqa"], masks)
    assert left_out["S4AQA"].startswith("block 'short', split official: method s4aqa: masks = 3")
    with pytest.raises(
        UserError, match="block 'full', split official: method s4aqa: fraction = 1.0 leaves no unlabelled"
    ):
        given = {"data": "surrogate", "options": WORLD_OPTIONS, "method": "s4aqa", "steps": 20, "fractions": [0.4]}
        check(given | {"blocks": {"long": {}, "full": {"fractions": [1.0]}}})


def test_a_set_of_unequal_lengths_is_compared_by_who_takes_it(study, tmp_path):
    """Videos of one segment and more: who cannot take them is left out with a reason, ridge sees the mean segment."""
    rng, lengths = np.random.default_rng(0), np.arange(80) % 8 + 1
    videos = [rng.normal(size=16) + rng.normal(size=(t, 16)) for t in lengths]
    pooled = np.stack([video.mean(0) for video in videos])
    fields = dict(scores=50 + pooled @ rng.normal(size=16), ids=np.arange(80), groups=np.arange(80) % 11)
    blocks, data = {"leak-free": {"split": "leak_free"}}, {"name": "file"}
    path = AssessmentSet("tapping", features=Ragged.of(videos), **fields).save(tmp_path / "tapping.safetensors")
    variants, left_out = contestants(data, blocks, ["ridge", "usdl", "s4l", "s4aqa"], QUICK, path)
    assert "have 1 to 8 segments" in left_out["S4L"] and "the 1 segment of the shortest video" in left_out["S4AQA"]
    variants = {title: variants[title] for title in ("ridge", "USDL", "AA")}
    found = averaged(compare_variants(study, data, variants, blocks, [0.4], 2, root=path))
    assert len(found) == 6 and found["value"].notna().all() and not found["failed"].any()
    flat = AssessmentSet("tapping", features=pooled[:, None], **fields).save(tmp_path / "flat.safetensors")
    same = averaged(compare_variants(study, data, {"ridge": ("ridge", {})}, blocks, [0.4], 2, root=flat))
    assert np.allclose(found["value"][found["variant"] == "ridge"], same["value"], atol=1e-6)
