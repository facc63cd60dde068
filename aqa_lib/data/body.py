"""From a recorded skeleton to segment features of the body: how the waist travels and the bones' offsets change.

The skeleton of UI-PRMD's Kinect has 22 joints. Joint 0, the waist (spine base), is a position in the room; every other
one is an offset from its parent in the parent's own turning frame. How that frame is turned is not recorded with the
positions, so an arm that is lifted shows in how Kinect fits its length, not in its direction. Most offsets lie on one
axis for ever: the other coordinates are zero and left out, and C = 32 channels remain.

    u_t = (x_t - a) / L     a  the starting posture: mean of the first twentieth of the frames, one frame at least
                            L  the torso: median over the frames of the summed lengths from the waist to the neck

Segment i holds, of the frames as `kinematics.cut` divides them,

    mean of every channel [C], its standard deviation [C], its range over the whole recording [C], log of the frames [1]
"""

import numpy as np

from aqa_lib.data.kinematics import cut
from aqa_lib.errors import UserError

# name, parent, axes on which its offset lies
JOINTS = (
    ("waist", None, "xyz"),
    ("spine", 0, "y"),
    ("chest", 1, "y"),
    ("neck", 2, "y"),
    ("head", 3, "y"),
    ("head tip", 4, "y"),
    ("left collar", 2, "xyz"),
    ("left upper arm", 6, "x"),
    ("left forearm", 7, "x"),
    ("left hand", 8, "x"),
    ("right collar", 2, "xyz"),
    ("right upper arm", 10, "x"),
    ("right forearm", 11, "x"),
    ("right hand", 12, "x"),
    ("left upper leg", 0, "xyz"),
    ("left lower leg", 14, "y"),
    ("left foot", 15, "y"),
    ("left toes", 16, "z"),
    ("right upper leg", 0, "xyz"),
    ("right lower leg", 18, "y"),
    ("right foot", 19, "y"),
    ("right toes", 20, "z"),
)
CHANNELS = [3 * j + "xyz".index(axis) for j, (_, _, axes) in enumerate(JOINTS) for axis in axes]
TORSO = (1, 2, 3)  # spine, chest, neck


def torso(x):
    """The length L of the torso in a recording x [F, 66]."""
    return np.median(np.linalg.norm(x.reshape(len(x), -1, 3)[:, TORSO], axis=2).sum(axis=1))


def posture(x, where="a recording"):
    """u [F, C] of a recording x [F, 66]; see above."""
    if not (length := torso(x)) > 0:
        raise UserError(f"{where}: the torso has no length; repair or drop that recording")
    start = x[: max(1, len(x) // 20)].mean(axis=0)
    return (x - start)[:, CHANNELS] / length


def segment_features(x, segments=10, where="a recording"):
    """Features [T, 3 C + 1] of a recording x [F, 66]; see above."""
    bounds = cut(len(x), segments, where)
    u = posture(x, where)
    parts = [u[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    whole = [*np.ptp(u, axis=0), np.log(len(u))]
    return np.stack([[*part.mean(axis=0), *part.std(axis=0), *whole] for part in parts]).astype(np.float32)
