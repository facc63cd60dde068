"""A small JIGSAWS in the layout of the release, made up, with what is missing, empty or unscored there."""

import numpy as np

from benchmarks.jigsaws_stand_in import meta, trial

SURGEONS = "BCDE"


def recording(seed, frames=60):
    """76 columns that are smooth and of different size, as text of six digits."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, frames)[:, None]
    x = np.sin(2 * np.pi * (t * rng.uniform(0.5, 3, 76) + rng.random(76))) * rng.uniform(0.1, 5, 76)
    return np.round(x + 0.01 * rng.standard_normal(x.shape), 6)


def release(root, task="Suturing", repeat=2):
    """A release with `repeat` trials of four surgeons; also one without a score, one empty and one missing."""
    rows = []
    for i, name in enumerate(f"{task}_{s}{k:03d}" for s in SURGEONS for k in range(1, repeat + 1)):
        trial(root, task, name, recording(i, 55 + i))
        rows.append((name, "NIE"[i % 3], [1 + (i + j) % 5 for j in range(6)]))
    place = root / task / "kinematics" / "AllGestures"
    (place / f"{task}_B009.txt").write_text((place / f"{task}_B001.txt").read_text())
    (place / f"{task}_C009.txt").write_text("\n \n")
    meta(root, task, rows, [f"{task}_{t}\tN\t12\t2 2 2 2 2 2" for t in ("C009", "D009")])
    return root
