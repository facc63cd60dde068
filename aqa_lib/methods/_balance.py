"""Auxiliary losses balanced by their gradients: each is divided by the norm of its gradient at the encoder's weights
and multiplied by that of the regression."""

import torch

TERMS = ("regression", "recovery", "alignment")


def gradient_norms(terms, parameters):
    """Norm of each term's gradient at `parameters` (which carry the run dimension); [K] a term."""
    norms = {}
    for name, term in terms.items():
        gradient = torch.autograd.grad(term.sum(), parameters, retain_graph=True, allow_unused=True)
        squares = [g.flatten(1).square().sum(1) for g in gradient if g is not None]
        norms[name] = torch.stack(squares).sum(0).sqrt() if squares else torch.zeros_like(term)
    return norms


def balanced(batch, weights, norms):
    """Weights with which each auxiliary gradient has lambda times the norm of the regression's; the batch keeps the
    ratios of norms, by which lambdas are multiplied."""
    kept = batch.memory["norms"]  # [K,3], averages of about ten steps
    now = torch.stack([norms.get(name, torch.ones_like(kept[:, 0])) for name in TERMS], 1)
    kept.copy_(now if batch.step == 0 else torch.lerp(kept, now, 0.1))
    ratio = {name: kept[:, 0] / kept[:, i].clamp(min=1e-12) for i, name in enumerate(TERMS)}
    batch.made["ratio"] = ratio
    return {n: w if n == "regression" else w * ratio[n] for n, w in weights.items()}
