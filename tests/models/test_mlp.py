"""The network on mean features: by hand, and members as so many runs."""

import numpy as np
import torch

from aqa_lib.models.mlp import Perceptron


def test_three_layers_by_hand():
    model = Perceptron(runs=2, inputs=40, outputs=3).initialise([5, 6])
    x = torch.randn(2, 4, 40, generator=torch.Generator().manual_seed(0))
    for k in range(2):
        h = x[k].double().numpy()
        for i, layer in enumerate(model.layers):
            h = h @ layer.weight[k].detach().double().numpy() + layer.bias[k].detach().double().numpy()
            h = np.maximum(h, 0) if i < 2 else h
        np.testing.assert_allclose(model(x)[k].detach().numpy(), h, atol=1e-6)
    assert [tuple(layer.weight.shape[1:]) for layer in model.layers] == [(40, 32), (32, 16), (16, 3)]


def test_members_are_networks_of_their_own():
    """Each is what a single network with its weights is; none has another's."""
    model = Perceptron(runs=2, inputs=40, outputs=3, members=4).initialise([5, 6])
    alone = Perceptron(runs=8, inputs=40, outputs=3)
    for many, one in zip(model.layers, alone.layers, strict=True):
        one.weight.data, one.bias.data = many.weight.data.flatten(0, 1), many.bias.data.flatten(0, 1)
    x = torch.randn(2, 5, 40, generator=torch.Generator().manual_seed(0))
    found = model(x)
    assert found.shape == (2, 4, 5, 3)
    torch.testing.assert_close(found.flatten(0, 1), alone(x.repeat_interleave(4, 0)))
    first = model.layers[0].weight
    assert len({w.sum().item() for w in first.flatten(0, 1)}) == 8
    bound = 40**-0.5
    assert 0.9 * bound < first.abs().max() <= bound
