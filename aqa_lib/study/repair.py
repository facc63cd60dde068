"""Damaged runs of a study, trained again: those and no others."""

from aqa_lib.errors import UserError
from aqa_lib.ledger.damage import damage, reopen, spec_of
from aqa_lib.ledger.files import read_json
from aqa_lib.ledger.identity import run_id
from aqa_lib.ledger.record import WEIGHTS

OTHER = "its data set is not the one that it was trained on: name the folder of that one with --root"


def repair(study, root=None, workers=1):
    """([id of each run that was trained again], [id of each that is removed], {id: why it was left}).

    Removed is a run of which no file says any more what it was: whoever asks for it trains it.
    root: the folder of the data set; by default the one that the run noted.
    """
    alike, removed, left = {}, [], {}
    for id in study.ledger.ids():
        if damage(study.ledger, id) is None:
            continue
        try:
            spec, kept = spec_of(study.ledger, id), noted(study.ledger.path(id))
            where = root or kept["root"]
            if spec is not None and not same(study, spec, where, id):
                left[id] = OTHER
                continue
            reopen(study.ledger, id)
        except UserError as error:
            left[id] = str(error)
            continue
        if spec is None:
            removed.append(id)
            continue
        run = world(spec), spec["split"], spec["settings"]
        alike.setdefault((spec["method"], where, kept["weights"]), {})[id] = run
    for (method, where, weights), runs in alike.items():
        worlds, splits, settings = map(list, zip(*runs.values(), strict=True))
        study.train(method, worlds, splits, settings, root=where, weights=weights, workers=workers)
    return [id for runs in alike.values() for id in runs], removed, left


def world(spec):
    """The data set of a run as Study.train takes it."""
    return {name: value for name, value in spec["data"].items() if name != "fingerprint"}


def same(study, spec, root, id):
    """Whether asking for this run with a data set in `root` asks for the run of that id."""
    return run_id(study.spec(spec["method"], world(spec), spec["split"], spec["settings"], root)) == id


def noted(folder):
    """Where a run found its data set, and whether it kept its weights, as far as that can be read."""
    known = {}
    for name in ("run.json", "metrics.json"):
        try:
            known |= read_json(folder / name) or {}
        except ValueError:
            pass
    weights = (folder / WEIGHTS).exists() or WEIGHTS in (known.get("files") or ())
    return {"root": known.get("root"), "weights": weights}
