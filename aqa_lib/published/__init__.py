"""Published numbers, as facts with their source: what a table of this study may stand beside."""

from importlib.resources import files

import pandas as pd

from aqa_lib.errors import choose


def s4aqa(table, dataset=None):
    """A table ("I" to "IX") of Zhang, Pan, Gao, Zheng (IEEE TCSVT 2022): rank correlations, one number a cell.

    Columns table, dataset, label_fraction, method, action, spearman, note. The paper gives no seeds and no intervals.
    """
    with files(__package__).joinpath("s4aqa.csv").open() as file:
        rows = pd.read_csv(file, keep_default_na=False)
    rows = rows[rows["table"] == choose("published table", table, list(rows["table"].unique()))]
    if dataset is not None:
        rows = rows[rows["dataset"] == choose("data set of the table", dataset, list(rows["dataset"].unique()))]
    return rows.reset_index(drop=True)
