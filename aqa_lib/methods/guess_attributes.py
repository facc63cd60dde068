"""No video: ridge regression (Hoerl, Kennard, Technometrics 1970) on the announced attributes of a dive.

    min_{w,b}  sum_j (y_j - w . x_j - b)^2 + alpha |w|^2   over the labelled items j,

where x_j has a column for each value of position, armstand, rotation, somersaults and twists that a labelled item has:
1 for its own values, 0 for others. A value that no labelled item had has no column, and so adds nothing. Chosen here:
alpha is a setting and not estimated.
"""

from aqa_lib.methods._guesses import Guess, attributes, labelled, regress, regressed
from aqa_lib.methods.base import Setting


class AttributesRidge(Guess):
    title = "no video: attributes"
    SETTINGS = {"alpha": Setting(1.0, "weight of the penalty on |w|^2", low=0)}

    def check(self, settings, data):
        attributes(data)

    def fit(self, data, items, scores, settings):
        items, y = labelled(items, scores)
        return regress(attributes(data), items, y, settings["alpha"])

    def guess(self, arrays, data, items):
        return regressed(arrays, attributes(data), items, data)


METHOD = AttributesRidge()
