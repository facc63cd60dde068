"""The values of a notebook's parameters, held against method, data set and split before anything runs.

Types and names are checked without importing a library (plan.py); this imports torch, so it is asked only of
notebooks that are to run. It reads the names that the study's notebooks share: data, options, size, root, split,
method, settings, and every parameter that is called like a setting of the method. Notebooks with `blocks` are
looked at by comparison.py.
"""

from aqa_lib import data as data_sets
from aqa_lib import methods, tasks
from aqa_lib.data import splits
from aqa_lib.errors import UserError
from aqa_lib.study import comparison
from aqa_lib.study.study import loaded
from aqa_lib.study.variants import by_name


def check_values(job):
    """A UserError that names the notebook where a value cannot be; notebooks that keep no runs are left alone."""
    given = job.parameters
    if "study" not in given:
        return
    try:
        if "blocks" in given:
            comparison.check(given)
        else:
            check_runs(given, check_data(given))
    except UserError as error:
        raise UserError(f"{job.name}: {error}") from None


def check_data(given):
    """The data set and its split, made; None where the parameters name none."""
    sized = [n for n in data_sets.names() if "size" in given and "size" in data_sets.reader(n).OPTIONS]
    name = given.get("data", sized[0] if len(sized) == 1 else None)
    if not isinstance(name, str):
        return None
    options = dict(given.get("options") or {})
    if "size" in given:
        options["size"] = given["size"]
    data_sets.resolve(name, options)
    make = splits.get(given.get("split", "official"))
    data = loaded(name, given.get("root") or None, **options)
    return data, make(data)


def check_runs(given, found):
    """The label draw, and every setting of the runs of `method`, one at a time where a list of them is given."""
    by_name(given.get("methods", []), {})
    if "method" not in given:
        for fraction in listed(given.get("fraction", [])) if found else []:
            splits.label_draw(found[0], fraction, 0, given.get("how", "stratified"), found[1])
        return
    method = methods.get(given["method"])
    settings = {k: v for k, v in (given.get("settings") or {}).items() if not isinstance(v, dict)}  # else of a version
    full = method.resolve(settings)
    if found:
        method.fits(full, found[0])
    for name in method.settings().keys() & given.keys():
        for value in listed(given[name]):
            full = method.resolve({**settings, name: value})
            if found and name in tasks.get(method.task).choice:
                tasks.get(method.task).labels(*found, full)


def listed(value):
    return value if isinstance(value, list) else [value]
