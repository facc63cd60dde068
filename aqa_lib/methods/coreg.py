"""COREG: Zhou, Li, "Semi-supervised regression with co-training", IJCAI 2005.

Two k-nearest-neighbour regressors h_1, h_2 under Minkowski distances of order p_1, p_2 label videos for each other. In
each of T rounds, for j = 1, then 2, every video u of a pool of unlabelled ones gets yhat_u = h_j(u), the mean score of
its k neighbours Omega_u in the labelled set L_j, and the confidence

    delta_u = sum_{i in Omega_u} (y_i - h_j(i))^2 - (y_i - h'_j(i))^2,   h'_j = h_j with (u, yhat_u) added to L_j.

The most confident one, if its delta is above 0, leaves the pool and joins, with yhat_u, the *other* regressor's set at
the end of the round; then the pool is filled up again at random. The rounds end early when nothing joins. The score of
a video is (h_1 + h_2) / 2.

Stated: k = 3, p = 2 and 5, T = 100, a pool of 100, uniform weights. S4AQA (TCSVT 2022) states the average of the
segment features. Not stated, and chosen here: features as they were extracted; a labelled video is its own first
neighbour (distance 0), as in released implementations, so the local errors are optimistic; the earlier in the pool wins
a tie. Some implementations draw a whole new pool in each round; the paper fills it up, and so does this.

Mechanism: "guesses". Its own criterion cannot tell whether they hold anything of a video: whoever joins is chosen for a
small error around it, and yhat_u contains y_i. So labelled videos are left out, a quarter at a time, and their squared
errors are compared where the guesses have joined as they are and where they are exchanged among those that joined.
Control: who joins does so with the guess of another video of the pool. On the quick surrogate with 40 % of the labels
(six draws) the guesses are off: index -.07 to .07, t -1.7 to 1.6, as in the control.
"""

import numpy as np

from aqa_lib import chance
from aqa_lib.data.ragged import means
from aqa_lib.errors import UserError
from aqa_lib.methods._exchange import EXCHANGE
from aqa_lib.methods.base import Method, Setting

FOLDS, ROLLS = 4, 8


class Coreg(Method):
    title = "COREG"
    gradient = False
    masks = True
    SETTINGS = {
        "k": Setting(3, "neighbours whose mean score is the prediction", low=1),
        "p1": Setting(2, "order of the first regressor's Minkowski distance", 1, 100),
        "p2": Setting(5, "order of the second regressor's Minkowski distance", 1, 100),
        "iterations": Setting(100, "most rounds in which each regressor may label one video", low=0),
        "pool": Setting(100, "unlabelled videos that are looked at in a round", low=1),
        "exchange": EXCHANGE,
    }
    control = {"exchange": True}

    def fit(self, data, items, scores, settings):
        """scores [n] with NaN where there is no label -> what each regressor knows: mean features and labels."""
        v, y, k, orders = means(data.features[items]), scores, settings["k"], (settings["p1"], settings["p2"])
        labelled, unlabelled = np.flatnonzero(np.isfinite(y)), np.flatnonzero(np.isnan(y))
        if k > len(labelled):
            raise UserError(f"method coreg: k = {k} is more than the {len(labelled)} labels: lower k or raise fraction")
        chosen = np.concatenate([labelled, queue(unlabelled, settings)])
        between = [distances(v[chosen], v[chosen], p) for p in orders]
        sets = cotrain(between, y[labelled], k, settings["iterations"], settings["pool"], lots(settings))
        found = {}
        for i, (places, labels) in enumerate(sets):
            found |= {f"x{i + 1}": v[chosen[places]], f"y{i + 1}": labels}
        return found

    def mechanisms(self, settings):
        return ("guesses",) * (settings["iterations"] > 0)

    def alive(self, arrays, data, items, scores, settings):
        """Squared errors of labelled videos by regressors that have not seen their scores: with the guesses that have
        joined, and with these exchanged among the videos that have joined."""
        v, y, k = means(data.features[items]), scores, settings["k"]
        labelled, unlabelled = np.flatnonzero(np.isfinite(y)), np.flatnonzero(np.isnan(y))
        others = queue(unlabelled, settings)
        everyone = np.concatenate([labelled, others])
        between = [distances(v[everyone], v[everyone], settings[p]) for p in ("p1", "p2")]
        fold = chance.permutation(chance.key(settings["seed"], "coreg", "folds"), len(labelled)) % FOLDS
        own, other = np.zeros(len(labelled)), np.zeros(len(labelled))
        for f in range(FOLDS):
            hidden, known = np.flatnonzero(fold == f), np.flatnonzero(fold != f)
            n = len(known)
            if not k <= n < len(labelled):
                continue
            seen = np.concatenate([known, np.arange(len(labelled), len(everyone))])
            inner = [d[np.ix_(seen, seen)] for d in between]
            sets = cotrain(inner, y[labelled[known]], k, settings["iterations"], settings["pool"], lots(settings))
            found = [predicted(between, hidden, seen, sets, k, n, r) for r in range(ROLLS + 1)]
            errors = (np.array(found) - y[labelled[hidden]]) ** 2  # [1 + ROLLS, n]
            own[hidden], other[hidden] = errors[0], errors[1:].mean(0)
        return {"guesses": (own, other)}

    def apply(self, arrays, data, items, settings):
        u, k = means(data.features[items]), settings["k"]
        known = [(arrays[f"x{i}"], arrays[f"y{i}"], settings[f"p{i}"]) for i in (1, 2)]
        return sum(neighbours(distances(u, at, p), labels, k)[0] for at, labels, p in known) / 2


