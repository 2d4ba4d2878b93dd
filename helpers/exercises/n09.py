"""The exercises and predictions of notebook 9, in its order."""

from __future__ import annotations

from typing import Any

from ..tokens import tokenize
from .kinds import Choice, Exercise

# --- 1. a wider encoder: SDXL's second one -------------------------------------------------------

WIDE, WIDE_MLP, DEEP = 1280, 5120, 32
ATTENTION, MLP = 4 * WIDE**2, 2 * WIDE * WIDE_MLP  # numbers in the matrices of one layer

# --- 3. sorted and cut ---------------------------------------------------------------------------

LENGTHS, AT_ONCE = [5, 12, 7, 31, 6, 9, 5, 14], 4


def computed(lengths: list[int], at_once: int = AT_ONCE) -> int:
    """Rows of prompts that are filled up to the longest of their batch."""
    batches = [lengths[i : i + at_once] for i in range(0, len(lengths), at_once)]
    return sum(len(batch) * max(batch) for batch in batches)


# --- 4. and 6. five prompts ----------------------------------------------------------------------

FIVE = ["a cat", "a cat asleep", "a dog", "a cat", "a dog asleep"]


def ids_of(clip: Any) -> list[tuple[int, ...]]:
    """Start to end of each of the five."""
    tokens = tokenize(clip, FIVE)
    lengths = tokens["attention_mask"].sum(-1).tolist()
    return [tuple(ids[:n]) for ids, n in zip(tokens["input_ids"].tolist(), lengths, strict=True)]


def nodes(prompts: list[tuple[int, ...]]) -> int:
    """How many different beginnings they have."""
    return len({ids[: i + 1] for ids in prompts for i in range(len(ids))})


def tokens_of(prompts: Any) -> int:
    """How many tokens they have, one by one."""
    return sum(map(len, prompts))


# --- 10. a million vectors -----------------------------------------------------------------------

MILLION = 10**6


def width(clip: Any) -> int:
    """Of a projected vector, or of a pooled one where there is no projection."""
    if clip.text_projection is None:
        return int(clip.text_config.hidden_size)
    return int(clip.text_projection.out_features)


