"""What tests of score distributions share: sets with judges, and DAE's network and loss in numpy."""

import dataclasses

import numpy as np
from helpers import noise_set

from aqa_lib import chance


def judged(J=7, rule="middle", missing=False, difficulty=True, **meta):
    """A set of noise with J judges; `missing`: an award in five is not known, and none of item 0."""
    data, rng = noise_set(60, 5, 16), np.random.default_rng(1)
    awards = np.rint(rng.uniform(0, 10, (60, J)) * 2) / 2
    if missing:
        awards[rng.random((60, J)) < 0.2] = np.nan
        awards[0] = np.nan
    d = np.round(rng.uniform(1.5, 4, 60), 1) if difficulty else None
    return dataclasses.replace(
        data, judges=awards, difficulty=d, meta={"judging": rule, "awards": [0, 10, 0.5], **meta}
    )


def outputs(stack, k, batch):
    """mu and z = log sigma^2 [B, heads] of run k by its weights, in numpy."""
    h = batch.x[k, 0].mean(0).numpy()
    for i, layer in enumerate(stack.model.layers):
        h = h @ layer.weight[k].detach().numpy() + layer.bias[k].detach().numpy()
        h = np.maximum(h, 0) if i < 2 else h
    return np.split(h, 2, axis=1)


def eps_of(batch, k, shape):
    """The numbers of a step's noise: sums of the eight bytes of each word, mean 0 and variance 1, in float32."""
    key = batch.keys["noise"][k, 0].numpy().view(np.uint64)
    sums = chance.words(key, np.prod(shape)).view(np.uint8).reshape(-1, 8).sum(1, dtype=float)
    return ((sums - 8 * 127.5).astype("f4") * np.float32((8 * (256**2 - 1) / 12) ** -0.5)).astype(float).reshape(shape)


def parts_by_hand(mu, z, g, eps, noise):
    """(L_rec, L_sup, likelihood) of each item."""
    factor, v = (np.exp(z / 2), np.exp(z)) if noise == "deviation" else (np.exp(z), np.exp(2 * z))
    return (mu + eps * factor - g) ** 2, (mu - g) ** 2, ((mu - g) ** 2 / v + np.log(v)) / 2
