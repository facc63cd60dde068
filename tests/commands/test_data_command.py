"""`aqa data check`: the counts of what is at hand, and one sentence with exit code 2 for what is broken."""

import gzip
import pickle
import re
import shutil
from pathlib import Path

import pytest

from aqa_lib import commands, data

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
PLACES = [name for name in data.names() if hasattr(data.reader(name), "checks")]


def check(capsys, *argv):
    code = commands.main(["data", "check", *map(str, argv)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.slow
@pytest.mark.parametrize("name", PLACES)
def test_every_set_at_hand_is_as_published(capsys, name):
    if not (SHARED / name).is_dir():
        pytest.skip(f"{name} is not at {SHARED / name}")
    code, out, err = check(capsys, name, SHARED / name)
    assert (code, err) == (0, "") and "published:" not in out
    assert len(out.splitlines()) >= 2


@pytest.mark.skipif(not (SHARED / "mtl_aqa").is_dir(), reason=f"mtl_aqa is not at {SHARED / 'mtl_aqa'}")
def test_the_counts_are_printed_and_options_taken(capsys):
    _, out, _ = check(capsys, "mtl_aqa", SHARED / "mtl_aqa")
    rows = [line.split("  ")[0] for line in out.splitlines()]
    numbers = {row: line.split("  ", 1)[1].split()[0] for row, line in zip(rows, out.splitlines(), strict=True)}
    assert numbers["dives"] == "1412" and numbers["of them training"] == "1059" and numbers["of them test"] == "353"
    assert numbers["events"] == "15" and numbers["largest deviation from the judge rule"] == "19.8"
    code, out, _ = check(capsys, "mtl_aqa", SHARED / "mtl_aqa", "--set", "annotations=original")
    assert code == 0 and "judge" not in out and "1412" in out


def test_a_set_without_published_counts_is_described(capsys):
    code, out, err = check(capsys, "surrogate", "--set", "D=3", "--set", "size=quick")
    assert (code, err) == (0, "")
    lines = dict(line.rsplit(maxsplit=1) for line in out.splitlines())
    assert lines["features, D"] == "3" and int(lines["train"]) + int(lines["test"]) == int(lines["items"])


def refused(capsys, sentence, *argv):
    code, _, err = check(capsys, *argv)
    assert code == 2 and re.match("aqa( data)?: ", err) and err.count("\n") == 1 and sentence in err, err


def test_bad_arguments(capsys, tmp_path):
    refused(capsys, "did you mean 'mtl_aqa'", "mtl_aq", tmp_path)
    refused(capsys, "did you mean 'annotations'", "mtl_aqa", tmp_path, "--set", "anotations=original")
    refused(capsys, "--set takes OPTION=VALUE", "mtl_aqa", tmp_path, "--set", "annotations")
    refused(capsys, "fold: '[' is not a number, a word or a [list]", "mtl_aqa", tmp_path, "--set", "fold=[")
    refused(capsys, "(choices: auto, dive_numbers, judges, original)", "mtl_aqa", tmp_path, "--set", "annotations=7")
    refused(capsys, "fold takes int", "mtl_aqa", tmp_path, "--set", "fold=x")
    refused(capsys, "unknown option '--sets'", "mtl_aqa", tmp_path, "--sets", "x=1")
    code = commands.main(["data"])
    assert code == 2 and "required" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted({*PLACES} | {"file"}))
def test_a_wrong_root_is_said(capsys, tmp_path, name):
    if data.ships(name):
        assert check(capsys, name)[0] == 0
    else:
        refused(capsys, "root", name)
    refused(capsys, str(tmp_path / "nowhere"), name, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    refused(capsys, str(tmp_path / "empty"), name, tmp_path / "empty")


@pytest.fixture
def dives(tmp_path):
    """Three dives in MTL-AQA's original form."""
    known = {
        (1, i): dict(primary_view=0, start_frame=0, end_frame=9, position=0, difficulty=3.0, armstand=0,
                     rotation_type=0, ss_no=1, tw_no=0, final_score=50.0)
        for i in (1, 2, 3)
    }  # fmt: skip
    for name, value in [
        ("final_annotations_dict", known),
        ("train_split_0", [(1, 1), (1, 2)]),
        ("test_split_0", [(1, 3)]),
    ]:
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(value))
    return tmp_path, known


def test_other_counts_than_published_are_bad_input(capsys, dives):
    root, _ = dives
    refused(capsys, "not as published: dives is 3, not 1412 and 3 more; fetch its files again", "mtl_aqa", root)
    code, out, _ = check(capsys, "mtl_aqa", root)
    assert "published: 1412" in out.splitlines()[0]  # the whole table is printed all the same


def test_broken_files_of_dives(capsys, dives):
    root, known = dives
    path = root / "final_annotations_dict.pkl"
    path.write_bytes(pickle.dumps(known | {(1, 2): known[1, 2] | {"final_score": "7,5"}}))
    refused(capsys, f"{path}, dive 01_002, final_score: '7,5' is not a number", "mtl_aqa", root)
    path.write_bytes(pickle.dumps(known)[:-20])
    refused(capsys, f"{path} is cut short or is no pickle", "mtl_aqa", root)
    path.write_bytes(pickle.dumps(known))
    refused(capsys, "unknown split: there is no", "mtl_aqa", root, "--set", "fold=1")
    (root / "test_split_0.pkl").write_bytes(pickle.dumps([(1, 3), (1, 3)]))
    refused(capsys, "stands there twice", "mtl_aqa", root)
    path.unlink()
    refused(capsys, "holds no annotations of MTL-AQA", "mtl_aqa", root)


def copies():
    """Sets at hand and one file of each that can be cut."""
    for name in PLACES:
        root = SHARED / name
        files = (
            sorted((p for p in root.rglob("*") if p.is_file()), key=lambda p: -p.stat().st_size)
            if root.is_dir()
            else []
        )
        if files:
            yield pytest.param(name, str(files[0].relative_to(root)), id=name)


@pytest.mark.parametrize("name, largest", list(copies()))
def test_a_truncated_file_is_never_as_published(capsys, tmp_path, name, largest):
    root = tmp_path / name
    shutil.copytree(SHARED / name, root)
    path = root / largest
    path.chmod(0o644)
    path.parent.chmod(0o755)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    code, _, err = check(capsys, name, root)
    assert code == 2 and err.count("\n") == 1 and err.startswith("aqa: ")
    if path.suffix == ".gz":
        with pytest.raises(EOFError):
            gzip.decompress(path.read_bytes())
