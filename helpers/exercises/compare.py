"""Compare what a reader wrote with what is right: by value, whatever holds the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

FLOAT32, HALF = 1e-3, 2e-2  # of the largest number; half precision rounds after three digits


def is_blank(answer: Any) -> bool:
    """Whether the dots of ``answer = ...`` are still there, inside a list for example."""
    if isinstance(answer, list | tuple):
        return any(is_blank(part) for part in answer)
    return answer is ...


def as_numbers(value: Any) -> torch.Tensor | None:
    """Numbers of any kind (tensor on any device, array, list) on the CPU, or None if it has none.

    Dimensions of size 1 are left out, so that one row is one row whether or not it is in a batch.
    """
    import torch

    if value is None or isinstance(value, str | bytes | dict | set):
        return None
    try:
        if isinstance(value, list | tuple) and any(isinstance(v, torch.Tensor) for v in value):
            value = torch.stack([torch.as_tensor(part).detach().cpu() for part in value])
        return torch.as_tensor(value).detach().cpu().to_dense().squeeze()
    except Exception:  # whatever it is, and however it fails: it is not numbers
        return None


def same(answer: Any, right: Any) -> bool:
    """Whether two values are equal: texts but for case and spaces around, numbers but for rounding.

    Whole numbers and masks must be equal; floating-point numbers may differ by a thousandth of the
    largest one, in half precision by a fiftieth.
    """
    if isinstance(right, str):
        return isinstance(answer, str) and answer.strip().lower() == right.lower()
    if isinstance(right, list | tuple) and right and isinstance(right[0], str):
        listed = isinstance(answer, list | tuple) and len(answer) == len(right)
        return listed and all(map(same, answer, right))
    one, other = as_numbers(answer), as_numbers(right)
    if one is None or other is None or one.shape != other.shape or one.is_complex():
        return False
    room = 1e-6
    if other.is_floating_point():
        narrow = any(x.is_floating_point() and x.element_size() < 4 for x in (one, other))
        room = (HALF if narrow else FLOAT32) * max(other.abs().max().item(), 1e-3)
    return bool(((one.double() - other.double()).abs() <= room).all())


def described(value: Any) -> str:
    """What a value is, in a few words."""
    if value is None:
        return "None, which is what a function without return gives"
    if isinstance(value, str):
        return "text"
    numbers = as_numbers(value)
    if numbers is None:
        return f"a thing of type {type(value).__name__}"
    if numbers.is_floating_point() and not bool(numbers.isfinite().all()):
        return "not finite: it holds NaN or infinity"
    shape = tuple(getattr(value, "shape", numbers.shape))
    return f"numbers of shape {shape}" if shape else "one number"
