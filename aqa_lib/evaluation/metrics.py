"""How good predicted scores are: rank correlations, errors, pairwise accuracy; and the names of measures in words."""

import warnings

import numpy as np
from scipy.stats import rankdata

from aqa_lib.errors import UserError
from aqa_lib.kinds import numbers, optional, takes, whole, word

CLIP = 1 - 1e-6  # |rho| = 1 has no Fisher z
WORDS = {  # measures by the names of their columns
    "spearman": "rank correlation",
    "validation_spearman": "rank correlation on the videos held out to watch",
    "relative_l2": "relative L2 distance",
    "nll": "negative log-likelihood",
    "crps": "continuous ranked probability score",
    "coverage_90": "coverage of the 90 % interval",
    "ece": "expected calibration error of the quantiles",
    "sharpness_90": "mean width of the 90 % interval",
    "interval_90": "interval score of the 90 % interval",
    "variance_ratio": "mean predicted variance over mean squared error",
    "variance_error": "rank correlation of predicted variance and squared error",
    "average_mAP": "mean average precision",
    "nmi": "normalised mutual information",
    "ari": "adjusted Rand index",
}

ANY = (-np.inf, np.inf)
CORRELATION, SHARE, DISTANCE = (-1.0, 1.0), (0.0, 1.0), (0.0, np.inf)
BOUNDS = {  # between which a measure lies, by the name of its column
    "spearman": CORRELATION,
    "validation_spearman": CORRELATION,
    "relative_l2": DISTANCE,
    "mae": DISTANCE,
    "crps": DISTANCE,
    "coverage_90": SHARE,
    "pairwise_accuracy": SHARE,
    "average_mAP": SHARE,
    "nmi": SHARE,
    "ari": CORRELATION,
    "purity": SHARE,
    "auc": SHARE,
}
LESS = "difference in "  # a measure of which this is the beginning is one value less another


@takes(measure=word)
def bounds(measure):
    """(least, most) that a measure can be: ("spearman": -1 to 1; "difference in spearman": -2 to 2)."""
    if not isinstance(measure, str):
        raise UserError(f"a measure is named by a word, such as spearman, but got {measure!r}")
    if measure.startswith(LESS):
        low, high = bounds(measure.removeprefix(LESS))
        return low - high, high - low
    return BOUNDS.get(measure, SHARE if measure.startswith("mAP_") else ANY)


@takes(predicted=numbers, true=numbers)
def spearman(predicted, true):
    """Spearman's rank correlation: Pearson's of mid-ranks; NaN and a warning where one side is constant."""
    predicted, true = _vectors(predicted, true)
    rho = float(spearman_rows(predicted[None], true)[0])
    if np.isnan(rho):
        _undefined(predicted, true)
    return rho


@takes(predicted=numbers, true=numbers)
def spearman_rows(predicted, true):
    """Spearman of each row of predicted [K, N] with true [N] -> [K]; NaN where undefined, no warnings."""
    predicted, true = np.atleast_2d(np.asarray(predicted, float)), np.asarray(true, float)
    if predicted.ndim != 2 or true.shape != predicted.shape[1:]:
        raise UserError(f"predictions {predicted.shape} and true scores {true.shape} must be [K, N] and [N]")
    finite = np.isfinite(predicted).all(axis=1) & np.isfinite(true).all()
    a = rankdata(np.where(finite[:, None], predicted, 0), axis=1)  # [K, N]
    b = rankdata(true)
    # sums of mid-ranks are exact in float64, so a constant row has a spread of exactly zero
    a, b = a - (a.shape[1] + 1) / 2, b - (len(b) + 1) / 2
    norm = np.sqrt((a * a).sum(axis=1) * (b * b).sum())
    defined = finite & (norm > 0)
    rho = np.full(len(a), np.nan)
    rho[defined] = np.clip((a * b).sum(axis=1)[defined] / norm[defined], -1, 1)
    return rho


@takes(rhos=numbers, axis=optional(whole))
def fisher_mean(rhos, *, axis=None):
    """Mean of correlations through Fisher's z: tanh(mean(artanh rho)), |rho| clipped at 1 - 1e-6.

    An undefined correlation (NaN) makes the mean undefined; leaving it out would bias the mean upwards.
    """
    rhos = np.asarray(rhos, float)
    if not rhos.size:
        return float("nan")
    found = np.tanh(np.arctanh(np.clip(rhos, -CLIP, CLIP)).mean(axis))
    return float(found) if axis is None else found


@takes(predicted=numbers, true=numbers)
def mae(predicted, true):
    """Mean absolute error."""
    predicted, true = _vectors(predicted, true)
    return float(np.abs(predicted - true).mean())


@takes(predicted=numbers, true=numbers)
def spearman_by_group(predicted, true, groups):
    """({group: rank correlation}, their Fisher mean): how sets of several actions or routines are evaluated."""
    predicted, true = _vectors(predicted, true)
    groups = np.asarray(groups)
    if groups.shape != true.shape:
        raise UserError(f"groups {groups.shape} must name the group of each of the {len(true)} items")
    rhos = {str(g): spearman(predicted[groups == g], true[groups == g]) for g in np.unique(groups)}
    return rhos, fisher_mean(list(rhos.values()))


@takes(predicted=numbers, true=numbers)
def relative_l2(predicted, true):
    """R-l2 x 100 = 100/N sum ((s - s')/(s_max - s_min))^2, s_max and s_min the extremes of the true scores given."""
    predicted, true = _vectors(predicted, true)
    span = np.ptp(true)
    if not span > 0:
        warnings.warn(f"relative L2 is undefined: the span of the scores is {span:g}", RuntimeWarning, stacklevel=2)
        return float("nan")
    return float(100 * np.mean(((true - predicted) / span) ** 2))


@takes(scores=numbers, pairs=numbers)
def pairwise_accuracy(scores, pairs):
    """Share of index pairs (better, worse) [P, 2] with scores[better] > scores[worse]; a tie counts one half.

    NaN and a warning where a score that is compared is NaN: such a pair is neither right nor wrong.
    """
    scores, pairs = np.asarray(scores, float), np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or len(pairs) == 0:
        raise UserError(f"pairs must be indices [P, 2] (better, worse), P >= 1, but have shape {pairs.shape}")
    if pairs.dtype.kind not in "iu" or pairs.min() < 0 or pairs.max() >= len(scores):
        raise UserError(f"pairs must be whole numbers 0..{len(scores) - 1}, indices of the {len(scores)} scores")
    better, worse = scores[pairs].T
    if (np.isnan(better) | np.isnan(worse)).any():
        warnings.warn("pairwise accuracy is undefined: NaN among the scores", RuntimeWarning, stacklevel=2)
        return float("nan")
    return float(np.mean((better > worse) + 0.5 * (better == worse)))


def _undefined(predicted, true):
    finite = np.isfinite(predicted).all() and np.isfinite(true).all()
    why = "one side is constant" if finite else "NaN or infinity among the values"
    warnings.warn(f"rank correlation is undefined: {why}", RuntimeWarning, stacklevel=3)


def _vectors(predicted, true):
    predicted, true = np.asarray(predicted, float), np.asarray(true, float)
    if predicted.ndim != 1 or predicted.shape != true.shape or len(true) == 0:
        raise UserError(f"predictions {predicted.shape} and true scores {true.shape} must be vectors of one length")
    return predicted, true


@takes(measure=word)
def name_of(measure):
    """A measure as axes and sentences call it: "spearman" is "rank correlation"."""
    return WORDS.get(measure, measure.replace("_", " "))
