"""What a method learns from and how it is measured: a score an item, ranked pairs, or actions in time.

A task owns the settings with which a run chooses its labels (they alone enter its identity), hands out those labels,
and measures predictions, which are named: {"score": [n], "variance": [n], ...} for the items of one run, in the
data's own units. `get("scores")` gives a task by name.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from aqa_lib import chance
from aqa_lib import data as data_sets
from aqa_lib.data.splits import MIN_LABELS, held_out, label_draw, official, without_fold
from aqa_lib.data.splits import pairs as split_pairs
from aqa_lib.errors import UserError, choose
from aqa_lib.evaluation import (
    calibration,
    fisher_mean,
    mean_average_precision,
    pairwise_accuracy,
    relative_l2,
    spearman_rows,
)
from aqa_lib.evaluation.clustering import adjusted_rand, nmi_arithmetic, purity
from aqa_lib.settings import Setting

CORRELATIONS = ("spearman", "validation_spearman", "variance_error")
SCALE = 5.0  # the largest labelled score of a run becomes this, in its batches
FRACTION = Setting(0.1, "share of the training videos whose scores are used", 0, 1, per_run=True)
DRAW = Setting(0, "which label draw", low=0, per_run=True)


@dataclass
class Labels:
    """What one run may learn from: items of its data set, and what is known of them (NaN or -1: not known)."""

    train: np.ndarray  # [n] labelled items
    unlabelled: np.ndarray  # [m] the other training items
    scores: np.ndarray  # [N]
    validation: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))  # [v] labelled, held out to watch
    held: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))  # [h] labelled, a fold to be predicted
    pairs: np.ndarray | None = None  # [P,2] items (better, worse)
    classes: np.ndarray | None = None  # [N]
    scale: float = 1.0  # scores and what is predicted are multiplied by it while training


@dataclass
class World:
    """A small data set that every method of a task must learn: at least `least` in the task's measure."""

    data: object
    split: object
    settings: dict  # with which its labels are drawn
    least: float


class Task:
    """Base of the tasks; `choice` are its settings, `watch` those of methods that train step by step, too.

    `spare`: {setting: others that mean something only where it is not 0}; where it is 0 none of them is part of a run.
    """

    measure = ""  # what tables compare
    larger = True  # whether a larger value is better
    choice: dict = {}
    watch: dict = {}
    spare: dict = {}

    def easy(self):
        """The World that every method of this task must learn."""

    def hidden(self, data, labels):
        """The same data set with everything replaced that a run with these labels may not see."""

    def check(self, data):
        """Refuse, in a sentence, data that cannot be learnt from in this way."""

    def labels(self, data, split, settings):
        """The Labels of a run."""

    def tested(self, data, split):
        """The items that a run predicts when it is measured."""
        return split.test

    def ranked(self, data, split, items):
        """The pairs [P,2] that the order of `items` is measured on."""
        return data.pairs[np.isin(data.pairs, items).all(axis=1)]

    def units(self, out, labels):
        """Predictions in the data's own units."""
        return out

    def watched(self, data, items, out):
        """What early stopping looks at on the validation items: {name: value}, the first being smaller for better."""
        return {}

    def measures(self, data, split, items, out):
        """{name: value} of one evaluation of one run; `out` holds the predictions of `items`."""

    def kept(self, data, items, outs):
        """The table of predictions that a run leaves, from {step: out}."""


