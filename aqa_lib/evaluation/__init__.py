"""Metrics of predicted scores and the statistics of comparing methods; numpy and scipy, no torch."""

from aqa_lib.evaluation import selection
from aqa_lib.evaluation.bootstrap import two_level_bootstrap
from aqa_lib.evaluation.localisation import ACTIVITYNET, THUMOS14, mean_average_precision, tie_range, tiou
from aqa_lib.evaluation.metrics import (
    Average,
    defined_mean,
    fisher_mean,
    kendall,
    mae,
    pairwise_accuracy,
    relative_l2,
    spearman,
    spearman_by_group,
    spearman_rows,
)
from aqa_lib.evaluation.power import (
    correlation_interval,
    correlation_power,
    detectable_correlation,
    detectable_difference,
    paired_power,
    steiger,
    z_error,
)
from aqa_lib.evaluation.statistics import (
    Interval,
    Paired,
    bootstrap_interval,
    holm,
    mean_interval,
    paired_interval,
    rows_differ,
    sign_flip_test,
)

__all__ = [
    "ACTIVITYNET",
    "THUMOS14",
    "Average",
    "Interval",
    "Paired",
    "bootstrap_interval",
    "correlation_interval",
    "correlation_power",
    "defined_mean",
    "detectable_correlation",
    "detectable_difference",
    "fisher_mean",
    "holm",
    "kendall",
    "mae",
    "mean_average_precision",
    "mean_interval",
    "paired_interval",
    "paired_power",
    "pairwise_accuracy",
    "relative_l2",
    "rows_differ",
    "selection",
    "sign_flip_test",
    "spearman",
    "spearman_by_group",
    "spearman_rows",
    "steiger",
    "tie_range",
    "tiou",
    "two_level_bootstrap",
    "z_error",
]
