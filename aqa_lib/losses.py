"""Losses as pure functions of tensors; each returns one number a run, [K], never a mean over runs."""

import torch
import torch.nn.functional as F


def squared_error(predicted, true):
    """L_reg = 1/B sum_i (y_i - yhat_i)^2 over the labelled; [K,B] -> [K]."""
    return (predicted - true).square().sum(1) / true.shape[1]


def recovery(recovered, target):
    """L_rcvr = 1/U sum_i |v^_i - v_i|, the absolute error averaged over the D dimensions; [K,B,D] -> [K]."""
    return (recovered - target).abs().sum(2).sum(1) / target[0].numel()


def domain_confusion(logits, labelled, weight, keeps=None):
    """L_adv: cross-entropy of "labelled" (1) against "unlabelled" (0), each set's mean times its weight.

    logits: one [K,B] a set; labelled: one bool a set; weight [K, sets]. In Eq. 6 of S4AQA the labelled set
    weighs 1 and the two unlabelled sets 1/2 each. keeps [K,B]: -1 where the items of a place are taken for the
    other domain.
    """
    total = 0
    for s, (z, is_labelled) in enumerate(zip(logits, labelled, strict=True)):
        z = z if keeps is None else z * keeps
        total = total + weight[:, s] * F.softplus(-z if is_labelled else z).sum(1) / z.shape[1]
    return total


def mmd(f, weight, kernel, keeps=None):
    """Squared maximum mean discrepancy a^T K a [K] of sets f, one [K,B,F] each, whose items have a = weight / B.

    weight [K, sets] sums to zero: positive for one side, negative for the other. kernel "rbf": exp(-|x - y|^2 / s),
    "laplacian": exp(-|x - y|_1 / s), each the mean over s = 2^-2 .. 2^2 times the mean distance of two items,
    weighted by |a| (no bandwidth is published; these factors are usual). The diagonal counts: a biased estimate.
    keeps [K,B]: -1 where the items of a place are taken for the other side.
    """
    a, k = weighed(f, weight, kernel, keeps)
    return (a[:, :, None] * a[:, None] * k).sum((1, 2))


def mmd_parts(f, weight, kernel, keeps=None):
    """What the items of each place add to it, a_i (K a)_i summed over the sets; [K,B]."""
    a, k = weighed(f, weight, kernel, keeps)
    return (a * (k @ a.unsqueeze(2)).squeeze(2)).view(len(a), len(f), -1).sum(1)


def weighed(f, weight, kernel, keeps):
    """a [K,n] and the kernel's values [K,n,n]."""
    x = torch.cat(f, 1)  # [K,n,F]
    a = torch.cat([(weight[:, s] / f[s].shape[1])[:, None].expand(-1, f[s].shape[1]) for s in range(len(f))], 1)
    a = a if keeps is None else a * keeps.repeat(1, len(f))
    if kernel == "laplacian":
        d = torch.cdist(x, x, p=1)
    else:
        square = x.square().sum(-1)
        d = (square[:, :, None] + square[:, None] - 2 * x @ x.mT).clamp(min=0)
    pairs = (a[:, :, None] * a[:, None]).abs() * (1 - torch.eye(a.shape[1], dtype=a.dtype, device=a.device))
    mean = ((pairs * d.detach()).sum((1, 2)) / pairs.sum((1, 2))).clamp(min=1e-12).view(-1, 1, 1)
    return a, sum(torch.exp(-d / (mean * 2.0**i)) for i in range(-2, 3)) / 5
