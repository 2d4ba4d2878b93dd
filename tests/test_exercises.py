"""Exercises answer back: right, not yet, not answered; they never raise and never tell."""

from __future__ import annotations

import ast
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from accelerate import PartialState
from conftest import ROOT
from notebook_rules import code_cells, numbers
from quick import few_steps, quick_pipeline
from random_checkpoint import SD1, SD2, save_clip

import helpers
from helpers.exercises import check, hint, solution
from helpers.exercises.compare import same
from helpers.exercises.kinds import BLANK, RIGHT, WRONG, Choice, Exercise, Task
from helpers.exercises.verbs import exercises_of

FOLDER = ROOT / "helpers" / "exercises"
NOTEBOOKS = [n for n in range(10) if exercises_of(n)]
ALL = {id_: exercise for n in NOTEBOOKS for id_, exercise in exercises_of(n).items()}
VALUES = [exercise for exercise in ALL.values() if isinstance(exercise, Exercise)]
CHOICES = [exercise for exercise in ALL.values() if isinstance(exercise, Choice)]
CHECK = re.compile(r'(?m)^check\("([^"]+)", (\w+)(?:, (.+))?\)$')


def name(exercise: Any) -> str:
    return str(exercise.id)


def said(capsys: pytest.CaptureFixture[str], *arguments: Any, **more: Any) -> str:
    """What ``check`` prints, in one line."""
    capsys.readouterr()
    check(*arguments, **more)
    return " ".join(capsys.readouterr().out.split())


def notebook(number: int) -> Any:
    (path,) = (ROOT / "notebooks").glob(f"{number:02}_*.ipynb")
    return nbformat.read(path, as_version=4)


