"""From what a cell measured to the letter that a prediction should have had; None for no number."""

from __future__ import annotations

import math
from typing import Any


def smaller(gaps: Any) -> str | None:
    """A or B if the first or second of two is much smaller (less than half), else C."""
    one, other = map(float, gaps)
    if math.isnan(one + other):
        return None
    return "A" if one < other / 2 else "B" if other < one / 2 else "C"


def larger(gaps: Any) -> str | None:
    """A or B if the first or second of two is much larger (more than twice), else C."""
    return smaller((gaps[1], gaps[0]))


def largest(shares: Any) -> str | None:
    """A, B, C for the first, second or third of three, whichever is largest."""
    three = [float(share) for share in shares]
    return None if math.isnan(sum(three)) else "ABC"[three.index(max(three))]


def third(share: Any) -> str | None:
    """A, B, C for the lower, middle and upper third of a share, given as (part, whole)."""
    part, whole = map(float, share)
    if math.isnan(part + whole):
        return None
    return "A" if part * 3 < whole else "C" if part * 3 > whole * 2 else "B"
