"""MTL-AQA: 1,412 dives of 15 events with score, difficulty, attributes, seven judges and the commentary.

Parmar and Morris, What and How Well You Performed? (CVPR 2019). `root` is a folder with the published pickles side
by side (see data/README.md): one file of annotations in any of the forms below, train_split_0.pkl,
test_split_0.pkl, and, where captions are wanted, final_captions_dict.pkl and vocab.json.

    load("mtl_aqa", root)                                annotations alone
    load("mtl_aqa", root, features="i3d.features")       with segment features, joined by event and dive

An id is event and dive, 01_001; in a store an id may end in them in other ways, so that 1_1 or run/01-01 are it, too.

The rule of diving: of seven awards the two highest and the two lowest are dropped, and the sum of the other three
times the difficulty is the score. It is checked for every dive; those that deviate are listed in meta["judge_rule"]
and in the column `off` (score by the rule less score given), and stay as they are.
"""

import numbers
import re

import numpy as np
import pandas as pd

from aqa_lib.data.dataset import AssessmentSet
from aqa_lib.data.dives import JUDGING
from aqa_lib.data.files import unpickle
from aqa_lib.data.files.folder import content, folder, need, number, once, text_of
from aqa_lib.data.files.listed import STORE
from aqa_lib.data.files.store import Store, joined
from aqa_lib.data.files.unpickle import brief
from aqa_lib.errors import UserError
from aqa_lib.plain_json import from_json
from aqa_lib.settings import Setting, resolve

FORMS = {  # published forms of the annotations, richest first
    "dive_numbers": "final_annotations_dict_with_dive_number.pkl",  # seven judges and the dive's number
    "judges": "augmented_final_annotations_dict.pkl",  # seven judges
    "original": "final_annotations_dict.pkl",
}
CAPTIONS, VOCABULARY = "final_captions_dict.pkl", "vocab.json"
OPTIONS = {
    "annotations": Setting("auto", "form of the annotations; auto takes the richest at hand", choices=("auto", *FORMS)),
    "fold": Setting(0, "which division: train_split_<fold>.pkl and test_split_<fold>.pkl", low=0),
    **STORE,
}
POSITION = ["free", "pike", "tuck"]
ROTATION = ["back", "forward", "inward", "reverse"]
ATTRIBUTES = ("position", "armstand", "rotation", "somersaults", "twists")  # somersaults and twists in halves
WHOLE = ("start_frame", "end_frame", "primary_view", "position", "armstand", "rotation_type", "ss_no", "tw_no")
SEATS = 7
NEAR = 0.06  # scores are given to the nearest 0.05, and some were rounded twice
COUNTS = {
    "dives": 1412,
    "of them training": 1059,
    "of them test": 353,
    "events": 15,
    "dives with a caption": 1412,
    "words of the vocabulary": 5781,
    "dives with seven judges": 1412,
    f"dives within {NEAR} of the judge rule": 1385,
    "dives off the judge rule by more than 1": 22,
    "largest deviation from the judge rule": 19.8,
}


def load(root, **options):
    """The set; official split, event as group, features None where no store is given."""
    o = resolve("mtl_aqa", OPTIONS, options, "option")
    root = located(root)
    form = form_of(root, o["annotations"])
    path = root / FORMS[form]
    known = _dictionary(path)
    part = _parts(root, o["fold"], known, path)
    keys = sorted(part)
    rows = [_row(key, known[key], path) for key in keys]
    table = pd.DataFrame(rows)
    table.insert(1, "split", [part[key] for key in keys])
    captions, vocabulary = _captions(root)
    if captions is not None:
        table["caption"] = [captions.get(key) for key in keys]
    judges = table.pop("judges")
    scores, difficulty = table["score"].to_numpy(), table["difficulty"].to_numpy()
    meta = {"source": "MTL-AQA, Parmar and Morris 2019", "annotations": form, "options": o, "surrogate": False}
    if form != "original":
        judges = np.array(judges.tolist())
        meta |= JUDGING
        table["off"] = judge_rule(judges, difficulty) - scores
        meta["judge_rule"] = _deviations(table["id"], table["off"].to_numpy())
    if vocabulary is not None:
        meta["vocabulary"] = vocabulary
    store = _joined(root / o["features"], keys, o["modality"]) if o["features"] else {"features": None}
    return AssessmentSet(
        name="mtl_aqa",
        **store,
        scores=scores,
        ids=table["id"],
        table=table,
        judges=None if form == "original" else judges,
        difficulty=difficulty,
        groups=[f"event {event:02d}" for event in table["event"]],
        meta=meta,
    )


