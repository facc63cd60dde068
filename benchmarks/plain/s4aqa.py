"""S4AQA in ordinary modules, as benchmarks/plain/oracle.py has it."""

import torch

from benchmarks.plain.oracle import OracleS4AQA


class Peer(OracleS4AQA):
    def __init__(self, data, drop=0.5):
        super().__init__(*data.features.shape[1:], drop=drop)

    def draw(self, x_l, x_u):
        return {"masked": torch.randint(x_u.shape[1], (len(x_u), 1), device=x_u.device)}

    def loss(self, x_l, y, x_u, masked):
        return super().loss(x_l, y, x_u, masked)[0]
