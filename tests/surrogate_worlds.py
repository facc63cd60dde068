"""Surrogate sets that several tests look at, each generated once a process."""

import functools

from aqa_lib.data import load


@functools.cache
def world(**options):
    return load("surrogate", **options)


def large(**options):
    return world(**{"n_train": 3000, "n_test": 1000, "D": 2, "competitions": 60} | options)
