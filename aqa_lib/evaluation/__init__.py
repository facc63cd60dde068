"""Metrics of predicted scores and the statistics of comparing methods; numpy and scipy, no torch."""

from aqa_lib.evaluation.metrics import fisher_mean, pairwise_accuracy, relative_l2, spearman, spearman_rows
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
    "Interval",
    "Paired",
    "bootstrap_interval",
    "fisher_mean",
    "holm",
    "mean_interval",
    "paired_interval",
    "pairwise_accuracy",
    "relative_l2",
    "rows_differ",
    "spearman",
    "spearman_rows",
]