def judge_rule(judges, difficulty):
    """Scores [N] of awards [N, 7]: without the two highest and the two lowest, sum of three x difficulty."""
    return np.sort(judges, axis=1)[:, 2:5].sum(axis=1) * difficulty


def checks(root, **options):
    """What there is beside what was published: (what, found, expected)."""
    data = load(root, **options)
    split = data.table["split"]
    found = {
        "dives": len(data),
        "of them training": int((split == "train").sum()),
        "of them test": int((split == "test").sum()),
        "events": len(np.unique(data.groups)),
    }
    if "caption" in data.table:
        found["dives with a caption"] = int(data.table["caption"].notna().sum())
    if "vocabulary" in data.meta:
        found["words of the vocabulary"] = len(data.meta["vocabulary"])
    if data.judges is not None:
        off = np.abs(data.table["off"].to_numpy())
        found["dives with seven judges"] = int(np.isfinite(data.judges).all(axis=1).sum())
        found[f"dives within {NEAR} of the judge rule"] = int((off <= NEAR).sum())
        found["dives off the judge rule by more than 1"] = int((off > 1).sum())
        found["largest deviation from the judge rule"] = round(float(off.max()), 2)
    return [(what, value, COUNTS[what]) for what, value in found.items()]


def fingerprint(root):
    root = located(root)
    names = [*FORMS.values(), CAPTIONS, VOCABULARY, *(p.name for p in root.glob("t*_split_*.pkl"))]
    return content(root, [root / name for name in names if (root / name).is_file()])


def located(root):
    return folder("mtl_aqa", root, "the annotation pickles of MTL-AQA, such as final_annotations_dict.pkl")


def form_of(root, wanted):
    """The form asked for, or the richest that lies in the folder."""
    if wanted != "auto":
        need(root / FORMS[wanted])
        return wanted
    for form, name in FORMS.items():
        if (root / name).is_file():
            return form
    raise UserError(f"{root} holds no annotations of MTL-AQA: put one of {', '.join(FORMS.values())} there")


def _dictionary(path):
    """(event, dive) -> what the pickle has for it."""
    known = unpickle.load(path)
    if not isinstance(known, dict) or not known:
        raise UserError(
            f"{path} holds a {type(known).__name__}, but a dict by (event, dive) is expected: fetch it again"
        )
    keys = [_key(key, path) for key in known]
    return dict(zip(once(keys, path), known.values(), strict=True))


def _key(key, path):
    """(event, dive) as two integers."""
    if not (isinstance(key, tuple) and len(key) == 2 and all(_whole(k) and k >= 0 for k in key)):
        raise UserError(f"{path}: key {brief(key)} is not a pair of event and dive number")
    return int(key[0]), int(key[1])


def _whole(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, (bool, np.bool_)) and abs(value) < 10**9


def _parts(root, fold, known, annotations):
    """(event, dive) -> train or test, for every annotated dive."""
    part = {}
    for side in ("train", "test"):
        path = root / f"{side}_split_{fold}.pkl"
        if not path.is_file():
            there = sorted(p.stem.rsplit("_", 1)[1] for p in root.glob(f"{side}_split_*.pkl"))
            has = f"folds {', '.join(there)}" if there else "none"
            raise UserError(f"unknown split: there is no {path} (the folder has {has}): give fold one that is there")
        keys = unpickle.load(path)
        if not isinstance(keys, (list, tuple, np.ndarray)):
            raise UserError(f"{path} holds a {type(keys).__name__}, but a list of (event, dive) is expected")
        for key in once([_key(tuple(k) if isinstance(k, (list, np.ndarray)) else k, path) for k in keys], path):
            if key in part:
                raise UserError(f"dive {name(key)} is in the training and in the test split {fold} of {root}")
            if key not in known:
                raise UserError(f"{path} names dive {name(key)}, which {annotations} does not have")
            part[key] = side
    for key in known:
        if key not in part:
            raise UserError(f"dive {name(key)} of {annotations} is in neither split {fold} of {root}")
    return part


def name(key):
    """The id of a dive: event and number within it."""
    return f"{key[0]:02d}_{key[1]:03d}"