@pytest.fixture(scope="module", params=["emoji", "sd1", "sd2"])
def every_clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The shipped CLIP; and small random ones with what is odd in SD 1's and in SD 2's files."""
    if request.param == "emoji":
        return request.getfixturevalue("clip")
    small = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4}
    config = {"sd1": SD1, "sd2": SD2}[request.param] | small | {"num_hidden_layers": 3}
    return helpers.load_clip(
        str(save_clip(request.param, tmp_path_factory.mktemp("small"), config)), device="cpu"
    )


# --- what the exercises say ---


def test_there_are_exercises() -> None:
    assert 0 in NOTEBOOKS
    assert len(CHOICES) >= 6
    assert len(VALUES) >= 6
    assert sorted(f"n{n:02}.py" for n in NOTEBOOKS) == sorted(f.name for f in FOLDER.glob("n??.py"))
    for n in NOTEBOOKS:
        assert all(re.fullmatch(rf"{n}\.\w+", id_) for id_ in exercises_of(n))
        assert len(exercises_of(n)) == len(sys.modules[f"helpers.exercises.n{n:02}"].EXERCISES)


@pytest.mark.parametrize("exercise", VALUES, ids=name)
def test_right(exercise: Exercise, every_clip, capsys) -> None:
    assert said(capsys, exercise.id, exercise.right(every_clip), clip=every_clip) == (
        f"{RIGHT} {exercise.why}"
    )


@pytest.mark.parametrize("exercise", VALUES, ids=name)
def test_each_mistake_has_its_sentence(exercise: Exercise, clip, clip_sd2_words, capsys) -> None:
    """On the shipped checkpoint, or on one with another padding, where two would be the same."""
    assert len(exercise.mistakes) >= 3
    for sentence, wrong in exercise.mistakes.items():
        heard = {said(capsys, exercise.id, wrong(c), clip=c) for c in (clip, clip_sd2_words)}
        assert f"{WRONG} {sentence}" in heard
    for wrong in exercise.mistakes.values():
        assert said(capsys, exercise.id, wrong(clip), clip=clip).startswith(WRONG)


@pytest.mark.parametrize("exercise", VALUES, ids=name)
def test_mistakes_can_be_judged_everywhere(exercise: Exercise, every_clip, capsys) -> None:
    for wrong in exercise.mistakes.values():
        heard = said(capsys, exercise.id, wrong(every_clip), clip=every_clip)
        assert heard.startswith((RIGHT, WRONG))  # right where the mistake happens to be no mistake
        assert "cannot be compared" not in heard


def test_mistakes_of_4_6_are_told_apart_on_every_checkpoint(every_clip, capsys) -> None:
    """They end within a thousandth of the right cosine, so what is missing to 1 is asked for."""
    exercise = ALL["4.6"]
    for sentence, wrong in exercise.mistakes.items():
        heard = said(capsys, exercise.id, wrong(every_clip), clip=every_clip)
        assert heard == f"{WRONG} {sentence}"


@pytest.mark.parametrize("exercise", VALUES, ids=name)
def test_an_unknown_mistake_is_wrong_as_well(exercise: Exercise, clip, capsys) -> None:
    right = torch.as_tensor(exercise.right(clip))
    heard = said(capsys, exercise.id, right + 1000, clip=clip)
    assert exercise.says is None or exercise.says(right + 1000, clip) in heard
    assert exercise.says or heard == (
        f"{WRONG} It is {exercise.asks}, as asked for, but not the right one. "
        f"hint({exercise.id!r}) helps."
    )
    heard = said(capsys, exercise.id, torch.zeros(3, 5), clip=clip)
    assert heard.startswith(f"{WRONG} Asked for is {exercise.asks}; the answer is numbers of shape")


@pytest.mark.parametrize(
    ("id_", "spoil", "sentence"),
    [
        ("1.3", lambda ids: ids[:-1], "ids: the pieces fit as far as they go, but the word is not"),
        ("1.3", lambda ids: [*ids, 5], "ids: the pieces fit as far as they go, but the word has"),
        ("1.3", lambda ids: [ids[0], 320], "Piece 2 of yours is a</w>: not the longest entry"),
        ("1.3", lambda ids: [70000, *ids[1:]], "Piece 1 of yours is no entry: not the longest"),
        ("1.3", lambda ids: [float(i) for i in ids[1:]], "Asked for is a list of ids"),
        ("1.3", lambda ids: ["chi", "aro", "scur", "o</w>"], "Those are pieces, as text. Asked"),
        ("1.5", lambda places: places[:-1], "places stands a typed !, but not only there."),
        ("1.5", lambda places: [*places, 76], "In place 76 stands padding."),
        ("1.5", lambda places: [0, *places], "In place 0 stands no typed !."),
        ("1.5", lambda places: [*places, 77], "In place 77 stands no typed !."),
        ("1.5", lambda places: places[::-1], "Name each place once, from left to right."),
        ("1.5", lambda places: "abc", "Asked for is a list of places; the answer is text."),
        ("5.6", lambda places: ["red"] * len(places), "These are words. Give the places"),
        ("5.6", lambda places: places + 5, "Some of these are no places of a prompt"),
        ("5.6", lambda places: 3 - places, "It is a list of whole numbers, one for each picture"),
        ("7.3", lambda rows: 11.4 * rows / rows.norm(dim=-1, keepdim=True), "yours are all equal."),
        ("7.3", lambda rows: 1.1 * rows, "The directions are right, the lengths are not."),
        ("7.3", lambda rows: rows.flip(0), "The directions are not those of the straight middle."),
    ],
)  # fmt: skip
def test_a_list_is_told_what_is_wrong_with_it(id_, spoil, sentence, clip, capsys) -> None:
    heard = said(capsys, id_, spoil(ALL[id_].right(clip)), clip=clip)
    assert heard.startswith(f"{WRONG} ")
    assert sentence in heard


def test_a_fraction_is_no_whole_number(clip: Any) -> None:
    (exercise,) = (e for e in exercises_of(0).values() if e.id == "0.1")
    assert "Asked for is one whole number; 37.5 is not whole." in exercise.judge(37.5, clip)


@pytest.mark.parametrize("exercise", [e for e in VALUES if e.id in ("2.4", "4.1", "5.2")], ids=name)
def test_a_rounded_number_is_told_so(exercise: Exercise, clip, capsys) -> None:
    right = float(exercise.right(clip))
    for digits in (2, 3):
        rounded = float(f"{right:.{digits}g}")
        heard = said(capsys, exercise.id, rounded, clip=clip)
        assert heard.startswith((RIGHT, f"{WRONG} Nearly: "))
    assert "Nearly" not in said(capsys, exercise.id, right * 1.05, clip=clip)


@pytest.mark.parametrize("choice", CHOICES, ids=name)
def test_predictions(choice: Choice, capsys) -> None:
    seen = None if isinstance(choice.right, str) else (1, 3)
    right = choice.right if isinstance(choice.right, str) else choice.right(seen)
    for letter, sentence in choice.wrong.items():
        expected = f"{RIGHT} {choice.why}" if letter == right else f"{WRONG} {sentence}"
        for spelling in (letter, letter.lower(), f" {letter} "):
            assert said(capsys, choice.id, spelling, seen) == expected
    assert said(capsys, choice.id).startswith(BLANK)
    assert "letter in quotes" in said(capsys, choice.id, "Z")
    assert [letter for letter, sentence in choice.wrong.items() if sentence is None] in (
        [],
        [choice.right],
    )


@pytest.mark.parametrize(
    ("id_", "outcomes"),
    [
        ("0.d", {(0.2, 0.01): "B", (0.01, 0.2): "A", (0.1, 0.12): "C"}),
        ("0.e", {(72, 72): "C", (0, 72): "A", (36, 72): "B"}),
        ("0.f", {(0.0, 0.2): "B", (0.3, 0.1): "A", (0.2, 0.2): "C"}),
        ("4.b", {(1, 4): "A", (1, 2): "B", (3, 4): "C"}),
        ("4.c", {(0.4, 0.9): "A", (0.9, 0.4): "B", (0.9, 0.9): "C"}),
        ("6.b", {(0.2, 0.01): "A", (0.01, 0.2): "B", (0.1, 0.12): "C"}),
        ("7.a", {(0.4, 0.3, 0.2): "A", (0.1, 0.3, 0.2): "B", (0.1, 0.1, 0.2): "C"}),
        ("7.b", {(36, 73): "A", (37, 73): "B", (0, 73): "C"}),
        ("8.a", {(0.2, 0.179): "A", (0.179, 0.2): "B", (0.2, 0.181): "C"}),
        ("8.c", {(0.3, 0.1): "A", (0.1, 0.3): "B", (0.1, 0.12): "C"}),
    ],
)
def test_measured_predictions_follow_what_came_out(id_: str, outcomes: Any, capsys) -> None:
    for seen, right in outcomes.items():
        heard = {letter: said(capsys, id_, letter, seen) for letter in "ABC"}
        assert [letter for letter, line in heard.items() if line.startswith(RIGHT)] == [right]
    for odd in (None, (), (float("nan"), 1.0), "ab", 7):
        for letter in "ABC":
            assert not said(capsys, id_, letter, odd).startswith(RIGHT)


def test_every_measured_prediction_is_tried() -> None:
    (mark,) = test_measured_predictions_follow_what_came_out.pytestmark
    tried = {id_ for id_, _ in mark.args[1]}
    assert tried == {choice.id for choice in CHOICES if not isinstance(choice.right, str)}


# --- nothing raises, nothing tells ---


class Hostile:
    """Whatever is asked of it fails."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("==")

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        raise RuntimeError("len")

    def __bool__(self) -> bool:
        raise RuntimeError("bool")

    def __repr__(self) -> str:
        raise RuntimeError("repr")


