"""Mean average precision at temporal overlap (mAP@tIoU) of detected segments, as the ActivityNet evaluator means it.

For each class and threshold tau the detections are visited by descending score; each is matched, among the instances of
its video and class that are still free, to the one of highest tIoU = |intersection| / |union|, and is a true
positive (TP) if that reaches tau. With P_k the precision of the first k detections and n_c instances of the class,
AP = 1/n_c sum over true positives k of max_{j >= k} P_j; mAP(tau) is the mean over the classes that have instances.
Equal scores keep the order of the input; `tie_range` says how much depends on that order.

This greedy matching is computed in rounds, for every class, video and threshold at once: where a detection's best free
instance is not a candidate of any earlier unmatched detection, the two are matched for certain, so a round makes all
such matches together.
"""

from collections import Counter, defaultdict
from heapq import heapify, heappop, heappush
from itertools import repeat
from typing import NamedTuple

import numpy as np

from aqa_lib.errors import UserError
from aqa_lib.evaluation.segments import read_segments
from aqa_lib.kinds import numbers, takes

THUMOS14 = tuple(round(0.1 * k, 2) for k in range(1, 8))  # 0.1 .. 0.7
ACTIVITYNET = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))  # 0.5 .. 0.95
PAIRS = 4_000_000  # pairs of detection and instance in one block: bounds the memory


class Problem(NamedTuple):
    labels: list  # the classes that have instances, in the order of the input
    instances: np.ndarray  # [C] how many each has
    classes: np.ndarray  # [N] class of each detection, detections sorted by class, then by descending score
    scores: np.ndarray  # [N]
    detection: np.ndarray  # [E] pairs of one video and class that overlap enough for the lowest threshold,
    instance: np.ndarray  # [E] sorted by detection
    overlap: np.ndarray  # [E]
    home: np.ndarray  # [G] video and class of each instance, as one number
    thresholds: np.ndarray  # [H]


@takes(thresholds=numbers)
def mean_average_precision(
    ground_truth, predictions, thresholds, *, subset=None, ignore_unknown_labels=False, allow_empty_instances=False
):
    """mAP [H] at each threshold of tIoU, its mean `average_mAP`, and `ap` of each class: {label: [H]}.

    `ground_truth`, `predictions`: the ActivityNet layout ({"database": {video: {"annotations": [{"label", "segment"}
    ...]}}} and {"results": {video: [{"label", "segment", "score"} ...]}}, with or without the outer key), or tables
    with a row a segment and the columns video, label, start, end (and score). Times in seconds.
    `subset`: only instances of the videos of this subset. `ignore_unknown_labels`: leave out detections of a class
    without instances rather than refuse them. `allow_empty_instances`: instances of no length (ActivityNet 1.2 has
    nine) count as false negatives, as in the reference evaluator.
    """
    problem = _problem(ground_truth, predictions, thresholds, subset, ignore_unknown_labels, allow_empty_instances)
    return _summary(problem, _match(problem))


@takes(thresholds=numbers)
def tie_range(ground_truth, predictions, thresholds, **options):
    """(worst, best): results as above where equal scores stand in the least and the most favourable order.

    Each threshold has an order of its own. The orders are built one detection after another, looking one step ahead;
    where several detections of one score compete for several instances, a still more extreme one may exist.
    """
    problem = _problem(ground_truth, predictions, thresholds, **options)
    given, worst, best = (_summary(problem, f) for f in (_match(problem), _ties(problem, False), _ties(problem, True)))
    return _extreme(np.minimum, given, worst), _extreme(np.maximum, given, best)


def _extreme(pick, *results):
    """Class by class and threshold by threshold the lower or the higher of two results."""
    ap = {label: pick(*(r["ap"][label] for r in results)) for label in results[0]["ap"]}
    mean = np.mean(list(ap.values()), axis=0)
    return {"mAP": mean, "average_mAP": float(mean.mean()), "ap": ap}


