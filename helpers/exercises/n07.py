"""The exercises and predictions of notebook 7, in its order. None of them needs the pipeline."""

from __future__ import annotations

import math
from typing import Any

from ..arithmetic import mix, normalize, slerp
from ..embeddings import embed
from .compare import as_numbers, same
from .kinds import Choice, Exercise, once
from .outcomes import largest
from .rows import rows_of

# --- 1. from scores to shares --------------------------------------------------------------------

SCORES = (2, 1, 0)


def shares(base: float = math.e) -> list[float]:
    """Powers of a base, divided by their sum; of e: the softmax."""
    powers = [base**score for score in SCORES]
    return [power / sum(powers) for power in powers]


# --- 2. one row of another prompt ----------------------------------------------------------------


def with_row(clip: Any, places: Any, texts: tuple[str, str] = ("a rocket", "a pizza")) -> Any:
    """The rows of the first text, at these places those of the second."""
    rows, other = rows_of(clip, *texts).clone()
    rows[places] = other[places]
    return rows


def end_of(clip: Any) -> int:
    """The place of the first end-of-text in "a rocket", and in "a pizza"."""
    return int(embed(clip, "a rocket").attention_mask.sum()) - 1


# --- 3. a middle of full length, and three prompts ---------------------------------------------


def middle(clip: Any) -> Any:
    """The rows halfway from fox to frog, on the straight way."""
    fox, frog = rows_of(clip, "fox", "frog")
    return mix(fox, frog, 0.5)


def with_lengths(rows: Any, lengths: Any) -> Any:
    """The directions of the rows, with these lengths."""
    return normalize(rows) * lengths


def lengths_of(clip: Any, text: str) -> Any:
    """The length of each row, (77, 1)."""
    return rows_of(clip, text).norm(dim=-1, keepdim=True)


def arc(clip: Any) -> Any:
    """The rows halfway from fox to frog, on the arc."""
    fox, frog = rows_of(clip, "fox", "frog")
    return slerp(fox, frog, 0.5)


def about_lengths(answer: Any, clip: Any) -> str | None:
    """What is wrong with rows for 7.3: their lengths, or their directions as well."""
    rows, straight = as_numbers(answer), once(middle, clip)
    if rows is None or rows.shape != straight.shape or rows.is_complex():
        return None
    rows, lengths = rows.float(), rows.float().norm(dim=-1)
    if not bool(rows.isfinite().all()):
        return None
    if not same(normalize(rows), normalize(straight)):
        return "The directions are not those of the straight middle."
    if lengths.max() - lengths.min() < 1e-4 * lengths.max():
        return "Each row has a length of its own, and yours are all equal."
    return "The directions are right, the lengths are not."


def three(clip: Any, *weights: float) -> Any:
    """The rows of fox, frog and pizza, each times its weight, added up."""
    each = zip(weights, rows_of(clip, "fox", "frog", "pizza"), strict=True)
    return sum(weight * rows for weight, rows in each)


def arc_of_three(clip: Any) -> Any:
    """The arc from halfway between fox and frog to pizza, a third of it."""
    return slerp(arc(clip), rows_of(clip, "pizza"), 1 / 3)


# --- the predictions whose outcome is measured in the cell ---------------------------------------


def turned(seen: Any) -> str | None:
    """A, B or C: with at most half of the rows exchanged, with more, never (0). (at, of)."""
    at, rows = map(float, seen)
    if math.isnan(at + rows):
        return None
    return "C" if at == 0 else "A" if at * 2 <= rows else "B"


