"""Metrics of predicted scores and the statistics of comparing methods; numpy and scipy, no torch."""

from aqa_lib.evaluation import calibration, clustering, rejection, selection
from aqa_lib.evaluation.bootstrap import two_level_bootstrap
from aqa_lib.evaluation.items import crossed, rank_interval
from aqa_lib.evaluation.localisation import ACTIVITYNET, THUMOS14, mean_average_precision, tie_range, tiou
from aqa_lib.evaluation.metrics import (
    bounds,
    fisher_mean,
    mae,
    name_of,
    pairwise_accuracy,
    relative_l2,
    spearman,
    spearman_by_group,
    spearman_rows,
)
from aqa_lib.evaluation.power import detectable_difference, paired_power
from aqa_lib.evaluation.statistics import (
    Interval,
    Paired,
    bootstrap_interval,
    holm,
    mean_interval,
    paired_interval,
    rows_differ,
)

__all__ = [
    "ACTIVITYNET",
    "THUMOS14",
    "Interval",
    "Paired",
    "bootstrap_interval",
    "bounds",
    "calibration",
    "clustering",
    "crossed",
    "detectable_difference",
    "fisher_mean",
    "holm",
    "mae",
    "mean_average_precision",
    "mean_interval",
    "name_of",
    "paired_interval",
    "paired_power",
    "pairwise_accuracy",
    "rank_interval",
    "rejection",
    "relative_l2",
    "rows_differ",
    "selection",
    "spearman",
    "spearman_by_group",
    "spearman_rows",
    "tie_range",
    "tiou",
    "two_level_bootstrap",
]
