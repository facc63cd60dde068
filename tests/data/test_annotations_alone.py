"""Sets without features, and pairs: what they hold, what survives their file, and who refuses them."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from aqa_lib.data import AssessmentSet
from aqa_lib.data.splits import label_draw, leak_free, official
from aqa_lib.errors import UserError
from aqa_lib.study.study import Study


def bare(**changes):
    table = pd.DataFrame({"split": ["train"] * 6 + ["test"] * 2})
    fields = dict(name="bare", features=None, scores=np.arange(8.0), ids=[f"v{i}" for i in range(8)], table=table)
    return AssessmentSet(**(fields | changes))


def test_annotations_alone_serve_splits_and_draws():
    s = bare(groups=list("aabbccdd"))
    assert len(s) == 8 and len(official(s).test) == 2 and len(leak_free(s).test) == 2
    assert len(label_draw(s, 0.5, 0)) == 3


def test_they_survive_their_file(tmp_path):
    s = bare(pairs=[[0, 1], [3, 2]], lengths=np.arange(1, 9))
    back = AssessmentSet.read(s.save(tmp_path / "s"))
    assert back.features is None and back.pairs.tolist() == [[0, 1], [3, 2]] and back.pairs.dtype == np.int64
    assert back.lengths.tolist() == s.lengths.tolist()


def test_what_is_unknown_in_the_table_stays_unknown(tmp_path):
    table = bare().table.assign(word=["a", None, *"cdefgh"], flag=pd.array([True, None] * 4, dtype="boolean"))
    back = AssessmentSet.read(bare(table=table).save(tmp_path / "s")).table
    assert back["word"].isna().tolist() == [False, True, *[False] * 6] and back["word"][2] == "c"
    assert back["flag"].isna().tolist() == [False, True] * 4


@pytest.mark.parametrize(
    "text", ["[]", "1", "{}", '{"version": 1}', '{"version": 1, "strings": [], "columns": ["a"]}', "["]
)
def test_what_something_else_wrote_is_no_data_set(tmp_path, text):
    save_file({"scores": np.ones(2)}, tmp_path / "s", metadata={"aqa": text})
    with pytest.raises(UserError, match="s is not a data set written by AssessmentSet.save") as error:
        AssessmentSet.read(tmp_path / "s")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        (dict(scores=[1.0, 2.0]), r"ids must have shape \(2,\) like the 2 items of scores, but has \(8,\)"),
        (dict(scores=[], ids=[], table=pd.DataFrame()), "scores is empty"),
        (dict(scores=np.zeros((8, 1))), r"scores must have shape \(8,\)"),
        (dict(ids=["a", "a", *"bcdefg"]), "ids holds 'a' twice"),
        (dict(lengths=[0] * 8), "lengths must lie in 1"),
        (dict(pairs=[0, 1]), r"pairs must have shape \(P, 2\)"),
        (dict(pairs=[[0, 8]]), r"pairs must hold numbers of items, 0..7"),
        (dict(pairs=[[-1, 3]]), r"pairs must hold numbers of items"),
        (dict(pairs=[[3, 3]]), "ranked against itself"),
        (dict(pairs=[["a", "b"]]), "pairs does not convert to int64"),
    ],
)
def test_wrong_fields_are_named(changes, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        bare(**changes)
    assert "\n" not in str(error.value)


def test_training_refuses_them(tmp_path, monkeypatch):
    from aqa_lib.training import train

    with pytest.raises(UserError, match="'bare' has no features.*give a feature store"):
        train("s4aqa", bare(), official(bare()), [{}])
    with pytest.raises(UserError, match="has no features"):
        train("ridge", bare(), official(bare()), [{}])
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path / "outputs"))
    path = bare().save(tmp_path / "bare.safetensors")
    study = Study("try")
    with pytest.raises(UserError, match="has no features.*give a feature store"):
        study.train("ridge", "file", root=path, runs=[{"fraction": 1.0}])
