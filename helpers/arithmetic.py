"""Arithmetic on embeddings: small functions that work on one vector and on whole batches of rows.

Every function takes tensors whose last dimension is the embedding: one vector (d,), several
(n, d), or all rows of several prompts (n, 77, d). Two tensors broadcast as in torch, but never
along the last dimension. The answer has the dtype of the first tensor; lengths, angles and
cosines are computed in float32 or better, because float16 and bfloat16 are too coarse for them.
Nothing is changed in place. A row with NaN or infinity gives NaN where a length is needed, and
does not touch the other rows; ``nearest`` refuses it.

All raise TypeError for what is no floating-point tensor (or no number, where one is asked for),
and ValueError for shapes or devices that do not fit.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

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
    a, b = _pair(a, b)
    return a + b.to(a.dtype)


def subtract(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """``a - b``, number by number. Shapes as described at the top of this module."""
    a, b = _pair(a, b)
    return a - b.to(a.dtype)


def scale(a: torch.Tensor, factor: float) -> torch.Tensor:
    """``a`` times a number: the direction stays, the length changes."""
    return _checked("a", a) * _number("factor", factor)


def shift(a: torch.Tensor, constant: float) -> torch.Tensor:
    """``a`` with the same number added everywhere: the direction moves towards (1, 1, ..., 1)."""
    return _checked("a", a) + _number("constant", constant)


def mix(a: torch.Tensor, b: torch.Tensor, t: float) -> torch.Tensor:
    """A point on the straight line from ``a`` (t = 0) to ``b`` (t = 1), also called lerp.

    Halfway between two vectors of equal length the result is shorter than both, the more so the
    wider the angle between them. ``t`` may lie outside 0 to 1.
    """
    import torch

    a, b = _pair(a, b)
    wide = _wide(a)
    return torch.lerp(wide, _wide(b).to(wide.dtype), _number("t", t)).to(a.dtype)


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

    a, b = _pair(a, b)
    t = _number("t", t)
    if not 0 <= t <= 1:
        raise ValueError(f"slerp: t must lie between 0 and 1, not {t}; only mix goes beyond.")
    wide_a, wide_b = _wide(a), _wide(b)
    (norm_a, unit_a), (norm_b, unit_b) = _polar(wide_a), _polar(wide_b)
    # accurate for small and for large angles, where arccos of the cosine is not (Kahan)
    angle = 2 * torch.atan2(
        (unit_a - unit_b).norm(dim=-1, keepdim=True), (unit_a + unit_b).norm(dim=-1, keepdim=True)
    )
    zero = (norm_a == 0) | (norm_b == 0)
    if bool(((angle > math.pi - 1e-3) & ~zero).any()):
        raise ValueError(
            "slerp: a and b point in opposite directions, so no arc between them is the shortest; "
            "go by way of a third vector, or use mix."
        )
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

    a = _checked("a", a)
    generator = torch.Generator("cpu").manual_seed(_whole("seed", seed))
    noise = torch.randn(a.shape, generator=generator, dtype=torch.float32, device="cpu")
    noise = noise.to(a.device)
    wide = _wide(a)
    spread = (wide - wide.mean(dim=-1, keepdim=True)).square().mean(dim=-1, keepdim=True).sqrt()
    return (wide + _number("strength", strength) * spread * noise).to(a.dtype)


def normalize(a: torch.Tensor) -> torch.Tensor:
    """Every row scaled to length 1; a row of zeros stays zero."""
    a = _checked("a", a)
    return _polar(_wide(a))[1].to(a.dtype)


def cosine_similarity(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Cosine of the angle between every row of ``a`` and every row of ``b``.

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
    return _cosines(a, b, ("a", "b"))


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
    import torch

    similarity = _cosines(query, candidates, ("query", "candidates"))
    if candidates.dim() != 2 or len(candidates) == 0:
        raise ValueError(
            f"candidates must have shape (m, d) with at least one row, not "
            f"{tuple(candidates.shape)}."
        )
    if not bool(torch.isfinite(similarity).all()):
        raise ValueError(
            "the vectors hold NaN or infinity, so they have no nearest neighbour; look for the "
            "step that made them (float16 overflows above 65504)."
        )
    table = similarity.reshape(-1, len(candidates)).clone()
    left = len(candidates)
    for row, rows in enumerate(_exclusions(exclude, len(table), len(candidates))):
        table[row, rows] = -math.inf
        left = min(left, len(candidates) - len(set(rows)))
    k = _whole("k", k)
    if not 1 <= k <= left:
        raise ValueError(
            f"k is {k}; it must be at least 1 and at most the number of candidates that are left, "
            f"{left}."
        )
    values, indices = table.sort(dim=-1, descending=True, stable=True)
    shape = (*similarity.shape[:-1], k)
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
    _pair(start, minus, names=("start", "minus"))
    _pair(start, plus, names=("start", "plus"))
    _pair(minus, plus, names=("minus", "plus"))
    first, second, third = (_polar(_wide(x))[1] for x in (start, minus, plus))
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
    a, direction = _pair(a, direction, names=("a", "direction"))
    length, unit = _polar(_wide(direction))
    if bool((length == 0).any()):
        raise ValueError("direction is zero, so it points nowhere; nothing can be removed.")
    wide = _wide(a)
    return (wide - (wide * unit).sum(-1, keepdim=True) * unit).to(a.dtype)


# --- pieces -------------------------------------------------------------------------------------


def _wide(a: torch.Tensor) -> torch.Tensor:
    """``a`` in float32, or in float64 if it is that already."""
    return a if a.element_size() >= 4 else a.float()


def _polar(a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lengths (..., 1) and directions (..., d) of the rows; a row of zeros has direction zero."""
    # squares of very small or very large numbers are zero or infinite in float32
    largest = a.abs().amax(dim=-1, keepdim=True)
    scaled = a / largest.masked_fill(largest == 0, 1)
    norm = scaled.norm(dim=-1, keepdim=True)
    return largest * norm, scaled / norm.masked_fill(norm == 0, 1)


