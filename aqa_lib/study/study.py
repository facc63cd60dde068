"""What notebooks call: ask for runs, get a table; what is complete is read, the rest is trained in stacks.

study = Study("explore")
table = study.train("s4aqa", {"name": "surrogate", "size": "quick"}, runs=grid(seed=range(3), lambda1=[1, 40]))
"""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context

import pandas as pd

from aqa_lib import data as data_sets
from aqa_lib import methods
from aqa_lib.data import splits
from aqa_lib.study.claims import Heartbeat
from aqa_lib.study.identity import run_id
from aqa_lib.study.ledger import Ledger
from aqa_lib.study.paths import outputs
from aqa_lib.study.paths import root as study_root
from aqa_lib.study.record import COLUMNS, flat, row
from aqa_lib.study.workers import end_with_parent

WAIT = 1.0  # seconds between looks at runs that another process is training


def grid(together=(), **settings):
    """Every combination of the settings, as a list of runs: grid(seed=range(3), lambda1=[1.0, 40.0]).

    Names in `together` (each a name of `settings`) walk side by side: grid(("seed", "draw"), seed=range(3),
    draw=range(3)) gives three runs, not nine.
    """
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
        options = {k: v for k, v in data.items() if k != "name"}
        known = data_sets.resolve(data["name"], options)
        mark = data_sets.fingerprint(data["name"], root)
        known |= {"fingerprint": mark} if mark else {}
        return {"method": method, "data": {"name": data["name"], **known}, "split": split,
                "settings": methods.get(method).resolve(run)}  # fmt: skip

    def train(self, method, data, split="official", runs=({},), *, root=None, device=None, at_once=None,
              weights=False, workers=1, retry=False):  # fmt: skip
        """A row a run, in the order of `runs`: id, state, settings, metrics, reason.

        A run that is complete is read; one that another process is training is waited for; the others are
        trained here, each written the moment it ends. A run that failed is trained again only with `retry`.
        A relative `root` is one from the study's folder.
        `workers` processes share the stacks (on a CPU: one a core, since each uses one thread).
        """
        data = {"name": data} if isinstance(data, str) else dict(data)
        root = None if root is None else str(study_root() / root)  # an absolute one stays as it is
        splits.get(split)
        specs = {run_id(s): s for s in (self.spec(method, data, split, run, root) for run in runs)}
        order = [run_id(self.spec(method, data, split, run, root)) for run in runs]
        self.ledger.check_writable()
        while True:
            open_ids = [id for id in specs if not self._ended(id, retry)]
            if not open_ids:
                return self.rows(order)
            if workers > 1 and len(open_ids) > 1:
                self._share(workers, method, data, split, root, [specs[i]["settings"] for i in open_ids],
                            dict(device=device, at_once=at_once, weights=weights))  # fmt: skip
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
        dataset = data_sets.load(data["name"], root, **options)
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
            for share in shares:
                pool.submit(work, self.name, method, data, split, share, root, options)

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


def work(name, method, data, split, runs, root, options):
    """One worker process: the same study, its share of the runs."""
    Study(name).train(method, data, split, runs, root=root, **options)


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