ODD: list[Any] = [
    *(None, ..., True, False, 0, -1, 10**400, 1.5, float("nan"), float("inf"), 1j),
    *("", "B" * 10_000, "\ud800", b"B", [], [...], [[1, 2], [3]], [None], ["a", 1], (), {}, {1}),
    *(range(3), object(), object, print, lambda: 1 / 0, iter([1]), NotImplemented, Hostile()),
    *(np.zeros(0), np.array("x"), np.array([None]), np.ma.masked, np.float16(2), np.zeros((2, 77))),
    *(torch.zeros(0), torch.full((77, 128), float("nan")), torch.zeros(2, 77, dtype=torch.bool)),
    *(
        torch.zeros(3, device="meta"),
        torch.ones(2, 2).to_sparse(),
        torch.zeros(1, dtype=torch.cfloat),
    ),
    *(
        torch.zeros(128, requires_grad=True),
        [torch.zeros(2), torch.zeros(3)],
        torch.nn.Linear(1, 1),
    ),
]


@pytest.mark.parametrize("exercise", ALL.values(), ids=name)
def test_check_never_raises(exercise: Any, clip, capsys) -> None:
    assert len(ODD) > 30
    for odd in ODD:
        heard = said(capsys, exercise.id, odd, clip=clip)
        assert heard.startswith((RIGHT, BLANK, WRONG))
        assert said(capsys, exercise.id, "A", odd, clip=clip)
    assert said(capsys, exercise.id, 1, clip="no clip")


