"""The exercises and predictions of notebook 4, in its order."""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import Any

from ..arithmetic import (
    add,
    analogy,
    cosine_similarity,
    nearest,
    normalize,
    remove_direction,
    subtract,
)
from ..artwork import load_artwork
from ..embeddings import embed
from ..tokens import tokenize
from .kinds import Choice, Exercise
from .outcomes import third


def vectors(clip: Any, texts: list[str]) -> Any:
    """One vector for each text, (n, d), as the notebook's ``vectors_of`` has it."""
    return encoded(clip, tuple(texts))


@lru_cache(maxsize=8)  # an answer is compared with the right one and with every known mistake
def encoded(clip: Any, texts: tuple[str, ...]) -> Any:
    """The same, once for each list of texts; nothing here changes it in place."""
    found = embed(clip, tokenize(clip, list(texts), padding="longest"))
    return (found.pooler_output if found.text_embeds is None else found.text_embeds).float().cpu()


# --- 1. two texts -------------------------------------------------------------------------------


def two(clip: Any) -> Any:
    """The two vectors of the exercise on the cosine."""
    return vectors(clip, ["a red heart", "a puppy"])


def dot(v: Any, w: Any) -> Any:
    """The dot product."""
    return v @ w


# --- 3. a direction -----------------------------------------------------------------------------


def farmer(clip: Any) -> Any:
    """The vector that a direction is taken out of."""
    return vectors(clip, ["woman farmer"])[0]


def gender(clip: Any, *, unit: bool = False, raw: bool = False) -> Any:
    """woman - man, each of length 1 or raw; the difference of length 1 or as it is."""
    woman, man = vectors(clip, ["woman", "man"])
    direction = woman - man if raw else subtract(normalize(woman), normalize(man))
    return normalize(direction) if unit else direction


def along(clip: Any, *, unit: bool = True) -> Any:
    """The part of the farmer along the direction."""
    direction = gender(clip, unit=unit)
    return (farmer(clip) @ direction) * direction


# --- 5. a ranking -------------------------------------------------------------------------------

WORD, FACE = "happy", "grinning face"


@cache
def faces() -> list[str]:
    """The names that are ranked."""
    return [name for name in load_artwork().names if name.endswith(" face")]


def cosines(clip: Any) -> Any:
    """Of the word with each of them, (n,)."""
    return cosine_similarity(vectors(clip, [WORD])[0], vectors(clip, faces()))


def place(clip: Any) -> int:
    """The place of the face in the ranking."""
    found = cosines(clip)
    return int((found > found[faces().index(FACE)]).sum()) + 1


# --- 7. a family, and 10. a direction from it ---------------------------------------------------


@cache
def jobs() -> list[str]:
    """X, where there are an emoji "man X" and "woman X", and X is a job."""
    names = load_artwork().names
    both = [n[4:] for n in names if n.startswith("man ") and f"woman {n[4:]}" in names]
    return [
        x
        for x in both
        if ":" not in x and ("ing" not in x or x == "singer") and not x.startswith(("in ", "with "))
    ]


def people(clip: Any, who: str) -> Any:
    """The vectors of "man X" or "woman X"."""
    return vectors(clip, [f"{who} {job}" for job in jobs()])


