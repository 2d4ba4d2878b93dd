"""The exercises and predictions of notebook 1, in its order."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from ..tokens import tokenize
from .compare import as_numbers
from .kinds import Choice, Exercise

END_OF_WORD = "</w>"


def vocabulary(clip: Any) -> dict[str, int]:
    """From token to id."""
    return dict(clip.tokenizer.get_vocab())


def pieces(clip: Any, text: str) -> list[str]:
    """The tokens of a short text, without start, end and padding."""
    batch = tokenize(clip, text)
    ids = batch["input_ids"][0, 1 : int(batch["attention_mask"].sum()) - 1]
    return list(clip.tokenizer.convert_ids_to_tokens(ids.tolist()))


def ids_of(clip: Any, tokens: list[str]) -> list[int]:
    """The ids of tokens."""
    known = vocabulary(clip)
    return [known[token] for token in tokens]


# --- 2. ends of words --------------------------------------------------------------------------


def ending(clip: Any) -> int:
    """How many entries end a word."""
    return sum(token.endswith(END_OF_WORD) for token in vocabulary(clip))


def both_ways(clip: Any) -> int:
    """How many pieces exist with the mark and without it."""
    known = vocabulary(clip)
    return sum(token + END_OF_WORD in known for token in known)


# --- 3. the first merge, and the longest piece ---------------------------------------------------

LEARNED, GREEDY = "sunflower", "chiaroscuro"


def letters(word: str) -> list[str]:
    """The single symbols of a word of plain letters."""
    return [*word[:-1], word[-1] + END_OF_WORD]


def numbers(clip: Any, symbols: list[str]) -> list[int]:
    """The numbers of the merges that neighbours have, from left to right."""
    merges = json.loads(clip.tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    rank = {tuple(pair): number for number, pair in enumerate(merges)}
    return [rank[pair] for pair in pairwise(symbols) if pair in rank]


def longest_first(clip: Any, symbols: list[str]) -> list[int]:
    """The ids of the longest entries, from left to right."""
    known, found = vocabulary(clip), []
    while symbols:
        fits = [n for n in range(1, len(symbols) + 1) if "".join(symbols[:n]) in known]
        found.append(known["".join(symbols[: max(fits)])])
        symbols = symbols[max(fits) :]
    return found


def listed(answer: Any) -> list[int] | None:
    """The whole numbers of a list, or None if it is no such list."""
    if answer is None or isinstance(answer, str | int | float):
        return None
    found = as_numbers(answer)
    if found is None or found.dim() > 1 or found.is_floating_point() or found.is_complex():
        return None
    return [int(number) for number in found.reshape(-1)]


def about_pieces(answer: Any, clip: Any) -> str | None:
    """What is wrong with a list of ids of pieces; None if it is none."""
    if isinstance(answer, list | tuple) and answer and all(isinstance(a, str) for a in answer):
        return "Those are pieces, as text. Asked for are their ids: vocabulary[piece]."
    found, right = listed(answer), longest_first(clip, letters(GREEDY))
    if found is None:
        return None
    known = {id_: token for token, id_ in vocabulary(clip).items()}
    for place, (one, other) in enumerate(zip(found, right, strict=False), start=1):
        if one != other:
            piece = known.get(one, "no entry")
            return f"Piece {place} of yours is {piece}: not the longest entry that fits there."
    few = len(found) < len(right)
    end = "but the word is not at its end." if few else "but the word has ended before the last."
    return f"Your list has {len(found)} ids: the pieces fit as far as they go, {end}"


# --- 7. what is lost -----------------------------------------------------------------------------

LONG, COPIES = "chiaroscuro", 30


def lost(clip: Any, room: int = -2) -> int:
    """How many tokens do not fit, if all places but two hold them."""
    return COPIES * len(pieces(clip, LONG)) - clip.max_length - room


# --- 8. typed or filled --------------------------------------------------------------------------

TYPED = "oh!!! no! a cat"


def typed(clip: Any) -> list[int]:
    """The places of the typed ! where each is a token of its own, as with ! for padding."""
    found: list[int] = []
    place = 1
    for token in pieces(clip, TYPED):
        marks = token.removesuffix(END_OF_WORD)
        width = len(marks) if set(marks) == {"!"} else 1
        found += range(place, place + width) if "!" in marks else []
        place += width
    return found


def end_of_typed(clip: Any) -> int:
    """The place of the end token in that row."""
    tokens = [token.removesuffix(END_OF_WORD) for token in pieces(clip, TYPED)]
    return 1 + sum(len(token) if set(token) == {"!"} else 1 for token in tokens)


def about_places(answer: Any, clip: Any) -> str | None:
    """What is wrong with a list of places; None if it is none."""
    found, right, end = listed(answer), typed(clip), end_of_typed(clip)
    if found is None:
        return None
    for place in found:
        if place not in right:
            inside = "padding" if end < place < clip.max_length else "no typed !"
            return f"In place {place} stands {inside}."
    if set(found) != set(right):
        return f"In your {len(set(found))} places stands a typed !, but not only there."
    return "Name each place once, from left to right."


def typed_in_runs(clip: Any) -> list[int]:
    """The places of tokens that hold a !, where a run of them is one token."""
    return [1 + i for i, token in enumerate(["oh", "!!!", "no", "!", "a", "cat"]) if "!" in token]


EXERCISES = [
    Choice(
        id="1.a",
        right="B",
        why="Letters that a word is written with need not be a piece of it. The next section but "
        "one shows who decides where to cut.",
        wrong={
            "A": "Sensible: cats is a form of cat. But the list can hold whole words.",
            "B": None,
            "C": "Sensible: letters in the middle of a word can go anywhere. But look again.",
            "D": "All four have the letters. Look at where they are cut.",
        },
        hints=["Would a frequent word need two tokens?"],
    ),
    Exercise(
        id="1.1",
        asks="one whole number",
        right=ending,
        why="More than half of the list are ends of words, many of them whole words: text is full "
        "of words that come again and again.",
        mistakes={
            "Those are the entries without the mark.": (
                lambda clip: len(vocabulary(clip)) - ending(clip)
            ),
            "Those are the single symbols only. Joined pieces can end a word, too.": (
                lambda clip: 256
            ),
            "The single symbols are missing. They can end a word, too.": (
                lambda clip: ending(clip) - 256
            ),
            "Those are the pieces that exist both with and without the mark.": both_ways,
            "Those are all entries.": lambda clip: len(vocabulary(clip)),
        },
        hints=[
            "What do all entries that end a word have in common? Section 1 names the mark.",
            "A string knows `endswith`, and `vocabulary` can be gone through like a list.",
        ],
        solution='answer = sum(token.endswith("</w>") for token in vocabulary)',
    ),
    Choice(
        id="1.b",
        right="B",
        why="The order in which merges were learned decides, and not the length of a piece.",
        wrong={
            "A": "Sensible: both pieces are in the list. But the rule never looks for long pieces.",
            "B": None,
            "C": "Sensible: many usual words are one token. Look at what was printed.",
        },
        hints=["Which pair is joined first? Is it one in the middle of the word?"],
    ),
    Exercise(
        id="1.2",
        asks="the number of one merge",
        right=lambda clip: min(numbers(clip, letters(LEARNED))),
        why="The smallest number is the merge that was learned first, wherever it stands.",
        mistakes={
            "That is the merge of the pair at the left end. The rule looks at all pairs.": (
                lambda clip: numbers(clip, letters(LEARNED))[0]
            ),
            "That is the pair that was learned last.": (
                lambda clip: max(numbers(clip, letters(LEARNED)))
            ),
            "That is the id of the new piece. Asked for is the number of the merge.": (
                lambda clip: 512 + min(numbers(clip, letters(LEARNED)))
            ),
            "You forgot the mark at the end of the word: the last symbol is another one.": (
                lambda clip: min(numbers(clip, list(LEARNED)))
            ),
        },
        hints=[
            "Write the word as single symbols, the last one with its mark. `pairwise` gives the "
            "neighbours.",
            "`rank[pair]` is the number of a merge. Not each pair is in `rank`.",
            "`byte_pair_encode` can show its steps.",
        ],
        solution="""\
