"""The three verbs of an exercise: ``check``, ``hint``, ``solution``. All print, and none raises."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from importlib.util import find_spec
from textwrap import fill
from typing import Any

from ..checkpoints import load_clip
from .kinds import WRONG, Choice, Exercise

WIDTH = 88  # letters in a printed line

_hints_given: dict[str, int] = {}


def check(exercise: str, answer: Any = ..., seen: Any = None, *, clip: Any = None) -> None:
    """Print whether an answer is right, or what is wrong with it; never what is right.

    It never raises an error.

    Args:
        exercise: "0.2", as its heading says; "0.a" for a prediction.
        answer: yours; ``...`` is not answered yet.
        seen: what the cell measured, for predictions whose outcome depends on the checkpoint.
        clip: the checkpoint that it is judged on; None takes the notebook's ``clip``, and the
            shipped one where there is none.
    """
    found = _find(exercise)
    if isinstance(found, str):
        _say(found)
        return
    try:
        frame = inspect.currentframe()
        if clip is None and frame is not None and frame.f_back is not None:
            clip = frame.f_back.f_globals.get("clip")  # a notebook's variables
        if clip is None and isinstance(found, Exercise):
            clip = load_clip()
        said = found.judge(answer, clip, seen)
    except Exception as error:  # an answer can be anything, its == and its length included
        kind = type(answer).__name__
        said = f"{WRONG} This answer, of type {kind}, cannot be compared ({type(error).__name__})."
    _say(said)


def hint(exercise: str) -> None:
    """Print a hint, and a further one with each call; after the last they start again."""
    found = _find(exercise)
    if isinstance(found, str):
        _say(found)
        return
    given, all_of_them = _hints_given.get(found.id, 0), len(found.hints)
    if given < all_of_them:
        _say(f"Hint {given + 1} of {all_of_them}: {found.hints[given]}")
    else:
        _say(f"No more hints. solution({found.id!r}) prints the answer.")
    _hints_given[found.id] = (given + 1) % (all_of_them + 1)


def solution(exercise: str) -> None:
    """Print the solution: code that can stand in place of the dots."""
    found = _find(exercise)
    if isinstance(found, str):
        _say(found)
    else:
        print(found.solution)


def exercises_of(notebook: int) -> dict[str, Exercise | Choice]:
    """The exercises of a notebook by id, in their order; empty where it has none."""
    name = f"{__package__}.n{notebook:02}"
    if find_spec(name) is None:
        return {}
    return {exercise.id: exercise for exercise in import_module(name).EXERCISES}


def _find(exercise: Any) -> Exercise | Choice | str:
    """The exercise, or a sentence that says what there is."""
    number = exercise.split(".")[0].strip() if isinstance(exercise, str) else ""
    if not re.fullmatch(r"[0-9]", number):
        return (
            'An exercise is named by its notebook and its number, in quotes: check("0.2", answer).'
        )
    known = exercises_of(int(number))
    if exercise.strip() in known:
        return known[exercise.strip()]
    there = f"it has {', '.join(known)}" if known else "it has none that can be checked"
    return f"Notebook {number} has no exercise {exercise[:20]!r}; {there}."


def _say(text: str) -> None:
    print(fill(" ".join(text.split()), WIDTH))
