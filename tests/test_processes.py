"""What memory there is, by the system and by a container, and the sentence where something does not fit."""

import pytest

from aqa_lib import data
from aqa_lib.errors import UserError
from aqa_lib.processes import check_memory, memory, size


def container(folder, **files):
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_the_least_of_system_and_container_counts_and_cached_files_are_free(tmp_path):
    system = tmp_path / "meminfo"
    system.write_text("MemTotal:  900 kB\nMemAvailable:    500 kB\n")
    bounded = container(tmp_path / "a", memory__max="300000", memory__current="250000", memory__stat="file 100000\n")
    free = container(tmp_path / "b", memory__max="max", memory__current="250000", memory__stat="file 100000\n")
    assert memory(bounded, system) == 150_000
    assert memory(free, system) == 512_000
    assert memory(tmp_path / "none", system) == 512_000
    assert memory(tmp_path / "none", tmp_path / "nothing") is None


def test_what_does_not_fit_is_one_sentence():
    check_memory("a stack", 10, "take less", there=10)
    with pytest.raises(UserError, match="a stack takes about 2.5 GB, but 1 kB of memory are free: take less"):
        check_memory("a stack", 2.5e9, "take less", there=1000)
    assert [size(n) for n in (999, 2e12, 2.62e14, 3e15)] == ["999 B", "2 TB", "262 TB", "3,000 TB"]


def test_a_world_that_does_not_fit_is_refused_before_it_is_made():
    with pytest.raises(UserError, match="data set 'surrogate': 1000120 videos of 1000 segments takes about .* TB"):
        data.load("surrogate", n_train=10**6, T=1000, D=65536)
    with pytest.raises(UserError, match="untrimmed: 400000 videos .* TB"):
        data.load("untrimmed", classes=200, train=1000, test=1000, least=10000, most=10000, D=4096)
