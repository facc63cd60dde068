"""Actions in untrimmed videos: who does what from when to when, in seconds.

A set's `actions` is a table with a row an action: video (an id of the set), label, start, end. Actions that end where
they start (ActivityNet 1.2 has nine) are kept: what they count for is the metric's choice.

    truth = actions_of(data, "test")
    mean_average_precision(truth, predictions, thresholds)
"""

import numpy as np

from aqa_lib.errors import UserError, choose, nearest

COLUMNS = ("video", "label", "start", "end")


def checked(actions, ids, refuse):
    """The table with ids and labels as text and times as float64; `refuse` is told what is wrong with it."""
    for column in COLUMNS:
        if column not in actions:
            refuse(f"has no column {column}; it takes {', '.join(COLUMNS)}")
    actions = actions.reset_index(drop=True)
    try:
        kinds = {"video": str, "label": str, "start": "float64", "end": "float64"}
        actions = actions.astype(kinds)
    except (TypeError, ValueError):
        refuse("has a start or an end that is not a number")
    unknown = actions["video"][~actions["video"].isin(list(ids))]
    if len(unknown):
        near = nearest(unknown.iloc[0], list(ids)[:8])
        refuse(f"names the video {unknown.iloc[0]!r}, which is not among the ids{near}")
    start, end = actions["start"].to_numpy(), actions["end"].to_numpy()
    wrong = ~(np.isfinite(start) & np.isfinite(end) & (0 <= start) & (start <= end))
    if wrong.any():
        i = int(wrong.argmax())
        refuse(
            f"has an action of video {actions['video'][i]!r} from {start[i]} to {end[i]} seconds; "
            "give finite times, 0 <= start <= end"
        )
    return actions


def subsets(data):
    """[N] the subset of each item in the words of the data set, else train or test; "" for items of neither."""
    for column in ("subset", "split"):
        if column in data.table:
            return data.table[column].to_numpy()
    raise UserError(f"data set {data.name!r} has no subsets: give its table a column split of train and test")


def actions_of(data, subset=None):
    """The actions of the videos of a subset, or of all."""
    if data.actions is None:
        raise UserError(f"data set {data.name!r} has no actions: take thumos14 or activitynet12, or fill in that field")
    if subset is None:
        return data.actions
    return data.actions[data.actions["video"].isin(set(data.ids[_of(data, subset)]))].reset_index(drop=True)


def layout(data, subset=None):
    """The actions as the nested dictionary of ActivityNet: {"database": video -> subset and annotations}."""
    table = actions_of(data, subset)
    items = range(len(data)) if subset is None else _of(data, subset)
    words = subsets(data)
    database = {str(data.ids[i]): {"subset": str(words[i]), "annotations": []} for i in items}
    for a in table.itertuples():
        database[a.video]["annotations"].append({"label": a.label, "segment": [a.start, a.end]})
    return {"database": database}


def _of(data, subset):
    """The items of a subset."""
    words = subsets(data)
    choose(f"subset of {data.name}", subset, sorted(set(words) - {""}))
    return np.flatnonzero(words == subset)
