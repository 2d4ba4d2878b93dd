"""The exercises and predictions of notebook 8, in its order. None of them needs the pipeline."""

from __future__ import annotations

import math
from typing import Any

from ..arithmetic import normalize
from .kinds import Choice, Exercise
from .outcomes import larger
from .rows import rows_of

# --- 1. a shift ----------------------------------------------------------------------------------


def shifted(clip: Any) -> Any:
    """The rows of fox, to each a number added."""
    import torch

    rows = rows_of(clip, "fox")
    return rows + torch.linspace(0.5, 1.5, len(rows))[:, None]


def repaired(clip: Any) -> Any:
    """Each row less its mean."""
    return shifted(clip) - shifted(clip).mean(-1, keepdim=True)


# --- 2. chunks and weights ----------------------------------------------------------------------

LONG = 230  # tokens


def chunks(clip: Any, fits: int) -> int:
    """How many chunks LONG tokens take, if so many fit into each."""
    return -(-LONG // fits)


PLACE, WEIGHT = 2, -1  # of fox in "a fox": start, a, fox


def moved(clip: Any, places: Any, weight: float) -> Any:
    """The rows of "a fox", at these places moved on the line from the empty prompt's."""
    rows, empty = rows_of(clip, "a fox", "").clone()
    rows[places] = empty[places] + weight * (rows[places] - empty[places])
    return rows


def multiplied(clip: Any) -> Any:
    """The rows of "a fox", the word's times the weight."""
    rows = rows_of(clip, "a fox").clone()
    rows[PLACE] *= WEIGHT
    return rows


def away_from_row(clip: Any) -> Any:
    """The rows of "a fox", weighted from the other end: row + w * (empty - row)."""
    rows, empty = rows_of(clip, "a fox", "").clone()
    rows[PLACE] += WEIGHT * (empty[PLACE] - rows[PLACE])
    return rows


# --- the predictions whose outcome is measured in the cell ---------------------------------------


def clearly_larger(gaps: Any) -> str | None:
    """A or B if the first or second of two is the larger one by a tenth of it, else C."""
    one, other = map(float, gaps)
    if math.isnan(one + other):
        return None
    return "C" if abs(one - other) < max(one, other) / 10 else "A" if one > other else "B"


EXERCISES = [
    Choice(
        id="8.a",
        right=clearly_larger,
        why="Noise turns the rows, a factor only makes them longer, and the U-Net reads both. "
        "Which counts more is each model's own. Then look at shift 0.25, and at its cosine.",
        wrong={
            "A": "Sensible: twice is a lot. But look at the pixels, and at the cosines.",
            "B": "Sensible: noise is what breaks things. But look at the pixels.",
            "C": "Sensible, if length and direction count alike. But look at the pixels.",
        },
        hints=["Which of the two changes the direction of a row, which its length?"],
    ),
    Exercise(
        id="8.1",
        asks="the rows of one prompt",
        right=repaired,
        why="A layer norm does the same before it does anything else: so inside the text encoder a "
        "shift would do no harm. Behind its last norm there is none to mend it.",
        mistakes={
            "These are the shifted rows as they are.": shifted,
            "Their means are zero, but their lengths have changed: you divided, too.": (
                lambda clip: repaired(clip) / repaired(clip).std(-1, keepdim=True)
            ),
            "You divided, too. Only the mean was to go.": (
                lambda clip: repaired(clip) / repaired(clip).std(-1, keepdim=True, correction=0)
            ),
            "Now every row has length 1.": lambda clip: normalize(repaired(clip)),
            "You took one mean for all. Every row was shifted by another number.": (
                lambda clip: shifted(clip) - shifted(clip).mean()
            ),
            "You took the mean over the rows. Asked for is the mean of the numbers of each row.": (
                lambda clip: shifted(clip) - shifted(clip).mean(0, keepdim=True)
            ),
            "You added the mean once more.": (
                lambda clip: shifted(clip) + shifted(clip).mean(-1, keepdim=True)
            ),
        },
        hints=[
            "What is the mean of a row after the shift, if it was about zero before?",
            "`shifted.mean(dim=-1, keepdim=True)` holds the mean of each row, in a column.",
        ],
        solution="""\
answer = shifted - shifted.mean(dim=-1, keepdim=True)""",
    ),
    Choice(
        id="8.b",
        right="B",
        why="Softmax and sum run over all rows, and neither asks for an order. In a chunk the text "
        "encoder has written the order into the rows.",
        wrong={
            "A": "It would, if the U-Net knew in which place a row stands. Who tells it?",
            "B": None,
            "C": "What would the little come from? Look at what attention does with its rows.",
        },
        hints=["Cross-attention adds up the rows' values, by shares. Does a sum have an order?"],
    ),
    Exercise(
        id="8.2",
        asks="one whole number",
        right=lambda clip: chunks(clip, clip.max_length - 2) * clip.max_length,
        why="A prompt that is one token too long for its chunks costs a whole chunk more, nearly "
        "all of it padding.",
        mistakes={
            "You divided by all places, or left out the last chunk. Start and end take two places "
            "of each chunk, and the last chunk is filled up.": (
                lambda clip: chunks(clip, clip.max_length) * clip.max_length
            ),
            "You added start and end once, and no padding.": lambda clip: LONG + 2,
            "You added start and end of each chunk, and no padding.": (
                lambda clip: LONG + 2 * chunks(clip, clip.max_length - 2)
            ),
            "Start and end of each chunk are missing: these have rows, too.": (
                lambda clip: chunks(clip, clip.max_length - 2) * (clip.max_length - 2)
            ),
            "These are the chunks. Asked for are rows.": (
                lambda clip: chunks(clip, clip.max_length - 2)
            ),
            "These are the tokens of the text. Start, end and padding have rows, too.": (
                lambda clip: LONG
            ),
        },
        hints=[
            "How many tokens of the text fit into one chunk?",
            "How many chunks is that, the last one included, which is not full?",
            "Each chunk is filled up. How many rows does it have?",
        ],
        solution="""\
chunks_needed = -(-230 // FITS)  # rounded up
answer = chunks_needed * clip.max_length""",
    ),
    Choice(
        id="8.c",
        right=larger,
        why="At 0 the row says nothing of blue, at 2 it lies twice as far from the empty prompt's. "
        "What comes of it is each model's own.",
        wrong={
            "A": "Sensible: there the row says nothing. But look at the first line.",
            "B": "Sensible: twice is overdone. But look at the first line.",
            "C": "Sensible: both ends are as far from 1. But look at the first line.",
        },
        hints=["What does the row say at weight 0, what at weight 2?"],
    ),
    Exercise(
        id="8.3",
        asks="the rows of one prompt",
        right=lambda clip: moved(clip, PLACE, WEIGHT),
        why="It leads away from the word, beyond the empty prompt. But only this row: the rows "
        "behind it have read the word, and still say it.",
        mistakes={
            "You multiplied the row by the weight. Here it goes along the line through the empty "
            "prompt's row.": multiplied,
            "You weighted every row. Asked for is that of one word.": (
                lambda clip: moved(clip, slice(None), WEIGHT)
            ),
            "That is the row of another word: the start token has place 0.": (
                lambda clip: moved(clip, PLACE - 1, WEIGHT)
            ),
            "That is the weight 0: the empty prompt's own row.": lambda clip: moved(clip, PLACE, 0),
            "You started from the wrong end: with the weight 1 the row should be unchanged.": (
                away_from_row
            ),
            "Nothing has changed.": lambda clip: rows_of(clip, "a fox"),
        },
        hints=[
            "At which place does the word stand? The start token has place 0.",
            "`rows_of` gives the rows of both prompts, and `nothing` holds those of the empty one.",
            "Copy the rows with `clone()`, and replace one of them by the formula of the first "
            "rule.",
        ],
        solution="""\
answer = rows_of("a fox")[0].clone()
answer[2] = nothing[2] - (answer[2] - nothing[2])  # start, a, fox""",
    ),
    Exercise(
        id="8.4",
        asks="one whole number",
        right=lambda clip: 3 * clip.text_config.hidden_size,
        why="Compare that with the millions of the U-Net: so a learned word is a file of a few "
        "kilobytes, and can only ask for what the U-Net can draw.",
        mistakes={
            "That is one row.": lambda clip: clip.text_config.hidden_size,
            "These are the rows. Each has many numbers.": lambda clip: 3,
            "That is the whole table; the other rows do not learn.": (
                lambda clip: clip.text_config.vocab_size * clip.text_config.hidden_size
            ),
            "That is the whole table and the new rows; the other rows do not learn.": (
                lambda clip: (clip.text_config.vocab_size + 3) * clip.text_config.hidden_size
            ),
            "These are rows of prompts. Each row has many numbers, and only three rows are new.": (
                lambda clip: 3 * clip.max_length
            ),
            "These are the rows of a whole prompt, three times.": (
                lambda clip: 3 * clip.max_length * clip.text_config.hidden_size
            ),
        },
        hints=["How many numbers does a row of the token table have?", "And there are three."],
        solution="""\
answer = 3 * first_row.numel()""",
    ),
]