symbols = [*"sunflowe", "r</w>"]
answer = min(rank[pair] for pair in pairwise(symbols) if pair in rank)""",
    ),
    Exercise(
        id="1.3",
        asks="a list of ids, one for each piece",
        right=lambda clip: longest_first(clip, letters(GREEDY)),
        why="So the longest pieces give other ids than the merges. Only the merges give those that "
        "the model was trained with.",
        mistakes={
            "Those are the ids by the merges. Here the longest piece is to win.": (
                lambda clip: ids_of(clip, pieces(clip, GREEDY))
            ),
            "The last piece ends the word, and yours does not say so.": (
                lambda clip: longest_first(clip, list(GREEDY))
            ),
            "Start and end belong to the prompt, not to the word.": (
                lambda clip: [
                    clip.tokenizer.bos_token_id,
                    *longest_first(clip, letters(GREEDY)),
                    clip.eos_token_id,
                ]
            ),
            "That is how many pieces there are. Asked for are their ids.": (
                lambda clip: len(longest_first(clip, letters(GREEDY)))
            ),
        },
        says=about_pieces,
        hints=[
            "Write the word with its mark at the end, and try the whole, then one symbol less, and "
            "so on, until it is in `vocabulary`.",
            "Note its id, and go on behind it.",
            "Keep the symbols in a list, as in `byte_pair_encode`, so that the mark stays in one "
            "piece with the last letter.",
        ],
        solution="""\
