"""Exercises that answer back: ``check``, ``hint`` and ``solution``.

In a notebook::

    from helpers.exercises import check, hint, solution

    answer = ...
    check("0.2", answer)  # right; or what is wrong; or "not answered yet"
    hint("0.2")  # each call gives the next hint
    solution("0.2")  # nothing shows it before

Those of notebook 0 lie in ``n00.py``, and so on, each as one entry of the list ``EXERCISES``: what
is right, why it matters, the mistakes that are known by name, hints, a solution. To add one, write
an entry (``kinds.py`` says what it can hold) and a cell that calls ``check`` with its id. The verbs
are those of Kaggle's learntools.
"""

from .verbs import check, hint, solution

__all__ = ["check", "hint", "solution"]
