"""The runner of studies: what is checked before, what counts as done, what a crash costs."""

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import time

import papermill
import psutil
import pytest
from jupyter_client.channels import AsyncZMQSocketChannel

from aqa_lib.batch import execute
from aqa_lib.batch.kernel import PollingChannel
from aqa_lib.batch.plan import make_job, parameters, read_notebook, read_plan
from aqa_lib.errors import UserError

# ---- a study with a notebook that works, one that fails and one whose kernel is killed

GOOD = """import os, pathlib
assert os.environ["OMP_NUM_THREADS"] == "1" and pathlib.Path.cwd().name == "notebooks"
with open(f"../good-{n}.txt", "a") as file:
    file.write("once\\n")
import pandas as pd
table = pd.DataFrame({"method": ["ridge"], "rho": [rate]})"""
DEAD = """import os, pathlib
if not pathlib.Path("../spare").exists():
    os.kill(os.getpid(), 9)"""
ANSWER = 'answer("It works. Quite so.", table=table)'


@pytest.fixture(scope="module")
def first(shared_house):
    house = shared_house
    house.notebook("00_good", GOOD, ANSWER)
    house.notebook("10_bad", "x = {}\nx['here']", 'answer("never")', question="Does it fail?")
    house.notebook("20_dead", "a = 1", DEAD, 'answer("alive")', question="Does it die?")
    house.notebook("30_mute", "a = 1", question="Does it answer?")
    house.config({"notebook": "00_good", "parameters": {"rate": "1e-3"}}, "10_bad", "20_dead", "30_mute")
    return house, house.aqa("study", "configs/study.yaml", "--workers", "2")


def recorded(house, name, kind="answer"):
    return json.loads((house.place / f"{name}.{kind}.json").read_text())


@pytest.mark.slow
def test_a_failing_notebook_does_not_stop_the_others(first):
    house, call = first
    assert call.returncode == 1
    assert "00_good" in call.out and "It works." in call.out and "Quite so" not in call.out
    assert "1 of 4 notebooks done" in call.out
    answer = recorded(house, "00_good")
    assert answer["question"] == "Does it work?" and answer["text"] == "It works. Quite so."
    assert answer["parameters"]["rate"] == 0.001 and answer["parameters"]["study"] == "try"
    assert answer["table"] == {"columns": ["method", "rho"], "rows": [["ridge", 0.001]]}
    assert (house.folder / "outputs/try/report/index.html").exists()


def test_the_failing_cell_is_shown(first):
    house, call = first
    assert "10_bad failed in In[4]" in call.err and "x['here']" in call.err and "KeyError: 'here'" in call.err
    failed = recorded(house, "10_bad", "failed")
    assert (failed["cell"], failed["source"]) == (4, "x = {}\nx['here']")
    assert not (house.place / "10_bad.answer.json").exists()


def test_a_killed_kernel_and_a_missing_answer_are_not_done(first):
    house, call = first
    assert "20_dead failed in In[5]" in call.err and "DeadKernelError" in call.err
    assert "30_mute failed" in call.err and "without calling answer" in call.err
    for name in ("20_dead", "30_mute"):
        assert not (house.place / f"{name}.answer.json").exists()


def test_a_second_call_does_what_is_missing(first):
    house, _ = first
    (house.folder / "spare").touch()
    before = recorded(house, "00_good")
    call = house.aqa("study", "configs/study.yaml", "--only", "00_good", "20_dead")
    assert call.returncode == 0, call.err
    assert "00_good  already done" in call.out and recorded(house, "00_good") == before
    assert recorded(house, "20_dead")["text"] == "alive"
    assert not (house.place / "20_dead.failed.json").exists()
    assert (house.folder / "good-2.txt").read_text() == "once\n"