EXERCISES = [
    Choice(
        id="9.a",
        right="C",
        why="Of 77 rows, 72 are padding, behind the row that is pooled. No row looks ahead, so "
        "nothing in them can reach it.",
        wrong={
            "A": "Count the tokens of this prompt, start and end included, and compare with 77.",
            "B": "It is more. Count the tokens of this prompt, start and end included.",
            "C": None,
        },
        hints=["Which row is pooled, and how many rows stand behind it?"],
    ),
    Exercise(
        id="9.1",
        asks="one whole number",
        right=lambda clip: DEEP * 2 * (ATTENTION + MLP),
        why="More than a billion for one row, and 77 times that for a prompt that is filled up. "
        "This is why it matters how many rows are computed.",
        mistakes={
            "These are the numbers in the matrices. Each of them is multiplied, and then added.": (
                lambda clip: DEEP * (ATTENTION + MLP)
            ),
            "The order is width, MLP width, layers.": lambda clip: (
                WIDE_MLP * 2 * (4 * DEEP**2 + 2 * DEEP * WIDE)
            ),
            "That is one layer.": lambda clip: 2 * (ATTENTION + MLP),
            "That is a whole prompt. Asked for is one row.": (
                lambda clip: 77 * DEEP * 2 * (ATTENTION + MLP)
            ),
            "The MLP has two matrices, one that widens and one that narrows again.": (
                lambda clip: DEEP * 2 * (ATTENTION + MLP // 2)
            ),
            "Attention has one matrix more than query, key and value.": (
                lambda clip: DEEP * 2 * (ATTENTION * 3 // 4 + MLP)
            ),
        },
        hints=[
            "`row_flops` above does it for a width, an MLP width and a number of layers.",
            "Four matrices of attention, width × width; two of the MLP, width × MLP width.",
        ],
        solution=f"answer = row_flops({WIDE}, {WIDE_MLP}, {DEEP})",
    ),
    Exercise(
        id="9.2",
        asks="one whole number",
        right=lambda clip: computed(sorted(LENGTHS)),
        why="Most of the padding that is left stands beside the one long prompt. Smaller batches "
        "would leave less.",
        mistakes={
            "These are the rows if the prompts stay in the order in which they came.": (
                lambda clip: computed(LENGTHS)
            ),
            "That is one batch of them all, or the number in the picture, whose prompts have other "
            "lengths. The shorter half has a longest of its own.": (
                lambda clip: computed(LENGTHS, len(LENGTHS))
            ),
            "These are the tokens of the text. Within a batch, there still is padding.": (
                lambda clip: sum(LENGTHS)
            ),
            "That is the padding alone. The text is computed, too.": (
                lambda clip: computed(sorted(LENGTHS)) - sum(LENGTHS)
            ),
            "These are the rows if everything is filled up to 77.": lambda clip: 77 * len(LENGTHS),
            "That is of the eight prompts in the picture. These here have other lengths.": (
                lambda clip: 168
            ),
        },
        hints=[
            "Write the lengths down in order, and draw a line in the middle.",
            "A batch costs its longest length, times the number of prompts in it.",
        ],
        solution=f"""\
ordered = sorted({LENGTHS})
short, long = ordered[:{AT_ONCE}], ordered[{AT_ONCE}:]
answer = {AT_ONCE} * max(short) + {AT_ONCE} * max(long)""",
    ),
    Exercise(
        id="9.3",
        asks="one whole number",
        right=lambda clip: nodes(ids_of(clip)),
        why="The prompt that comes twice costs nothing more, and asleep stands in the tree twice: "
        "behind cat and behind dog it is not the same row.",
        mistakes={
            "These are all tokens of all prompts. What begins alike counts once.": (
                lambda clip: tokens_of(ids_of(clip))
            ),
            "You counted the prompt that comes twice once, and share nothing else.": (
                lambda clip: tokens_of(set(ids_of(clip)))
            ),
            "These are the different tokens, or the tree without its ends. The same token behind "
            "something else is another node, and so is each end.": (
                lambda clip: len({token for ids in ids_of(clip) for token in ids})
            ),
            "Each prompt that is different ends in a node of its own. You counted one for all.": (
                lambda clip: nodes(ids_of(clip)) - len(set(ids_of(clip))) + 1
            ),
            "Either the start is missing, which all of them share, or asleep was counted once: "
            "behind cat and behind dog it is not the same row.": (
                lambda clip: nodes(ids_of(clip)) - 1
            ),
        },
        hints=[
            "Draw it as the ten prompts are drawn above. How many boxes are there?",
            "A node is a beginning of a prompt: start; start a; start a cat; and so on.",
            "`beginnings` above collects them in a set.",
        ],
        solution=f"""\
five = {FIVE}
answer = len(beginnings(ids_of(five)))""",
    ),
    Choice(
        id="9.b",
        right="A",
        why="The template is computed once for all of them. Behind the names it is computed once "
        "for each name: the same words, but no shared beginning.",
        wrong={
            "A": None,
            "B": "There the prompts differ from their second token on. Where do they begin alike?",
            "C": "Both repeat it, but only a beginning can be shared. Which template is one?",
        },
        hints=["Which tokens of the prompts come before the first difference?"],
    ),
    Exercise(
        id="9.4",
        asks="a list of numbers of nodes",
        right=lambda clip: [0, 1, 6, 7],
        why="These are the tokens of its prompt, and no others. So its row cannot know that other "
        "prompts are computed beside it.",
        mistakes={
            "These are all nodes that come before it in the list. That is the causal mask of a "
            "single prompt; here most of them belong to other prompts.": (
                lambda clip: [0, 1, 2, 3, 4, 5, 6, 7]
            ),
            "These are the nodes; write them in rising order, please.": lambda clip: [7, 6, 1, 0],
            "A row looks at itself, too.": lambda clip: [0, 1, 6],
            "You stopped at its parent. The ancestors go on to the root.": lambda clip: [6, 7],
            "The root is missing, which is an ancestor of all.": lambda clip: [1, 6, 7],
            "Those are the ancestors of another prompt's end.": lambda clip: [0, 1, 2, 3],
        },
        hints=[
            "Go from the node to its parent, from there to that one's parent, and on to the root.",
            "Write down where you started from, as well.",
        ],
        solution="""\
parent = [None, 0, 1, 2, 2, 4, 1, 6]
found = [7]
while found[0] != 0:
    found = [parent[found[0]], *found]
answer = found""",
    ),
    Choice(
        id="9.c",
        right="B",
        why="The ends read from all their ancestors, so these need keys and values. All that comes "
        "behind, the MLP included, is done for the ends alone.",
        wrong={
            "A": "The ends look at their ancestors, also in the last layer. What do they read?",
            "B": None,
            "C": "Nobody reads the rows of the other nodes any more. What of them is still asked "
            "for in this layer?",
        },
        hints=["What does a row that is looked at hand over, and what is only for itself?"],
    ),
    Choice(
        id="9.d",
        right="C",
        why="Without the causal mask every row reads every other, so each depends on the whole "
        "prompt. There is no beginning that could be shared.",
        wrong={
            "A": "That is what the causal mask saw to. Now it is gone.",
            "B": "The start looks at all rows now, as all of them do.",
            "C": None,
        },
        hints=["Which rows may look at the new word, when nothing is forbidden?"],
    ),
    Exercise(
        id="9.5",
        asks="one whole number",
        right=lambda clip: tokens_of(set(ids_of(clip))),
        why="All that such an encoder can share is a prompt that comes twice. Equal lengths still "
        "save the padding. (A mask only keeps it from being read: it is computed all the same.)",
        mistakes={
            "These are the nodes of the tree. A row that looks ahead cannot be shared.": (
                lambda clip: nodes(ids_of(clip))
            ),
            "One of the prompts comes twice.": lambda clip: tokens_of(ids_of(clip)),
            "That has padding in it.": (
                lambda clip: len(set(ids_of(clip))) * max(map(len, ids_of(clip)))
            ),
            "That has padding in it, and one of the prompts comes twice.": (
                lambda clip: len(FIVE) * max(map(len, ids_of(clip)))
            ),
        },
        hints=[
            "Which rows of which prompts are the same, if every row depends on the whole prompt?",
            "Count the tokens of each, start and end included.",
        ],
        solution=f"""\
five = {FIVE}
answer = sum(len(ids) for ids in set(ids_of(five)))""",
    ),
    Exercise(
        id="9.6",
        asks="one whole number",
        right=lambda clip: MILLION * width(clip) * 2,
        why="So vectors of a million captions still fit into the memory of a laptop. Their rows "
        "would not: this is one more reason to ask for what one needs.",
        mistakes={
            "That is float32.": lambda clip: MILLION * width(clip) * 4,
            "That is how many numbers they hold. Each takes more than a byte.": (
                lambda clip: MILLION * width(clip)
            ),
            "These are bits.": lambda clip: MILLION * width(clip) * 16,
            "These would be all rows of each caption.": lambda clip: MILLION * width(clip) * 2 * 77,
        },
        hints=[
            "How many numbers has one vector? `vectors.shape` says it.",
            "A number in float16 has 16 bits, and a byte has 8.",
        ],
        solution="answer = 1_000_000 * vectors.shape[1] * 2",
    ),
]
