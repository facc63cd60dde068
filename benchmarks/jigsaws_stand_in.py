"""A stand-in for JIGSAWS in the layout of its release: made-up recordings, to try out the whole path and its time.

    python -m benchmarks.jigsaws_stand_in FOLDER

The release needs an access form. The stand-in has its trials (39 / 28 / 36 of surgeons B to I, five repetitions each,
named as there), its 76 columns at 30 Hz, a meta file a task with the skill class, the GRS and six items, four folds of
its sizes (drawn here, not the literature's), and trials that last as long as the tasks usually do (`SECONDS`).

A surgeon has a skill, each trial strays from it. More skill means shorter trials with less tremor, fewer detours and
calmer hands; the six items are noisy readings of the skill, and the GRS their sum. How well a method does on it says
nothing of surgeons. The reader sees the file STAND_IN.txt and calls the set a surrogate.
"""

import json
import sys
from pathlib import Path

import numpy as np

from aqa_lib.data.readers.jigsaws import MARK
from aqa_lib.errors import UserError

RATE = 30  # frames a second
SECONDS = {"Suturing": 113, "Needle_Passing": 108, "Knot_Tying": 57}  # a task's mean length, about that of the release
FOLDS = {"Suturing": (9, 10, 10, 10), "Needle_Passing": (7,) * 4, "Knot_Tying": (9,) * 4}
SURGEONS = {"B": 0.15, "C": 0.5, "D": 0.85, "E": 0.8, "F": 0.55, "G": 0.1, "H": 0.3, "I": 0.2}  # their skill, made up
MISSING = {  # repetitions without a score
    "Suturing": ("H002",),
    "Needle_Passing": ("B005", "E002", "F002", "F005", "H001", "H003", "I001", *(f"G00{k}" for k in range(1, 6))),
    "Knot_Tying": ("B005", "H001", "H002", "I004"),
}
NOTE = "Made up by benchmarks/jigsaws_stand_in.py in the layout of JIGSAWS. These are no recordings of surgeons.\n"


def write(folder, seconds=SECONDS, seed=0):
    """A whole stand-in in `folder`, which must not hold a release; `seconds` {task: mean length of its trials}."""
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise UserError(f"{folder} is not empty and holds no stand-in: name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text(NOTE)
    folds = {}
    for number, (task, mean) in enumerate(seconds.items()):
        rng = np.random.default_rng([seed, number])
        course = rng.uniform(0, 2 * np.pi, (12, 6)), rng.uniform(0.3, 1, (12, 6))  # the task's own motion
        names, rows = [], []
        for surgeon, level in SURGEONS.items():
            for k in range(1, 6):
                if f"{surgeon}00{k}" in MISSING[task]:
                    continue
                skill = np.clip(level + 0.12 * rng.standard_normal(), 0, 1)
                frames = round(mean * RATE * (1.35 - 0.7 * skill) * np.exp(0.12 * rng.standard_normal()))
                names.append(f"{task}_{surgeon}00{k}")
                trial(folder, task, names[-1], recording(rng, max(frames, 16), skill, course))
                items = np.clip(np.rint(1 + 4 * skill + 0.6 * rng.standard_normal(6)), 1, 5).astype(int)
                rows.append((names[-1], "NIE"[(level > 0.4) + (level > 0.7)], items))
        meta(folder, task, rows)
        order = list(rng.permutation(names))
        bounds = np.cumsum([0, *FOLDS[task]])
        folds[task] = [[str(name) for name in order[a:b]] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    (folder / "four_fold.json").write_text(json.dumps(folds, indent=1))


def recording(rng, frames, skill, course):
    """76 columns [F, 76] of one trial: four manipulators, each position, rotation, velocities and gripper."""
    t = np.linspace(0, 1, frames)
    phase, size = course
    detours = 3 + 9 * (1 - skill)  # unneeded motions a trial
    columns = []
    for m in range(4):
        waves = [
            size[3 * m + i] * np.sin(2 * np.pi * np.outer(t, np.arange(1, 7)) + phase[3 * m + i]) for i in range(3)
        ]
        path = np.stack([wave.sum(1) / 40 for wave in waves], axis=1)  # [F, 3] metres
        stray = np.sin(2 * np.pi * np.outer(t * detours, rng.uniform(0.7, 1.3, 3)) + rng.uniform(0, 2 * np.pi, 3))
        tremor = smooth(rng.standard_normal((frames, 3)), 5)
        path = path + 0.02 * (1 - skill) * stray + 0.002 * (1.1 - skill) * tremor + 0.01 * rng.standard_normal(3)
        angles = 4 * path[:, ::-1] + 0.05 * (1.1 - skill) * smooth(rng.standard_normal((frames, 3)), 9)
        velocity = np.gradient(path, axis=0) * RATE
        turning = np.gradient(angles, axis=0) * RATE
        grip = np.tanh(4 * np.sin(2 * np.pi * (6 + detours) * t + phase[3 * m, 0]))[:, None] * 0.5
        columns += [path, rotation(angles), velocity, turning, grip]
    return np.hstack(columns)


def smooth(x, width):
    """A running mean over time of x [F, C]."""
    width = min(width, len(x))
    return np.stack([np.convolve(column, np.ones(width) / width, mode="same") for column in x.T], axis=1)


def rotation(angles):
    """Rotation matrices by rows [F, 9] of angles about x, y and z [F, 3]."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles).T, np.sin(angles).T
    rows = [cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz]
    rows += [cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz]
    return np.stack([*rows, -sy, sx * cy, cx * cy], axis=1)


def trial(folder, task, name, x):
    """One file of kinematics as in the release: numbers in columns, blanks before and after."""
    place = Path(folder) / task / "kinematics" / "AllGestures"
    place.mkdir(parents=True, exist_ok=True)
    line = "%14.6f  " * x.shape[1] + "\n"
    (place / f"{name}.txt").write_text("".join(line % tuple(row) for row in x.tolist()))


def meta(folder, task, rows, more=()):
    """The meta file of a task from rows (trial, skill class, six items), and lines as they stand."""
    lines = [f"{name}\t\t{skill}\t{sum(items)}\t\t" + "\t".join(map(str, items)) for name, skill, items in rows]
    (Path(folder) / task / f"meta_file_{task}.txt").write_text("\n".join([*lines, *more]) + "\n\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m benchmarks.jigsaws_stand_in FOLDER")
    try:
        write(sys.argv[1])
    except UserError as error:
        sys.exit(str(error))
