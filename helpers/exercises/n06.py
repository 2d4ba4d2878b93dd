"""The exercises and predictions of notebook 6, in its order. None of them needs the pipeline."""

from __future__ import annotations

import math
from typing import Any

from ..arithmetic import mix, normalize, slerp
from ..embeddings import embed
from .compare import as_numbers, same
from .kinds import Choice, Exercise
from .outcomes import larger


def rows_of(clip: Any, *texts: str) -> Any:
    """All rows of one text, (77, d), or of several, (n, 77, d), in float32."""
    rows = embed(clip, list(texts)).last_hidden_state.float()
    return rows[0] if len(texts) == 1 else rows


# --- 8. a middle of full length ------------------------------------------------------------------


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
    """What is wrong with rows for 6.4: their lengths, or their directions as well."""
    rows, straight = as_numbers(answer), middle(clip)
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


# --- 10. chunks and weights ----------------------------------------------------------------------

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


def turned(seen: Any) -> str | None:
    """A, B or C: with at most half of the rows exchanged, with more, never (0). (at, of)."""
    at, rows = map(float, seen)
    if math.isnan(at + rows):
        return None
    return "C" if at == 0 else "A" if at * 2 <= rows else "B"


EXERCISES = [
    Choice(
        id="6.a",
        right="B",
        why="Rows are all that the U-Net is given, so whatever makes the same rows makes the same "
        "picture, but for rounding.",
        wrong={
            "A": "That would be so if something were drawn by lot. Seed and settings are equal.",
            "B": None,
            "C": "What else could the pipeline know of the text? See what it makes of it first.",
        },
        hints=["What does the pipeline do with a text before the U-Net is asked?"],
    ),
    Exercise(
        id="6.1",
        asks="one number",
        right=lambda clip: 0.8 * 1.0 + 0.6 * 0.2,
        why="Latents and v are two mixtures of the same picture and noise. Who has both mixtures "
        "has both; so it does not matter whether a U-Net answers with the noise or with v.",
        mistakes={
            "That is the picture. Asked for is the noise.": lambda clip: 0.6 * 1.0 - 0.8 * 0.2,
            "You forgot the roots.": lambda clip: 0.64 * 1.0 + 0.36 * 0.2,
            "A sign is wrong: put picture and noise into it, and the picture does not drop out.": (
                lambda clip: 0.8 * 1.0 - 0.6 * 0.2
            ),
            "The two factors are exchanged.": lambda clip: 0.6 * 1.0 + 0.8 * 0.2,
            "You took v for the noise. It is a mixture.": lambda clip: 0.2,
            "You took v for the picture. It is a mixture.": lambda clip: (1 - 0.6 * 0.2) / 0.8,
            "That is what the noise adds to the latent. Asked for is the noise before that.": (
                lambda clip: 0.8 * (0.8 * 1.0 + 0.6 * 0.2)
            ),
        },
        hints=[
            "There are two equations, for the latents and for v, and two unknowns.",
            "Multiply each equation so that the picture has the same factor in both.",
            "Add them: the picture drops out. And (√a)² + (√(1 − a))² is 1.",
        ],
        solution="""\
left, latent, said = 0.36, 1.0, 0.2  # a, the latent, v
answer = (1 - left) ** 0.5 * latent + left**0.5 * said""",
    ),
    Choice(
        id="6.b",
        right=larger,
        why="The less a prompt says, the more is left to the noise.",
        wrong={
            "A": "Sensible: nothing is asked for. But look at the two numbers.",
            "B": "Sensible, if the empty prompt were a prompt like any other. Look at the numbers.",
            "C": "Look at the two numbers: one is far larger than the other.",
        },
        hints=["What has to be decided by the noise if the prompt decides nothing?"],
    ),
    Exercise(
        id="6.2",
        asks="one number",
        right=lambda clip: 6.5,
        why="The same guidance goes by several numbers, so ask for the formula before you copy a "
        "scale from a paper or from another program.",
        mistakes={
            "That is the scale of diffusers itself. Compare what stands before the prompt's "
            "answer in both.": lambda clip: 7.5,
            "You went the wrong way: which of the two numbers is the larger one?": (
                lambda clip: 8.5
            ),
            "The sign: with a negative w the prompt would be led away from.": lambda clip: -6.5,
        },
        hints=[
            "Write `empty + scale * (prompt - empty)` as so much of the prompt plus so much of the "
            "empty one.",
            "Compare what stands before `empty` in both formulas.",
        ],
        solution="""\
# empty + s * (prompt - empty) = s * prompt - (s - 1) * empty
answer = 7.5 - 1""",
    ),
    Exercise(
        id="6.3",
        asks="one whole number",
        right=lambda clip: 8 * 20 * 2,
        why="The time goes into these passes. So half the steps, or no guidance, is half the time.",
        mistakes={
            "Guidance is missing: how many answers does it need in a step?": lambda clip: 8 * 20,
            "That is for one picture.": lambda clip: 20 * 2,
            "These are the calls. Each call takes many latents at once.": lambda clip: 20,
            "The steps are missing.": lambda clip: 8 * 2,
        },
        hints=[
            "What does one picture take in one step?",
            "Multiply by the steps, and by the pictures.",
        ],
        solution="""\
pictures, asked_steps, answers = 8, 20, 2  # for the prompt and for the empty prompt
answer = pictures * asked_steps * answers""",
    ),
    Choice(
        id="6.c",
        right="B",
        why="The difference of two equal answers is zero, whatever the scale.",
        wrong={
            "A": "Something is left when the difference is zero. Put it into the formula.",
            "B": None,
            "C": "To lead away, the two answers would have to differ.",
        },
        hints=["What is `away + scale * (prompt - away)` if both are the same?"],
    ),
    Choice(
        id="6.d",
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
        id="6.4",
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
        id="6.5",
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
    Exercise(
        id="6.6",
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
]
