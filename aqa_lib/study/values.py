"""The values of a notebook's parameters, held against method, data set and split before anything runs.

Types and names are checked without importing a library (plan.py); this imports torch, so it is asked only of
notebooks that are to run. It reads the names that the study's notebooks share: data, options, size, root, split,
worlds, method, settings, and every parameter that is called like a setting of the training loop, of the label draw or
of the method. Notebooks with `blocks` are looked at by comparison.py, those with `candidates` by choice.py as well.
"""

from aqa_lib import data as data_sets
from aqa_lib import methods, tasks
from aqa_lib.data import splits
from aqa_lib.errors import UserError
from aqa_lib.methods.base import LOOP, SEED
from aqa_lib.study import choice, comparison
from aqa_lib.study.parts import of_block, replicates
from aqa_lib.study.variants import by_name, check_labels, check_methods, check_shared

SHARED = {**SEED, **LOOP, **tasks.SCORES.choice, **tasks.SCORES.watch}


def check_values(job):
    """A UserError that names the notebook where a value cannot be; notebooks that keep no runs are left alone."""
    given = job.parameters
    if "study" not in given:
        return
    try:
        for name in SHARED.keys() & given.keys():
            SHARED[name].check("it", f"parameter {name!r}", given[name])
        if "blocks" in given:
            parts = comparison.check(given)
            if "method" in given:
                method = methods.get(given["method"])
                check_own(method, {}, given, [part for part in parts if allows(part, method)])
        else:
            check_runs(given, check_data(given))
        if "candidates" in given:
            check_candidates(given)
    except UserError as error:
        raise UserError(f"{job.name}: {error}") from None


def check_data(given):
    """The Part of the data set and split, made; None where the parameters name none."""
    options = dict(given.get("options") or {})
    if "size" in given:
        options["size"] = given["size"]
    sized = [n for n in data_sets.names() if "size" in options and "size" in data_sets.reader(n).OPTIONS]
    name = given.get("data", sized[0] if len(sized) == 1 else None)
    if not isinstance(name, str):
        return None
    data_sets.resolve(name, options)
    block = {"split": given.get("split", "official"), "worlds": given.get("worlds") or {}}
    (part,) = of_block("", block, {**options, "name": name}, given.get("root") or None)
    replicates(max(given.get("count", 1), given.get("draws", 1)), [part])
    return part


def check_runs(given, found):
    """The label draw, and every setting of the runs of `method`, one at a time where a list of them is given."""
    by_name(given.get("methods", []), {})
    if "method" not in given:
        for fraction in listed(given.get("fractions", given.get("fraction", []))) if found else []:
            splits.label_draw(found.data, fraction, 0, given.get("how", "stratified"), found.items)
        return
    method = methods.get(given["method"])
    check_shared([method.name], [method.name], given.get("settings") or {})
    settings = {k: v for k, v in (given.get("settings") or {}).items() if not isinstance(v, dict)}  # else of a version
    check_methods({method.name: (method.name, settings)}, [found] if found else [])
    check_own(method, settings, given, [found] if found else [])
    for fraction in listed(given.get("fraction", settings.get("fraction", []))) if found else []:
        check_labels({method.name: (method.name, settings)}, [found], [fraction])


def allows(part, method):
    """Whether a method can be trained on a part as it is; a comparison leaves out what cannot."""
    try:
        check_methods({method.name: (method.name, {})}, [part])
    except UserError:
        return False
    return True


def check_own(method, settings, given, parts):
    """Every parameter that is called like a setting of the method, one value at a time where it is a list."""
    for name in method.settings().keys() & given.keys():
        for value in listed(given[name]):
            check_methods({method.name: (method.name, {**settings, name: value})}, parts)


def check_candidates(given):
    """The candidates among which a notebook chooses settings, each on the labelled videos of every part."""
    shared = {k: v for k, v in given.items() if k in ("steps", "lr")} | given["settings"]
    for rate in given.get("rates", []):
        LOOP["lr"].check("it", "a rate", rate)
    data, where = {**given["options"], "name": given["data"]}, given.get("root") or None
    cells = given["blocks"], given["fractions"], given["draws"], given["held"], given["every"]
    choice.watching(data, choice.tried(given["candidates"], shared), *cells, where)


def listed(value):
    return value if isinstance(value, list) else [value]