def _cosines(a: torch.Tensor, b: torch.Tensor, names: tuple[str, str]) -> torch.Tensor:
    a, b = _pair(a, b, names=names, rows=False)
    for name, x in zip(names, (a, b), strict=True):
        if x.dim() > 2:
            raise ValueError(
                f"{name} must have shape (n, d) or (d,), not {tuple(x.shape)}; choose one row of "
                "each prompt, or compare all of them as one long vector with .flatten(1)."
            )
    a, b = _polar(_wide(a))[1], _polar(_wide(b))[1]
    b = b.to(a.dtype)
    return (a @ (b.T if b.dim() == 2 else b)).clamp(-1, 1)  # rounding can lead beyond 1


# --- checks -------------------------------------------------------------------------------------


def _number(name: str, value: Any) -> float:
    if not isinstance(value, str | bytes | bool):
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError):
            pass
    raise TypeError(f"{name} must be one number, not {type(value).__name__}.")


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise TypeError(f"{name} must be a whole number, not {type(value).__name__}.")


def _checked(name: str, a: torch.Tensor) -> torch.Tensor:
    import torch

    if a is None:
        raise TypeError(
            f"{name} is None. A checkpoint without a projection has no text_embeds: use "
            "pooler_output, or load one that has it: load_clip('emoji')."
        )
    if not isinstance(a, torch.Tensor):
        raise TypeError(
            f"{name} must be a torch tensor, such as embed(clip, text).text_embeds, not "
            f"{type(a).__name__}."
        )
    if not a.dtype.is_floating_point:
        raise TypeError(f"{name} must hold floating-point numbers, not {a.dtype}.")
    if a.dim() == 0 or a.shape[-1] == 0:
        raise ValueError(f"{name} must have shape (..., d), not {tuple(a.shape)}.")
    return a


def _pair(
    a: torch.Tensor,
    b: torch.Tensor,
    *,
    names: tuple[str, str] = ("a", "b"),
    rows: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both checked: same width, same device, and rows that broadcast unless ``rows`` is False."""
    import torch

    a, b = _checked(names[0], a), _checked(names[1], b)
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(
            f"{names[0]} has {a.shape[-1]} numbers a row and {names[1]} has {b.shape[-1]}; both "
            "must be the same kind of embedding, from the same model."
        )
    if a.device != b.device:
        raise ValueError(
            f"{names[0]} is on {a.device} and {names[1]} on {b.device}; move one with .to()."
        )
    if rows:
        try:
            torch.broadcast_shapes(a.shape, b.shape)
        except RuntimeError:
            raise ValueError(
                f"{names[0]} {tuple(a.shape)} and {names[1]} {tuple(b.shape)} do not fit: pass as "
                "many rows in both, or one row in one of them."
            ) from None
    return a, b


def _exclusions(exclude: Any, queries: int, candidates: int) -> list[list[int]]:
    """One list of rows for each query."""

    def listed(x: Any) -> Any:
        return x.tolist() if hasattr(x, "tolist") else x  # a tensor, an array, their numbers

    lists = list | tuple | set | range
    given = [] if exclude is None else listed(exclude)
    if not isinstance(given, lists):
        raise TypeError(
            "exclude must be row numbers of the candidates, a list or one list for each query, "
            f"not {type(exclude).__name__}."
        )
    given = [listed(x) for x in given]
    if not any(isinstance(x, lists) for x in given):
        given = [given] * queries
    if len(given) != queries:
        raise ValueError(f"exclude has {len(given)} lists for {queries} queries.")
    for rows in given:
        if not isinstance(rows, lists):
            raise TypeError("exclude mixes lists and single numbers; pass only one of them.")
        for row in rows:
            if isinstance(row, str):
                raise TypeError(
                    f"exclude must hold row numbers, not {row!r}; look it up: names.index({row!r})."
                )
            if not 0 <= _whole("a row number in exclude", row) < candidates:
                raise ValueError(
                    f"exclude holds row {row}; the candidates have 0 to {candidates - 1}."
                )
    return [list(rows) for rows in given]