EXERCISES = [
    Choice(
        id="7.a",
        right=largest,
        why="A row can be looked at a lot and say nothing: whether it does is another question.",
        wrong={
            "A": "Sensible: it is the fox that is to be drawn. But look at the shares.",
            "B": "Sensible: in many models the first token gets much. But look at the shares.",
            "C": "Sensible: there are far more of them. But look at the shares.",
        },
        hints=["The shares of a place add up to 1. Must they be spread by what a row says?"],
    ),
    Exercise(
        id="7.1",
        asks="three numbers, the shares of start, fox and end",
        right=lambda clip: shares(),
        why="Each step in the score multiplies the share by e, 2.7: a small lead takes most of it.",
        mistakes={
            "You divided the scores by their sum. A softmax takes e to the power of each first.": (
                lambda clip: [score / sum(SCORES) for score in SCORES]
            ),
            "These are the powers of e. Shares add up to 1.": (
                lambda clip: [math.exp(score) for score in SCORES]
            ),
            "These are powers of 2. A softmax takes those of e.": lambda clip: shares(2),
            "These are powers of 10. A softmax takes those of e.": lambda clip: shares(10),
            "That would be so if all scores were equal.": lambda clip: shares(1),
            "The order is turned round.": lambda clip: shares()[::-1],
            "These are per cent. Shares add up to 1.": (
                lambda clip: [100 * share for share in shares()]
            ),
        },
        hints=[
            "A softmax takes e to the power of each score, and divides by the sum of all three.",
            "A tensor of the three scores, with decimal points, has a method `softmax` that does "
            "both. It wants to know the dimension: 0.",
        ],
        solution="""\
answer = torch.tensor([2.0, 1.0, 0.0]).softmax(0)""",
    ),
    Choice(
        id="7.b",
        right=turned,
        why="Where it turns depends on how much this U-Net makes of padding. Measure it before you "
        "believe anybody.",
        wrong={
            "A": "Sensible: each padding row has read its prompt. But look where it turned.",
            "B": "Sensible: the words should be worth more than that. But look where it turned.",
            "C": "Sensible: padding sounds like nothing. But look where it turned.",
        },
        hints=["How many rows are words, how many padding? What has a padding row read?"],
    ),
    Exercise(
        id="7.2",
        asks="the rows of one prompt",
        right=lambda clip: with_row(clip, end_of(clip)),
        why="In this place stands the row that CLIP was trained to put its prompt into. For the "
        "U-Net it is one row of 77.",
        mistakes={
            "That is the word's row: the end-of-text comes one later.": (
                lambda clip: with_row(clip, end_of(clip) - 1)
            ),
            "That is a padding row, the one behind it.": (
                lambda clip: with_row(clip, end_of(clip) + 1)
            ),
            "That is the last padding row.": lambda clip: with_row(clip, -1),
            "You took over the padding as well.": (
                lambda clip: with_row(clip, slice(end_of(clip), None))
            ),
            "That is the other way round: a pizza with one row of a rocket.": (
                lambda clip: with_row(clip, end_of(clip), ("a pizza", "a rocket"))
            ),
            "Nothing has changed.": lambda clip: rows_of(clip, "a rocket"),
            "These are the rows of a pizza.": lambda clip: rows_of(clip, "a pizza"),
        },
        hints=[
            "`ends` says how many rows are start, words and end; the end is the last of these.",
            "Places are counted from 0: start, a, rocket, end.",
            "Copy `as_is[0]` with `clone()`, and put one row of `as_is[1]` into the copy.",
        ],
        solution="""\
answer = as_is[0].clone()  # a rocket
answer[ends[0] - 1] = as_is[1][ends[1] - 1]  # start, a, rocket, end""",
    ),
    Exercise(
        id="7.3",
        asks="the rows of one prompt, each with the length it has for fox",
        right=lambda clip: with_lengths(middle(clip), lengths_of(clip, "fox")),
        why="After arithmetic, look at the lengths. A direction is one thing, the length another, "
        "and the U-Net reads both.",
        mistakes={
            "These are the rows halfway as they are: most are too short.": middle,
            "Now every row has length 1. The U-Net is used to longer ones.": (
                lambda clip: normalize(middle(clip))
            ),
            "You used one factor for all rows. Some were not shortened, and are too long now.": (
                lambda clip: (
                    middle(clip) * lengths_of(clip, "fox").mean() / middle(clip).norm(dim=-1).mean()
                )
            ),
            "These are the lengths of the other end, frog.": (
                lambda clip: with_lengths(middle(clip), lengths_of(clip, "frog"))
            ),
            "These are the rows of fox, not of the middle.": lambda clip: rows_of(clip, "fox"),
            "That is the arc. Its lengths lie between those of fox and of frog.": arc,
        },
        says=about_lengths,
        hints=[
            "A row divided by its own length has length 1: `normalize` does that.",
            "`fox.norm(dim=-1, keepdim=True)` holds the length of each row, in a column.",
            "Multiply the directions of the middle by these lengths.",
        ],
        solution="""\
from helpers import normalize

answer = normalize(mix(fox, frog, 0.5)) * fox.norm(dim=-1, keepdim=True)""",
    ),
    Exercise(
        id="7.4",
        asks="the rows of one prompt",
        right=lambda clip: three(clip, 1 / 3, 1 / 3, 1 / 3),
        why="A mean of any number of prompts is made of rows, too. How long they are is another "
        "question: the more prompts, the shorter.",
        mistakes={
            "The pizza has a half, fox and frog a quarter each: a mean of a mean is not even.": (
                lambda clip: three(clip, 1 / 4, 1 / 4, 1 / 2)
            ),
            "That is the sum: its rows are three times as long.": lambda clip: three(clip, 1, 1, 1),
            "That is half of the sum. There are three.": (
                lambda clip: three(clip, 1 / 2, 1 / 2, 1 / 2)
            ),
            "The pizza is missing.": lambda clip: three(clip, 1 / 2, 1 / 2, 0),
            "That is the arc; asked for is the straight way.": arc_of_three,
            "These are the lengths of fox. Asked for is the mean as it comes out.": (
                lambda clip: with_lengths(three(clip, 1, 1, 1), lengths_of(clip, "fox"))
            ),
        },
        hints=[
            "Add the three, and think of how long the rows are then.",
            "With `mix`, the last one must count for a third, not for a half.",
        ],
        solution="""\
answer = (fox + frog + rows_of("pizza")[0]) / 3""",
    ),
]
