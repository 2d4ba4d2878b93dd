"""What an exercise consists of, and how an answer to it is judged.

Three kinds: ``Exercise`` asks for a value, ``Task`` for a function, ``Choice`` for a letter. An
entry holds functions of the ``clip`` in use, so that what is right is computed and not written
down, and an answer is judged on the checkpoint that it was found on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from .compare import as_numbers, described, is_blank, same

Of = Callable[[Any], Any]  # from a clip to a value

RIGHT, BLANK, WRONG = "Right.", "Not answered yet:", "Not yet."


_computed: WeakKeyDictionary[Any, dict[Of, Any]] = WeakKeyDictionary()


def once(of: Of, clip: Any) -> Any:
    """What a function gives for a clip. It is computed once, so that a second try is quick."""
    try:
        known = _computed.setdefault(clip, {})
    except TypeError:  # None, or no clip at all
        return of(clip)
    if of not in known:
        known[of] = of(clip)
    return known[of]


def near(one: Any, other: Any) -> bool:
    """Whether fractions differ by so little that one may be the other, rounded to two digits."""
    if one is None or other is None or not other.is_floating_point():
        return False
    return bool((one - other).abs().max() <= 0.02 * other.abs().max())


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """An exercise that asks for a value.

    Attributes:
        id: notebook and number, "0.2".
        asks: what kind of value, "one whole number".
        right: from a clip to the right value.
        why: said when the answer is right: why it matters.
        mistakes: from a sentence to the wrong value that it is said of (from a clip to it). A
            sentence says what was done, and not what is right.
        hints: one for each call of ``hint``, each a little further.
        solution: code that ends with ``answer = ...``, with names of the notebook.
        says: from an answer that is none of these, and a clip, to what is wrong with it, or None.
    """

    id: str
    asks: str
    right: Of
    why: str
    hints: Sequence[str]
    solution: str
    mistakes: Mapping[str, Of]
    says: Callable[[Any, Any], str | None] | None = None

    def judge(self, answer: Any, clip: Any, seen: Any = None) -> str:
        """What is said of an answer; begins with RIGHT, BLANK or WRONG."""
        if is_blank(answer):
            return f"{BLANK} write your answer in place of the dots, and run the cell again."
        if self._same(answer, right := once(self.right, clip), clip):
            return f"{RIGHT} {self.why}"
        for sentence, wrong in self.mistakes.items():
            if self._same(answer, once(wrong, clip), clip):
                return f"{WRONG} {sentence}"
        wrong_with_it = self.says and self.says(answer, clip)
        return f"{WRONG} {wrong_with_it or self._unknown(answer, right)} hint({self.id!r}) helps."

    def _same(self, answer: Any, right: Any, clip: Any) -> bool:
        return same(answer, right)

    def _unknown(self, answer: Any, right: Any) -> str:
        one, other = as_numbers(answer), as_numbers(right)
        if one is None or other is None:
            fits = isinstance(answer, str) and isinstance(right, str)
        else:
            fits = one.shape == other.shape and bool(one.isfinite().all())
        if fits:
            if near(one, other):
                return "Nearly: if you rounded, give all digits; if not, look for a small slip."
            if one is not None and "whole number" in self.asks and (one != one.round()).any():
                return f"Asked for is {self.asks}; {one.tolist()} is not whole."
            return f"It is {self.asks}, as asked for, but not the right one."
        return f"Asked for is {self.asks}; the answer is {described(answer)}."


@dataclass(frozen=True, kw_only=True)
class Task(Exercise):
    """An exercise that asks for a function. ``right`` and ``mistakes`` give functions, too.

    Attributes:
        tries: from a clip to a list of arguments, one tuple for each call. A function counts as
            equal to another if both return the same for all of them.
    """

    tries: Of

    def judge(self, answer: Any, clip: Any, seen: Any = None) -> str:
        """What is said of a function; begins with RIGHT, BLANK or WRONG."""
        if callable(answer):
            try:
                if all(answer(*arguments) is ... for arguments in self.tries(clip)):
                    answer = ...
            except Exception as error:
                what = f"{type(error).__name__}: {error}".rstrip(": ")[:200]
                return f"{WRONG} Your function stops with {what}"
        return super().judge(answer, clip, seen)

    def _same(self, answer: Any, right: Any, clip: Any) -> bool:
        return callable(answer) and all(
            same(answer(*arguments), right(*arguments)) for arguments in self.tries(clip)
        )

    def _unknown(self, answer: Any, right: Any) -> str:
        if callable(answer):
            return "Your function runs, but does not return what it should for all that I tried."
        return f"Asked for is {self.asks}; the answer is {described(answer)}."


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A prediction: a letter that is written down before the cell runs.

    Attributes:
        id: notebook and letter, "0.a".
        right: the letter; or, where it depends on the checkpoint, a function from what the cell
            measured (the third argument of ``check``) to it.
        why: said when the guess is right.
        wrong: from every letter to what is said when it is not the right one. (For a letter that
            cannot be wrong, None.)
        hints: as in an exercise.
    """

    id: str
    right: str | Of
    why: str
    wrong: Mapping[str, str | None]
    hints: Sequence[str]

    @property
    def solution(self) -> str:
        """The letter, or how the cell tells it."""
        if isinstance(self.right, str):
            return f'guess = "{self.right}"'
        return "# What the cell printed says it: that is how it came out on your checkpoint."

    def judge(self, answer: Any, clip: Any, seen: Any = None) -> str:
        """What is said of a letter; begins with RIGHT, BLANK or WRONG."""
        letters = " or ".join(f'"{letter}"' for letter in self.wrong)
        if is_blank(answer):
            return f"{BLANK} write {letters} in place of the dots before you run the cell."
        letter = answer.strip().upper() if isinstance(answer, str) else ""
        if letter not in self.wrong:
            return f"{WRONG} A guess is a letter in quotes: {letters}."
        right = self.right if isinstance(self.right, str) else self.right(seen)
        if right not in self.wrong:
            return f"{BLANK} what the cell measured is missing, or is no number; run it as it was."
        if letter == right:
            return f"{RIGHT} {self.why}"
        return f"{WRONG} {self.wrong[letter]}"
