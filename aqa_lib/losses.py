"""Losses as pure functions of tensors; each returns one number a run, [K], never a mean over runs."""

import torch.nn.functional as F


def squared_error(predicted, true):
    """L_reg = 1/B sum_i (y_i - yhat_i)^2 over the labelled; [K,B] -> [K]."""
    return (predicted - true).square().sum(1) / true.shape[1]


def recovery(recovered, target):
    """L_rcvr = 1/U sum_i |v^_i - v_i|, the absolute error averaged over the D dimensions; [K,B,D] -> [K]."""
    return (recovered - target).abs().sum(2).sum(1) / target[0].numel()


def domain_confusion(logits, labelled, weight):
    """L_adv: cross-entropy of "labelled" (1) against "unlabelled" (0), each set's mean times its weight.

    logits: one [K,B] a set; labelled: one bool a set; weight [K, sets]. In Eq. 6 of S4AQA the labelled set
    weighs 1 and the two unlabelled sets 1/2 each.
    """
    total = 0
    for s, (z, is_labelled) in enumerate(zip(logits, labelled, strict=True)):
        total = total + weight[:, s] * F.softplus(-z if is_labelled else z).sum(1) / z.shape[1]
    return total
