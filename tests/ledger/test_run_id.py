"""The name of a run and the version of the code."""

import hashlib
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqa_lib.errors import UserError
from aqa_lib.ledger import identity
from aqa_lib.ledger.identity import code_version, run_id


def test_id_is_the_hash_of_canonical_json():
    text = '{"a":[1,2.5,null,true],"b":{"x":40,"y":"\\u00e9"}}'
    same = {"b": {"y": "é", "x": 40.0}, "a": (np.int64(1), np.float64(2.5), None, True)}
    assert run_id(same) == hashlib.sha256(text.encode()).hexdigest()[:16]


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    leaves, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=4), max_leaves=8
)
specs = st.dictionaries(st.text(), values, max_size=5)


def equal(a, b):
    """Whether two settings mean the same: numbers by value, but True is not 1, and a tuple is a list."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def shuffled(value, data):
    """The same with its dicts built in another order, whole numbers as floats, lists as tuples."""
    if isinstance(value, dict):
        return {k: shuffled(value[k], data) for k in data.draw(st.permutations(list(value)))}
    if isinstance(value, list):
        return tuple(shuffled(v, data) for v in value)
    if type(value) is int and abs(value) < 2**53:
        return float(value)
    return value


@settings(max_examples=60, deadline=None)
@given(specs, st.data())
def test_order_and_spelling_do_not_change_the_id(run, data):
    assert run_id(shuffled(run, data)) == run_id(run) == run_id(json.loads(json.dumps(run)))


@settings(max_examples=120, deadline=None)
@given(specs, st.text(), leaves | st.sampled_from([1, True, 1.0, "1", None, 0, False, -0.0]), values)
def test_ids_are_equal_exactly_where_settings_are(run, name, a, b):
    one, other = run | {name: a}, run | {name: b}
    assert (run_id(one) == run_id(other)) == equal(one, other)


@pytest.mark.parametrize("value", [math.nan, math.inf, np.float32("nan")])
def test_what_is_not_finite_cannot_name_a_run(value):
    with pytest.raises(UserError, match=r"spec\.settings\.lr\[1\] is (nan|inf)"):
        run_id({"settings": {"lr": [0.1, value]}})


def test_what_is_not_plain_cannot_name_a_run(tmp_path):
    with pytest.raises(UserError, match="spec.data.root is a PosixPath|WindowsPath"):
        run_id({"data": {"root": tmp_path}})
    with pytest.raises(UserError, match="spec.data: a name in it must be text, not int 3"):
        run_id({"data": {3: 1}})


def test_code_version_names_the_commit(tmp_path, monkeypatch):
    package = tmp_path / "aqa_lib"
    package.mkdir()
    (package / "study").mkdir()
    source = package / "study" / "identity.py"
    source.write_text("x = 1\n")
    monkeypatch.setattr(identity, "__file__", str(source))
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    try:
        for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "one"]):
            identity.git(tmp_path, *words)
        commit = identity.git(tmp_path, "rev-parse", "HEAD")
    except OSError:
        pytest.skip("git is not installed")
    monkeypatch.setattr(identity, "commit", identity.commit.__wrapped__)
    assert code_version({}).split("+")[0] == commit[:12]
    source.write_text("x = 2\n")
    assert code_version({}).split("+")[0] == commit[:12] + "-dirty"
    monkeypatch.setenv("PATH", str(tmp_path))  # no git at all
    assert code_version({}).startswith("src.")
