"""Damaged runs of a study, trained again: those and no others."""

from aqa_lib.errors import UserError
from aqa_lib.ledger.damage import damage, reopen, spec_of
from aqa_lib.ledger.files import read_json
from aqa_lib.ledger.identity import run_id
from aqa_lib.ledger.record import WEIGHTS

UNKNOWN = "what it was cannot be read any more: the command that asked for it trains it again"
OTHER = "its data set is not the one it was trained on: name the folder of that one with --root"


def repair(study, root=None, workers=1):
    """([id of each run that was trained again], {id: why it was not}).

    root: the folder of the data set; by default the one that the run noted.
    """
    alike, left = {}, {}
    for id in study.ledger.ids():
        if damage(study.ledger, id) is None:
            continue
        if (spec := spec_of(study.ledger, id)) is None:
            left[id] = UNKNOWN
            continue
        where = root or noted(study.ledger.path(id), "root")
        world = {name: value for name, value in spec["data"].items() if name != "fingerprint"}
        try:
            same = run_id(study.spec(spec["method"], world, spec["split"], spec["settings"], where)) == id
        except UserError as error:
            left[id] = str(error)
            continue
        if not same:
            left[id] = OTHER
            continue
        weights = bool((noted(study.ledger.path(id), "files", "metrics.json") or {}).get(WEIGHTS))
        kind = spec["method"], where, weights or (study.ledger.path(id) / WEIGHTS).exists()
        alike.setdefault(kind, []).append((id, world, spec["split"], spec["settings"]))
    for (method, where, weights), runs in alike.items():
        ids, worlds, parts, settings = map(list, zip(*runs, strict=True))
        for id in ids:
            reopen(study.ledger, id)
        study.train(method, worlds, parts, settings, root=where, weights=weights, workers=workers)
    return [id for runs in alike.values() for id, *_ in runs], left


def noted(folder, name, file="run.json"):
    """What a file of a run holds under a name; None where it cannot be read."""
    try:
        return (read_json(folder / file) or {}).get(name)
    except ValueError:
        return None
