"""What notebooks call: ask for runs, get a table; what is complete is read, the rest is trained in stacks.

study = Study("explore")  # runs: what grid of asked.py makes
table = study.train("s4aqa", {"name": "surrogate", "size": "quick"}, runs=grid(seed=range(3), lambda1=[1, 40]))
"""

import json
import os
import time
import warnings
from collections import OrderedDict
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pandas as pd

from aqa_lib import data as data_sets
from aqa_lib import methods
from aqa_lib.data import splits
from aqa_lib.errors import UserError
from aqa_lib.kinds import takes, word, words
from aqa_lib.ledger.identity import canonical, code_version, run_id, sources
from aqa_lib.ledger.ledger import Ledger
from aqa_lib.ledger.record import COLUMNS, flat, row
from aqa_lib.paths import outputs
from aqa_lib.paths import root as study_root
from aqa_lib.processes import end_with_parent
from aqa_lib.study.asked import SECONDS, alike, asked_for, check_options, named
from aqa_lib.study.claims import Claims
from aqa_lib.study.parameters import check_notebook

WAIT = 1.0  # seconds between looks at runs that another process is training
LOADED, ROOM = OrderedDict(), 2**29  # data sets that this process has read, and bytes that they may take
ASKED = {}  # {(study, id): (whether this process had to train it, its seconds)}, of all runs that it has asked for