def queue(unlabelled, settings):
    """Whoever can enter the pool, in this order."""
    order = chance.permutation(chance.key(settings["seed"], "coreg", "pool"), len(unlabelled))
    return unlabelled[order][: settings["pool"] + 2 * settings["iterations"]]


def lots(settings):
    """Of a control: how much further on in the pool the video stands whose guess joins, a word a round; else None."""
    words = chance.words(chance.key(settings["seed"], "coreg", "another"), settings["iterations"])
    return words if settings["exchange"] else None


def predicted(between, items, seen, sets, k, n, r):
    """Scores of `items` by both regressors, their guesses (behind the n labelled) moved on by r videos."""
    scores = []
    for d, (places, labels) in zip(between, sets, strict=True):
        labels = np.concatenate([labels[:n], np.roll(labels[n:], r)])
        scores.append(neighbours(d[np.ix_(items, seen[places])], labels, k)[0])
    return sum(scores) / 2


def cotrain(between, y, k, iterations, size, lots=None):
    """Both regressors' sets at the end, (indices, labels) each: the labelled, then what the other one has added.

    `between`: for each regressor the distances [m,m] among the labelled, which come first, and the videos that enter
    the pool in this order; y [n]: scores of the labelled; lots: of a control, a word a round, by which whoever joins
    has the guess of another video of the pool.
    """
    n, m = len(y), len(between[0])
    sets, pool, waiting = [(np.arange(n), y)] * 2, np.arange(n, min(n + size, m)), n + size
    for t in range(iterations):
        picks = []
        for d, (places, labels) in zip(between, sets, strict=True):
            guess, delta = confidence(d, places, labels, pool, k)
            best = delta.argmax() if len(pool) else None
            label = best if lots is None or best is None else elsewhere(best, len(pool), int(lots[t]))
            picks.append((pool[best], guess[label]) if len(pool) and delta[best] > 0 else None)
            pool = pool if picks[-1] is None else np.delete(pool, best)
        if picks == [None, None]:
            break
        sets = [joined(*two) for two in zip(sets, picks[::-1], strict=True)]
        more = min(size - len(pool), m - waiting)
        pool, waiting = np.append(pool, np.arange(waiting, waiting + more)), waiting + more
    return sets


def elsewhere(place, n, word):
    """Another of n places, by lot; the same one where there is no other."""
    return (place + 1 + word % (n - 1)) % n if n > 1 else place


def joined(known, pick):
    """A regressor's set with the other one's pick, if there is one."""
    return known if pick is None else tuple(np.append(a, b) for a, b in zip(known, pick, strict=True))


def confidence(d, places, labels, pool, k):
    """yhat_u and delta_u of every u of the pool [P], for one regressor with labels at `places` and distances d."""
    own = d[np.ix_(places, places)]
    h, near = neighbours(own, labels, k)
    last = near[:, -1]  # the neighbour that gives way where u is nearer
    guess, omega = neighbours(d[np.ix_(pool, places)], labels, k)
    closer = d[pool[:, None], places[omega]] < own[omega, last[omega]]
    changed = h[omega] + closer * (guess[:, None] - labels[last[omega]]) / k  # h'_j(i) for i in Omega_u
    delta = (labels[omega] - h[omega]) ** 2 - (labels[omega] - changed) ** 2
    return guess, delta.sum(1)


def neighbours(d, labels, k):
    """Of distances d [R,n] to labelled videos: the mean label of the k nearest [R], and who they are [R,k]; the
    last of them is the farthest."""
    near = np.argpartition(d, k - 1, axis=1)[:, :k]
    return labels[near].mean(1), near


def distances(a, b, p):
    """Minkowski distances of order p, to the power p, whose order is the same: a [A,D], b [B,D] -> [A,B]."""
    return np.stack([power(np.abs(b - row), p).sum(1) for row in a]) if len(a) else np.empty((0, len(b)))


def power(x, p):
    """x^p for whole p >= 1 by squaring, five times as fast as numpy's."""
    if p == 1:
        return x
    half = power(x, p // 2)
    return half * half * x if p % 2 else half * half


METHOD = Coreg()