def score(
    clip: Any, *, change: Any = analogy, exclude: bool = False, stays: bool = False, turn: int = 1
) -> int:
    """How many man X - dad + mom find woman X; or stay at man X."""
    table = vectors(clip, [f"{who} {job}" for who in ("man", "woman") for job in jobs()])
    men = table[: len(table) // 2]
    sums = change(men, *vectors(clip, ["dad", "mom"][::turn]))
    own = [[i] for i in range(len(men))] if exclude else None
    found = nearest(sums, table, 1, exclude=own).indices[:, 0].tolist()
    return sum(place == i + (0 if stays else len(men)) for i, place in enumerate(found))


def by_row(a: Any, b: Any) -> Any:
    """The cosine of the first of each, of the second, and so on."""
    return (normalize(a) * normalize(b)).sum(-1)


def missing(
    clip: Any, men: Any = remove_direction, women: Any = remove_direction, compare: Any = by_row
) -> Any:
    """1 - the mean cosine of man X and woman X, after something was done to each of them.

    What is done to them is a function of the vectors and of ``female``. (Asked for is 1 - the
    cosine because several mistakes end within a thousandth of the right cosine.)
    """
    one, other = normalize(people(clip, "man")), normalize(people(clip, "woman"))
    female = (other - one)[::2].mean(0)
    one, other = men(one, female), women(other, female)
    return 1 - compare(one, other).mean()


def dots(a: Any, b: Any) -> Any:
    """The dot product of the first of each, of the second, and so on."""
    return (a * b).sum(-1)


def long_part(vectors: Any, direction: Any) -> Any:
    """Takes out the part along a direction, as if that were 1 long."""
    return vectors - (vectors @ direction)[:, None] * direction


def untouched(a: Any, direction: Any) -> Any:
    """Nothing is done."""
    return a


# --- the predictions whose outcome is measured in the cell --------------------------------------


def which(seen: Any) -> str | None:
    """A for none, B for the first share only, C for both, where a share counts from a half on."""
    sharing, synonyms = map(float, seen)
    if math.isnan(sharing + synonyms):
        return None
    return "A" if sharing < 0.5 else "B" if synonyms < 0.5 else "C"


EXERCISES = [
    Choice(
        id="4.a",
        right="A",
        why="Times a number changes the length and not the direction. The same number added "
        "everywhere turns the vector.",
        wrong={
            "A": None,
            "B": "Sensible: all numbers are treated alike. But those near zero change more, for "
            "their size, than the large ones. Look at the lines.",
            "C": "One of the two turns the vector. Look at the lines.",
        },
        hints=["Draw (3, 4), then three times it, then (4, 5). Which one lies on another line?"],
    ),
    Exercise(
        id="4.1",
        asks="one number",
        right=lambda clip: cosine_similarity(*two(clip)),
        why="Dot product over both lengths: that is all a cosine is. The helper does it for many "
        "at once, and in float32 for half precision too.",
        mistakes={
            "That is the dot product. Both lengths are still in it.": lambda clip: dot(*two(clip)),
            "You divided by the length of v only. That of w is still in it.": (
                lambda clip: dot(normalize(two(clip)[0]), two(clip)[1])
            ),
            "You divided by the length of w only. That of v is still in it.": (
                lambda clip: dot(two(clip)[0], normalize(two(clip)[1]))
            ),
            "Python went from left to right: it divided by one length and multiplied by the "
            "other. Brackets are missing.": lambda clip: (
                dot(*two(clip)) / two(clip)[0].norm() * two(clip)[1].norm()
            ),
            "You divided by the sum of the lengths.": lambda clip: (
                dot(*two(clip)) / two(clip).norm(dim=-1).sum()
            ),
            "You divided by the squares of the lengths.": lambda clip: (
                dot(*two(clip)) / two(clip).square().sum(-1).prod()
            ),
            "That is one minus it, a distance.": lambda clip: 1 - cosine_similarity(*two(clip)),
            "That is the angle itself, in radians.": (
                lambda clip: cosine_similarity(*two(clip)).acos()
            ),
        },
        hints=[
            "The text above says what the dot product is divided by.",
            "`v.norm()` is one length, `w.norm()` the other.",
            "Python divides from left to right. Put what you divide by into brackets.",
        ],
        solution="answer = v @ w / (v.norm() * w.norm())",
    ),
    Exercise(
        id="4.2",
        asks="one vector",
        right=lambda clip: remove_direction(farmer(clip), gender(clip)),
        why="What is left has a dot product of zero with the direction, so taking it out again "
        "changes nothing.",
        mistakes={
            "You subtracted the direction itself. Take only as much of it as the vector "
            "has.": lambda clip: farmer(clip) - gender(clip),
            "You subtracted the direction at length 1. Take only as much of it as the vector "
            "has.": lambda clip: farmer(clip) - gender(clip, unit=True),
            "The direction is not 1 long here, so the part along it came out in the wrong size.": (
                lambda clip: farmer(clip) - along(clip, unit=False)
            ),
            "That is the part along the direction. Asked for is what is left without it.": along,
            "You added the part along the direction. It should go.": (
                lambda clip: farmer(clip) + along(clip)
            ),
            "You took out woman - man with their own lengths. In gender both are scaled first.": (
                lambda clip: remove_direction(farmer(clip), gender(clip, raw=True))
            ),
            "The direction is gone, but the vector was scaled as well. Leave its length.": (
                lambda clip: remove_direction(normalize(farmer(clip)), gender(clip))
            ),
        },
        hints=[
            "First scale the direction to length 1: `unit = normalize(gender)`.",
            "`farmer @ unit` says how far the vector reaches along it.",
            "That number times `unit` is the part that has to go.",
        ],
        solution="""\
unit = normalize(gender)
answer = farmer - (farmer @ unit) * unit""",
    ),
    Choice(
        id="4.b",
        right=third,
        why="What is usual depends on the checkpoint, so look at unrelated pairs before you read "
        "anything into a cosine.",
        wrong={
            "A": "Sensible: vectors drawn at random would stand at right angles. These were not "
            "drawn at random. Look at the line of 50%.",
            "B": "Sensible, as a guess in the middle. Look at the line of 50%.",
            "C": "Here it is lower. Look at the line of 50%.",
        },
        hints=["Do the names have anything in common, for a model that also knows other texts?"],
    ),
    Exercise(
        id="4.3",
        asks="one whole number",
        right=place,
        why="A place says more than a cosine: it needs no line, and it can be compared between "
        "words.",
        mistakes={
            "You counted from zero. The nearest name has the first place.": (
                lambda clip: place(clip) - 1
            ),
            "You counted the names above a line. Asked for is one name's place.": (
                lambda clip: int((cosines(clip) > 0.6).sum())
            ),
            "That is where the name stands in the list, before anything is compared.": (
                lambda clip: faces().index(FACE)
            ),
            "You counted from the far end. A larger cosine is nearer.": (
                lambda clip: len(faces()) - place(clip) + 1
            ),
            "That is the cosine. Asked for is its place among the others.": (
                lambda clip: cosines(clip)[faces().index(FACE)]
            ),
        },
        hints=[
            "`cosine_similarity(vector(...), vectors_of(all_faces))` has one number for each name.",
            "`all_faces.index(...)` says where a name stands in the list.",
            "How many numbers are larger than that of the name? The first place has none.",
        ],
        solution="""\
cosines = cosine_similarity(vector("happy"), vectors_of(all_faces))
own = cosines[all_faces.index("grinning face")]
answer = int((cosines > own).sum()) + 1""",
    ),
    Choice(
        id="4.c",
        right=which,
        why="So whoever shows you such a sum has to show what a model without any learning makes "
        "of it.",
        wrong={
            "A": "Sensible: it has learned nothing. But look at what was printed, and at the words "
            "that stand on both sides.",
            "B": "On this checkpoint it came out otherwise. Look at what was printed.",
            "C": "Sensible, if you trust arithmetic. But nobody ever told this tower which words "
            "mean the same. Look at what was printed.",
        },
        hints=["Which words of the answer stand in the question, in each of the two kinds?"],
    ),
    Exercise(
        id="4.4",
        asks="one whole number",
        right=score,
        why="With nothing excluded the sum itself has to get there. Where most sums stay at their "
        "first word, excluding it would have made a poor score look good.",
        mistakes={
            "You excluded the first word of each sum, and so counted what comes second.": (
                lambda clip: score(clip, exclude=True)
            ),
            "You added the vectors with their own lengths. analogy scales each to length 1.": (
                lambda clip: score(clip, change=lambda a, b, c: a - b + c)
            ),
            "Either the signs are the wrong way round, mom taken away and dad added, or you looked "
            "among all names. Look among people.": lambda clip: score(clip, turn=-1),
            "You counted the sums that stay at the man they began with.": (
                lambda clip: score(clip, stays=True)
            ),
        },
        hints=[
            "`analogy` takes all the men at once: `vectors_of([f'man {job}' for job in jobs])`.",
            "`nearest(sums, vectors_of(people), 1).indices[:, 0]` has a place in `people` each.",
            "In how many cases does the woman with the same job stand there?",
        ],
        solution="""\
minus, plus = vectors_of(["dad", "mom"])
sums = analogy(vectors_of([f"man {job}" for job in jobs]), minus, plus)
found = nearest(sums, vectors_of(people), 1).indices[:, 0].tolist()
answer = sum(people[i] == f"woman {job}" for i, job in zip(found, jobs, strict=True))""",
    ),
    Choice(
        id="4.d",
        right="B",
        why="The straight way cuts the corner. On the arc every point is as far from zero as its "
        "ends.",
        wrong={
            "A": "Sensible: both ends are 1 long. But the straight way between two points of a "
            "circle runs inside it.",
            "B": None,
            "C": "One of the two keeps the length. Look at the lines.",
        },
        hints=["Draw a circle, two points on it, and both ways between them."],
    ),
    Exercise(
        id="4.5",
        asks="one number",
        right=lambda clip: math.sqrt(0.5),
        why="Halfway, mix has the root of (1 + cosine) / 2 as its length. The smaller the cosine, "
        "the shorter.",
        mistakes={
            "That is what slerp keeps. mix cuts the corner.": lambda clip: 1.0,
            "Halves of two lengths are added like that only along one line. These stand at a "
            "right angle.": lambda clip: 0.5,
            "Only opposite directions cancel in the middle.": lambda clip: 0.0,
            "That is the length of the sum. Halfway is half of it.": lambda clip: math.sqrt(2),
            "Nearly. Write it with one more decimal, or let Python compute it.": lambda clip: 0.71,
        },
        hints=[
            "Take (1, 0) and (0, 1). Which point lies halfway on the straight line?",
            "The length is the root of the sum of the squares.",
            "Or let the computer do it: `mix`, and then `.norm()`.",
        ],
        solution="answer = mix(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 0.5).norm()",
    ),
    Exercise(
        id="4.6",
        asks="one number, what is missing to a cosine of 1",
        right=missing,
        why="The less is missing, the more of the difference between a man X and a woman X lay "
        "along this one direction.",
        mistakes={
            "That is the mean cosine. Asked for is what is missing to 1.": (
                lambda clip: 1 - missing(clip)
            ),
            "That is what was missing before anything was removed.": (
                lambda clip: missing(clip, untouched, untouched)
            ),
            "You removed it from the men only.": (
                lambda clip: missing(clip, remove_direction, untouched)
            ),
            "You removed it from the women only.": (
                lambda clip: missing(clip, untouched, remove_direction)
            ),
            "You subtracted the direction from both. That moves them, and leaves what differs.": (
                lambda clip: missing(clip, subtract, subtract)
            ),
            "You added the direction to the men. That takes each near his woman, and removes "
            "nothing.": lambda clip: missing(clip, add, untouched),
            "You subtracted the direction from the women. Take only as much of it as each vector "
            "has, and from the men as well.": lambda clip: missing(clip, untouched, subtract),
            "The direction is not 1 long here, so the part along it came out in the wrong "
            "size.": lambda clip: missing(clip, long_part, long_part),
            "These are dot products. What is left of a vector is shorter than 1.": (
                lambda clip: missing(clip, compare=dots)
            ),
            "You compared every man with every woman. Compare each with the one of the same job.": (
                lambda clip: missing(clip, compare=cosine_similarity)
            ),
        },
        hints=[
            "`remove_direction` takes all of `men` at once.",
            "Do it to `men` and to `women`, and then compare row by row: `cosines_of(a, b)`.",
            "`.mean()` of that, and the difference from 1.",
        ],
        solution="""\
one, other = remove_direction(men, female), remove_direction(women, female)
answer = 1 - cosines_of(one, other).mean()""",
    ),
]