class Study:
    """The runs under outputs/<name>."""

    def __init__(self, name="explore"):
        check_notebook()
        self.name, self.ledger = name, Ledger(outputs(name))

    def spec(self, method, data, split, run, root=None):
        """What a run is: its method, data set, split and all settings, resolved. The ledger's key."""
        return self.specs(method, data, split, [run], root)[0]

    def specs(self, method, data, split, runs, root=None):
        """The same of several runs of one method, on one data set and split or one each; files are looked at once."""
        known, resolve = {}, methods.get(method).resolve
        worlds, splits = alike(data, len(runs)), alike(split, len(runs))
        for world in worlds:
            if (key := canonical_text(world)) not in known:
                options = {k: v for k, v in world.items() if k != "name"}
                known[key] = identity(world["name"], root, options)
        return [
            {"method": method, "data": known[canonical_text(world)], "split": part, "settings": resolve(run)}
            for world, part, run in zip(worlds, splits, runs, strict=True)
        ]

    def train(self, method, data, split="official", runs=({},), *, root=None, device=None, at_once=None,
              weights=False, workers=1, retry=False, checkpoint=SECONDS):  # fmt: skip
        """A row a run, in the order of `runs`: id, state, settings, metrics, reason.

        `data` ({"name": ..., options}) and `split` are one for all runs, or a list with one a run: folds, tasks and
        worlds train together. A run that is complete is read; one that another process is training is waited for; the
        others are trained here, a stack after another, so that a process that asks for them as well takes every other
        stack; each is written the moment it ends. A run that failed is trained again only with
        `retry`, a complete one only where its `weights` are asked for and were not kept.
        A relative `root` is one from the study's folder. Every `checkpoint` seconds a stack saves its state, to go on
        from there after a kill (0: never).
        `workers` processes share the stacks (on a CPU: one a core, since each uses one thread).
        """
        runs, worlds, parts = asked_for(data, split, runs)
        check_options(root=root, device=device, at_once=at_once, weights=weights, workers=workers, retry=retry,
                      checkpoint=checkpoint)  # fmt: skip
        root = located(root)
        asked = self.specs(method, worlds, parts, runs, root)
        order = [run_id(spec) for spec in asked]
        todo = {id: (spec, world) for id, spec, world in zip(order, asked, worlds, strict=True)}
        if weights:  # what an earlier call trained without keeping them
            bare = [id for id in todo if self.ledger.state(id) == "complete" and not self.ledger.has_weights(id)]
            if bare:
                self.ledger.delete(bare)
        if left := [id for id in todo if not self.ended(id, retry)]:  # else the outputs may be read-only
            self.ledger.check_writable(left)
        options = dict(device=device, at_once=at_once, weights=weights, retry=retry, checkpoint=checkpoint)
        fresh = None
        while True:
            open_ids = [id for id in todo if not self.ended(id, retry)]
            fresh = set(open_ids) if fresh is None else fresh
            if not open_ids:
                return self._noted(self._warned(self.rows(order)), fresh)
            if workers > 1 and len(open_ids) > 1:
                self._share(workers, method, [todo[i] for i in open_ids], root, options)
                retry, workers = False, 1  # what a worker left is done here
                continue
            free = [todo[id] for id in open_ids if self.ledger.state(id) != "running"]
            if not (free and self._train(method, free, root, retry, device, at_once, weights, checkpoint)):
                time.sleep(WAIT)  # somebody living has them all
            retry = False  # once is enough

    def ended(self, id, retry):
        """Whether a run needs no training: it is complete, or has failed and is not to be tried again."""
        ending = self.ledger.ending(id)
        return ending is not None and not (retry and ending[0] == "failed")

    def _train(self, method, todo, root, retry, device, at_once, weights, checkpoint):
        """Train what can be claimed of [(spec, data)], a stack at a time; whether there was any."""
        from aqa_lib.training import Checkpoints, train  # torch is slow to import: not for those who only read

        device, sets, parts = device or default_device(), [], {}
        specs = [canonical(spec) for spec, _ in todo]
        for spec, (_, world) in zip(specs, todo, strict=True):
            dataset = loaded(world["name"], root, **{k: v for k, v in world.items() if k != "name"})
            sets.append(dataset)
            if (key := (id(dataset), spec["split"])) not in parts:
                parts[key] = splits.get(spec["split"])(dataset)
        saved, record = None, describe(device) | ({"root": root} if root else {})
        if checkpoint:
            code = [sources(code_version(spec)) for spec in specs]  # each its own: data sets may have different readers
            saved = Checkpoints(self.ledger.folder / ".checkpoints", list(map(run_id, specs)), code, checkpoint,
                                lambda name: self.ledger.ending(name) is not None)  # fmt: skip
        split = [parts[id(d), spec["split"]] for d, spec in zip(sets, specs, strict=True)]
        with Claims(self.ledger, specs, retry, record) as claims:
            train(method, sets, split, [spec["settings"] for spec in specs], device=device, at_once=at_once,
                  weights=weights, on_result=claims.keep, checkpoints=saved, claim=claims.take)  # fmt: skip
        return bool(claims.locks)

    def _share(self, workers, method, todo, root, options):
        """Other processes train shares of the runs that differ little in length; what one leaves is done here."""
        shares = [todo[i::workers] for i in range(workers) if todo[i::workers]]
        spawn = get_context("spawn")
        with ProcessPoolExecutor(len(shares), mp_context=spawn, initializer=end_with_parent) as pool:
            futures = [pool.submit(work, self.name, method, share, root, options) for share in shares]
        for error in filter(None, (future.exception() for future in futures)):
            if isinstance(error, UserError):
                raise error
            why = f"{type(error).__name__}: {error}"
            warnings.warn(f"a worker ended early ({why}); its runs are trained here", stacklevel=3)

    def predict(self, runs, data):
        """What trained runs say of every item of a data set, also of those without a score, in the judge's unit.

        `runs`: ids (their first digits suffice) of complete runs that were kept with weights, one or a list, or a table
        of `train`;
        `data`: an AssessmentSet, or {"name": ..., options}. A row an item: id, score (the mean of the runs), spread
        (their standard deviation), and each run's own score under its id; where all runs state a variance, `variance`
        is that of the mixture of their distributions: the mean of theirs plus the variance of their scores.
        """
        from aqa_lib.training import restore

        table = hasattr(runs, "columns")
        wanted = list(runs.get("id", ())) if table else [runs] if isinstance(runs, str) else runs
        if not isinstance(wanted, (list, tuple)) or not all(isinstance(id, str) for id in wanted):
            raise UserError(f"Study.predict takes ids of runs, or a table of runs with a column id, but got {runs!r}")
        ids = wanted if table else [self.ledger.find(id) for id in wanted]
        ids = list(dict.fromkeys(ids))  # a run that is named twice counts once
        if not ids:
            raise UserError("nothing to predict with: name at least one run (`aqa runs` lists them)")
        if not hasattr(data, "scores"):
            world = named(data)
            data = loaded(world.pop("name"), world.pop("root", None), **world)
        out = [restore(self.read(id)).predict(data) for id in ids]
        if strange := [id for id, o in zip(ids, out, strict=True) if "score" not in o]:
            raise UserError(f"run {strange[0]} predicts no score, only {', '.join(out[ids.index(strange[0])])}")
        each = np.stack([o["score"] for o in out])  # [K,N]
        table = pd.DataFrame({"id": data.ids, "score": each.mean(0)})
        table["spread"] = each.std(0, ddof=1) if len(ids) > 1 else np.nan
        if all("variance" in o for o in out):
            table["variance"] = np.mean([o["variance"] for o in out], 0) + each.var(0)
        return table.assign(**{f"run {id}": row for id, row in zip(ids, each, strict=True)})

    @staticmethod
    def _warned(table):
        """The table, with a warning where some of its runs were made by other sources than those at hand."""
        kept = table.dropna(subset="code")
        made = [{"method": m, "data": d} for m, d in zip(kept["method"], kept["data"], strict=True)]
        now = [code_version(spec) for spec in made]  # each by its own method, trainer and reader
        old = [code for code, own in zip(kept["code"], now, strict=True) if sources(code) != sources(own)]
        if old:
            warnings.warn(
                f"{len(old)} of these {len(table)} runs were trained by other sources of aqa_lib (column code): delete "
                "them with `aqa runs delete` to train them again",
                stacklevel=3,
            )
        return table

    def _noted(self, table, fresh):
        """The table; which of its runs were trained for it, and how long each took, is kept for answer."""
        seconds = table["seconds"] if "seconds" in table else [np.nan] * len(table)
        for id, took in zip(table["id"], seconds, strict=True):
            ASKED.setdefault((self.name, id), (id in fresh, 0.0 if np.isnan(took) else float(took)))
        return table

    @takes(ids=words)
    def rows(self, ids):
        """The table of these runs, in this order."""
        looks = [(id, *self.ledger.look(id)) for id in ids]
        taken = set(COLUMNS)
        for _, _, found in looks:
            taken |= flat((found.get("spec") or {}).get("settings") or {}).keys()
        return pd.DataFrame([row(*look, taken) for look in looks], columns=None if looks else COLUMNS)

    def read(self, id):
        """A complete run's record: metrics, curve, predictions."""
        word("Study.read: id", id)
        return self.ledger.read(id)


