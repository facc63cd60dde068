"""Learning rates chosen inside the labelled videos: what every method of a comparison is given alike."""

import numpy as np
import pandas as pd

from aqa_lib import methods
from aqa_lib.errors import UserError
from aqa_lib.study.study import grid
from aqa_lib.study.variants import by_name


def errors(study, data, split, names, factors, draws, chance, settings=None, root=None):
    """A row a run: method, lr, draw, state and the error on the labelled videos held out (validation_mse).

    `names` are methods, which stand for all their variants, or titles of variants; `factors` multiply each method's
    default rate; `chance` has fraction, steps and validation; `settings` those of single methods or variants.
    """
    if not 0 < chance["validation"] < 1:
        raise UserError("a rate is chosen on labelled videos that are held out: give a share above 0 and below 1")
    tables = []
    for title, (name, own) in by_name(names, settings or {}).items():
        method = methods.get(name)
        if not method.gradient:
            raise UserError(f"method {name} is fitted in closed form and has no learning rate: leave it out")
        default = own.get("lr", method.resolve({})["lr"])
        alike = {n: [v] for n, v in {**chance, **own}.items() if n != "lr"}
        pair = dict(seed=range(draws), draw=range(draws))
        runs = grid(("seed", "draw"), **pair, lr=[default * f for f in factors], **alike)
        tables.append(study.train(name, data, split, runs, root=root).assign(method=title))
    return pd.concat(tables, ignore_index=True)


def chosen(table):
    """A row a method: root mean squared validation error at each factor of its rates, and the rate it chooses."""
    failed = table["state"] != "complete"
    table = table.assign(mse=table["validation_mse"].where(~failed, np.inf))
    rows = {}
    for name, runs in table.groupby("method", sort=False):
        mean = runs.groupby("lr")["mse"].mean() ** 0.5  # infinite where one of its runs diverged
        best = mean.idxmin()
        factor = mean.index / mean.index[0]
        edge = len(mean) > 1 and best in (mean.index[0], mean.index[-1])
        rows[name] = {f"{f:g} x": e for f, e in zip(factor, mean, strict=True)}
        rows[name] |= {"least tried": mean.index[0], "lr": best, "at the edge": edge}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")