def _problem(
    ground_truth, predictions, thresholds, subset=None, ignore_unknown_labels=False, allow_empty_instances=False
):
    tau = _thresholds(thresholds)
    truth = read_segments(ground_truth, "ground truth", subset=subset, allow_empty=allow_empty_instances)
    if not truth.label:
        where = "" if subset is None else f" in the subset {subset!r}"
        raise UserError(f"the ground truth has no instance{where}, so there is no average precision")
    found = read_segments(predictions, "predictions", scored=True)

    number = _numbered(truth.label)
    cls = _codes(number, found.label)
    if not ignore_unknown_labels and (cls < 0).any():
        i = int(np.argmax(cls < 0))
        raise UserError(
            f"predictions: {found.label[i]!r} (video {found.video[i]!r}) is a label that the ground truth lacks; "
            "mend it, or give ignore_unknown_labels=True to leave such detections out"
        )
    order = np.lexsort((-found.score, cls))  # stable
    order = order[cls[order] >= 0]
    videos, C = _numbered(truth.video), len(number)
    groups, home = np.unique(_codes(videos, truth.video) * C + _codes(number, truth.label), return_inverse=True)
    video = _codes(videos, found.video)[order]
    pair = np.where(video >= 0, video * C + cls[order], -1)
    of = np.minimum(np.searchsorted(groups, pair), len(groups) - 1)  # [N] instances of which video and class
    of[groups[of] != pair] = -1

    # instances by group and start: those that begin no more than the longest one before a detection can overlap it
    low = min(truth.start.min(), found.start.min(initial=0))
    width = max(truth.end.max(), found.end.max(initial=0)) - low
    slack = 1e-9 * width * len(groups)
    longest = np.zeros(len(groups) + 1)  # the last entry serves detections that have no group, -1
    np.maximum.at(longest, home, truth.end - truth.start)
    key = home * (3 * width) + (truth.start - low)
    by_key = np.argsort(key, kind="stable")
    at = np.where(of >= 0, of, len(groups)) * (3 * width) - low  # groups lie three widths apart
    begin = np.searchsorted(key[by_key], at + found.start[order] - longest[of] - slack)
    counts = np.searchsorted(key[by_key], at + found.end[order] + slack) - begin
    counts[of < 0] = 0
    parts = []
    for part in _parts(counts, PAIRS):
        c = counts[part]
        d = np.repeat(np.arange(part.start, part.stop), c)
        within = np.arange(len(d)) - np.repeat(np.cumsum(c) - c, c)
        g = by_key[np.repeat(begin[part], c) + within]
        iou = tiou(found.start[order[d]], found.end[order[d]], truth.start[g], truth.end[g])
        near = iou >= tau.min()
        parts.append((d[near], g[near], iou[near]))
    d, g, iou = (np.concatenate(p) for p in zip(*parts, strict=True))
    instances = np.bincount(_codes(number, truth.label))
    return Problem(list(number), instances, cls[order], found.score[order], d, g, iou, home, tau)


def _numbered(names):
    return {name: k for k, name in enumerate(dict.fromkeys(names))}


def _codes(number, names):
    return np.fromiter(map(number.get, names, repeat(-1)), int, len(names))


@takes(start=numbers, end=numbers, other_start=numbers, other_end=numbers)
def tiou(start, end, other_start, other_end):
    """Intersection over union of segments in time, element by element, in float64."""
    both = np.maximum(0.0, np.minimum(end, other_end) - np.maximum(start, other_start))
    return both / ((end - start) + (other_end - other_start) - both)