def located(root):
    """The folder of a data set; a relative one is one from the study's folder, an absolute one stays as it is."""
    return None if root is None else str(study_root() / root)


def identity(name, root, options):
    """What a data set is: its name, all its options, and for files their fingerprint."""
    known = data_sets.resolve(name, options)
    mark = data_sets.fingerprint(name, root, known.get("features"))
    return {"name": name, **known} | ({"fingerprint": mark} if mark else {})


def loaded(name, root=None, **options):
    """data.load, remembered in this process as long as the set's options and files stay the same.

    A comparison asks for the same set once a method, and some are read from text for minutes.
    """
    root = located(root)
    key = root, run_id(identity(name, root, options))
    if key not in LOADED:
        LOADED[key] = data_sets.load(name, root, **options)
    LOADED.move_to_end(key)
    while len(LOADED) > 1 and sum(d.features.nbytes for d in LOADED.values() if d.features is not None) > ROOM:
        LOADED.popitem(last=False)
    return LOADED[key]


def work(name, method, todo, root, options):
    """One worker process: the same study, its share of the runs, [(spec, data)]."""
    worlds, parts = [world for _, world in todo], [spec["split"] for spec, _ in todo]
    Study(name).train(method, worlds, parts, [spec["settings"] for spec, _ in todo], root=root, **options)


def canonical_text(world):
    return json.dumps(canonical(world), sort_keys=True)


def default_device():
    """AQA_DEVICE, else the GPU where there is one, else the processor."""
    import torch

    return os.environ.get("AQA_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")


def describe(device):
    """What run.json says of the device."""
    import platform

    import torch

    if torch.device(device).type == "cuda":
        return {"device": str(device), "device_name": torch.cuda.get_device_name(device)}
    return {"device": str(device), "device_name": platform.processor() or platform.machine()}
