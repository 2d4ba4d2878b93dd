"""Every notebook keeps the rules, and every rule is able to fail."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import notebook_rules as rules
import pytest
from conftest import ROOT
from nbformat import v4

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LARGEST = 1_000_000  # bytes

RULES: list[Callable[[Any], list[str]]] = [
    rules.not_compared,
    rules.execution_counts,
    rules.stored_errors,
    rules.images_without_alt,
    rules.machine_paths,
    rules.noise_on_stderr,
    rules.shape_of_the_series,
    rules.shipped_numbers,
    rules.shipped_lines,
    rules.helpers_linked,
]


def names(paths: list[Path]) -> list[str]:
    return [path.stem for path in paths]


def test_the_series_is_numbered_without_gaps() -> None:
    numbers = [int(path.name[:2]) for path in NOTEBOOKS]
    assert numbers == list(range(len(NOTEBOOKS)))  # 0 is the tour, the others go slowly
    assert len(NOTEBOOKS) >= 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names(NOTEBOOKS))
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule(path: Path, rule: Callable[[Any], list[str]]) -> None:
    assert rule(nbformat.read(path, as_version=4)) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names(NOTEBOOKS))
def test_file(path: Path) -> None:
    assert path.stat().st_size < LARGEST
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata  # GitHub cannot show such a notebook
    assert notebook.metadata.kernelspec.name == "python3"
    assert rules.dead_links(notebook, path.parent) == []


def test_compared_cells_are_counted(record_property: Callable[[str, object], None]) -> None:
    """The sum over the series, in the report: how much of the output is really compared."""
    printing = comparing = 0
    for path in NOTEBOOKS:
        cells = rules.code_cells(nbformat.read(path, as_version=4))
        printing += sum(map(rules.prints, cells))
        comparing += sum(map(rules.compared, cells))
    record_property("cells that print", printing)
    record_property("cells compared", comparing)
    assert comparing >= 0.95 * printing > 0


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names(NOTEBOOKS))
def test_links_to_the_next(path: Path) -> None:
    position = NOTEBOOKS.index(path)
    if position + 1 < len(NOTEBOOKS):
        cells = nbformat.read(path, as_version=4).cells
        prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
        assert any(f"]({NOTEBOOKS[position + 1].name})" in text for text in prose[-40:])


# "notebook [1](01_x.ipynb), sections 1, 2 and 4 to 6", and "notebook 1, section 3"
SECTIONS = re.compile(
    r"(?:\[(?:notebook )?|otebook )(\d)(?:\]\([\w./]+\.ipynb\))?, sections? ([\d, and to]+)"
)


def missing_sections(text: str) -> list[str]:
    """Sections that are named, as in "notebook [1](01_x.ipynb), section 3", and are not there."""
    missing = []
    for notebook, numbers in SECTIONS.findall(text):
        cells = nbformat.read(NOTEBOOKS[int(notebook)], as_version=4).cells
        prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        missing += [
            f"{notebook}, {number}"
            for number in re.findall(r"\d+", numbers)
            if not re.search(rf"(?m)^## {number}\. ", prose)
        ]
    return missing


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names(NOTEBOOKS))
def test_sections_that_are_named_exist(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    assert missing_sections("\n".join(prose)) == []


def test_missing_sections_are_found() -> None:
    first = NOTEBOOKS[1].name
    text = f"notebooks [1]({first}), sections 1, 2 and 98, and [1]({first}), section 99."
    assert missing_sections(text) == ["1, 98", "1, 99"]
    assert missing_sections("Notebook 1, sections 1 to 97") == ["1, 97"]
    assert missing_sections(f"[notebook 1](notebooks/{first}), section 96") == ["1, 96"]


def test_readme_names_sections_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert SECTIONS.search(readme)
    assert missing_sections(readme) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names(NOTEBOOKS))
def test_exercises_that_are_named_are_this_notebooks_or_exist(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    for cell in cells:
        if cell.cell_type == "markdown":
            for number, id_ in re.findall(r"[Ee]xercise ((\d)\.\d)", cell.source):
                there = NOTEBOOKS[int(id_)].read_text(encoding="utf-8")
                assert f"### Exercise {number} · " in there, (cell.id, number)


def test_every_section_of_the_tour_says_where_it_is_proved() -> None:
    cells = nbformat.read(NOTEBOOKS[0], as_version=4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    sections = re.split(r"(?m)^## \d+\. ", prose.split("## What you saw")[0])[1:]
    assert len(sections) >= 10
    for section in sections:
        assert SECTIONS.search(section.strip().split("\n")[-1]), section[:40]
        assert "](attachment:" in section  # a drawing at every step
        assert rules.SHIPPED in section


# --- each rule can fail: a good notebook is spoilt in one way, and one rule complains ---


TABLE = "cats 0.59, dogs -0.31, birds 0.50\n1652 of 2,000 names are found: 83%, in 12.5ms\n"
SAID = (
    f"{rules.SHIPPED}cats score 0.59, dogs \N{MINUS SIGN}0.31 and `0.50` is for birds; 1,652 names"
    " of 2000 are found, +83 %, in 12.5 ms. On `sd1`, which was not run here, and in notebook"
    " [4](x.ipynb), it may differ in `float16`."
)


def good() -> Any:
    first = v4.new_markdown_cell("# Title\n\nIt takes 5 minutes.")
    code = v4.new_code_cell("print(1 + 1)", execution_count=1)
    code.outputs = [v4.new_output("stream", name="stdout", text="2\n")]
    figure = v4.new_code_cell("show(figure)", execution_count=2)
    figure.outputs = [
        v4.new_output(
            "display_data",
            data={"image/png": "iVBORw0KGgo=", "text/plain": "<Figure size 800x240 with 1 Axes>"},
            metadata={"image/png": {"alt": "A triangle of attention weights."}},
        )
    ]
    measured = v4.new_code_cell("print(table)", execution_count=3)
    measured.outputs = [v4.new_output("stream", name="stdout", text=TABLE)]
    said = [v4.new_markdown_cell(text) for text in ("## 1. Measured", f"Look.\n\n{SAID}")]
    last = v4.new_markdown_cell("## Summary\n\nSeen.\n\n## Exercises\n\n1. [Do](rules.md) it.")
    return v4.new_notebook(cells=[first, code, figure, said[0], measured, said[1], last])


def never_run(nb: Any) -> None:
    nb.cells[1].execution_count = None


def swapped(nb: Any) -> None:
    nb.cells[1].execution_count, nb.cells[2].execution_count = 2, 1


def run_twice(nb: Any) -> None:
    nb.cells[2].execution_count = 3


def ignored(nb: Any) -> None:
    nb.cells[1].source = "# NBVAL_IGNORE_OUTPUT\n" + nb.cells[1].source


def tagged(nb: Any) -> None:
    nb.cells[1].metadata["tags"] = ["nbval-skip"]


def picture_only(nb: Any) -> None:
    del nb.cells[2].outputs[0].data["text/plain"]


def nothing_printed(nb: Any) -> None:
    for cell in rules.code_cells(nb):
        cell.outputs = []


def error(nb: Any) -> None:
    nb.cells[1].outputs = [v4.new_output("error", ename="ValueError", evalue="", traceback=[])]


def no_alt(nb: Any) -> None:
    nb.cells[2].outputs[0].metadata = {}


def no_alt_in_prose(nb: Any) -> None:
    nb.cells[0].source += "\n\n![](picture.png)"


def path_in_output(nb: Any) -> None:
    nb.cells[1].outputs[0].text = "loaded from /home/ada/models\n"


def path_in_source(nb: Any) -> None:
    nb.cells[1].source = "load('C:\\\\Users\\\\ada')"


def warning(nb: Any) -> None:
    nb.cells[1].outputs.append(v4.new_output("stream", name="stderr", text="FutureWarning: no\n"))


def progress_bar(nb: Any) -> None:
    nb.cells[1].outputs.append(v4.new_output("stream", name="stderr", text="100%|####| 3/3\n"))


def no_title(nb: Any) -> None:
    nb.cells[0].source = "It takes 5 minutes."


def no_minutes(nb: Any) -> None:
    nb.cells[0].source = "# Title"


def no_exercises(nb: Any) -> None:
    nb.cells[-1].source = "## Summary"


def says(before: str, after: str) -> Callable[[Any], None]:
    """A spoiler that replaces a part of the line on the shipped model."""

    def spoil(nb: Any) -> None:
        assert before in nb.cells[5].source
        nb.cells[5].source = nb.cells[5].source.replace(before, after)

    spoil.__name__ = f"{before}_becomes_{after}"
    return spoil


def printed_in_another_section(nb: Any) -> None:
    nb.cells[3].source, nb.cells[5].source = "## 1. Printed", f"### Elsewhere\n\n{SAID}"


def heading_in_the_same_cell(nb: Any) -> None:
    nb.cells[5].source = f"Look.\n## 2. Elsewhere\n{SAID}"


def printed_below(nb: Any) -> None:
    nb.cells[4], nb.cells[5] = nb.cells[5], nb.cells[4]


def figure_size_only(nb: Any) -> None:
    nb.cells[4], nb.cells[5].source = nb.cells[2], f"{rules.SHIPPED}800 wide."


def stderr_only(nb: Any) -> None:
    nb.cells[4].outputs[0].name = "stderr"


def no_line(nb: Any) -> None:
    nb.cells[5].source = "Look."


def line_in_the_summary_only(nb: Any) -> None:
    nb.cells[5].source, nb.cells[6].source = "Look.", f"## Summary\n\n{rules.SHIPPED}seen."


def helper(link: str, imported: str = "embed") -> Callable[[Any], None]:
    """A spoiler that imports a helper, after a link that does not lead to it."""

    def spoil(nb: Any) -> None:
        nb.cells[0].source += f"\n\nThe helper {link}."
        nb.cells[1].source = f"from helpers import {imported}\nprint({imported})"

    spoil.__name__ = f"{imported}_after_{link}"
    return spoil


def linked_too_late(nb: Any) -> None:
    nb.cells[1].source = "from helpers import embed\nembed(1)"
    nb.cells[-1].source += "\n\n[`embed`](../helpers/embeddings.py)"


SPOILT = [
    (never_run, rules.execution_counts),
    (never_run, rules.not_compared),
    (swapped, rules.execution_counts),
    (run_twice, rules.execution_counts),
    (ignored, rules.not_compared),
    (tagged, rules.not_compared),
    (picture_only, rules.not_compared),
    (nothing_printed, rules.not_compared),
    (error, rules.stored_errors),
    (no_alt, rules.images_without_alt),
    (no_alt_in_prose, rules.images_without_alt),
    (path_in_output, rules.machine_paths),
    (path_in_source, rules.machine_paths),
    (warning, rules.noise_on_stderr),
    (progress_bar, rules.noise_on_stderr),
    (no_title, rules.shape_of_the_series),
    (no_minutes, rules.shape_of_the_series),
    (no_exercises, rules.shape_of_the_series),
    (says("0.59", "0.58"), rules.shipped_numbers),
    (says("1,652", "1,653"), rules.shipped_numbers),
    (says("\N{MINUS SIGN}0.31", "0.31"), rules.shipped_numbers),
    (says("0.59", "-0.59"), rules.shipped_numbers),
    (says("`0.50`", "`0.51`"), rules.shipped_numbers),
    (says("`0.50`", "0.5"), rules.shipped_numbers),
    (says("83 %", "82 %"), rules.shipped_numbers),
    (says("12.5 ms", "12.6ms"), rules.shipped_numbers),
    (says("12.5 ms", "2.5 ms"), rules.shipped_numbers),
    (says("`sd1`", "`7 sd`"), rules.shipped_numbers),
    (says("[4](x.ipynb)", "4"), rules.shipped_numbers),
    (says("model:** ", "model**: "), rules.shipped_lines),
    (says("model:** ", "model:**\n"), rules.shipped_numbers),
    (says("Look.\n\n", "Look.\n"), rules.shipped_numbers),
    (says("Look.\n\n", "- "), rules.shipped_numbers),
    (printed_in_another_section, rules.shipped_numbers),
    (heading_in_the_same_cell, rules.shipped_numbers),
    (printed_below, rules.shipped_numbers),
    (figure_size_only, rules.shipped_numbers),
    (stderr_only, rules.shipped_numbers),
    (no_line, rules.shipped_lines),
    (heading_in_the_same_cell, rules.shipped_lines),
    (line_in_the_summary_only, rules.shipped_lines),
    (helper("`embed`"), rules.helpers_linked),
    (helper("[embed](../helpers/embeddings.py)"), rules.helpers_linked),
    (helper("[`embed`](../helpers/tokens.py)"), rules.helpers_linked),
    (helper("[`embed`](../helpers/nowhere.py)"), rules.helpers_linked),
    (helper("[`embed`](../helpers/embeddings.py)", "embed, mix"), rules.helpers_linked),
    (linked_too_late, rules.helpers_linked),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_accepts_a_good_notebook(rule: Callable[[Any], list[str]]) -> None:
    assert rule(good()) == []


@pytest.mark.parametrize(("spoil", "rule"), SPOILT, ids=lambda function: function.__name__)
def test_rule_can_fail(spoil: Callable[[Any], None], rule: Callable[[Any], list[str]]) -> None:
    notebook = good()
    spoil(notebook)
    assert rule(notebook) != []


@pytest.mark.parametrize("mark", sorted(rules.IGNORED))
@pytest.mark.parametrize("spelling", ["# {}", "#{}", "## {}", "  #  {}  ", "tag"])
def test_every_spelling_of_a_mark_counts(mark: str, spelling: str) -> None:
    cell = good().cells[1]
    assert rules.compared(cell)
    if spelling == "tag":
        cell.metadata["tags"] = [mark.lower().replace("_", "-")]
    else:
        cell.source += "\n" + spelling.format(mark)
    assert not rules.compared(cell)


def test_the_marks_are_all_that_nbval_knows() -> None:
    from nbval.plugin import comment_markers, metadata_tags

    left_out = [("check", False), "skip"]
    assert {mark for mark, does in comment_markers.items() if does in left_out} == rules.IGNORED
    tags = {tag for tag, does in metadata_tags.items() if does in left_out}
    assert tags == {mark.lower().replace("_", "-") for mark in rules.IGNORED}


def test_every_rule_has_a_spoilt_notebook() -> None:
    assert {rule for _, rule in SPOILT} == set(RULES)


def test_the_line_on_a_cut_prompt_is_no_noise() -> None:
    notebook = good()
    line = "prompt 0 is 79 tokens long, 77 fit; lost: 'blue cats'\n"
    notebook.cells[1].outputs.append(v4.new_output("stream", name="stderr", text=line))
    assert rules.noise_on_stderr(notebook) == []


@pytest.mark.parametrize("heading", ["Set-up", "Summary", "What you saw", "Solutions"])
def test_where_no_line_is_asked_for(heading: str) -> None:
    notebook = good()
    notebook.cells[3].source, notebook.cells[5].source = f"## {heading}", "Look."
    assert rules.shipped_lines(notebook) == []


def test_where_a_link_may_stand() -> None:
    """Above, in one link with others, and anywhere in the set-up; a module's name is read, too."""
    notebook = good()
    helper("[`token_strip` and `show`](../helpers/figures.py)", "show")(notebook)
    notebook.cells[2].source = "from helpers.exercises import check\ncheck(1)"
    notebook.cells[3].source = "## Set-up\n\n[`check`, `hint`](../helpers/exercises/verbs.py)"
    assert rules.helpers_linked(notebook) == []
    notebook.cells[3].source = notebook.cells[3].source.replace("Set-up", "1. Measured")
    assert len(rules.helpers_linked(notebook)) == 1


