"""JIGSAWS: robot kinematics of three surgical tasks, in the layout of the release (see data/README.md).

    root/<Task>/meta_file_<Task>.txt                  trial, skill class, GRS (6..30), six items (1..5)
    root/<Task>/kinematics/AllGestures/<trial>.txt    76 columns at 30 Hz, a row a frame

The columns are, for each of four manipulators in turn (master left, master right, slave = patient side left and
right): position xyz (3), rotation matrix by rows (9), linear velocity (3), rotational velocity (3), gripper angle
(1). Each manipulator is a node: its 19 channels stand together, so that features [N, T, 76 M] reshape to
[N, T, 4, 19 M]. What becomes of a channel is in aqa_lib/data/kinematics.py.

The four folds of the literature and one surgeon out are splits, "fold:four/2" and "fold:louo/B".

A folder with a file STAND_IN.txt holds made-up recordings in this layout (benchmarks/jigsaws_stand_in.py): its set is
called so, and is a surrogate.

A trial with kinematics but without a score is kept, unlabelled. A trial whose kinematics are missing or empty is
left out, with a warning, and listed in meta["skipped"]. The six items are the set's judges, the score is their sum.
"""

import warnings
from collections import Counter
from functools import lru_cache

import numpy as np
import pandas as pd

from aqa_lib.data import kinematics
from aqa_lib.data.dataset import AssessmentSet
from aqa_lib.data.files import unpickle
from aqa_lib.data.files.folder import content, folder, matrix, need, number, once, text_of
from aqa_lib.errors import UserError
from aqa_lib.plain_json import from_json
from aqa_lib.settings import Setting, resolve

__all__ = ["OPTIONS", "checks", "fingerprint", "load", "mirrored"]

TASKS = ("Suturing", "Needle_Passing", "Knot_Tying")
NODES = ("master left", "master right", "patient left", "patient right")
ITEMS = ("tissue", "handling", "motion", "flow", "overall", "quality")
HOLDS = f"the tasks {', '.join(TASKS)}"
RATE = 30  # frames a second
MEMBERS = {"all": (0, 1, 2, 3), "master": (0, 1), "patient": (2, 3)}
OPTIONS = {
    "task": Setting("all", "which of the three tasks", choices=("all", *TASKS)),
    "nodes": Setting("all", "whose manipulators", choices=tuple(MEMBERS)),
    "kind": Setting("statistics", "segment features of every channel", choices=kinematics.KINDS),
    "segments": Setting(8, "segments of a trial", low=1),
    "coefficients": Setting(8, "of each channel in a segment, where kind is dct or magnitudes", low=1),
    "folds": Setting(
        None, "path, from root, of a .json or .pkl of task -> four lists of trials; None: four_fold.json", kind=str
    ),
}
MARK = "STAND_IN.txt"
NO_FOLDS = (
    "no list of the four folds was found: put it into the folder of the data set as four_fold.json, or name a file "
    "there by the option folds, --set data.options.folds=splits.pkl"
)
COUNTS = {"Suturing": (39, [9, 10, 10, 10]), "Needle_Passing": (28, [7] * 4), "Knot_Tying": (36, [9] * 4)}


