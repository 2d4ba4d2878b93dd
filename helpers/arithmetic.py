"""Arithmetic on embeddings: small functions that work on one vector and on whole batches of rows.

Every function takes tensors whose last dimension is the embedding: one vector (d,), several
(n, d), or all rows of several prompts (n, 77, d). Two tensors broadcast as in torch, but never
along the last dimension. The answer has the dtype of the first tensor; lengths, angles and
cosines are computed in float32 or better, because float16 and bfloat16 are too coarse for them.
Nothing is changed in place. A row with NaN or infinity gives NaN where a length is needed, and
does not touch the other rows; ``nearest`` refuses it.

All raise TypeError for what is no floating-point tensor (or no number, where one is asked for),
and ValueError for shapes or devices that do not fit and for a number that is not finite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from .checks import (
    between_0_and_1,
    check_candidates,
    check_no_opposites,
    check_not_zero,
    check_similarities,
    exclusions,
    how_many,
    one_number,
    seed_number,
    vector_pair,
    vectors,
)

if TYPE_CHECKING:
    import torch


class Nearest(NamedTuple):
    """What ``nearest`` found.

    Attributes:
        indices: (n, k) or (k,), torch.long: rows of the candidates, best first.
        similarities: the same shape, float32 or float64: their cosines with the query.
    """

    indices: torch.Tensor
    similarities: torch.Tensor


def add(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """``a + b``, number by number. Shapes as described at the top of this module."""
    a, b = vector_pair(a, b)
    return a + b.to(a.dtype)


def subtract(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """``a - b``, number by number. Shapes as described at the top of this module."""
    a, b = vector_pair(a, b)
    return a - b.to(a.dtype)


def scale(a: torch.Tensor, factor: float) -> torch.Tensor:
    """``a`` times a number: the direction stays, the length changes."""
    return vectors("a", a) * one_number("factor", factor)


def shift(a: torch.Tensor, constant: float) -> torch.Tensor:
    """``a`` with the same number added everywhere: the direction moves towards (1, 1, ..., 1)."""
    return vectors("a", a) + one_number("constant", constant)


def mix(a: torch.Tensor, b: torch.Tensor, t: float) -> torch.Tensor:
    """A point on the straight line from ``a`` (t = 0) to ``b`` (t = 1), also called lerp.

    Halfway between two vectors of equal length the result is shorter than both, the more so the
    wider the angle between them. ``t`` may lie outside 0 to 1.
    """
    import torch

    a, b = vector_pair(a, b)
    wide = _wide(a)
    return torch.lerp(wide, _wide(b).to(wide.dtype), one_number("t", t)).to(a.dtype)


def slerp(a: torch.Tensor, b: torch.Tensor, t: float) -> torch.Tensor:
    """A point on the arc from ``a`` (t = 0) to ``b`` (t = 1): spherical interpolation.

    The direction turns at constant speed (Shoemake, *Animating rotation with quaternion curves*,
    1985); the length goes from that of ``a`` to that of ``b`` in a straight line, so that two
    vectors of equal length give a result of that length. Rows are turned one by one. Where the
    two directions are almost the same, or one of the vectors is zero, this is ``mix``.

    Raises:
        ValueError: ``t`` is not between 0 and 1 (beyond them the length could fall below zero), or
            two rows point in opposite directions, between which no arc is the shortest.
    """
    import torch

    a, b = vector_pair(a, b)
    t = between_0_and_1("t", t)
    wide_a, wide_b = _wide(a), _wide(b)
    unit_a, unit_b = _unit(wide_a), _unit(wide_b)
    norm_a, norm_b = _along(wide_a, unit_a), _along(wide_b, unit_b)
    # accurate for small and for large angles, where arccos of the cosine is not (Kahan)
    angle = 2 * torch.atan2(
        (unit_a - unit_b).norm(dim=-1, keepdim=True), (unit_a + unit_b).norm(dim=-1, keepdim=True)
    )
    zero = (norm_a == 0) | (norm_b == 0)
    check_no_opposites((angle > math.pi - 1e-3) & ~zero)
    straight = zero | (angle < 1e-3)
    sine = torch.where(straight, torch.ones_like(angle), angle.sin())
    direction = (((1 - t) * angle).sin() * unit_a + (t * angle).sin() * unit_b) / sine
    arc = direction * ((1 - t) * norm_a + t * norm_b)
    return torch.where(straight, wide_a * (1 - t) + wide_b * t, arc).to(a.dtype)


def randomize(a: torch.Tensor, strength: float, *, seed: int = 0) -> torch.Tensor:
    """``a`` plus noise from a normal distribution.

    Args:
        a: (..., d).
        strength: of the noise, in units of each row's own standard deviation: at 1 the noise is
            as large as what the row itself does around its mean. A row of equal numbers has none
            and stays as it is.
        seed: a whole number; the same one gives the same noise for the same shape, whatever the
            device and dtype. Each row gets its own noise.
    """
    import torch

    a = vectors("a", a)
    generator = torch.Generator("cpu").manual_seed(seed_number(seed))
    noise = torch.randn(a.shape, generator=generator, dtype=torch.float32, device="cpu")
    noise = noise.to(a.device)
    wide = _wide(a)
    spread = (wide - wide.mean(dim=-1, keepdim=True)).square().mean(dim=-1, keepdim=True).sqrt()
    return (wide + one_number("strength", strength) * spread * noise).to(a.dtype)


def normalize(a: torch.Tensor) -> torch.Tensor:
    """Every row scaled to length 1; a row of zeros stays zero."""
    a = vectors("a", a)
    return _unit(_wide(a)).to(a.dtype)


def cosine_similarity(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Cosine of the angle between every row of ``a`` and every row of ``b``: all pairs.

    So does ``sklearn.metrics.pairwise.cosine_similarity``. torch's function of the same name goes
    row by row instead: the first of ``a`` with the first of ``b``, the second with the second.

    Args:
        a: (n, d) or (d,).
        b: (m, d) or (d,).

    Returns:
        (n, m), float32 or float64, between -1 and 1; a dimension that was not given is left out:
        two single vectors give a tensor without dimensions. A row of zeros has similarity 0 with
        everything.

    Raises:
        ValueError: more than two dimensions: compare all rows of a prompt as one long vector,
            ``x.flatten(1)``, or choose one row.
    """
    a, b = vector_pair(a, b, all_pairs=True)
    return _cosines(a, b)


