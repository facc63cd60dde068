"""What readers of published lists share: annotations in a table, and features from a feature store where one is given.

The published sets of videos come without features. Such a reader adds `STORE` to its options and hands its table
to `listed`.
"""

import numpy as np

from aqa_lib.data.dataset import AssessmentSet
from aqa_lib.data.files.store import joined
from aqa_lib.errors import UserError
from aqa_lib.settings import Setting

STORE = {
    "features": Setting(None, "path of a feature store, from root; None: annotations alone", kind=str),
    "modality": Setting(None, "of the store, where it has several; rgb+flow sets two side by side", kind=str),
}


def chosen(table, column, value, root):
    """The rows of the action or routine `value`, or all of them."""
    if value == "all":
        return table
    rows = table[table[column] == value].reset_index(drop=True)
    if rows.empty:
        raise UserError(f"{root}: the lists hold nothing of the {column} {value!r}; fetch them again")
    return rows


def listed(name, root, options, table, source, **fields):
    """The AssessmentSet of a table with `id` and, where items have one, `score`; features are joined by id."""
    store = joined(options["features"] and root / options["features"], table["id"], options["modality"])
    return AssessmentSet(
        name=name,
        features=store.pop("features", None),
        scores=table["score"] if "score" in table else np.full(len(table), np.nan),
        ids=table["id"],
        table=table,
        meta={"options": options, "source": source, "surrogate": False},
        **store,
        **fields,
    )