@pytest.mark.parametrize("id_", ["0.99", "9.99", "x", "", "..", "0", None, 3, 0.2, ["0.1"], "²"])
def test_unknown_exercises(id_: Any, capsys) -> None:
    for verb in (partial(check, id_, 1), partial(hint, id_), partial(solution, id_)):
        verb()
        assert re.search(
            r"^(Notebook \d has no exercise|An exercise is named)", capsys.readouterr().out
        )
    check("0.99", 1)
    assert "it has 0.a, 0.1, " in capsys.readouterr().out


@pytest.mark.parametrize("exercise", ALL.values(), ids=name)
def test_nothing_tells_before_solution(exercise: Any, clip) -> None:
    sentences = [*exercise.hints]
    if isinstance(exercise, Exercise):
        sentences += [*exercise.mistakes, exercise.asks]
        right = exercise.right(clip)
        if isinstance(right, int | float):
            assert not any(str(right) in numbers(text) for text in sentences)
        if isinstance(right, str):
            assert not any(right.lower() in text.lower() for text in sentences)
        code = ast.unparse(ast.parse(exercise.solution).body[-1]).split("= ", 1)[1]
        assert not any(code in text for text in sentences)
    else:
        sentences += filter(None, exercise.wrong.values())
        assert not any(re.search(r"(?<!\w)[ABC](?!\w)(?! |\w)", text) for text in sentences)
    assert exercise.why not in sentences
    assert len(set(sentences)) == len(sentences)


@pytest.mark.parametrize("exercise", ALL.values(), ids=name)
def test_hints_come_one_by_one(exercise: Any, capsys) -> None:
    for _ in range(2):  # and then again
        for number, text in enumerate(exercise.hints, start=1):
            hint(exercise.id)
            heard = " ".join(capsys.readouterr().out.split())
            assert heard == f"Hint {number} of {len(exercise.hints)}: {text}"
        hint(exercise.id)
        assert "No more hints" in capsys.readouterr().out


# --- how values are compared ---


@pytest.mark.parametrize(
    "answer",
    [
        torch.tensor([1.0, 2.0]),
        torch.tensor([[1.0, 2.0]]),
        torch.tensor([1.0005, 2.0]),
        torch.tensor([1.0, 1.99], dtype=torch.float16),
        np.array([1.0, 2.0]),
        [1, 2],
        (1.0, 2.0),
        [torch.tensor(1.0), torch.tensor(2.0)],
        torch.tensor([1.0, 2.0], requires_grad=True),
    ],
)
def test_same_numbers(answer: Any) -> None:
    assert same(answer, torch.tensor([1.0, 2.0]))


@pytest.mark.parametrize(
    "answer", [[1.0, 2.01], [2.0, 1.0], [1.0], [[1.0], [3.0]], "12", [1.0, float("nan")], None, 1.0]
)
def test_other_numbers(answer: Any) -> None:
    assert not same(answer, torch.tensor([1.0, 2.0]))


