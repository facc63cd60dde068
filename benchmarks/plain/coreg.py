"""COREG word for word, with a k-nearest-neighbour regressor of scikit-learn fitted for every candidate."""

import random

import numpy as np
from sklearn.neighbors import KNeighborsRegressor


class Peer:
    """fit(x, y) -> a function of x; `picked` lists (round, regressor, item, label) in the order of the picks.

    order: the unlabelled items in the order in which they enter the pool; torn from a hat where it is not given.
    """

    def __init__(self, data=None, k=3, p1=2, p2=5, iterations=100, pool=100):
        self.k, self.p, self.iterations, self.size = k, (p1, p2), iterations, pool

    def regressor(self, L, j):
        v, y = zip(*[(self.v[i], label) for i, label in L], strict=True)
        return KNeighborsRegressor(self.k, p=self.p[j], algorithm="brute").fit(np.array(v), np.array(y))

    def fit(self, x, y, order=None):
        self.v, self.picked = x.mean(1, dtype="f8"), []
        U = [i for i in range(len(y)) if np.isnan(y[i])]
        U = random.sample(U, len(U)) if order is None else list(order)
        L = [[(i, y[i]) for i in range(len(y)) if not np.isnan(y[i])] for _ in range(2)]
        pool, U = U[: self.size], U[self.size :]
        h = [self.regressor(L[j], j) for j in range(2)]
        for t in range(self.iterations):
            pi = [None, None]
            for j in range(2):
                best = 0.0
                for u in pool:
                    guess = h[j].predict(self.v[u][None])[0]
                    added = self.regressor([*L[j], (u, guess)], j)
                    delta = 0.0
                    for at in h[j].kneighbors(self.v[u][None], return_distance=False)[0]:
                        i, label = L[j][at]
                        before, after = (r.predict(self.v[i][None])[0] for r in (h[j], added))
                        delta += (label - before) ** 2 - (label - after) ** 2
                    if delta > best + 1e-12:
                        best, pi[j] = delta, (u, guess)
                if pi[j]:
                    pool.remove(pi[j][0])
                    self.picked.append((t, j, *pi[j]))
            if pi == [None, None]:
                break
            for j in range(2):
                if pi[1 - j]:
                    L[j].append(pi[1 - j])
            h = [self.regressor(L[j], j) for j in range(2)]
            while len(pool) < self.size and U:
                pool.append(U.pop(0))
        return lambda x: sum(r.predict(x.mean(1, dtype="f8")) for r in h) / 2
