"""Chance as a function: random numbers from (key, position), never from a global stream.

A word is splitmix64's finaliser (Steele, Lea, Flood 2014) applied to a 64-bit key plus a multiple of the
golden ratio. The same key and position give the same number in any process, on any machine, in any order,
whatever else is drawn beside it; `models/functions.py` computes the same words on a device.
"""

import hashlib

import numpy as np

GOLDEN = 0x9E3779B97F4A7C15
MIX1, MIX2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def key(*parts):
    """A 64-bit key from a seed and the names of a stream: key(seed, "dropout", layer)."""
    text = "\x1f".join(f"{type(p).__name__}:{p}" for p in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def words(key, n, start=0):
    """n 64-bit words at positions start .. start+n-1; `key` may be an array [...] -> [..., n]."""
    place = np.arange(start + 1, start + n + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    z = np.asarray(key, dtype=np.uint64)[..., None] + place
    z = (z ^ (z >> np.uint64(30))) * np.uint64(MIX1)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(MIX2)
    return z ^ (z >> np.uint64(31))


def uniform(key, n, start=0):
    """n numbers in [0, 1) with 53 bits."""
    return (words(key, n, start) >> np.uint64(11)) * 2.0**-53


def permutation(key, n):
    """0..n-1 in the order of their words; a prefix of it is a draw without replacement."""
    return np.argsort(words(key, n), kind="stable")