class Scores(Task):
    """A score an item; measured by rank correlation with the true one."""

    measure = "spearman"
    choice = {
        "fraction": FRACTION,
        "draw": DRAW,
        "how": Setting("stratified", "how labels are drawn", choices=("stratified", "random"), per_run=True),
        "label_folds": Setting(0, "folds of the labels, one of which is held out and predicted (0: none)", low=0,
                               per_run=True),
        "label_fold": Setting(0, "which fold of the labels is held out", low=0, per_run=True),
        "whole_groups": Setting(True, "whether folds are of whole groups where the split tests on others",
                                per_run=True),
    }  # fmt: skip
    spare = {"label_folds": ("label_fold", "whole_groups")}
    watch = {
        "validation": Setting(0.0, "share of the labelled videos held out to watch", 0, 0.9, per_run=True),
        "patience": Setting(
            0, "evaluations without a better validation error before a stop (0: never)", low=0, per_run=True
        ),
    }

    def easy(self):
        data = data_sets.load("surrogate", n_train=160, n_test=80, execution=3.0, classes=1, nuisance=0.3)
        data.table["duration"] = 3 + np.arange(len(data)) % 7 / 10  # seconds, of no use here
        return World(data, official(data), {"fraction": 0.4, "how": "random"}, 0.6)

    def hidden(self, data, labels):
        known = np.concatenate([labels.train, labels.validation])
        scores, judges = np.linspace(-900, 900, len(data)), data.judges
        scores[known] = data.scores[known]
        if judges is not None:
            judges = np.zeros_like(judges)
            judges[known] = data.judges[known]
        return replace(data, scores=scores, judges=judges, truth={}, table=data.table.assign(score=scores))

    def check(self, data):
        if np.isnan(data.scores).all():
            raise UserError(f"data set {data.name!r} has no scores to learn from: take a method of another task")

    def labels(self, data, split, settings):
        drawn = label_draw(data, settings["fraction"], settings["draw"], settings["how"], split)
        held = drawn[:0]
        if count := settings.get("label_folds", 0):
            which = settings["label_fold"], count, settings["whole_groups"], settings["how"], settings["draw"]
            drawn, held, split = without_fold(data, split, drawn, *which)
            if len(drawn) < MIN_LABELS:
                raise UserError(
                    f"without fold {which[0]} of {count} {len(drawn)} labels are left, fewer than the {MIN_LABELS} "
                    "needed: take more folds or a larger fraction"
                )
        train, validation, unlabelled = held_out(data, split, drawn, settings.get("validation", 0.0))
        if len(validation) and min(len(train), len(validation)) < MIN_LABELS:
            raise UserError(
                f"validation = {settings['validation']} of {len(drawn)} labels leaves {len(train)} to train on "
                f"and {len(validation)} to watch; both need three: use another share or a larger fraction"
            )
        scores = np.full(len(data), np.nan)
        scores[train] = data.scores[train]
        top = np.abs(scores[train]).max()
        scale = SCALE / top if top > 0 else 1.0
        return Labels(train, unlabelled, scores, validation, held, scale=scale)

    def units(self, out, labels):
        power = {"score": 1, "quantiles": 1, "variance": 2}
        return {name: v / labels.scale ** power[name] if name in power else v for name, v in out.items()}

    def watched(self, data, items, out):
        true = data.scores[items]
        return {
            "validation_mse": float(np.mean((out["score"] - true) ** 2)),
            "validation_spearman": spearman_rows(out["score"][None], true)[0],
        }

    def measures(self, data, split, items, out):
        true, score = data.scores[items], out["score"]
        found = {"spearman": float(spearman_rows(score[None], true)[0]), "relative_l2": relative_l2(score, true)}
        if data.pairs is not None:
            seen = self.ranked(data, split, items)
            found |= {"pairwise_accuracy": _pairwise(data, seen, items, score)} if len(seen) else {}
        if "variance" in out:
            found |= calibration.measures(score, out["variance"], true, out.get("quantiles"))
        return found

    def kept(self, data, items, outs):
        columns = {"id": data.ids[items], "score": data.scores[items]}
        columns |= {f"step_{step}": out["score"].astype(np.float32) for step, out in outs.items()}
        for out in list(outs.values())[-1:]:
            columns |= {n: v.astype(np.float32) for n, v in out.items() if n != "score" and v.ndim == 1}
            if "quantiles" in out:
                q = out["quantiles"].astype(np.float32)
                columns |= {f"quantile_{i}": q[:, i] for i in range(q.shape[1])}
        return pd.DataFrame(columns)