def test_nothing_missing_needs_neither_torch_nor_papermill(first):
    house, _ = first
    code = (
        "import sys; from aqa_lib.commands import main\n"
        "assert main(['study', 'configs/study.yaml', '--only', '00_good']) == 0\n"
        "assert not {'torch', 'papermill'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=house.folder, env=house.environment, capture_output=True, text=True)
    assert done.returncode == 0 and "00_good  already done" in done.stdout, done.stderr


@pytest.mark.slow
def test_another_parameter_or_force_runs_again(house):
    count = "with open(f'../{n}.txt', 'a') as file:\n    file.write('once\\n')"
    house.notebook("00", count, 'answer("done")')
    house.place.mkdir(parents=True)

    def states(settings, force):
        job = read_plan(house.folder / house.config("00"), settings)[1][0]
        return execute.execute(job, house.place, force)["state"], (house.folder / f"{job.parameters['n']}.txt")

    assert states([], False)[0] == "done"
    assert states([], False)[0] == "already"
    assert states([], True)[0] == "done"
    state, file = states(["00.n=7"], False)
    assert state == "done" and file.read_text() == "once\n"
    assert recorded(house, "00")["parameters"]["n"] == 7
    assert (house.folder / "2.txt").read_text() == "once\n" * 2


@pytest.mark.slow
def test_two_calls_at_once_run_each_notebook_once(house):
    once = "import time\nwith open(f'../{n}.txt', 'a') as file:\n    file.write('once\\n')\ntime.sleep(1)"
    for i in (1, 2):
        house.notebook(f"0{i}", once, 'answer("done")', parameters=f"n: int = {i}  # which")
    config = house.config("01", "02")
    calls = [house.start("study", config, "--workers", "1") for _ in range(2)]
    outs = [call.communicate(timeout=120) for call in calls]
    assert [call.returncode for call in calls] == [0, 0], outs
    assert [(house.folder / f"{i}.txt").read_text() for i in (1, 2)] == ["once\n", "once\n"]
    left = [p.name for folder in (".locks", ".stage") for p in (house.place / folder).iterdir()]
    assert left == []  # no lock, no half of a notebook


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_study_leaves_nobody_behind_and_goes_on(house, sign):
    wait = "import pathlib, time\npathlib.Path('../begun').touch()\n"
    wait += "while not pathlib.Path('../go').exists():\n    time.sleep(0.1)"
    house.notebook("00", wait, 'answer("done")')
    config = house.config("00")
    call = house.start("study", config)
    patience(lambda: (house.folder / "begun").exists())
    family = psutil.Process(call.pid).children(recursive=True)
    assert any("ipykernel" in " ".join(p.cmdline()) for p in family)
    call.send_signal(sign)
    _, err = call.communicate(timeout=30)
    assert call.returncode == (130 if sign == signal.SIGINT else -9)
    if sign == signal.SIGINT:
        assert err.count("interrupted") == 1 and "Traceback" not in err
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
    assert not (house.place / "00.answer.json").exists()
    if sign == signal.SIGINT:
        return
    (house.folder / "go").touch()
    again = house.aqa("study", config)
    assert again.returncode == 0 and recorded(house, "00")["text"] == "done", again.err


def patience(met, seconds=60):
    end = time.time() + seconds
    while not met():
        assert time.time() < end
        time.sleep(0.05)


# ---- what is checked before anything runs


@pytest.fixture
def plain(house):
    house.notebook("20_train", 'answer("x")')
    return house


def planned(house, **given):
    return read_plan(house.folder / house.config({"notebook": "20_train", "parameters": given}))[1][0].given


@pytest.mark.parametrize(
    "given, wanted",
    [
        ({"rate": "1e-3"}, {"rate": 0.001}),  # what YAML 1.1 makes of 1e-3
        ({"rate": 1}, {"rate": 1.0}),
        ({"bound": None}, {"bound": None}),
        ({"n": "3"}, {"n": 3}),
        ({"bound": "2e1"}, {"bound": 20.0}),
        ({"sizes": (3, 4)}, {"sizes": [3, 4]}),
        ({"fast": False, "n": 5}, {"fast": False, "n": 5}),
    ],
)
def test_parameters_arrive_with_their_type(plain, given, wanted):
    found = planned(plain, **given)
    assert found == {"study": "try"} | wanted
    assert all(type(found[name]) is type(value) for name, value in wanted.items())


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"n": 2.0}, "'n' takes int (default 2), but got float 2.0"),
        ({"n": True}, "'n' takes int (default 2), but got bool True"),
        ({"n": "3.5"}, "'n' takes int (default 2), but got float 3.5"),
        ({"n": None}, "'n' takes int (default 2), but got NoneType None"),
        ({"rate": "fast"}, "'rate' takes float (default 0.01), but got str 'fast'"),
        ({"rate": True}, "'rate' takes float (default 0.01), but got bool True"),
        ({"bound": [1]}, "'bound' takes float or null (default None), but got list [1]"),
        ({"fast": 1}, "'fast' takes bool (default True), but got int 1"),
        ({"sizes": 3}, "'sizes' takes list of int (default [1, 2]), but got int 3"),
        ({"sizes": [1, 2.5]}, "'sizes' takes list of int (default [1, 2]), but got list [1, 2.5]"),
        ({"study": 1.5}, "'study' takes str (default 'explore'), but got float 1.5"),
        ({"raet": 1.0}, "unknown parameter of 20_train 'raet': did you mean 'rate'?"),
    ],
)
def test_a_wrong_parameter_is_refused_with_one_sentence(plain, given, sentence):
    with pytest.raises(UserError, match="(?s).*") as caught:
        planned(plain, **given)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("study: try\nnotebooks:\n  - notebook: 20_trian\n", "did you mean '20_train'?"),
        ("study: try\nnotebook:\n  - notebook: 20_train\n", "a list `notebooks:`"),
        ("study: try\nnotebooks:\n  - notebook: 20_train\n    parmeters: {}\n", "did you mean 'parameters'?"),
        ("study: try\nworkers: 2\nnotebooks:\n  - notebook: 20_train\n", "unknown key in"),
        ("study: ../try\nnotebooks:\n  - notebook: 20_train\n", "a name is made of letters"),
        ("notebooks:\n  - notebook: 20_train\n", "a name is made of letters"),
        ("study: try\nnotebooks:\n  - 20_train\n", "reads `- notebook: 00_start`"),
        ("study: try\nnotebooks: [{notebook: 20_train}, {notebook: 20_train}]\n", "stands there twice"),
        ("study: try\nnotebooks: [{notebook: 20_train, name: a/b}]\n", "a name is made of letters"),
        ("study: try\nnotebooks: [{notebook: 20_train, parameters: [1]}]\n", "takes a mapping"),
        ("study: [\n", "cannot read"),
        ("study: try\nstudy: other\nnotebooks:\n  - notebook: 20_train\n", "the key 'study' stands there twice"),
        ("study: try\nnotebooks:\n  - {notebook: 20_train, notebook: 20_train}\n", "'notebook' stands there twice"),
        ("study: try\nnotebooks:\n  - {notebook: 20_train, parameters: {n: 1, n: 2}}\n", "'n' stands there twice"),
        ("study: try\nnotebooks: &a [{notebook: 20_train, parameters: *a}]\n", "*a stands inside what it names"),
        (f"study: {'[' * 3000}{']' * 3000}\n", "more than 30 levels"),
        ("study: try\nnotebooks:\n  - {notebook: 20_train, name: [a]}\n", "a name is made of letters"),
        ("study: try\nnotebooks:\n  - {notebook: [20_train]}\n", "reads `- notebook: 00_start`"),
        ("study: try\nnotebooks:\n  - {notebook: 20_train, first: 3}\n", "first takes bool"),
        ("study: try\nnotebooks:\n  - {notebook: 20_train, parameters: 0}\n", "takes a mapping"),
        ("study: try\ntakes: [1]\nnotebooks:\n  - notebook: 20_train\n", "takes takes str"),
        ("study: try\ndata: 0\nnotebooks:\n  - notebook: 20_train\n", "data takes a mapping"),
        ("study: try\nnotebooks:\n  - {notebook: 20_train, parameters: {n: 2020-01-01}}\n", "but got str"),
        ("study: try\nnotebooks:\n  - {notebook: 20_train, parameters: !!set {a}}\n", "cannot read"),
        ("? [a]\n: 3\n", "is a list or a mapping, not a word"),
        ("", "a study needs"),
    ],
)
def test_a_wrong_config_is_refused_with_one_sentence(plain, text, sentence):
    with pytest.raises(UserError) as caught:
        read_plan(plain.folder / plain.config(text=text))
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_settings_of_the_command_line_have_the_parameters_types(plain):
    path = plain.folder / plain.config({"notebook": "20_train", "name": "t"})
    wanted = {"rate": 0.001, "n": 4, "sizes": [5], "study": "7", "bound": None, "fast": False}
    texts = ["t.rate=1e-3", "t.n=4", "t.sizes=[5]", "t.study=7", "t.bound=null", "t.fast=false"]
    assert read_plan(path, texts)[1][0].given == wanted
    for text, sentence in [
        ("t.n=2.5", "takes int"),
        ("t.m=2", "unknown parameter of 20_train 'm'"),
        ("x.n=2", "unknown notebook of --set 'x'"),
        ("n=2", "it reads --set"),
        ("t.n", "it reads --set"),
        ("t.sizes=[1", "not a number, a word or a [list]"),
    ]:
        with pytest.raises(UserError) as caught:
            read_plan(path, [text])
        assert sentence in str(caught.value)


