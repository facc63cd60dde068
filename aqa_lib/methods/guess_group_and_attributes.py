"""No video: ridge regression (Hoerl, Kennard, Technometrics 1970) on an item's group and its announced attributes.

    min_{w,b}  sum_j (y_j - w . x_j - b)^2 + alpha |w|^2   over the labelled items j,

where x_j is as in guess_attributes.py, with a column more for each group (a dive's event) of a labelled item. What is
announced and where it is dived: in MTL-AQA the strongest of the guesses. An item of another group is predicted by its
attributes alone. Chosen here: one alpha for groups and attributes, a setting and not estimated.
"""

from aqa_lib.errors import UserError
from aqa_lib.methods._guesses import Guess, attributes, labelled, regress, regressed
from aqa_lib.methods.base import Setting


class GroupAttributesRidge(Guess):
    title = "no video: group and attributes"
    SETTINGS = {"alpha": Setting(1.0, "weight of the penalty on |w|^2", low=0)}

    def check(self, settings, data):
        columns(data)

    def fit(self, data, items, scores, settings):
        items, y = labelled(items, scores)
        return regress(columns(data), items, y, settings["alpha"])

    def guess(self, arrays, data, items):
        return regressed(arrays, columns(data), items, data)


def columns(data):
    found = attributes(data)
    if data.groups is None:
        raise UserError(f"data set {data.name!r} has no groups to set beside the attributes: fill in its field groups")
    return {"group": data.groups, **found}


METHOD = GroupAttributesRidge()