class Pairs(Task):
    """Ranked pairs (better, worse); measured by the share of held-out pairs that are ordered right."""

    measure = "pairwise_accuracy"
    choice = {
        "fraction": Setting(1.0, "share of the training pairs whose order is used", 0, 1, per_run=True),
        "draw": Setting(0, "which draw of the pairs", low=0, per_run=True),
    }

    def easy(self):
        """The world of scores, of which only the order of pairs of videos is known."""
        world = SCORES.easy()
        data, rng = world.data, np.random.default_rng(0)
        pairs = np.concatenate([rng.integers(n, size=(6 * n, 2)) + s for n, s in ((160, 0), (80, 160))])
        a, b = data.scores[pairs].T
        pairs = np.where((a > b)[:, None], pairs, pairs[:, ::-1])[a != b]
        data = replace(data, pairs=np.unique(pairs, axis=0))
        return World(data, official(data), {}, 0.7)

    def hidden(self, data, labels):
        seen = (labels.pairs[:, None] == data.pairs).all(2).any(0)  # [P]
        pairs = np.where(seen[:, None], data.pairs, data.pairs[:, ::-1])
        nothing = Labels(*np.empty((2, 0), dtype=int), data.scores)
        return replace(SCORES.hidden(data, nothing), pairs=pairs)

    def check(self, data):
        if data.pairs is None:
            raise UserError(f"data set {data.name!r} has no ranked pairs: take epic_skills, best or ui_prmd")

    def labels(self, data, split, settings):
        train, held = split_pairs(data, split)
        if not len(held):
            raise UserError(
                f"data set {data.name!r}: the {split.name} split leaves no ranked pair with a held-out video "
                "to test on: take another split"
            )
        names = np.char.add(np.char.add(data.ids[train[:, 0]], "\x1f"), data.ids[train[:, 1]])
        words = [chance.key(data.name, split.name, "pairs", settings["draw"], str(name)) for name in names]
        count = round(settings["fraction"] * len(train))
        if count < MIN_LABELS:
            raise UserError(
                f"a fraction of {settings['fraction']} leaves {count} of {len(train)} training pairs of data set "
                f"{data.name!r}, fewer than the {MIN_LABELS} needed: take a larger one"
            )
        pairs = train[np.lexsort((names, np.array(words, dtype=np.uint64)))][:count]
        seen = np.unique(pairs)
        nothing = np.full(len(data), np.nan)
        return Labels(seen, np.setdiff1d(split.train, seen), nothing, pairs=pairs)

    def tested(self, data, split):
        return np.unique(split_pairs(data, split)[1])

    def ranked(self, data, split, items):
        return split_pairs(data, split)[1]

    def measures(self, data, split, items, out):
        held = self.ranked(data, split, items)
        found = {"pairwise_accuracy": _pairwise(data, held, items, out["score"])}
        known = ~np.isnan(data.scores[items])
        if known.sum() > 2:
            found["spearman"] = float(spearman_rows(out["score"][None, known], data.scores[items][known])[0])
        return found

    def kept(self, data, items, outs):
        columns = {f"step_{step}": out["score"].astype(np.float32) for step, out in outs.items()}
        return pd.DataFrame({"id": data.ids[items], "score": data.scores[items], **columns})