def test_whole_numbers_masks_and_texts_are_exact() -> None:
    assert same(37.0, 37)
    assert not same(37.01, 37)
    assert same(torch.tensor([True, False]), torch.tensor([1, 0]))
    assert not same(torch.tensor([0.999, 0.0]), torch.tensor([1, 0]))
    assert same(" Fox", "fox")
    assert not same("foxes", "fox")
    assert same(["a", "b"], ("a", "b"))
    assert not same(["b", "a"], ["a", "b"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_answers_from_a_gpu(clip, capsys) -> None:
    for exercise in VALUES:
        answer = torch.as_tensor(exercise.right(clip)).cuda()
        assert said(capsys, exercise.id, answer, clip=clip).startswith(RIGHT)


def test_the_clip_is_the_callers(clip, capsys) -> None:
    """Without one handed over: the caller's variable of that name, else the shipped one."""
    row = next(e for e in VALUES if e.id == "0.2").right(clip)
    for space in ({"clip": clip, "row": row, "check": check}, {"row": row, "check": check}):
        exec('check("0.2", row)', space)
        assert capsys.readouterr().out.startswith(RIGHT)
    other = helpers.load_clip(device="cpu")
    other.inner.embeddings.token_embedding.weight.zero_()
    exec('check("0.2", row)', {"clip": other, "row": row, "check": check})
    assert capsys.readouterr().out.startswith(WRONG)


# --- exercises that ask for a function ---

TASK = Task(
    id="0.1",
    asks="a function of one number",
    right=lambda clip: lambda x: 2 * x,
    tries=lambda clip: [(1,), (5,)],
    why="Twice.",
    mistakes={"That adds two.": lambda clip: lambda x: x + 2},
    hints=["Double."],
    solution="def answer(x):\n    return 2 * x",
)


@pytest.mark.parametrize(
    ("answer", "heard"),
    [
        (lambda x: x + x, f"{RIGHT} Twice."),
        (lambda x: x + 2, f"{WRONG} That adds two."),
        (lambda x: x, "does not return what it should"),
        (lambda x: ..., BLANK),
        (..., BLANK),
        (lambda x: x["a"], "Your function stops with TypeError: 'int' object"),
        (lambda: 1, "Your function stops with TypeError"),
        (2, f"{WRONG} Asked for is a function of one number; the answer is one number."),
    ],
)
def test_functions_are_tried(answer: Any, heard: str) -> None:
    assert heard in TASK.judge(answer, None)


# --- the notebooks ---


@pytest.mark.parametrize("number", NOTEBOOKS)
def test_stored_notebooks_hold_blanks(number: int) -> None:
    """Every exercise is there once, in its order, with its heading, unanswered."""
    nb, found = notebook(number), []
    prose = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    for cell in code_cells(nb):
        for id_, variable, _ in CHECK.findall(cell.source):
            found.append(id_)
            assert f"{variable} = ..." in cell.source
            printed = "".join(o.text for o in cell.outputs if o.get("name") == "stdout")
            assert BLANK in printed
            assert RIGHT not in printed
            assert WRONG not in printed
            if isinstance(ALL[id_], Exercise):
                assert re.search(rf"(?m)^### Exercise {re.escape(id_)} · .+\(\d+ minutes\)$", prose)
    assert found == list(exercises_of(number))


@pytest.fixture
def as_before() -> Iterator[None]:
    """What a notebook may change in its own process, it may not change in this one."""
    names = ("helpers", "diffusers", "transformers")
    loggers = [logging.getLogger(name) for name in names]
    before = [(log, log.level, log.handlers, log.propagate) for log in loggers]
    grad = torch.is_grad_enabled()
    yield
    torch.set_grad_enabled(grad)
    PartialState._reset_state()
    for log, level, handlers, propagate in before:
        log.setLevel(level)
        log.handlers, log.propagate = handlers, propagate


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("number", NOTEBOOKS)
def test_notebooks_with_their_solutions(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run with every solution put in: all right; of a prediction that is measured, one letter.

    What comes after the last exercise hangs on none, and runs as it is elsewhere.
    """
    monkeypatch.setattr(helpers, "load_pipeline", quick_pipeline)
    monkeypatch.setattr(helpers, "paint", few_steps)
    monkeypatch.chdir(ROOT / "notebooks")
    space: dict[str, Any] = {}
    cells = code_cells(notebook(number))
    last = max(i for i, cell in enumerate(cells) if CHECK.search(cell.source))
    for cell in cells[: last + 1]:
        source, asked = cell.source, CHECK.findall(cell.source)
        for id_, variable, measured in asked:
            if not measured:
                assert source.count(f"{variable} = ...") == 1
                blank = re.search(rf"{variable} = \.\.\..*", source)
                source = source.replace(blank[0], ALL[id_].solution)
        capsys.readouterr()
        exec(compile(source, str(cell.id), "exec"), space)
        heard = capsys.readouterr().out
        for id_, _, measured in asked:
            if measured:
                seen = eval(measured, space)
                lines = [said(capsys, id_, letter, seen) for letter in ALL[id_].wrong]
                assert sum(line.startswith(RIGHT) for line in lines) == 1
                solution(id_)
                assert "printed" in capsys.readouterr().out
            else:
                assert re.search(rf"(?m)^{RIGHT}", heard), (id_, heard)
                solution(id_)
                assert capsys.readouterr().out.strip() == ALL[id_].solution
    assert space["clip"].name == "emoji"


# --- the package ---


def test_import_is_light() -> None:
    code = (
        "import sys; from helpers.exercises import check; check('0.a', 'B');"
        "print([n for n in ('torch', 'numpy', 'transformers') if n in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1] == "[]"


def test_it_stands_on_top_of_the_others() -> None:
    """No module of the helpers needs the exercises; these go one way, too."""
    below: list[str] = []
    for stem in ("compare", "kinds", "verbs", "outcomes"):
        for node in ast.walk(ast.parse((FOLDER / f"{stem}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                assert node.module in below
        below.append(stem)
    for path in Path(ROOT / "helpers").glob("*.py"):
        assert "exercises" not in path.read_text(encoding="utf-8")