def test_our_reading_of_parameters_agrees_with_papermill(plain):
    path = plain.folder / "notebooks" / "20_train.ipynb"
    ours, theirs = parameters(read_notebook(path), "x"), papermill.inspect_notebook(path)
    assert set(ours) - set(theirs) == {"bound"}  # `float | None` is beyond its pattern
    assert ours["bound"].optional and ours["bound"].kind is float and not ours["rate"].optional
    assert {name: found["help"] for name, found in theirs.items()} == {n: ours[n].help for n in theirs}
    for name, found in theirs.items():
        assert (ours[name].kind.__name__, repr(ours[name].default)) == (
            found["inferred_type_name"],
            repr(eval(found["default"])),
        )


def test_the_key_follows_what_decides_the_answer(plain):
    def key(**given):
        return make_job("here", "try", "t", "20_train", given).key

    before = key()
    assert key(n=2) == before  # the default, spelt out
    assert key(n=3) != before
    path = plain.folder / "notebooks" / "20_train.ipynb"
    nb = json.loads(path.read_text())
    nb["metadata"]["language_info"] = {"name": "python"}  # what JupyterLab adds on saving
    path.write_text(json.dumps(nb))
    assert key() == before
    nb["cells"][-1]["source"] = "answer('y')"
    path.write_text(json.dumps(nb))
    assert key() != before