NUMBERS = {
    "0.50 vs. 0.5.": ["0.50", "0.5"],
    "+1,652 and 2,000,000": ["1652", "2000000"],
    "1,65 or [1,2,3]": ["1", "65", "1", "2", "3"],
    "-0.31, \N{MINUS SIGN}4 and z-5": ["-0.31", "-4", "5"],
    "9-12, 3 - 1, f(2)-0.5": ["9", "12", "3", "1", "2", "0.5"],
    "83%, 12x, 5ms, ×3": ["83", "12", "5", "3"],
    "1e-4 (1.5e+3)": ["1e-4", "1.5e+3"],
    "sd1, float16, layer_3, x86_64": [],
}


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_of_a_text(text: str) -> None:
    assert rules.numbers(text) == NUMBERS[text]


def test_names_and_links_are_read_past() -> None:
    text = (
        "`sd1` in `ViT-L/14`, [`f2`](../f3.py), [4](x.ipynb) and [5](../y.md); `[16, 17]`, `18 px`"
    )
    assert rules.numbers(rules.measured(text)) == ["5", "16", "17", "18"]


def test_dead_links_are_found(tmp_path: Path) -> None:
    notebook = good()
    notebook.cells[5].source = "Look."
    assert rules.dead_links(notebook, tmp_path) == ["link to rules.md, which is not there"]
    (tmp_path / "rules.md").touch()
    assert rules.dead_links(notebook, tmp_path) == []


