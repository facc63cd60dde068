"""From recorded motion to segment features: plain statistics, or cosine coefficients, of every channel.

A recording x [F, C] of F frames and C channels is cut into T segments, segment i from frame floor(iF/T) to frame
floor((i+1)F/T) without its end. A segment of n frames becomes, channel by channel, one of

    statistics   mean, standard deviation (over n), least, greatest, and mean absolute step to the next frame
    dct          c_0 ... c_{K-1}  with  c_0 = (1/n) sum_t x_t  and  c_k = (2/n) sum_t x_t cos(pi k (t + 1/2) / n),
                 the amplitudes of the slow part of  x_t = c_0 + sum_k c_k cos(pi k (t + 1/2) / n)  (DCT-II over its
                 length, so that long and short trials compare); c_k = 0 for k >= n
    magnitudes   |c_0| ... |c_{K-1}|: how much the channel moves at each rate, whatever its phase

On JIGSAWS linear models of signed coefficients collapse (docs/jigsaws.md).

Feature number  c M + m  is the m-th of the M numbers (M = 5 or K) of channel c.
"""

import numpy as np
import scipy.fft

from aqa_lib.errors import UserError, choose


def cut(frames, segments, where="a recording"):
    """Bounds [T + 1] of `segments` parts of `frames` frames."""
    if frames < segments:
        raise UserError(f"{where} has {frames} frames, fewer than the {segments} segments asked for: take fewer")
    return np.arange(segments + 1) * frames // segments


def segment_features(x, kind="dct", segments=10, coefficients=8, where="a recording"):
    """Features [T, C M] of a recording x [F, C]; see above."""
    choose("kind of segment features", kind, KINDS)
    bounds = cut(len(x), segments, where)
    parts = [x[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    of = {
        "statistics": statistics,
        "dct": lambda x: dct(x, coefficients),
        "magnitudes": lambda x: abs(dct(x, coefficients)),
    }
    rows = [of[kind](part) for part in parts]  # [C, M] each
    return np.stack([row.ravel() for row in rows]).astype(np.float32)


def dct(x, coefficients):
    """The first coefficients [C, K] of a segment x [n, C]."""
    n = len(x)
    c = scipy.fft.dct(x, type=2, axis=0)[:coefficients] / n
    c[0] /= 2
    return np.pad(c, [(0, coefficients - len(c)), (0, 0)]).T


def statistics(x):
    """Mean, standard deviation, least, greatest and mean absolute step [C, 5] of a segment x [n, C]."""
    step = np.abs(np.diff(x, axis=0)).mean(axis=0) if len(x) > 1 else np.zeros(x.shape[1])
    return np.stack([x.mean(axis=0), x.std(axis=0), x.min(axis=0), x.max(axis=0), step], axis=1)


def mirror(features, source, sign, kind):
    """Segment features [..., C M] of the recording whose channel c is  sign[c] x[source[c]],  without the recording.

    Exact for all kinds: coefficients and means change sign with their channel, magnitudes do not; least and greatest
    change sign and place.
    """
    x = features.reshape(*features.shape[:-1], len(source), -1)[..., source, :]  # [..., C, M]
    sign = np.asarray(sign)[:, None]
    if kind == "dct":
        x = sign * x
    elif kind == "statistics":
        low, high = x[..., 2], x[..., 3]
        turned = sign[:, 0] < 0
        extremes = [np.where(turned, -high, low), np.where(turned, -low, high)]
        x = np.stack([sign[:, 0] * x[..., 0], x[..., 1], *extremes, x[..., 4]], axis=-1)
    return np.ascontiguousarray(x.reshape(features.shape), dtype=features.dtype)


KINDS = ("statistics", "dct", "magnitudes")
