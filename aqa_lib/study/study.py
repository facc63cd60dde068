"""What notebooks call: ask for runs, get a table; what is complete is read, the rest is trained in stacks.

study = Study("explore")
table = study.train("s4aqa", {"name": "surrogate", "size": "quick"}, runs=grid(seed=range(3), lambda1=[1, 40]))
"""

import os
import time
import warnings
from collections import OrderedDict
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context

import pandas as pd

from aqa_lib import data as data_sets
from aqa_lib import methods
from aqa_lib.data import splits
from aqa_lib.errors import UserError
from aqa_lib.ledger.identity import code_version, run_id, sources
from aqa_lib.ledger.ledger import Ledger
from aqa_lib.ledger.locks import Heartbeat
from aqa_lib.ledger.record import COLUMNS, flat, row
from aqa_lib.paths import outputs
from aqa_lib.paths import root as study_root
from aqa_lib.processes import end_with_parent

WAIT = 1.0  # seconds between looks at runs that another process is training
LOADED, ROOM = OrderedDict(), 2**29  # data sets that this process has read, and bytes that they may take


def grid(together=(), **settings):
    """Every combination of the settings, as a list of runs: grid(seed=range(3), lambda1=[1.0, 40.0]).

    Names in `together` (each a name of `settings`) walk side by side: grid(("seed", "draw"), seed=range(3),
    draw=range(3)) gives three runs, not nine.
    """
    for name, values in settings.items():
        if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
            raise UserError(f"grid: {name} takes a list of values such as [{values!r}], but got {values!r}")
    if len({len(settings[name]) for name in together}) > 1:
        raise UserError(f"grid: {' and '.join(together)} walk side by side, so they need equally many values")
    walks = [dict(zip(together, values, strict=True)) for values in zip(*(settings[n] for n in together), strict=True)]
    rest = {name: values for name, values in settings.items() if name not in together}
    combinations = [dict(zip(rest, values, strict=True)) for values in product(*rest.values())]
    return [{**combination, **walk} for combination in combinations for walk in (walks or [{}])]


