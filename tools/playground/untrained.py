"""Random numbers that Python and the page make alike, for a text tower that was never trained.

``docs/playground/untrained.js`` says the same in JavaScript; so no weights need to be shipped.
"""

from __future__ import annotations

import numpy as np

SPREAD = 0.02  # of every table and matrix, as in notebook 04


def normal(count: int, seed: int) -> np.ndarray:
    """``count`` numbers from a normal distribution, float64: number i depends on i and seed only.

    Two hashes of i (the finalizer of MurmurHash3) become one number by Box and Muller's formula.
    """
    i = np.arange(count, dtype=np.uint32)
    u1 = (_hash(i, 2 * seed) + 1.0) / 2**32  # never 0, so that its logarithm exists
    u2 = _hash(i, 2 * seed + 1) / 2**32
    return np.sqrt(-2 * np.log(u1)) * np.cos(2 * np.pi * u2)


def _hash(i: np.ndarray, seed: int) -> np.ndarray:
    h = i * np.uint32(0x9E3779B1) + np.uint32((seed * 0x85EBCA77) % 2**32)
    h = (h ^ (h >> 16)) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> 13)) * np.uint32(0xC2B2AE35)
    return (h ^ (h >> 16)).astype(np.float64)
