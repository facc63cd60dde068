"""Orders of a batch of videos: ranks that a gradient passes through, and the order that similarities imply.

Ranks count from 1 (the largest) and are divided by n; equal numbers share the mean of theirs, so that nothing
depends on the number of a video in its batch. Their gradient is that of Rolinek, Musil, Paulus, Vlastelica, Michaelis,
Martius, "Optimizing rank-based metrics with blackbox differentiation", CVPR 2020. The order of similarities is
spectral seriation: Atkins, Boman, Hendrickson, "A spectral algorithm for seriation and the consecutive ones problem",
SIAM Journal on Computing 1998: videos by their entries in the Fiedler vector of the graph.
"""

import torch
from torch.autograd import Function


def ranks(s):
    """s [..., n] -> ranks / n along the last dimension, the largest first; ties share their mean rank."""
    n = s.shape[-1]
    larger = (s.unsqueeze(-2) - s.unsqueeze(-1)).sign_().sum(-1)  # how many more are larger than are smaller
    return larger.add_(n + 1).div_(2 * n)


class BlackboxRanks(Function):
    """`ranks` with the gradient (ranks(s + step g) - ranks(s)) / step for an incoming gradient g."""

    @staticmethod
    def forward(ctx, s, step):
        r = ranks(s)
        ctx.save_for_backward(s, r)
        ctx.step = step
        return r

    @staticmethod
    def backward(ctx, g):
        s, r = ctx.saved_tensors
        return (ranks(s + ctx.step * g) - r) / ctx.step, None


@torch.no_grad()
def seriate(similarity):
    """similarity [K,n,n], symmetric -> the rank of each item / n in the order that it implies, up to reversal [K,n].

    The Fiedler vector is the eigenvector of the least eigenvalue of the Laplacian D - S on the complement of the
    constant vector, whose own eigenvalue is moved to the top. In float64, whatever the similarities are in: rounding
    must not decide the order of two videos.
    """
    S, n = similarity.double(), similarity.shape[-1]
    degrees = S.sum(2)
    top = 4 * degrees.abs().amax(1).clamp(min=1) / n
    laplacian = torch.diag_embed(degrees) - S + top.view(-1, 1, 1)
    return ranks(torch.linalg.eigh(laplacian).eigenvectors[..., 0])


def nearness(order):
    """order [K,n], ranks / n -> [K,n,n]: in row i the rank of every item by its nearness to i in the order, / n.

    An order and its reverse have the same.
    """
    apart = (order.unsqueeze(1) - order.unsqueeze(2)).abs()
    return ranks(-(apart * 2 * order.shape[1]).round())  # whole numbers, so that equal distances are equal


def rank_error(similarity, target, step):
    """sum_i 1/n sum_j (rank of j in row i of a similarity - target_ij)^2; [K,n,n], [K,n,n] -> [K]."""
    return (BlackboxRanks.apply(similarity, step) - target).square().mean(2).sum(1)