def _row(key, known, path):
    """One dive as a row of the table."""
    where = f"{path}, dive {name(key)}"
    if not isinstance(known, dict):
        raise UserError(f"{where}: a dict of fields is expected, but it is a {type(known).__name__}")
    judged = FORMS["original"] != path.name
    for field in (*WHOLE, "difficulty", "final_score", *(["judge_scores"] if judged else [])):
        if field not in known:
            raise UserError(f"{where} has no {field}: fetch the file again, or give the form that it has")
    v = {field: _integer(known[field], f"{where}, {field}") for field in WHOLE}
    for field, names in (("position", POSITION), ("rotation_type", ROTATION), ("armstand", [0, 1])):
        if not 0 <= v[field] < len(names):
            raise UserError(f"{where}, {field}: {v[field]} is none of 0..{len(names) - 1}")
    if not 0 <= v["start_frame"] < v["end_frame"]:
        raise UserError(f"{where}: frames {v['start_frame']}..{v['end_frame']} are no range")
    row = {
        "id": name(key),
        "event": key[0],
        "dive": key[1],
        "score": _real(known["final_score"], f"{where}, final_score"),
        "difficulty": _real(known["difficulty"], f"{where}, difficulty"),
        "position": POSITION[v["position"]],
        "armstand": bool(v["armstand"]),
        "rotation": ROTATION[v["rotation_type"]],
        "somersaults": v["ss_no"],
        "twists": v["tw_no"],
        "start_frame": v["start_frame"],
        "end_frame": v["end_frame"],
        "duration": v["end_frame"] - v["start_frame"],
        "view": v["primary_view"],
    }
    if "dive_number" in known:
        if not isinstance(known["dive_number"], str):
            raise UserError(f"{where}, dive_number: {brief(known['dive_number'])} is not a text such as 407C")
        row["dive_number"] = known["dive_number"]
    return row | {"judges": _awards(known["judge_scores"], where) if judged else None}


def _awards(values, where):
    values = list(values) if isinstance(values, (np.ndarray, list, tuple)) else []
    if len(values) != SEATS:
        raise UserError(f"{where}, judge_scores: {len(values)} awards, but {SEATS} judges sit")
    return [_real(value, f"{where}, judge_scores") for value in values]


def _integer(value, where):
    if not _whole(value):
        raise UserError(f"{where}: {brief(value)} is not a whole number")
    return int(value)


def _real(value, where):
    if not (_whole(value) or isinstance(value, (float, np.floating))):
        raise UserError(f"{where}: {brief(value)} is not a number")
    return number(value, where)


def _joined(path, keys, modality):
    """Features, lengths and views of the dives from the store at `path`."""
    by_key = {}
    for video in Store.read(path).ids.tolist():
        pair = re.search(r"(\d{1,9})\D(\d{1,9})$", video, re.ASCII)
        key = pair and (int(pair[1]), int(pair[2]))
        if pair and by_key.setdefault(key, video) != video:
            raise UserError(f"{path}: {video!r} and {by_key[key]!r} are both dive {name(key)}: keep one of them")
    return joined(path, [by_key.get(key, name(key)) for key in keys], modality)


def _captions(root):
    """Commentary of each dive as text, without its marks of beginning and end; word -> number. None where absent."""
    captions = vocabulary = None
    if (path := root / CAPTIONS).is_file():
        captions = {}
        for key, words in _dictionary(path).items():
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                raise UserError(f"{path}: the caption of dive {name(key)} is not a list of words")
            captions[key] = " ".join(w for w in words if w not in ("<sos>", "<eos>"))
    if (path := root / VOCABULARY).is_file():
        try:
            vocabulary = {word: int(i) for word, i in from_json(text_of(path))["word_to_ix"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is not the vocabulary of MTL-AQA ({error}): fetch it again") from error
    return captions, vocabulary


def _deviations(ids, off):
    """What the check of the judge rule found; for the dives that deviate, score by the rule less score given."""
    away = np.flatnonzero(np.abs(off) > NEAR)
    away = away[np.argsort(-np.abs(off[away]), kind="stable")]
    return {
        "tolerance": NEAR,
        "share_within": float(np.mean(np.abs(off) <= NEAR)),
        "largest": float(np.abs(off).max()),
        "deviating": {str(ids[i]): round(float(off[i]), 2) for i in away},
    }