CELLS = [
    ("print(1 + 1)", "2\n", True),
    ("print(1 + 1)", "3\n", False),
    ("import sys; _ = print('warned', file=sys.stderr)", "", False),
    ("print('torch 9.9.9')", "torch 2.13.0\n", True),  # the sanitize file at work
    (
        "print('helpers 0.1.0, Python 3.13.5, torch 2.11.0+cu128, transformers 5.15.0, "
        "diffusers 0.39.0 on CUDA')",
        "helpers 0.1.0, Python 3.11.7, torch 2.13.0+cpu, transformers 5.23.0, "
        "diffusers 0.42.1 on CPU\n",
        True,
    ),
    ("print('torch 9.9.9 is old')", "torch 2.13.0 is new\n", False),  # and at its limit
]


def test_nbval_compares(tmp_path: Path) -> None:
    """nbval, with the options of this project, fails on an output that is not the stored one."""
    cells = []
    for number, (source, stored, _) in enumerate(CELLS, start=1):
        cells.append(v4.new_code_cell(source, execution_count=number))
        if stored:
            cells[-1].outputs = [v4.new_output("stream", name="stdout", text=stored)]
    nbformat.write(v4.new_notebook(cells=cells), tmp_path / "some.ipynb")
    options = re.findall(r'"(--nbval[^"]*)"', (ROOT / "pyproject.toml").read_text())
    assert "--nbval" in options
    assert "--nbval-lax" not in options
    options = [option.replace("tests/", f"{ROOT}/tests/") for option in options]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", *options, "some.ipynb"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    for number, (source, _, passes) in enumerate(CELLS):
        word = "PASSED" if passes else "FAILED"
        assert re.search(rf"(?m)^{word} some.ipynb::Cell {number}\b", run.stdout), source
