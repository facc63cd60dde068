"""What a study will execute, checked to the last parameter before anything runs.

A study is a YAML file:

    study: study                      # the folder under outputs/
    notebooks:
      - notebook: 20_train            # notebooks/20_train.ipynb
        name: 20_train_few_labels     # optional: its name in the outputs, for a second entry of one notebook
        parameters: {fraction: 0.1}   # optional: what differs from the notebook's defaults
        first: true                   # optional: started before the others, since it takes long
    data: {name: jigsaws, root: PATH, options: {}}   # optional: for all notebooks that take data, root and options
    takes: about an hour on two cores # optional: said before anything runs
    results: docs/results             # optional: the folder to which tables and raw numbers go as each is done
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from aqa_lib.errors import UserError, choose
from aqa_lib.paths import check_name, notebooks, relative, root
from aqa_lib.plain_yaml import read_yaml
from aqa_lib.settings import Setting, Word
from aqa_lib.study import parameters as cells

OPTIONS = Setting({}, "options of the data set", optional=True)
TAKES = Setting(None, "how long the study takes, in words", kind=str)
FIRST = Setting(False, "whether the notebook is started before the others")


@dataclass(frozen=True)
class Job:
    """One notebook to execute, with everything that is asked of it."""

    name: str
    notebook: str
    source: Path
    question: str
    given: dict  # what is injected
    parameters: dict  # all of them, defaults included
    key: str  # a hash of the notebook's cells and the parameters
    first: bool = False  # started before the others


def read_notebook(path):
    """A notebook as plain JSON, without the cost of importing nbformat."""
    try:
        return json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the notebook {relative(path)}: {error}") from None


def source(cell):
    """A cell's text; the file holds a string or a list of lines."""
    return "".join(cell["source"])


def question(nb, fallback=""):
    """The notebook's first heading."""
    for cell in nb["cells"]:
        if cell["cell_type"] == "markdown" and source(cell).startswith("# "):
            return source(cell).splitlines()[0][2:].strip()
    return fallback


def first_sentence(text):
    """Up to the first full stop that ends a sentence."""
    head, stop, _ = " ".join(text.split()).partition(". ")
    return head + stop.strip()


def parameters(nb, where):
    """{name: Setting} of the cell tagged `parameters`, see study/parameters.py."""
    found = {}
    for cell in nb["cells"]:
        if "parameters" in cell.get("metadata", {}).get("tags", []):
            try:
                found |= cells.parameters(source(cell))
            except ValueError:
                raise UserError(
                    f"{where}: its parameters cell takes lines like `epochs: int = 20  # steps`, with a literal"
                ) from None
    return found


def make_job(where, study, name, notebook, given, data=None):
    """One checked job; `where` says in messages where the entry stands, `data` is the config's."""
    folder = notebooks()
    available = sorted(path.stem for path in folder.glob("*.ipynb"))
    if not available:
        raise UserError(f"no notebooks in {folder}: run this in the study's folder, or set AQA_ROOT to it")
    choose(f"notebook in {where}:", notebook, available)
    path = folder / f"{notebook}.ipynb"
    nb = read_notebook(path)
    known = parameters(nb, relative(path))
    where = f"{where}, {name}"
    if not isinstance(given, dict):
        raise UserError(f"{where}: parameters takes a mapping such as {{seed: 1}}, but got {given!r}")
    given = filled(given, data or {}, known)
    given = cells.checked(where, notebook, known, given)
    if "study" in known:
        given.setdefault("study", study)
    resolved = {k: spec.default for k, spec in known.items()} | given
    text = [(cell["cell_type"], source(cell)) for cell in nb["cells"]]
    key = hashlib.sha256(json.dumps([text, resolved]).encode()).hexdigest()[:16]
    return Job(name, notebook, path, question(nb, notebook), given, resolved, key)


def filled(given, data, known):
    """An entry's parameters, with the config's data set where the entry names none of its own."""
    if "data" in given or "data" not in known:
        return given
    fresh = {"data": data["name"], "options": {}} if data.get("name") else {}  # options of the default set go, too
    fresh |= {key: data[key] for key in ("root", "options") if data.get(key) is not None}
    return {name: value for name, value in fresh.items() if name in known} | given


def check_root(job):
    """A UserError where a notebook's data set is read from files and nobody says where they lie."""
    name, root = (job.parameters.get(key) for key in ("data", "root"))
    if root == "" and isinstance(name, str) and "data" in job.given:
        from aqa_lib import data  # here: it takes a second, which notebooks on their default set do not need

        if name in data.names() and hasattr(data.reader(name), "fingerprint") and not data.ships(name):
            raise UserError(
                f"{job.name}: data set {name!r} is read from files, say where they lie: --set data.root=PATH"
            )


