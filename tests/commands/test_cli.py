"""The command: exit codes, and one sentence for whatever the user can mend."""

import re
import subprocess
import sys

import pytest

from aqa_lib import __version__, commands
from aqa_lib.commands import doctor
from aqa_lib.errors import UserError, choose


def call(capsys, *argv):
    code = commands.main(list(argv))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_without_a_command_it_says_which_there_are(capsys, argv):
    code, out, _ = call(capsys, *argv)
    assert code == 0 and all(f"  {name} " in out for name in commands.COMMANDS)


def test_version(capsys):
    assert call(capsys, "--version") == (0, f"aqa {__version__}\n", "")


@pytest.mark.parametrize(
    "argv, sentence",
    [
        (["stduy"], "unknown command 'stduy': did you mean 'study'?"),
        (["--verison"], "unknown option '--verison': did you mean '--version'?"),
        (["study"], "aqa study: the following arguments are required: CONFIG"),
        (
            ["study", "configs/x.yaml", "--worker", "2"],
            "unknown option '--worker': did you mean '--workers'?",
        ),
        (["study", "configs/x.yaml", "--workers", "two"], "invalid int value: 'two'"),
        (
            ["study", "configs/stduy.yaml"],
            "unknown config 'configs/stduy.yaml': did you mean 'configs/study.yaml'?",
        ),
        (["study", "configs/study.yaml", "--only", "20_trian"], "did you mean '20_train'?"),
        (["study", "configs/study.yaml", "--workers", "0"], "it takes a number of processes, 1 or more"),
        (["study", "configs/study.yaml", "--set", "20_train.epohcs=3"], "did you mean 'epochs'?"),
        (["report", "--study", "trie"], "no study has been run in"),
        (["foo"], "unknown command 'foo' (choices: study, "),
        (["study", "configs/nowhere.yaml", "--workers"], "aqa study: argument --workers: expected one argument"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(capsys, house, argv, sentence):
    house.notebook("20_train", 'answer("x")', parameters="epochs: int = 2  # how long")
    house.config("20_train")
    code, out, err = call(capsys, *argv)
    assert code == 2 and out == ""
    assert re.match(r"aqa(?: study)?: (?!aqa)", err) and err.count("\n") == 1 and sentence in err
    assert "(choices: )" not in err and ": (choices" not in err
    assert not (house.folder / "outputs").exists()  # nothing was begun


def test_an_empty_checkout_says_what_to_do(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("AQA_ROOT", str(tmp_path))
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path / "outputs"))
    for argv in (["report"], ["study", "configs/study.yaml"], ["runs", "list"]):
        code, out, err = call(capsys, *argv)
        assert code == 2 and err.count("\n") == 1 and "choices" not in err and str(tmp_path) in err, argv
        assert "`aqa study" in err or "AQA_ROOT" in err


@pytest.mark.parametrize(
    "name, choices, sentence",
    [
        ("rige", ["ridge", "svr"], "unknown method 'rige': did you mean 'ridge'? (choices: ridge, svr)"),
        ("foo", ["ridge", "svr"], "unknown method 'foo' (choices: ridge, svr)"),
        ("foo", [], "unknown method 'foo': there is none to choose from"),
    ],
)
def test_an_unknown_name_is_one_sentence_however_many_choices_there_are(name, choices, sentence):
    with pytest.raises(UserError) as error:
        choose("method", name, choices)
    assert str(error.value) == sentence


def test_an_output_folder_that_cannot_be_written_is_said_before_anything_runs(capsys, house, monkeypatch):
    house.notebook("20_train", 'answer("x")')
    house.config("20_train")
    (house.folder / "file").touch()
    monkeypatch.setenv("AQA_OUTPUTS", str(house.folder / "file"))
    code, out, err = call(capsys, "study", "configs/study.yaml")
    assert code == 2 and out == "" and err.count("\n") == 1 and "cannot write to" in err


def test_without_dask_the_scheduler_option_says_what_to_install(capsys, house, monkeypatch):
    house.notebook("20_train", 'answer("x")')
    house.config("20_train")
    monkeypatch.setitem(sys.modules, "distributed", None)  # as if it were not installed
    code, _, err = call(capsys, "study", "configs/study.yaml", "--scheduler", "tcp://127.0.0.1:1")
    assert code == 2 and "[distributed]" in err


def test_an_interrupt_is_one_sentence_and_130(capsys, monkeypatch):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "run", interrupted)
    code, _, err = call(capsys, "doctor")
    assert code == 130 and err.count("\n") == 1 and "interrupted" in err


def test_a_reader_that_leaves_is_no_error():
    command = f"{sys.executable} -m aqa_lib doctor | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.strip() in ("0", "1") and "Traceback" not in done.stderr


def test_only_the_chosen_command_is_imported():
    code = (
        "import sys; from aqa_lib.commands import main; main([]); main(['stduy'])\n"
        "assert not {'torch', 'plotly', 'pandas', 'numpy', 'yaml'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_module_passes_the_exit_code_on():
    done = subprocess.run([sys.executable, "-m", "aqa_lib", "stduy"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("aqa: unknown command")


def test_doctor_has_a_line_a_check_and_says_what_to_do(capsys, house, monkeypatch):
    house.notebook("20_train", 'answer("x")')
    code, out, _ = call(capsys, "doctor")
    assert code == 0 and "FAIL" not in out and len(out.splitlines()) == 9
    (house.folder / "notebooks" / "20_train.ipynb").unlink()
    monkeypatch.setattr("aqa_lib.figures.static.browser", lambda: None)
    code, out, _ = call(capsys, "doctor")
    assert code == 1
    assert any(line.startswith("FAIL") and "AQA_ROOT" in line for line in out.splitlines())
    assert any(line.startswith("note") and "install Chromium" in line for line in out.splitlines())


@pytest.mark.parametrize(
    "setting, sentence",
    [
        ("20_train.method=s4aaq", "unknown method 's4aaq': did you mean 's4aqa'?"),
        ("20_train.data=surogate", "unknown data set 'surogate': did you mean 'surrogate'?"),
        ("20_train.options={rhoo: 0.5}", "did you mean 'rho'?"),
        ("20_train.split=oficial", "did you mean 'official'?"),
        ("20_train.fraction=0.001", "fewer than the 3 needed: take 0.013"),
        ("20_train.settings={lamda1: 1}", "did you mean 'lambda1'?"),
        ("20_train.settings={lr: 1e-3, lambda1: -1}", "lambda1 = -1.0 is below 0"),
        ("36_loss_weights.lambda1=[1, -2]", "'lambda1' = -2.0 is below 0"),
        ("36_loss_weights.settings={AA: {steps: 3}, lambda1: -1}", "lambda1 = -1.0 is below 0"),  # AA: a version
        ("31_ablation.steps=0", "'steps' = 0 is below 1"),
        ("00_start.size=huge", "unknown size 'huge'"),
    ],
)
def test_values_are_checked_before_any_notebook_runs(capsys, tmp_path, monkeypatch, setting, sentence):
    """On the repository's own notebooks; nothing is executed, so this takes no time."""
    monkeypatch.setenv("AQA_OUTPUTS", str(tmp_path))
    config = tmp_path / "one.yaml"
    config.write_text(f"study: one\nnotebooks:\n  - notebook: {setting.split('.')[0]}\n")
    code, out, err = call(capsys, "study", str(config), "--set", setting)
    assert code == 2 and f"{setting.split('.')[0]}: " in err and err.count("\n") == 1 and sentence in err
    assert not list(tmp_path.rglob("*.ipynb"))