symbols, answer = [*"chiaroscur", "o</w>"], []
while symbols:
    lengths = range(len(symbols), 0, -1)
    longest = next(n for n in lengths if "".join(symbols[:n]) in vocabulary)
    answer.append(vocabulary["".join(symbols[:longest])])
    symbols = symbols[longest:]""",
    ),
    Choice(
        id="1.c",
        right="C",
        why="Its bytes are all in the list, and only some neighbours among them have a merge.",
        wrong={
            "A": "Sensible: frequent emoji are one token. This one is younger than the list.",
            "B": "Sensible: that is the worst case. But emoji begin alike, and what stands "
            "together often was joined.",
            "C": None,
        },
        hints=["The list was made before this emoji was common. Are its bytes new, too?"],
    ),
    Exercise(
        id="1.4",
        asks="one whole number",
        right=lost,
        why="Thirty words look harmless. Count tokens, and put what matters first.",
        mistakes={
            "Start and end take places, too.": lambda clip: lost(clip, 0),
            "Only one of start and end is in your sum.": lambda clip: lost(clip, -1),
            "Nothing would be lost if the limit were on words.": lambda clip: 0,
            "You counted whole words that are lost. Asked for are tokens.": (
                lambda clip: COPIES - (clip.max_length - 2) // len(pieces(clip, LONG))
            ),
            "Start and end are in your count of tokens, and you took them off the room, too.": (
                lambda clip: lost(clip, -4)
            ),
            "That is how many tokens the prompt has, lost or not.": (
                lambda clip: COPIES * len(pieces(clip, LONG))
            ),
            "That is how many tokens the prompt has, start and end with it, lost or not.": (
                lambda clip: COPIES * len(pieces(clip, LONG)) + 2
            ),
        },
        hints=[
            "How many tokens does the word take? `pieces` shows them.",
            "And how many of the places are left for content?",
        ],
        solution="""\
answer = 30 * len(pieces("chiaroscuro", library)) - (clip.max_length - 2)""",
    ),
    Choice(
        id="1.d",
        right="B",
        why="A special token is looked for first, wherever it stands in the text. The cutting "
        "never sees these marks.",
        wrong={
            "A": "Sensible: the vocabulary is the same. But a special token is looked for first.",
            "B": None,
            "C": "Sensible: padding is nothing. But here it only gets the id of padding.",
        },
        hints=["What comes first: cutting into words, or looking for special tokens?"],
    ),
    Exercise(
        id="1.5",
        asks="a list of places",
        right=typed,
        why="Only the place tells a typed mark from a filled one: the ids are the same.",
        mistakes={
            "Padding is among them. Where does the prompt end?": (
                lambda clip: [*typed(clip), *range(end_of_typed(clip) + 1, clip.max_length)]
            ),
            "You forgot that the start token has a place, too.": (
                lambda clip: [place - 1 for place in typed(clip)]
            ),
            "With this tokenizer a run of marks is not one token.": typed_in_runs,
            "That is how many there are. Asked for are their places.": (
                lambda clip: len(typed(clip))
            ),
            "Those are true and false for each place, or 1 and 0. Asked for are the places.": (
                lambda clip: [int(place in typed(clip)) for place in range(clip.max_length)]
            ),
        },
        says=about_places,
        hints=[
            "Which places hold the id of the padding token?",
            "And which of them stand before the first end token?",
            "`(row == 0).nonzero()` gives places. `row.tolist().index(...)` gives the first one of "
            "an id.",
        ],
        solution="""\
end = row.tolist().index(clip_pad_bang.eos_token_id)
answer = [place for place in range(end) if row[place] == 0]""",
    ),
]
