"""The values of a notebook's parameters, held against method, data set and split before anything runs.

Types and names are checked without importing a library (plan.py); this imports torch, so it is asked only of
notebooks that are to run. It reads the names that the study's notebooks share: data, options, size, root, split,
method, settings, and every parameter that is called like a setting of the method. Notebooks with `blocks` are
looked at by blocks.py.
"""

from aqa_lib import data as data_sets
from aqa_lib import methods
from aqa_lib.data import splits
from aqa_lib.errors import UserError
from aqa_lib.paths import root as study_root
from aqa_lib.study import blocks


def check_values(job):
    """A UserError that names the notebook where a value cannot be; notebooks that keep no runs are left alone."""
    given = job.parameters
    if "study" not in given:
        return
    try:
        if "blocks" in given:
            blocks.check(given)
        else:
            check_runs(given, check_data(given))
    except UserError as error:
        raise UserError(f"{job.name}: {error}") from None


def check_data(given):
    """The data set and its split, made; None where the parameters name none."""
    name = given.get("data", "surrogate" if "size" in given else None)
    if not isinstance(name, str):
        return None
    options = dict(given.get("options") or {})
    if "size" in given:
        options["size"] = given["size"]
    data_sets.resolve(name, options)
    make = splits.get(given.get("split", "official"))
    root = given.get("root") or None
    data = data_sets.load(name, root and str(study_root() / root), **options)
    return data, make(data)


def check_runs(given, found):
    """Every setting of the runs, one at a time where a list of them is given, and the label draw."""
    method = methods.get(given.get("method", "s4aqa"))
    settings = dict(given.get("settings") or {})
    method.resolve(settings)
    for name in method.settings().keys() & given.keys():
        values = given[name] if isinstance(given[name], list) else [given[name]]
        for value in values:
            full = method.resolve({**settings, name: value})
            if found and name in ("fraction", "how"):
                splits.label_draw(found[0], full["fraction"], full["draw"], full["how"], found[1])