def read_config(path):
    """The YAML file as {"study": ..., "notebooks": [...]}, its keys and shapes checked."""
    path = Path(path)
    if not path.is_file():
        configs = sorted(relative(p) for p in (root() / "configs").glob("*.yaml"))
        if not configs:
            raise UserError(
                f"no config at {path}, nor any in {root()}: run this in the study's folder, or set AQA_ROOT"
            )
        choose("config", str(path), configs)
        path = root() / path  # named from the study's folder, called from another one
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {' '.join(str(error).split())}") from None
    config = read_yaml(text, str(path))
    if not isinstance(config, dict) or not isinstance(config.get("notebooks"), list) or not config["notebooks"]:
        raise UserError(f"{path}: a study needs `study: NAME` and a list `notebooks:` of at least one `- notebook:`")
    for name in config:
        choose(f"key in {path}:", name, ["study", "data", "takes", "results", "notebooks"])
    check_data(path, config.get("data"))
    check_results(path, config.get("results"))
    TAKES.check(path, "takes", config.get("takes"))
    for entry in config["notebooks"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("notebook"), str):
            raise UserError(f"{path}: an entry of notebooks reads `- notebook: 00_start`, but got {entry!r}")
        for name in entry:
            choose(f"key in {path}, {entry['notebook']}:", name, ["notebook", "name", "parameters", "first"])
        entry.setdefault("name", entry["notebook"])
        check_name(f"{path}: name", entry["name"])
        FIRST.check(f"{path}, {entry['name']}", "first", entry.get("first", False))
        if "data" in (entry["notebook"], entry["name"]):
            raise UserError(f"{path}: no notebook can be called 'data', since --set data.root=PATH means the data set")
    check_name(f"{path}: study", config.get("study"))
    return config


def check_data(path, data):
    """A UserError where a config's `data:` is not a mapping of name, root and options of their kinds."""
    kinds = {"name": str, "root": str, "options": dict}
    if not isinstance(data, dict | None):
        raise UserError(f"{path}: data takes a mapping such as {{name: jigsaws, root: PATH}}, but got {data!r}")
    for key, value in (data or {}).items():
        choose(f"key of data in {path}:", key, list(kinds))
        if value is not None and not isinstance(value, kinds[key]):
            raise UserError(f"{path}: data: {key} takes {kinds[key].__name__}, but got {value!r}")


def check_results(path, folder):
    """A UserError where a config's `results:` is not a folder within the study's."""
    inside = isinstance(folder, str) and Path(folder).parts and not Path(folder).is_absolute()
    if folder is not None and not (inside and ".." not in Path(folder).parts):
        raise UserError(f"{path}: results takes a folder within the study's, such as docs/results, but got {folder!r}")


def results_of(path, settings=()):
    """The folder that a config's results go to; None where it has none, or where `settings` change what it states.

    Where the files of a data set lie is the machine's business: --set data.root=PATH changes no statement.
    """
    changed = [setting for setting in settings if not setting.startswith("data.root=")]
    return None if changed else read_config(path).get("results")


def add_settings(config, settings):
    """Put `--set notebook.parameter=value` into the config's entries, `--set data.root=PATH` into its data set.

    Names inside a mapping follow after a dot: data.options.folds=splits.pkl, 30_compare.settings.trs.depth=8.
    """
    entries = {entry["name"]: entry for entry in config["notebooks"]}
    for setting in settings:
        target, equals, value = setting.partition("=")
        name, *path = target.split(".")
        if not (equals and all([name, *path]) and path):
            raise UserError(f"--set {setting!r}: it reads --set 20_train.seed=1")
        if name == "data":
            choose("key of data in --set", path[0], ["name", "root", "options"])
            if path == ["options"]:
                value = OPTIONS.check("--set data", "options", Word(value))
            config["data"] = put(config.get("data"), path, inside(value) if path[1:] else value, setting)
            continue
        entry = entries[choose("notebook of --set", name, entries)]
        value = inside(value) if path[1:] else Word(value)
        entry["parameters"] = put(entry.get("parameters"), path, value, setting)
    return config


def inside(value):
    """The value of a name inside a mapping, whose kind nobody has declared: as YAML reads it."""
    try:
        return read_yaml(value, "--set")
    except UserError:
        return value


def put(mapping, path, value, setting):
    """The mapping with a value under a path of names; those that others share (YAML's aliases) stay as they are."""
    if not isinstance(mapping, dict | None):
        raise UserError(f"--set {setting!r}: {path[0]!r} would stand inside {mapping!r}, which is no mapping")
    name, *rest = path
    mapping = mapping or {}
    return {**mapping, name: put(mapping.get(name), rest, value, setting) if rest else value}


def read_plan(path, settings=()):
    """(study's name, [Job, ...]) of a config file, everything checked."""
    config = add_settings(read_config(path), settings)
    check_data("--set", config.get("data"))
    jobs = []
    for entry in config["notebooks"]:
        name = entry["name"]
        if name in [job.name for job in jobs]:
            raise UserError(f"{path}: {name!r} stands there twice: give the second entry a `name:` of its own")
        given = {} if entry.get("parameters") is None else entry["parameters"]
        job = make_job(str(path), config["study"], name, entry["notebook"], given, config.get("data"))
        jobs.append(replace(job, first=bool(entry.get("first", False))))
    return config["study"], jobs
