"""How well judges agree with judges: a ceiling for whoever is to agree with them.

a, b = panels(judges, size=3)     # of seven judges, two panels of three in 70 ways: [70, N] each
fisher_mean([spearman(x, y) for x, y in zip(a, b)])
"""

from itertools import combinations

import numpy as np

from aqa_lib.errors import UserError


def panels(judges, size=3):
    """Sums of the awards [N, J] by every two disjoint panels of `size` judges: two arrays [pairs, N]."""
    seats = range(judges.shape[1])
    pairs = [(a, b) for a in combinations(seats, size) for b in combinations(set(seats) - set(a), size) if a < b]
    if not pairs:
        raise UserError(f"two disjoint panels of {size} need {2 * size} judges, but there are {len(seats)}")
    return tuple(np.stack([judges[:, list(pair[k])].sum(axis=1) for pair in pairs]) for k in (0, 1))
