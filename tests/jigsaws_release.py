"""A small JIGSAWS in the layout of the release, made up."""

import numpy as np

SURGEONS = "BCDE"


def recording(seed, frames=60):
    """76 columns that are smooth and of different size, as text of six digits."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, frames)[:, None]
    x = np.sin(2 * np.pi * (t * rng.uniform(0.5, 3, 76) + rng.random(76))) * rng.uniform(0.1, 5, 76)
    return np.round(x + 0.01 * rng.standard_normal(x.shape), 6)


def release(root, task="Suturing", repeat=2):
    """A release with `repeat` trials of four surgeons; also one without a score, one empty and one missing."""
    place = root / task / "kinematics" / "AllGestures"
    place.mkdir(parents=True)
    lines = []
    for i, trial in enumerate(f"{task}_{s}{k:03d}" for s in SURGEONS for k in range(1, repeat + 1)):
        x = recording(i, 55 + i)
        # as in the release: numbers in columns, blanks before and after
        text = "\n".join("".join(f"{v:14.6f}  " for v in row) for row in x) + "\n"
        (place / f"{trial}.txt").write_text(text)
        items = [1 + (i + j) % 5 for j in range(6)]
        lines.append(f"{trial}\t\t{'NIE'[i % 3]}\t{sum(items)}\t\t" + "\t".join(map(str, items)))
    (place / f"{task}_B009.txt").write_text((place / f"{task}_B001.txt").read_text())
    (place / f"{task}_C009.txt").write_text("\n \n")
    lines += [f"{task}_{t}\tN\t12\t2 2 2 2 2 2" for t in ("C009", "D009")]
    (root / task / f"meta_file_{task}.txt").write_text("\n".join(lines) + "\n\n")
    return root
