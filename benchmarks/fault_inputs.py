"""Faults of what a study is asked: every key of every config, every parameter of every notebook.

A case puts a fault into one place of a config of one entry, reads the plan as `aqa study` does, and runs the notebook's
cells up to the first training.
"""

import functools
import json

import numpy as np

from aqa_lib.batch.plan import check_root, read_notebook, read_plan, source
from aqa_lib.paths import notebooks, root
from aqa_lib.plain_yaml import read_yaml
from benchmarks import jigsaws_stand_in
from benchmarks.corruptions import ways
from benchmarks.fault_values import TEXTS, at, brief, places, replaced, without

MARK = "@@here@@"
FEW, KINDS = 2, 99  # faults of a key
SHORT = {"Suturing": 3, "Needle_Passing": 3, "Knot_Tying": 3}  # seconds of a trial of the stand-in


def value_of(text):
    """What a text of YAML means; the text itself where it means nothing."""
    try:
        return read_yaml(text, "")
    except ValueError:
        return text


VALUES = {text: value_of(text) for _, text, _ in TEXTS}


def configs(folder):
    """{name: the config as a mapping} of all in configs/; those of JIGSAWS take a small stand-in."""
    stand_in, found = folder / "jigsaws", {}
    jigsaws_stand_in.write(stand_in, SHORT)
    for path in sorted((root() / "configs").glob("*.yaml")):
        config = read_yaml(path.read_text(), str(path))
        if (config.get("data") or {}).get("name") == "jigsaws":
            config["data"]["root"] = str(stand_in)
        found[path.stem] = config
    return found


def of_notebooks():
    """{name: a config with this one notebook, all its parameters given}."""
    from aqa_lib.batch.plan import parameters

    found = {}
    for path in sorted(notebooks().glob("*.ipynb")):
        known = parameters(read_notebook(path), path.name)
        given = {name: own.default for name, own in known.items() if name != "study"}
        found[path.stem] = {"study": "try", "notebooks": [{"notebook": path.stem, "parameters": given}]}
    return found


def entries(config):
    """The config, once for each of its entries, with that entry alone."""
    return [config | {"notebooks": [entry]} for entry in config["notebooks"]]


def study(folder, text):
    """What `aqa study` does with a config of this text, up to the first training."""
    path = folder / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    _, jobs = read_plan(str(path))
    for job in jobs:
        check_root(job)
    for job in jobs:
        names = {}
        for cell, tagged in cells(job.source):
            exec(cell, names)
            if tagged:
                names |= job.given


@functools.cache
def cells(path):
    """[(code, whether it is the parameters cell)] of a notebook."""
    found = [cell for cell in read_notebook(path)["cells"] if cell["cell_type"] == "code"]
    tags = ["parameters" in cell["metadata"].get("tags", ()) for cell in found]
    return [(compile(source(cell), path.stem, "exec"), tag) for cell, tag in zip(found, tags, strict=True)]


def cases(folder, seed):
    """(group, name, kind of fault, whether it must be refused, act); a valid one first of each entry.

    Each parameter of a notebook takes a fault of every kind, each key of a config and each value inside a parameter
    takes FEW, drawn by the seed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random, seen = np.random.default_rng(seed), set()
    asked = [("configs", *item) for item in configs(folder).items()]
    for group, title, config in asked + [("notebooks", *item) for item in of_notebooks().items()]:
        for part in entries(config):
            entry = part["notebooks"][0]
            name = f"{title}, {entry.get('name', entry['notebook'])}"
            yield group, name, "valid", False, act(folder, lambda part=part: json.dumps(part))
            for path in places(part):
                short = title, entry["notebook"], tuple("0" if isinstance(key, int) else key for key in path)
                if short not in seen:  # an entry of the same keys has been there
                    seen.add(short)
                    whole = group == "notebooks" and len(path) == 4  # notebooks, 0, parameters, name
                    yield from of_place(group, name, part, path, folder, random, KINDS if whole else FEW)
        if group == "configs":
            text = (root() / f"configs/{title}.yaml").read_bytes()
            yield from of_file(title, text, folder, seed)


def of_place(group, title, config, path, folder, random, count):
    """The cases of one place of a config: one of each of `count` kinds."""
    value = at(config, path)
    title = f"{title}: {'.'.join(map(str, path))}"
    all_ways = [
        (kind, f" = {brief(text)}", never, replace, text) for kind, text, never in TEXTS if not same(value, text)
    ]
    all_ways += [("missing", " left out", False, leave_out, None)]
    if isinstance(path[-1], str):
        all_ways += [("doubled", " twice", True, twice, None), ("wrong type", " = [itself]", False, listed, None)]
    for kind in sorted(random.permutation(sorted({kind for kind, *_ in all_ways}))[:count]):
        alike = [way for way in all_ways if way[0] == kind]
        _, name, never, change, text = alike[random.integers(len(alike))]
        yield group, title + name, kind, never, act(folder, lambda change=change, text=text: change(config, path, text))


def same(value, text):
    """Whether the text is what stands there."""
    return VALUES[text] == value and type(VALUES[text]) is type(value)


def replace(config, path, text):
    return json.dumps(replaced(config, path, MARK)).replace(json.dumps(MARK), text)


def leave_out(config, path, _):
    return json.dumps(without(config, path))


def listed(config, path, _):
    return json.dumps(replaced(config, path, [at(config, path)]))


def twice(config, path, _):
    """The config with a key that stands there twice."""
    *above, key = path
    inside = json.dumps(at(config, above))
    return replace(config, above, "{" + f"{json.dumps(key)}: {json.dumps(at(config, path))}, " + inside[1:])


def act(folder, text):
    return lambda: study(folder, text())


def of_file(title, text, folder, seed):
    """The damages of a whole config file, as of a study's outputs."""
    path, other = folder / "damaged.yaml", folder / "other"
    other.write_text("notes")
    kinds = ways(np.random.default_rng(seed))
    for name in kinds:
        if name in ("missing", "a folder", "a folder that holds something"):
            continue

        def damaged(name=name):
            path.write_bytes(text)
            ways(np.random.default_rng(seed))[name](path, other)
            read_plan(str(path))

        yield "configs", f"{title}.yaml: {name}", "damaged", False, damaged