def load(root, **options):
    """Segment features of every trial, its GRS total as the score, the surgeon as the group."""
    o = resolve("jigsaws", OPTIONS, options, "option")
    root = folder("jigsaws", root, HOLDS)
    rows, features, skipped = [], [], []
    columns = np.concatenate([np.arange(19) + 19 * m for m in MEMBERS[o["nodes"]]])
    for task in _tasks(o):
        for trial, path, meta in _trials(root, task):
            there = path.is_file()
            how = (tuple(columns), o["kind"], o["segments"], o["coefficients"])
            frames, x = _recording(path, path.stat().st_mtime_ns, *how) if there else (0, None)
            if frames == 0:
                skipped.append([trial, "its kinematics are " + ("empty" if there else "missing")])
                continue
            features.append(x)
            rows.append(meta | {"frames": frames, "seconds": frames / RATE})
    if skipped:
        warnings.warn(f"jigsaws leaves out {len(skipped)} trials: {_sentence(skipped)}", stacklevel=2)
    if not rows:
        raise UserError(f"{root} holds no trial with kinematics: see data/README.md for the tree that is expected")
    table = pd.DataFrame(rows)
    table["fold_louo"] = table["surgeon"]
    fold_of = _four_folds(root, o["folds"])
    if fold_of:
        table["fold_four"] = [fold_of.get(trial, "") for trial in table["id"]]
    made_up = (root / MARK).is_file()
    meta = {"options": o, "skipped": skipped, "surrogate": made_up, "stand-in": made_up, "source": "JIGSAWS"}
    meta |= {"judging": "sum", "awards": [1, 5, 1]}
    meta["nodes"] = [NODES[m] for m in MEMBERS[o["nodes"]]]
    if made_up:
        meta["source"] = "made up by benchmarks/jigsaws_stand_in.py in the layout of JIGSAWS"
    if not fold_of:
        meta["no splits"] = {"fold:four": NO_FOLDS}
    title = "jigsaws" if o["task"] == "all" else f"jigsaws {o['task']}"
    return AssessmentSet(
        name=f"{title} (stand-in)" if made_up else title,
        features=np.stack(features),
        scores=table["score"],
        ids=table["id"],
        table=table,
        groups=table["surgeon"],
        judges=table[list(ITEMS)],
        meta=meta,
    )


@lru_cache(maxsize=1024)  # every fold of a comparison reads the same files
def _recording(path, changed, columns, kind, segments, coefficients):
    """(frames, segment features) of one file of kinematics; `changed`, its time stamp, tells a new content."""
    x = matrix(path, columns=76)
    if len(x) == 0:
        return 0, None
    features = kinematics.segment_features(x[:, list(columns)], kind, segments, coefficients, str(path))
    features.setflags(write=False)
    return len(x), features


def mirrored(data):
    """The features [N, T, D] of a set with left and right exchanged (x -> -x): a second view of every trial.

    Left and right manipulators change place; with S = diag(-1, 1, 1), positions and velocities become S p, rotation
    matrices S R S, and rotational velocities, which are axial, -S w.
    """
    source, sign = mirror_map(len(data.meta["nodes"]))
    return kinematics.mirror(data.features, source, sign, data.meta["options"]["kind"])


def mirror_map(nodes):
    """(source, sign) [C]: channel c of the mirrored recording is sign[c] times channel source[c] of the recording."""
    s = np.array([-1, 1, 1])
    sign = np.concatenate([s, np.outer(s, s).ravel(), s, -s, [1]])
    other = np.arange(nodes).reshape(-1, 2)[:, ::-1].ravel()  # left, right -> right, left
    return np.concatenate([np.arange(19) + 19 * m for m in other]), np.tile(sign, nodes)


def fingerprint(root):
    """What tells one content of the folder from another; the lists of folds that lie in or beside it count, too."""
    root = folder("jigsaws", root, HOLDS)
    files = [p for task in TASKS for p in (root / task).rglob("*.txt")]
    lists = [*root.glob("*.json"), *root.glob("*.pkl"), *(p for p in (*_places(root), root / MARK) if p.is_file())]
    return content(root, {*files, *lists})