def nearest(
    query: torch.Tensor,
    candidates: torch.Tensor,
    k: int = 5,
    *,
    exclude: Sequence[int] | Sequence[Sequence[int]] | None = None,
) -> Nearest:
    """The candidates that point most nearly the way the query does, by cosine.

    Of candidates with the same cosine the one that stands first comes first.

    Args:
        query: (n, d) or (d,).
        candidates: (m, d).
        k: how many, best first.
        exclude: row numbers of the candidates that may not be found: one list (or tensor) for all
            queries, or n of them, one for each query.

    Raises:
        TypeError: ``exclude`` holds something else than row numbers, a mask for example.
        ValueError: NaN or infinity in the vectors; fewer than k candidates are left; no candidate.
    """
    query, candidates = vector_pair(
        query, candidates, names=("query", "candidates"), all_pairs=True
    )
    check_candidates(candidates)
    similarities = _cosines(query, candidates)
    check_similarities(similarities)
    table = similarities.reshape(-1, len(candidates))
    excluded = exclusions(exclude, *table.shape)
    k = how_many(k, len(candidates) - max((len(set(rows)) for rows in excluded), default=0))
    for row, rows in enumerate(excluded):
        table[row, rows] = -math.inf
    values, indices = table.sort(dim=-1, descending=True, stable=True)
    shape = (*similarities.shape[:-1], k)
    return Nearest(indices[:, :k].reshape(shape), values[:, :k].reshape(shape))


def analogy(start: torch.Tensor, minus: torch.Tensor, plus: torch.Tensor) -> torch.Tensor:
    """``start - minus + plus``, each scaled to length 1 first.

    "prince" - "man" + "woman": what is to "woman" as "prince" is to "man"? Unit vectors, so that
    a long embedding does not count more than a short one, as usual since Mikolov, Yih and Zweig,
    *Linguistic Regularities in Continuous Space Word Representations*, NAACL 2013. Find the answer
    with ``nearest``.

    Args:
        start, minus, plus: (d,), (n, d) or (n, L, d); they broadcast.

    Returns:
        The sum, not normalised, in the dtype of ``start``.
    """
    vector_pair(start, minus, names=("start", "minus"))
    vector_pair(start, plus, names=("start", "plus"))
    vector_pair(minus, plus, names=("minus", "plus"))
    first, second, third = (_unit(_wide(x)) for x in (start, minus, plus))
    return (first - second + third).to(start.dtype)


def remove_direction(a: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """``a`` without the part that points along ``direction`` (orthogonal projection).

    Doing it twice changes nothing more. What is left is at a right angle to ``direction``.

    Args:
        a: (..., d).
        direction: (d,), or one for each row; its length does not matter.

    Raises:
        ValueError: ``direction`` is zero, so it points nowhere.
    """
    a, direction = vector_pair(a, direction, names=("a", "direction"))
    check_not_zero("direction", direction)
    wide, unit = _wide(a), _unit(_wide(direction))
    return (wide - _along(wide, unit) * unit).to(a.dtype)


# --- pieces -------------------------------------------------------------------------------------


def _wide(a: torch.Tensor) -> torch.Tensor:
    """``a`` in float32, or in float64 if it is that already."""
    return a if a.element_size() >= 4 else a.float()


def _unit(a: torch.Tensor) -> torch.Tensor:
    """The rows of ``a`` at length 1; a row of zeros stays zero."""
    import torch.nn.functional as F

    # divided by its largest number first, because the squares of very small or very large numbers
    # are zero or infinite in float32, and normalize alone would give zeros
    largest = a.abs().amax(dim=-1, keepdim=True)
    return F.normalize(a / largest.masked_fill(largest == 0, 1), dim=-1)


def _along(a: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
    """How far each row of ``a`` reaches in the direction ``unit``, (..., 1)."""
    return (a * unit).sum(dim=-1, keepdim=True)


def _cosines(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    a, b = _unit(_wide(a)), _unit(_wide(b))
    b = b.to(a.dtype)
    return (a @ (b.T if b.dim() == 2 else b)).clamp(-1, 1)  # rounding can lead beyond 1
