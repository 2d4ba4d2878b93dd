"""Arithmetic on embeddings: its identities on random vectors, and what it says to bad input."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import (
    add,
    analogy,
    cosine_similarity,
    embed,
    mix,
    nearest,
    normalize,
    randomize,
    remove_direction,
    scale,
    shift,
    slerp,
    subtract,
)

SHAPES = [(8,), (5, 8), (2, 77, 8), (1,), (0, 8)]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]

# One call of every function, so that what holds for all is tested on all.
CALLS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "add": add,
    "subtract": subtract,
    "scale": lambda a, b: scale(a, -1.5),
    "shift": lambda a, b: shift(a, 0.5),
    "mix": lambda a, b: mix(a, b, 0.3),
    "slerp": lambda a, b: slerp(a, b, 0.3),
    "randomize": lambda a, b: randomize(a, 0.5),
    "normalize": lambda a, b: normalize(a),
    "analogy": lambda a, b: analogy(a, b, a + b),
    "remove_direction": remove_direction,
}


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    """Equal up to some units of rounding of the dtype of ``a``."""
    unit = torch.finfo(a.dtype).eps
    torch.testing.assert_close(a, b.to(a.dtype), atol=32 * unit, rtol=32 * unit)


def random(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, seed: int = 0) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@st.composite
def pairs(draw: Callable, dtypes: tuple[torch.dtype, ...] = tuple(DTYPES)) -> tuple:
    """Two tensors of one shape and dtype that are not parallel, of lengths from tiny to large."""
    shape, dtype = draw(st.sampled_from(SHAPES[:3])), draw(st.sampled_from(dtypes))
    seed = draw(st.integers(0, 10**6))
    sizes = [draw(st.sampled_from([0.01, 1.0, 30.0])) for _ in range(2)]
    return tuple((random(shape, seed=seed + i) * s).to(dtype) for i, s in enumerate(sizes))


numbers = st.floats(0, 1, width=32)


# --- what holds for all of them ---


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_shape_and_dtype_stay_and_nothing_is_changed(name: str, dtype: Any, shape: Any) -> None:
    a, b = random(shape, dtype), random(shape, dtype, 1)
    if shape == (1,):
        b = a + 1 if a > 0 else a - 1  # in one dimension all else is opposite
    before = a.clone(), b.clone()
    result = CALLS[name](a, b)
    assert (result.shape, result.dtype, result.device) == (a.shape, a.dtype, a.device)
    assert torch.isfinite(result).all()
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])
    if result.numel():
        assert result.data_ptr() != a.data_ptr()


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("name", [n for n in CALLS if n != "randomize"])
def test_low_precision_is_the_rounded_result_of_high_precision(name: str, dtype: Any) -> None:
    a, b = random((5, 512), dtype), random((5, 512), dtype, 1)
    exact = CALLS[name](a.double(), b.double())
    close(CALLS[name](a, b), exact)


@pytest.mark.parametrize("name", ["add", "subtract", "mix", "slerp", "remove_direction"])
def test_one_row_meets_many(name: str) -> None:
    """(d,) and (n, 77, d), in either order, is each row by itself."""
    many, one = random((3, 7, 8)), random((8,), seed=1)
    for a, b in ((many, one), (one, many), (many, random((3, 1, 8), seed=2))):
        result = CALLS[name](a, b)
        assert result.shape == many.shape
        rows_a, rows_b = (x.broadcast_to(many.shape)[2, 4] for x in (a, b))
        close(result[2, 4], CALLS[name](rows_a, rows_b))


@pytest.mark.parametrize("name", ["add", "subtract", "mix", "slerp", "remove_direction"])
def test_the_first_tensor_gives_the_dtype(name: str) -> None:
    for a in DTYPES:
        for b in DTYPES:
            result = CALLS[name](random((2, 8), a), random((2, 8), b, 1))
            assert result.dtype == a


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", CALLS)
def test_a_bad_row_stays_alone(name: str, bad: float) -> None:
    a, b = random((3, 8)), random((3, 8), seed=1)
    good = CALLS[name](a, b)
    a[1, 2] = bad
    result = CALLS[name](a, b)
    assert not torch.isfinite(result[1]).all()
    torch.testing.assert_close(result[[0, 2]], good[[0, 2]])


@pytest.mark.parametrize("size", [2.0**-90, 2.0**90])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_very_small_and_very_large_rows_have_a_direction(dtype: Any, size: float) -> None:
    """Their squares do not fit into float32."""
    a, b = random((3, 8), dtype), random((3, 8), dtype, 1)
    close(normalize(a * size), normalize(a))
    close(cosine_similarity(a * size, b), cosine_similarity(a, b))
    close(slerp(a * size, b * size, 0.4) / size, slerp(a, b, 0.4))
    close(remove_direction(a, b * size), remove_direction(a, b))


# --- the identities ---


@given(pairs())
def test_subtract_undoes_add(ab: tuple) -> None:
    a, b = ab
    assert torch.equal(add(a, b), a + b)
    assert torch.equal(subtract(a, b), a - b)
    assert torch.equal(subtract(a, a), torch.zeros_like(a))


@given(pairs(), st.floats(-4, 4, width=16))
def test_scale_and_shift(ab: tuple, number: float) -> None:
    a, _ = ab
    assert torch.equal(scale(a, number), a * number)
    assert torch.equal(shift(a, number), a + number)
    assert torch.equal(scale(a, 1), shift(a, 0))


@given(pairs())
def test_mix_starts_at_a_and_ends_at_b(ab: tuple) -> None:
    a, b = ab
    assert torch.equal(mix(a, b, 0), a)
    assert torch.equal(mix(a, b, 1), b)


@given(pairs((torch.float64,)), st.floats(-3, 3))
def test_mix_is_a_straight_line(ab: tuple, t: float) -> None:
    a, b = ab
    # the terms are rounded, and beyond the ends they are larger than their sum
    terms = (1 + 2 * abs(t)) * max(a.abs().max(), b.abs().max()).item()
    bound = {"atol": 4 * torch.finfo(a.dtype).eps * terms, "rtol": 0}
    torch.testing.assert_close(mix(a, b, t), (1 - t) * a + t * b, **bound)
    torch.testing.assert_close(mix(a, b, t), mix(b, a, 1 - t), **bound)


@given(pairs())
def test_slerp_starts_at_a_and_ends_at_b(ab: tuple) -> None:
    a, b = ab
    for t, end in ((0, a), (1, b)):
        unit = torch.finfo(a.dtype).eps * max(a.abs().max(), b.abs().max()).item()
        torch.testing.assert_close(slerp(a, b, t), end, atol=8 * unit, rtol=8 * unit)


@given(pairs((torch.float64, torch.float32)), numbers)
def test_slerp_keeps_the_length(ab: tuple, t: float) -> None:
    a, b = (normalize(x) * 7 for x in ab)
    length = slerp(a, b, t).norm(dim=-1)
    close(length, torch.full_like(length, 7))


@given(pairs((torch.float64, torch.float32)), numbers)
def test_slerp_is_symmetric_and_turns_at_constant_speed(ab: tuple, t: float) -> None:
    a, b = (x.reshape(-1, 8).double() for x in ab)
    there, back = slerp(a, b, t), slerp(b, a, 1 - t)
    torch.testing.assert_close(there, back, atol=1e-9, rtol=1e-9)

    def angle(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cosine_similarity(x, y).clamp(-1, 1).acos()

    torch.testing.assert_close(angle(a, there), t * angle(a, b), atol=1e-6, rtol=1e-6)
    lengths = (1 - t) * a.norm(dim=-1) + t * b.norm(dim=-1)
    torch.testing.assert_close(there.norm(dim=-1), lengths)


def test_slerp_by_hand() -> None:
    """From (2, 0) to (0, 2): a third of a right angle is 30 degrees."""
    point = slerp(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0]), 1 / 3)
    torch.testing.assert_close(point, torch.tensor([math.sqrt(3), 1.0]))
    middle = mix(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0]), 0.5)
    torch.testing.assert_close(middle.norm(), torch.tensor(math.sqrt(2)))  # shorter than 2


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_slerp_where_there_is_no_arc(dtype: Any) -> None:
    a, zero = random((8,), dtype), torch.zeros(8, dtype=dtype)
    for b in (zero, a, a * 2):
        close(slerp(a, b, 0.25), mix(a, b, 0.25))
        close(slerp(b, a, 0.25), mix(b, a, 0.25))
    assert torch.equal(slerp(zero, zero, 0.5), zero)
    almost = a.double() * (1 + 1e-5 * random((8,), torch.float64, 3))
    close(slerp(a.double(), almost, 0.5), mix(a.double(), almost, 0.5))
    with pytest.raises(ValueError, match="opposite directions"):
        slerp(torch.stack([a, a]), torch.stack([a, -2 * a]), 0.5)


def test_slerp_turns_at_small_angles_and_refuses_only_opposites() -> None:
    """Straight below an angle of 0.001, refused above pi - 0.001: on both sides of both limits."""
    a = torch.tensor([1.0, 0.0], dtype=torch.float64)

    def at(angle: float) -> torch.Tensor:
        return torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)

    for angle in (0.002, 0.1, math.pi - 0.01, math.pi - 0.002):
        torch.testing.assert_close(slerp(a, at(angle), 0.5), at(angle / 2), atol=1e-9, rtol=0)
        torch.testing.assert_close(slerp(a, at(angle), 0.25), at(angle / 4), atol=1e-9, rtol=0)
    almost = at(1e-4)
    torch.testing.assert_close(slerp(a, almost, 0.25), mix(a, almost, 0.25), atol=1e-15, rtol=0)
    for angle in (math.pi - 1e-4, math.pi, math.pi + 1e-4):
        with pytest.raises(ValueError, match="opposite directions"):
            slerp(a, at(angle), 0.5)


@given(pairs())
def test_normalize_twice_is_once(ab: tuple) -> None:
    once = normalize(ab[0])
    close(once.norm(dim=-1), torch.ones(once.shape[:-1]))
    close(normalize(once), once)
    close(normalize(scale(ab[0], 4)), once)


def test_zeros_have_no_direction() -> None:
    zero = torch.zeros(2, 8)
    assert torch.equal(normalize(zero), zero)
    assert torch.equal(cosine_similarity(zero, random((3, 8))), torch.zeros(2, 3))
    assert torch.equal(randomize(zero, 3), zero)
    assert torch.equal(remove_direction(zero, random((8,))), zero)
    with pytest.raises(ValueError, match="direction is zero"):
        remove_direction(random((2, 8)), torch.stack([zero[0], random((8,))]))


@given(pairs((torch.float64, torch.float32)))
def test_removing_a_direction_twice_is_removing_it_once(ab: tuple) -> None:
    a, direction = ab
    size = a.norm(dim=-1, keepdim=True)
    once = remove_direction(a, direction)
    close(remove_direction(once, direction) / size, once / size)
    close((once * normalize(direction)).sum(-1) / size[..., 0], torch.zeros(a.shape[:-1]))
    # what was taken away lies along the direction, and that is all that was taken away
    close(normalize(a - once).mul(normalize(direction)).sum(-1).abs(), torch.ones(a.shape[:-1]))
    close(remove_direction(a, -3 * direction) / size, once / size)


@given(pairs())
def test_an_analogy_that_changes_nothing(ab: tuple) -> None:
    a, b = ab
    close(analogy(a, b, b), normalize(a))
    close(analogy(a, a, b), normalize(b))
    close(analogy(a, b, scale(b, 4)), normalize(a))  # lengths do not count


def test_analogy_by_hand() -> None:
    prince, man, woman, princess = torch.eye(4)[[0, 0, 1, 1]] + torch.eye(4)[[2, 3, 3, 2]]
    result = analogy(5 * prince, man, 2 * woman)
    torch.testing.assert_close(result, princess / math.sqrt(2))


def test_the_result_of_an_analogy_is_not_normalised() -> None:
    """Three directions at right angles: the sum of the unit vectors is sqrt(3) long."""
    first, second, third = torch.eye(3)
    result = analogy(2 * first, 3 * second, 4 * third)
    torch.testing.assert_close(result, torch.tensor([1.0, -1.0, 1.0]))


def test_randomize() -> None:
    a = random((200, 512)) * torch.arange(1, 201)[:, None] + 3
    noise = randomize(a, 0.5, seed=7) - a
    spread = a.std(dim=-1, correction=0)
    ratio = noise.std(dim=-1) / spread
    assert 0.4 < ratio.min() < ratio.mean() < ratio.max() < 0.6  # strength is per row
    assert abs(ratio.mean() - 0.5) < 0.01
    assert torch.equal(randomize(a, 0), a)
    assert torch.equal(randomize(a, 0.5, seed=7), randomize(a, 0.5, seed=7))
    assert not torch.equal(randomize(a, 0.5, seed=7), randomize(a, 0.5, seed=8))
    units = noise / spread[:, None]
    assert cosine_similarity(units, units).fill_diagonal_(0).abs().max() < 0.4  # rows differ
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    randomize(a, 1)
    assert torch.equal(torch.rand(1), expected)  # the global generator is left alone
    for dtype in DTYPES:
        again = randomize(a.to(dtype), 0.5, seed=7)
        assert again.dtype == dtype
        torch.testing.assert_close(again.float(), a + noise, atol=8, rtol=0.01)
    shrunk = a / a.abs().max()
    close(randomize(shrunk.double(), 0.5, seed=7).float(), randomize(shrunk, 0.5, seed=7))
    constant = torch.full((1, 8), 4.0)
    assert torch.equal(randomize(constant, 2), constant)


def test_the_noise_is_torchs_and_is_added() -> None:
    a = random((3, 8), seed=1)
    noise = torch.randn(3, 8, generator=torch.Generator().manual_seed(7))
    spread = a.std(dim=-1, correction=0, keepdim=True)
    torch.testing.assert_close(randomize(a, 0.5, seed=7), a + 0.5 * spread * noise)


def test_the_noise_is_the_same_whatever_the_defaults() -> None:
    expected = randomize(ROW, 1, seed=0)
    assert torch.equal(randomize(ROW, 1), expected)
    for seed in (1, 2**63 - 1):
        assert not torch.equal(randomize(ROW, 1, seed=seed), expected)
    with torch.device("meta"):
        assert torch.equal(randomize(ROW, 1), expected)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(randomize(ROW, 1), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_negative_strength_is_the_same_noise_the_other_way() -> None:
    a = random((5, 8), torch.float64)
    there, back = randomize(a, 0.5, seed=7), randomize(a, -0.5, seed=7)
    assert (there - a).abs().min() > 0
    close(a - back, there - a)


# --- cosines and neighbours ---


@settings(max_examples=60)
@given(pairs())
def test_cosines(ab: tuple) -> None:
    a, b = (x.reshape(-1, 8) for x in ab)
    found = cosine_similarity(a, b)
    wide = torch.float64 if a.dtype == torch.float64 else torch.float32
    assert (found.shape, found.dtype) == ((len(a), len(b)), wide)
    assert found.abs().max() <= 1
    expected = torch.nn.functional.cosine_similarity(a.to(wide)[:, None], b.to(wide)[None], dim=-1)
    close(found, expected)
    close(found, cosine_similarity(b, a).T)
    own = cosine_similarity(a, a).diagonal()
    close(own, torch.ones_like(own))
    for row in (cosine_similarity(a[0], b), cosine_similarity(b, a[0])):
        close(row, found[0])
    one = cosine_similarity(a[0], b[-1])
    assert one.shape == ()
    close(one, found[0, -1])


def test_cosines_never_leave_their_range() -> None:
    a = random((2000, 100)) + 1
    assert cosine_similarity(a, a).max() == 1
    assert cosine_similarity(a, -a).min() == -1


@settings(max_examples=60)
@given(st.integers(1, 30), st.integers(0, 10**6), st.sampled_from(DTYPES))
def test_nearest_finds_itself_and_keeps_order(m: int, seed: int, dtype: torch.dtype) -> None:
    candidates = random((m, 16), dtype, seed)
    indices, similarities = nearest(candidates, candidates, m)
    assert indices.dtype == torch.long
    assert torch.equal(indices[:, 0], torch.arange(m))
    close(similarities[:, 0], torch.ones(m))
    assert (similarities.diff(dim=1) <= 0).all()
    assert torch.equal(indices.sort(dim=1).values, torch.arange(m).expand(m, m))
    close(cosine_similarity(candidates, candidates).gather(1, indices), similarities)
    one = nearest(scale(candidates[0], 3), candidates, 1)
    assert one.indices.tolist() == [0]
    assert one.similarities.shape == (1,)


def test_nearest_takes_the_first_of_equals() -> None:
    candidates = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    found = nearest(torch.tensor([3.0, 0.0]), candidates, 5)
    assert found.indices.tolist() == [1, 2, 3, 0, 4]
    assert found.similarities.tolist() == [1, 1, 1, 0, -1]


def test_many_equals_keep_their_order() -> None:
    """Short rows may come out in order by luck, of a sort that does not promise it."""
    candidates = torch.eye(2)[torch.arange(4000) % 2]
    found = nearest(torch.eye(2), candidates, 4000).indices
    even, odd = list(range(0, 4000, 2)), list(range(1, 4000, 2))
    assert found.tolist() == [even + odd, odd + even]


@pytest.mark.parametrize(
    ("exclude", "expected"),
    [
        (None, [[0, 1], [1, 0]]),
        ([], [[0, 1], [1, 0]]),
        ([0], [[1, 2], [1, 2]]),
        ((0, 0), [[1, 2], [1, 2]]),
        (range(2), [[2, 3], [2, 3]]),
        (torch.tensor([0]), [[1, 2], [1, 2]]),
        (np.array([0]), [[1, 2], [1, 2]]),
        ([np.int64(0)], [[1, 2], [1, 2]]),
        ([torch.tensor(0)], [[1, 2], [1, 2]]),
        ([[0], [1]], [[1, 2], [0, 2]]),
        ([[], [1, 0]], [[0, 1], [2, 3]]),
        ([torch.tensor([0]), torch.tensor([1])], [[1, 2], [0, 2]]),
        (torch.tensor([[0], [1]]), [[1, 2], [0, 2]]),
    ],
)
def test_exclude(exclude: Any, expected: list[list[int]]) -> None:
    angle = torch.tensor([0.0, 0.3, 0.7, 1.2])
    candidates = torch.stack([angle.cos(), angle.sin()], dim=-1)
    before = candidates.clone()
    found = nearest(candidates[:2] * torch.tensor([[1.0], [2.0]]), candidates, 2, exclude=exclude)
    assert found.indices.tolist() == expected
    assert torch.isfinite(found.similarities).all()
    assert torch.equal(candidates, before)


def test_exclude_for_one_query() -> None:
    candidates = torch.eye(3)
    for exclude in ([0], [[0]], torch.tensor([0])):
        found = nearest(candidates[0], candidates, 2, exclude=exclude)
        assert found.indices.tolist() == [1, 2]
    assert nearest(candidates[:0], candidates, 2).indices.shape == (0, 2)


def test_a_row_excluded_three_times_is_one_row() -> None:
    found = nearest(torch.eye(4)[0], torch.eye(4), 3, exclude=[0, 0, 0])
    assert found.indices.tolist() == [1, 2, 3]


ROW, ROWS = random((8,)), random((4, 8))
BAD: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: add(None, ROW), TypeError, "a is None.*pooler_output"),
    (lambda: add(ROW, [1.0] * 8), TypeError, "b must be a torch tensor.*not list"),
    (lambda: add(ROW.numpy(), ROW), TypeError, "not ndarray"),
    (lambda: scale(SimpleNamespace(), 2), TypeError, "not SimpleNamespace"),
    (lambda: shift(torch.arange(8), 1), TypeError, "floating-point numbers, not torch.int64"),
    (lambda: normalize(ROW > 0), TypeError, "not torch.bool"),
    (lambda: normalize(ROW.to(torch.complex64)), TypeError, "not torch.complex64"),
    (lambda: normalize(torch.tensor(1.0)), ValueError, r"shape \(\.\.\., d\), not \(\)"),
    (lambda: normalize(torch.zeros(3, 0)), ValueError, "shape"),
    (lambda: add(ROW, random((1,))), ValueError, "8 numbers a row and b has 1"),
    (lambda: mix(ROW, random((9,)), 0.5), ValueError, "8 numbers a row and b has 9"),
    (lambda: add(ROWS, ROWS[:3]), ValueError, r"a \(4, 8\) and b \(3, 8\) do not fit"),
    (lambda: add(ROW, ROW.to("meta")), ValueError, "a is on cpu and b on meta"),
    (lambda: scale(ROW, "2"), TypeError, "factor must be one number, not str"),
    (lambda: scale(ROW, b"2"), TypeError, "factor must be one number, not bytes"),
    (lambda: scale(ROW, None), TypeError, "factor must be one number, not NoneType"),
    (lambda: shift(ROW, True), TypeError, "constant must be one number, not bool"),
    (lambda: mix(ROW, ROW, torch.rand(2)), TypeError, "t must be one number, not Tensor"),
    (lambda: slerp(ROW, ROW, 1.01), ValueError, "between 0 and 1, not 1.01"),
    (lambda: slerp(ROW, ROW, -0.1), ValueError, "between 0 and 1"),
    (lambda: slerp(ROW, ROW, math.nan), ValueError, "between 0 and 1, not nan"),
    (lambda: randomize(ROW, "much"), TypeError, "strength must be one number"),
    (lambda: randomize(ROW, 1, seed=1.5), TypeError, "seed must be a whole number, not float"),
    (lambda: analogy(ROW, None, ROW), TypeError, "minus is None"),
    (lambda: analogy(ROW, ROWS, ROWS[:3]), ValueError, r"minus \(4, 8\) and plus \(3, 8\)"),
    (lambda: remove_direction(ROWS, ROWS[:3]), ValueError, "direction"),
    (lambda: remove_direction(ROWS, 0 * ROW), ValueError, "points nowhere"),
    (lambda: cosine_similarity(random((2, 77, 8)), ROW), ValueError, r"a must.*flatten\(1\)"),
    (lambda: nearest(random((2, 77, 8)), ROWS), ValueError, "query must have shape"),
    (lambda: nearest(ROW, ROW), ValueError, r"candidates must have shape \(m, d\)"),
    (lambda: nearest(ROW, ROWS[:0]), ValueError, "at least one row"),
    (lambda: nearest(ROW, None), TypeError, "candidates is None"),
    (lambda: nearest(ROW * math.nan, ROWS), ValueError, "NaN or infinity"),
    (lambda: nearest(ROW, ROWS / 0), ValueError, "NaN or infinity"),
    (lambda: nearest(ROW, ROWS), ValueError, "k is 5.*left, 4"),
    (lambda: nearest(ROW, ROWS, 0), ValueError, "k is 0"),
    (lambda: nearest(ROW, ROWS, 2.0), TypeError, "k must be a whole number, not float"),
    (lambda: nearest(ROW, ROWS, True), TypeError, "k must be a whole number, not bool"),
    (lambda: nearest(ROW, ROWS, 3, exclude=[0, 1]), ValueError, "k is 3.*left, 2"),
    (lambda: nearest(ROW, ROWS, 1, exclude=[4]), ValueError, "row 4; the candidates have 0 to 3"),
    (lambda: nearest(ROW, ROWS, 1, exclude=[-1]), ValueError, "row -1"),
    (lambda: nearest(ROW, ROWS, 1, exclude=1), TypeError, "not int"),
    (lambda: nearest(ROW, ROWS, 1, exclude="12"), TypeError, "not str"),
    (lambda: nearest(ROW, ROWS, 1, exclude=["dog"]), TypeError, "look it up"),
    (lambda: nearest(ROW, ROWS, 1, exclude=ROWS[:, 0] > 0), TypeError, "not bool"),
    (lambda: nearest(ROW, ROWS, 1, exclude=[1, [2]]), ValueError, "2 lists for 1"),
    (lambda: nearest(ROWS[:2], ROWS, 1, exclude=[1, [2]]), TypeError, "mixes lists"),
    (lambda: nearest(ROWS[:2], ROWS, 1, exclude=[[1]]), ValueError, "1 lists for 2 queries"),
]


@pytest.mark.parametrize(("call", "error", "says"), BAD)
def test_bad_input(call: Callable[[], object], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call()


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (add, ["a", "b"]),
        (subtract, ["a", "b"]),
        (lambda a: scale(a, 1), ["a"]),
        (lambda a: shift(a, 1), ["a"]),
        (lambda a, b: mix(a, b, 0.5), ["a", "b"]),
        (lambda a, b: slerp(a, b, 0.5), ["a", "b"]),
        (lambda a: randomize(a, 1), ["a"]),
        (normalize, ["a"]),
        (cosine_similarity, ["a", "b"]),
        (lambda a, b: nearest(a, b, 1), ["query", "candidates"]),
        (analogy, ["start", "minus", "plus"]),
        (remove_direction, ["a", "direction"]),
    ],
)
def test_every_tensor_is_called_by_its_name(call: Callable, names: list[str]) -> None:
    for place, name in enumerate(names):
        tensors = [ROWS] * len(names)
        tensors[place] = None
        with pytest.raises(TypeError, match=rf"^{name} is None\."):
            call(*tensors)
        tensors[place] = ROWS[:, :7]
        if len(names) > 1:
            with pytest.raises(ValueError, match=rf"\b{name} has 7\b"):
                call(*tensors)


def test_numbers_may_come_from_tensors_and_numpy() -> None:
    for half in (torch.tensor(0.5), np.float32(0.5), np.array(0.5)):
        assert torch.equal(scale(ROW, half), ROW * 0.5)
    assert nearest(ROWS[0], ROWS, np.int64(1)).indices.tolist() == [0]
    assert torch.equal(randomize(ROW, 1, seed=torch.tensor(3)), randomize(ROW, 1, seed=3))


def test_on_the_embeddings_of_a_clip(clip) -> None:
    """All three outputs go through, all 77 rows too."""
    e = embed(clip, ["a red heart", "a blue heart"])
    for rows in (e.text_embeds, e.pooler_output, e.last_hidden_state):
        for name, call in CALLS.items():
            result = call(rows[:1], rows[1:])
            assert result.shape == rows[:1].shape, name
            assert torch.isfinite(result).all(), name
    assert nearest(e.text_embeds, e.text_embeds, 1).indices.tolist() == [[0], [1]]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("name", CALLS)
def test_cuda(name: str) -> None:
    a, b = random((5, 64)), random((5, 64), seed=1)
    result = CALLS[name](a.cuda(), b.cuda())
    assert result.is_cuda
    torch.testing.assert_close(result.cpu(), CALLS[name](a, b), atol=1e-5, rtol=1e-5)
    found = nearest(a.cuda(), b.cuda(), 2, exclude=[[0], [1], [2], [3], [4]])
    assert torch.equal(found.indices.cpu(), nearest(a, b, 2, exclude=[[i] for i in range(5)])[0])