class Actions(Task):
    """Actions in untrimmed videos, found without labels or, where `weak`, with each training video's class.

    A method's `read` gives a table `segments` (video, cluster, start, end, score; seconds), its `found` the cluster of
    every training video; the clusters get names here, each that of most of its training videos.
    """

    measure = "average_mAP"
    choice = {"weak": Setting(False, "whether training videos come with their class", per_run=True)}
    thresholds = (0.3, 0.4, 0.5, 0.6, 0.7)  # usual on THUMOS14; meta["thresholds"] of a set are its own

    def easy(self):
        data = data_sets.load("untrimmed", classes=4, train=10, test=5, D=32, least=40, most=90)
        return World(data, official(data), {}, 0.3)

    def hidden(self, data, labels):
        classes, names = self.classes(data)
        other = np.where(labels.classes >= 0, classes, (classes + 1) % len(names))  # a wrong one where it is not known
        of = dict(zip(data.ids, other, strict=True))
        actions = data.actions.assign(label=[names[of[video]] for video in data.actions["video"]])
        actions["end"] = (actions["start"] + actions["end"]) / 2
        return replace(data, actions=actions, truth={}, table=data.table.drop(columns="class", errors="ignore"))

    def check(self, data):
        if data.actions is None or data.seconds is None:
            lacks = "actions" if data.actions is None else "seconds of its segments"
            raise UserError(f"data set {data.name!r} has no {lacks} to find actions by: take one of untrimmed videos")

    def classes(self, data):
        """([N] the class of each video, by its first action, -1 where it has none; the names of the classes)."""
        names = sorted(set(data.actions["label"]))
        first = data.actions.drop_duplicates("video").set_index("video")["label"]
        number = {name: i for i, name in enumerate(names)}
        return np.array([number[first[i]] if i in first.index else -1 for i in data.ids]), names

    def labels(self, data, split, settings):
        classes, _ = self.classes(data)
        seen = np.full(len(data), -1)
        if settings["weak"]:
            seen[split.train] = classes[split.train]
        train = np.sort(split.train)
        return Labels(train, train, np.full(len(data), np.nan), classes=seen)

    def measures(self, data, split, items, out):
        classes, names = self.classes(data)
        segments, found = out["segments"], {}
        label = {}
        if "cluster" in out.get("found", {}):
            cluster, true = out["found"]["cluster"][split.train], classes[split.train]
            both = (cluster >= 0) & (true >= 0)
            found = {
                "nmi": nmi_arithmetic(true[both], cluster[both]),
                "ari": adjusted_rand(true[both], cluster[both]),
                "purity": purity(true[both], cluster[both]),
            }
            for c in np.unique(cluster[both]):
                label[c] = names[np.bincount(true[both & (cluster == c)]).argmax()]
        else:
            label = dict(enumerate(names))
        named = segments.assign(label=segments["cluster"].map(label)).dropna(subset="label")
        tested = data.actions[data.actions["video"].isin(data.ids[items])]
        thresholds = list(data.meta.get("thresholds", self.thresholds))
        named = named[["video", "label", "start", "end", "score"]]
        lenient = {"ignore_unknown_labels": True, "allow_empty_instances": True}
        result = mean_average_precision(tested, named, thresholds, **lenient)
        by = dict(zip(thresholds, result["mAP"], strict=True))
        return {"average_mAP": float(result["average_mAP"]), **{f"mAP_{t:g}": float(v) for t, v in by.items()}, **found}

    def kept(self, data, items, outs):
        return pd.concat([out["segments"].assign(step=step) for step, out in outs.items()], ignore_index=True)


def _pairwise(data, pairs, items, score):
    """Pairwise accuracy of the scores of items on ranked pairs of them; the mean over the levels of `data.within`."""
    place = np.full(len(data), -1)
    place[items] = np.arange(len(items))
    level = data.levels()[pairs[:, 0]]
    parts = [place[pairs[level == name]] for name in np.unique(level)]
    return float(np.mean([pairwise_accuracy(score, part) for part in parts]))


SCORES, PAIRS, ACTIONS = Scores(), Pairs(), Actions()
TASKS = {"scores": SCORES, "pairs": PAIRS, "actions": ACTIONS}


def average(measure):
    """How a measure is averaged over parts of a data set: rank correlations through Fisher's z, others arithmetically.

    An undefined part makes the mean undefined. The function takes values, and an axis to average along.
    """
    return fisher_mean if measure in CORRELATIONS else arithmetic_mean


def arithmetic_mean(values, axis=None):
    found = np.mean(np.asarray(values, float), axis)
    return float(found) if axis is None else found


def get(name):
    """The task of that name."""
    return TASKS[choose("task", name, TASKS)]
