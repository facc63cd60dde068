"""YAML is read as PyYAML reads it, but for what is refused: doubled keys, cycles, depth, size, odd kinds."""

import pytest
import yaml

from aqa_lib.errors import UserError
from aqa_lib.plain_yaml import DEPTH, read_yaml

MERGED = "{a: &a {x: 1, y: 2}, b: &b {<<: *a, x: 3}, c: {<<: [*b, *a], z: 4}}"


def test_every_config_reads_as_pyyaml_reads_it(repository):
    for path in sorted((repository / "configs").glob("*.yaml")):
        assert read_yaml(path.read_text(), "it") == yaml.safe_load(path.read_text())
    assert read_yaml(MERGED, "it") == yaml.safe_load(MERGED)


def test_a_date_stays_a_word():
    assert read_yaml("a: 2020-01-01", "it") == {"a": "2020-01-01"}


LAUGHS = "\n".join(["a0: &a0 [x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\na: 2", "it: the key 'a' stands there twice, again in line 2"),
        ("b: {a: 1, 'a': 2}", "the key 'a' stands there twice"),
        ("&a [*a]", "it: the alias *a stands inside what it names"),
        ("a: &a {b: {c: *a}}", "*a stands inside"),
        ("[" * 3000, f"it: it has more than {DEPTH} levels"),
        ("{a: " * 3000, f"it has more than {DEPTH} levels"),
        (LAUGHS, "it stands for more than 100,000 values"),
        ("a: 1" + "0" * 5000, "cannot read it"),
        ("a: !!python/object:os.system {}", "cannot read it"),
        ("a: !!binary aGk=", "cannot read it"),
        ("? {a: 1}\n: 2", "it: a key in line 1 is a list or a mapping"),
        ("a: *b", "cannot read it"),
        ("a: \x00", "cannot read it"),
    ],
)
def test_what_could_surprise_is_refused_in_a_sentence(text, sentence):
    with pytest.raises(UserError) as error:
        read_yaml(text, "it")
    assert sentence in str(error.value) and "\n" not in str(error.value)