# ---- small parts


def test_a_kernel_that_did_not_start_is_started_once_more(plain, monkeypatch, tmp_path):
    job, calls = make_job("here", "try", "t", "20_train", {}), []

    def flaky(*args, errors, **kwargs):
        calls.append(1)
        if len(calls) <= errors:
            raise RuntimeError("Kernel died before replying to kernel_info")

    for errors, expected in [(1, 2), (2, 2)]:
        calls.clear()
        monkeypatch.setattr(papermill, "execute_notebook", lambda *a, e=errors, **k: flaky(*a, errors=e, **k))
        if errors == 1:
            execute.papermill_twice(job, tmp_path / "x.ipynb", None)
        else:
            with pytest.raises(RuntimeError):
                execute.papermill_twice(job, tmp_path / "x.ipynb", None)
        assert len(calls) == expected


def test_a_channel_never_waits_for_ever(monkeypatch):
    import asyncio
    from queue import Empty

    asked = []

    async def get_msg(self, timeout=None):
        asked.append(timeout)
        if len(asked) < 4:
            raise Empty
        return "reply"

    monkeypatch.setattr(AsyncZMQSocketChannel, "get_msg", get_msg)
    channel = PollingChannel.__new__(PollingChannel)
    assert asyncio.run(channel.get_msg()) == "reply"
    assert None not in asked and len(asked) == 4
    asked.clear()
    with pytest.raises(Empty):  # a wait with an end keeps it
        asyncio.run(channel.get_msg(timeout=2))
    assert asked == [2]


def test_what_takes_long_is_started_first(monkeypatch):
    """The order of a plan is that of its file; only what is handed to the pool comes in another."""
    from aqa_lib.batch import runner
    from aqa_lib.batch.plan import read_plan

    jobs = read_plan("configs/study.yaml")[1]
    assert [job.name for job in jobs] == sorted(job.name for job in jobs) and 0 < sum(j.first for j in jobs) < len(jobs)
    given = []

    class Pool:
        def submit(self, call, job, *rest):
            given.append(job)
            raise KeyboardInterrupt

    monkeypatch.setattr(runner, "executor", lambda args, n: contextlib.nullcontext(Pool()))
    with pytest.raises(KeyboardInterrupt):
        list(runner.follow(argparse.Namespace(force=False), jobs, None, len(jobs)))
    assert given[0].first and given[0].name == "30_compare"
