"""Published numbers: what is shown beside a table is what the paper prints."""

import numpy as np
import pytest

from aqa_lib import published
from aqa_lib.errors import UserError
from aqa_lib.evaluation import fisher_mean


def test_table_one_and_the_averages_of_the_others():
    one = published.s4aqa("I", "MTL-AQA").set_index(["method", "label_fraction"])["spearman"]
    assert one["S4AQA", 0.1] == 0.676 and one["S4AQA", 0.4] == 0.746 and one["SVR", 0.1] == 0.427 and len(one) == 18
    for table in ("II", "III", "V"):  # the averages are Fisher's over the actions
        for _, rows in published.s4aqa(table).groupby("method"):
            apart, mean = rows[rows["action"] != "Avg"]["spearman"], rows[rows["action"] == "Avg"]["spearman"]
            assert np.allclose(fisher_mean(apart), mean, atol=0.0011)


def test_an_unknown_table_is_a_sentence():
    with pytest.raises(UserError, match="unknown published table 'X'"):
        published.s4aqa("X")