def _parts(counts, most):
    """Slices of an index range whose counts sum to about `most`, at least one slice."""
    cuts = np.flatnonzero(np.diff(np.cumsum(counts) // most)) + 1
    return [slice(a, b) for a, b in zip([0, *cuts], [*cuts, len(counts)], strict=True)]


def _match(problem):
    """[H, N] whether each detection is a true positive at each threshold."""
    H, N, G = len(problem.thresholds), len(problem.classes), int(problem.instances.sum())
    right, taken = np.zeros(H * N, bool), np.zeros(H * G, bool)  # each threshold is matched separately
    earliest = np.empty(H * G, int)
    for part in _parts(np.bincount(problem.detection, minlength=N), PAIRS // 16):  # the better scores first
        a, b = np.searchsorted(problem.detection, [part.start, part.stop])
        left = a + np.flatnonzero(~taken.reshape(H, G).all(axis=0)[problem.instance[a:b]])
        d, g, iou = problem.detection[left], problem.instance[left], problem.overlap[left]
        best_first = np.lexsort((g, -iou, d))
        d, g, iou = d[best_first], g[best_first], iou[best_first]
        t, e = np.nonzero(iou >= problem.thresholds[:, None])
        d, g = t * N + d[e], t * G + g[e]
        free = ~taken[g]
        d, g = d[free], g[free]
        while len(d):
            favourite = np.flatnonzero(np.diff(d, prepend=-1))  # each unmatched detection's best instance
            earliest[g[::-1]] = d[::-1]  # first candidate of each instance: the last assignment stays
            sure = favourite[earliest[g[favourite]] == d[favourite]]
            right[d[sure]], taken[g[sure]] = True, True
            stay = ~(right[d] | taken[g])
            d, g = d[stay], g[stay]
    return right.reshape(H, N)


def _summary(problem, right):
    """AP of each class at each threshold from the true positives [H, N]."""
    C, H = len(problem.labels), len(problem.thresholds)
    t, i = np.nonzero(right)
    cls = problem.classes[i]
    rank = i - np.searchsorted(problem.classes, cls) + 1  # k: rank among the detections of the class
    run = t * C + cls
    m = np.arange(len(run)) - np.searchsorted(run, run) + 1  # true positives of the class so far
    precision = np.zeros((H, C, int(problem.instances.max())))
    precision[t, cls, m - 1] = m / rank  # between two true positives precision only falls, so the maximum is at one
    envelope = np.maximum.accumulate(precision[..., ::-1], axis=-1)
    ap = envelope.sum(axis=-1) / problem.instances  # [H, C]
    mean = ap.mean(axis=1)
    return {"mAP": mean, "average_mAP": float(mean.mean()), "ap": dict(zip(problem.labels, ap.T, strict=True))}


def _ties(problem, best):
    """True positives [H, N] where every block of equal scores is in its best or its worst order."""
    c, s = problem.classes, problem.scores
    starts = np.flatnonzero(np.r_[True, (c[1:] != c[:-1]) | (s[1:] != s[:-1])]) if len(c) else []
    blocks = np.split(np.arange(len(c)), starts[1:])
    right = np.zeros((len(problem.thresholds), len(c)), bool)
    best_first = np.lexsort((problem.instance, -problem.overlap, problem.detection))
    for h, tau in enumerate(problem.thresholds):
        pairs = best_first[problem.overlap[best_first] >= tau]
        candidates, taken = defaultdict(list), set()  # candidate instances of each detection, best first
        for d, g in zip(problem.detection[pairs].tolist(), problem.instance[pairs].tolist(), strict=True):
            candidates[d].append(g)
        for block in blocks:
            rivals = defaultdict(list)  # detections by video: only those compete
            for instances in (candidates[d] for d in block.tolist() if d in candidates):
                rivals[problem.home[instances[0]]].append([g for g in instances if g not in taken])
            found = [_compete(free, taken, best) for free in rivals.values()]
            right[h, block] = _merge(found, len(block), best)
    return right


def _compete(waiting, taken, best):
    """How many detections run out of free candidates before the first match, after it ...; extends `taken`."""
    unmatched = []
    while True:
        able = [free for free in waiting if free]
        unmatched.append(len(waiting) - len(able))
        if not able:
            return unmatched
        last = Counter(free[0] for free in able if len(free) == 1)  # for how many an instance is the only candidate
        harm = [last[free[0]] - (len(free) == 1) for free in able]
        g = able.pop(harm.index(min(harm) if best else max(harm)))[0]
        taken.add(g)
        waiting = [[x for x in free if x != g] for free in able]


def _merge(groups, n, best):
    """True positives of a block of n: the best order puts all matches first, the worst each as late as possible."""
    matches = sum(len(unmatched) - 1 for unmatched in groups)
    if best:
        return [True] * matches + [False] * (n - matches)
    flags = [False] * (n - matches - sum(sum(unmatched[1:]) for unmatched in groups))
    heads = [(-unmatched[1], k, 1) for k, unmatched in enumerate(groups) if len(unmatched) > 1]
    heapify(heads)  # a match comes once nothing else is left, first the one that leaves most others unmatched
    while heads:
        negative, k, at = heappop(heads)
        flags += [True] + [False] * -negative
        if at + 1 < len(groups[k]):
            heappush(heads, (-groups[k][at + 1], k, at + 1))
    return flags


def _thresholds(thresholds):
    """As float64; 0.30000000000000004, which np.arange makes of 0.3, is 0.3 again."""
    tau = np.atleast_1d(np.asarray(thresholds, float))
    if tau.ndim != 1 or not len(tau) or not ((tau > 0) & (tau <= 1)).all():
        raise UserError(f"thresholds of tIoU lie above 0 and up to 1, but are {thresholds!r}")
    return np.where(np.abs(tau - np.round(tau, 2)) < 1e-12, np.round(tau, 2), tau)
