"""Distributions of a score y, each given by the outputs z of a network: their densities, moments and quantiles.

    law = LAWS["student"](z, top)                # z [...,4], the outputs z_0 .. z_3 of each video
    law.nll(y), law.mean, law.variance           # [...]: -log p(y | z), E(y | z), Var(y | z)
    law.shape                                    # [...,2]: what scores in other units have as well
    LAWS["student"].quantiles(mean, variance, shape)    # [n,19] at LEVELS, from arrays in any unit

With tanh_c(z) = 10 tanh(z / 10), which is z about 0 and stays within -10 and 10,

    Gaussian    mu = z_0, log sigma^2 = tanh_c(z_1)
    Student-t   mu = z_0, log of the squared scale s^2 = tanh_c(z_1), degrees of freedom d = 2.1 + softplus(z_2);
                the variance is s^2 d / (d - 2), at most 21 s^2
    beta        y / top ~ Beta(a, b), a = m c, b = (1 - m) c, by its mean and precision (Ferrari and Cribari-Neto,
                J. Applied Statistics 2004): m = e + (1 - 2 e) sigmoid(z_0), log c = tanh_c(z_1). The density is that
                on 0 .. top; e = 0.001, and a score beyond e top .. (1 - e) top counts as one at that end
    evidential  gamma = z_0, nu = 0.01 + softplus(z_1), alpha = 1.05 + softplus(z_2), beta = 0.0001 + softplus(z_3):
                a normal-inverse-gamma distribution of (mu, sigma^2). Over it y is Student-t about gamma with
                d = 2 alpha and s^2 = beta (1 + nu) / (nu alpha)

The floors keep a loss in fp32 finite whatever the outputs are: |y - mu| = 5 costs at most 3e5.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import betaincinv, stdtrit

from aqa_lib.evaluation.calibration import LEVELS

BOUND = 10.0  # of a logarithm
FREEDOM = 2.1  # least degrees of freedom: with 2 there is no variance
EDGE = 1e-3  # how near to 0 and top, in tops, the mean of a beta distribution and a score in its density come
NU, BETA = 1e-2, 1e-4  # least nu and beta of the evidential one


def bounded(z):
    return BOUND * (z / BOUND).tanh()


class Gaussian:
    """p(y) = exp(-(y - mu)^2 / (2 sigma^2)) / sqrt(2 pi sigma^2)."""

    quantiles = None  # follow from mean and variance

    def __init__(self, z, top):
        self.mean, self.log_variance = z[..., 0], bounded(z[..., 1])

    @property
    def variance(self):
        return self.log_variance.exp()

    @property
    def shape(self):
        return self.mean.new_zeros(*self.mean.shape, 2)

    def nll(self, y):
        return 0.5 * (math.log(2 * math.pi) + self.log_variance + (y - self.mean).square() * (-self.log_variance).exp())


class Student:
    """p(y) = Gamma((d + 1) / 2) / (Gamma(d / 2) sqrt(pi d s^2)) (1 + (y - mu)^2 / (d s^2))^(-(d + 1) / 2)."""

    def __init__(self, z, top):
        self.mean, self.log_scale, self.freedom = z[..., 0], bounded(z[..., 1]), FREEDOM + F.softplus(z[..., 2])

    @property
    def variance(self):
        return self.log_scale.exp() * self.freedom / (self.freedom - 2)

    @property
    def shape(self):
        return torch.stack([self.freedom, torch.zeros_like(self.freedom)], -1)

    def nll(self, y):
        d, z2 = self.freedom, (y - self.mean).square() * (-self.log_scale).exp()
        normaliser = torch.lgamma(d / 2) - torch.lgamma((d + 1) / 2) + 0.5 * ((math.pi * d).log() + self.log_scale)
        return normaliser + (d + 1) / 2 * (z2 / d).log1p()

    @staticmethod
    def quantiles(mean, variance, shape):
        d = shape[:, :1]
        scale = np.sqrt(variance[:, None] * (d - 2) / d)
        return mean[:, None] + scale * stdtrit(d, np.array(LEVELS))


class Beta:
    """p(y) = (y/top)^(a - 1) (1 - y/top)^(b - 1) / (B(a, b) top), B(a, b) = Gamma(a) Gamma(b) / Gamma(a + b)."""

    def __init__(self, z, top):
        m, c = EDGE + (1 - 2 * EDGE) * z[..., 0].sigmoid(), bounded(z[..., 1]).exp()
        self.a, self.b, self.top = m * c, (1 - m) * c, top
        self.mean, self.variance = top * m, top**2 * m * (1 - m) / (1 + c)

    @property
    def shape(self):
        return torch.stack([self.a, self.b], -1)

    def nll(self, y):
        a, b, share = self.a, self.b, (y / self.top).clamp(EDGE, 1 - EDGE)
        normaliser = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b) + math.log(self.top)
        return normaliser - (a - 1) * share.log() - (b - 1) * (-share).log1p()

    @staticmethod
    def quantiles(mean, variance, shape):
        a, b = shape.T[..., None]
        return mean[:, None] * (a + b) / a * betaincinv(a, b, np.array(LEVELS))


class Evidential(Student):
    """The Student-t over a normal-inverse-gamma distribution; `evidence` is 2 nu + alpha."""

    def __init__(self, z, top):
        nu, alpha, beta = NU + F.softplus(z[..., 1]), FREEDOM / 2 + F.softplus(z[..., 2]), BETA + F.softplus(z[..., 3])
        self.mean, self.freedom, self.evidence = z[..., 0], 2 * alpha, 2 * nu + alpha
        self.log_scale = (beta / alpha).log() + (1 / nu).log1p()


LAWS = {"gaussian": Gaussian, "student": Student, "beta": Beta, "beta_nll": Gaussian, "evidential": Evidential}