def checks(root, task="all", **options):
    """(what, found, expected) of the release: trials with a score, folds, scores that are not the sum of items."""
    root, found = folder("jigsaws", root, HOLDS), []
    o = resolve("jigsaws", OPTIONS, options | {"task": task}, "option")
    folds = _four_folds(root, o["folds"])
    for task in _tasks(o):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = load(root, **(o | {"task": task}))
        table = data.table
        total, sizes = COUNTS[task]
        scored = table["score"].notna()
        left_out = _sentence(data.meta["skipped"]) or "none"
        found.append((f"{task}: trials left out", left_out, None if scored.sum() >= total else "none"))
        found.append((f"{task}: trials with a score", int(scored.sum()), total))
        found.append((f"{task}: trials without a score", int((~scored).sum()), None))
        found.append((f"{task}: surgeons", table["surgeon"].nunique(), None))
        wrong = table["id"][scored & (table[list(ITEMS)].sum(axis=1) != table["score"])]
        found.append((f"{task}: trials whose items do not sum to the GRS", ", ".join(wrong) or "none", "none"))
        if folds:
            count = Counter(table["fold_four"][scored])
            found.append((f"{task}: trials of the four folds", [count[str(k)] for k in range(1, 5)], sizes))
            found.append((f"{task}: scored trials in no fold", count[""], 0))
    return found


def _tasks(o):
    return TASKS if o["task"] == "all" else (o["task"],)


def _trials(root, task):
    """(trial, file of kinematics, row of the table) of all trials in the meta file or in the folder of kinematics."""
    path = need(root / task / f"meta_file_{task}.txt", f"it holds the scores of {task}")
    meta = {}
    for i, line in enumerate(text_of(path).splitlines(), 1):
        if fields := line.split():
            if fields[0] in meta:
                raise UserError(f"{path}, line {i}: {fields[0]!r} stands there twice; every trial has one line")
            meta[fields[0]] = _row(fields, task, f"{path}, line {i}")
    recordings = root / task / "kinematics" / "AllGestures"
    if not recordings.is_dir():
        raise UserError(f"there is no folder {recordings}: see data/README.md for the tree that is expected")
    files = {p.stem: p for p in recordings.glob("*.txt")}
    for trial in sorted(meta.keys() | files.keys()):
        row = meta.get(trial) or _row([trial], task, str(files[trial]))
        yield trial, files.get(trial, recordings / f"{trial}.txt"), row


def _row(fields, task, where):
    """A row of the table from the fields of a line; what is not given, or is "-" or "nan", is not known."""
    trial = fields[0]
    surgeon = trial.removeprefix(f"{task}_")[:1]
    if not trial.startswith(f"{task}_") or not surgeon.isalpha():
        raise UserError(f"{where}: {trial!r} is not named {task}_ and a surgeon's letter and a number")
    if len(fields) not in (1, 2, 9):
        raise UserError(f"{where}: {len(fields)} fields, not 9 (trial, skill, GRS, six items); is the file cut off?")
    values = [np.nan if f.lower() in ("-", "nan") else number(f, where) for f in fields[2:]] or [np.nan] * 7
    row = {"id": trial, "task": task, "surgeon": surgeon, "trial": trial.removeprefix(f"{task}_{surgeon}")}
    return row | {"skill": fields[1] if len(fields) > 1 else ""} | dict(zip(("score", *ITEMS), values, strict=True))


def _places(root):
    return root / "four_fold.json", root.parent / "jigsaws_splits" / "four_fold.json"


def _four_folds(root, given):
    """Trial -> "1".."4", or {} where no file of folds is at hand, in root or in jigsaws_splits beside it."""
    path = next((p for p in _places(root) if p.is_file()), None)
    path = (
        path
        if given is None
        else need(root / given, "the option folds (--set data.options.folds=FILE) names the list of folds, from root")
    )
    if path is None:
        return {}
    try:
        tasks = unpickle.load(path) if path.suffix == ".pkl" else from_json(text_of(path))
        folds = [(str(k), str(trial)) for lists in tasks.values() for k, fold in enumerate(lists, 1) for trial in fold]
    except UserError:
        raise
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path} does not hold task -> four lists of trials ({error})") from error
    once([trial for _, trial in folds], str(path))
    return {trial: k for k, trial in folds}


def _sentence(skipped):
    return "; ".join(f"{trial}: {why}" for trial, why in skipped)