class Study:
    """The runs under outputs/<name>."""

    def __init__(self, name="explore"):
        self.name, self.ledger = name, Ledger(outputs(name))

    def spec(self, method, data, split, run, root=None):
        """What a run is: its method, data set, split and all settings, resolved. The ledger's key."""
        return self.specs(method, data, split, [run], root)[0]

    def specs(self, method, data, split, runs, root=None):
        """The same of several runs of one method on one data set, whose files are looked at once."""
        options = {k: v for k, v in data.items() if k != "name"}
        known, resolve = identity(data["name"], root, options), methods.get(method).resolve
        return [{"method": method, "data": known, "split": split, "settings": resolve(run)} for run in runs]

    def train(self, method, data, split="official", runs=({},), *, root=None, device=None, at_once=None,
              weights=False, workers=1, retry=False):  # fmt: skip
        """A row a run, in the order of `runs`: id, state, settings, metrics, reason.

        A run that is complete is read; one that another process is training is waited for; the others are
        trained here, each written the moment it ends. A run that failed is trained again only with `retry`, a complete
        one only where its `weights` are asked for and were not kept.
        A relative `root` is one from the study's folder.
        `workers` processes share the stacks (on a CPU: one a core, since each uses one thread).
        """
        data = {"name": data} if isinstance(data, str) else dict(data or {})
        if "name" not in data or isinstance(runs, dict):
            raise UserError("Study.train takes data={'name': 'surrogate', ...} and a list of runs: [{'seed': 0}, ...]")
        root = located(root)
        splits.get(split)
        check_device(device)
        asked = self.specs(method, data, split, runs, root)
        order = [run_id(spec) for spec in asked]
        specs = dict(zip(order, asked, strict=True))
        self.ledger.check_writable()
        if weights and methods.get(method).gradient:  # what an earlier call trained without keeping them
            bare = [id for id in specs if self.ledger.state(id) == "complete" and not self.ledger.has_weights(id)]
            self.ledger.delete(bare)
        while True:
            open_ids = [id for id in specs if not self._ended(id, retry)]
            if not open_ids:
                return self._warned(self.rows(order))
            if workers > 1 and len(open_ids) > 1:
                self._share(workers, method, data, split, root, [specs[i]["settings"] for i in open_ids],
                            dict(device=device, at_once=at_once, weights=weights, retry=retry))  # fmt: skip
                retry, workers = False, 1  # what a worker left is done here
                continue
            claims = [c for c in self.ledger.claim_many([specs[i] for i in open_ids], retry=retry) if c]
            retry = False  # once is enough
            if not claims:
                time.sleep(WAIT)  # somebody living has them all
                continue
            with Heartbeat(claims):
                self._train(method, data, split, root, claims, device, at_once, weights)

    def _ended(self, id, retry):
        ending = self.ledger.ending(id)
        return ending is not None and not (retry and ending[0] == "failed")

    def _train(self, method, data, split, root, claims, device, at_once, weights):
        from aqa_lib.training import train  # torch is slow to import: not for those who only read

        device = device or default_device()
        options = {k: v for k, v in data.items() if k != "name"}
        dataset = loaded(data["name"], root, **options)
        record = describe(device)

        def keep(place, result):
            if result.complete:
                claims[place].complete(result.metrics, result.curve, result.predictions, result.weights, record)
            else:
                claims[place].fail(result.reason)

        runs = [c.spec["settings"] for c in claims]
        train(method, dataset, splits.get(split)(dataset), runs, device=device, at_once=at_once, weights=weights,
              on_result=keep)  # fmt: skip

    def _share(self, workers, method, data, split, root, runs, options):
        """Other processes train shares of `runs` that differ little in length; what one leaves is done here."""
        shares = [runs[i::workers] for i in range(workers) if runs[i::workers]]
        spawn = get_context("spawn")
        with ProcessPoolExecutor(len(shares), mp_context=spawn, initializer=end_with_parent) as pool:
            futures = [pool.submit(work, self.name, method, data, split, s, root, options) for s in shares]
        for error in filter(None, (future.exception() for future in futures)):
            if isinstance(error, UserError):
                raise error
            why = f"{type(error).__name__}: {error}"
            warnings.warn(f"a worker ended early ({why}); its runs are trained here", stacklevel=3)

    @staticmethod
    def _warned(table):
        """The table, with a warning where some of its runs were made by other sources than those at hand."""
        old = [code for code in table["code"].dropna() if sources(code) != sources(code_version())]
        if old:
            warnings.warn(
                f"{len(old)} of these {len(table)} runs were trained by other sources of aqa_lib (column code): delete "
                "them with `aqa runs delete` to train them again",
                stacklevel=3,
            )
        return table

    def rows(self, ids):
        """The table of these runs, in this order."""
        looks = [(id, *self.ledger.look(id)) for id in ids]
        taken = set(COLUMNS)
        for _, _, found in looks:
            taken |= flat((found.get("spec") or {}).get("settings") or {}).keys()
        return pd.DataFrame([row(*look, taken) for look in looks])

    def read(self, id):
        """A complete run's record: metrics, curve, predictions."""
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


def work(name, method, data, split, runs, root, options):
    """One worker process: the same study, its share of the runs."""
    Study(name).train(method, data, split, runs, root=root, **options)


def check_device(device):
    """A UserError where torch does not know the device, or the machine does not have it."""
    wanted = device or os.environ.get("AQA_DEVICE")
    if not wanted or wanted == "cpu":
        return
    import torch

    try:
        torch.empty(1, device=wanted)
    except (RuntimeError, AssertionError, TypeError) as error:
        why = str(error).splitlines()[0]
        raise UserError(f"device {wanted!r} cannot be used here ({why}): take 'cpu', or 'cuda' with a GPU") from None


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
