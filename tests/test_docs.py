"""The pages in ``docs/``: their links lead somewhere, and what they say is so."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from helpers.exercises.kinds import Choice
from helpers.exercises.verbs import exercises_of

DOCS = ROOT / "docs"
# package.md is read where there is no repository, so it has no links: see tests/test_wheel.py
PAGES = sorted(set(DOCS.glob("*.md")) - {DOCS / "package.md"})
NOTEBOOKS = {int(path.name[:2]): path for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
EXERCISES = {id_: e for number in NOTEBOOKS for id_, e in exercises_of(number).items()}
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
MARK = re.compile(r" · (core|going deeper) · \d+ min$")
# "notebook 3, sections 3, 5 and 6", and in Turkish "defter 3, bölüm 5"
SECTIONS = re.compile(
    r"(?:notebook|defter) (\d), (?:sections?|bölüm) (\d+(?:(?:, | and | to )\d+)*)"
)
NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*(?![\w])")


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@cache
def cells(notebook: int) -> list[dict[str, Any]]:
    return json.loads(NOTEBOOKS[notebook].read_text(encoding="utf-8"))["cells"]


@cache
def sections(notebook: int) -> dict[int, list[dict[str, Any]]]:
    """The cells of each numbered section."""
    found: dict[int, list[dict[str, Any]]] = {}
    here: list[dict[str, Any]] | None = None
    for cell in cells(notebook):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and source.startswith("## "):
            number = re.match(r"## (\d+)\. ", source)
            here = found.setdefault(int(number[1]), []) if number else None
        if here is not None:
            here.append(cell)
    return found


def title(notebook: int, section: int) -> str:
    line = "".join(sections(notebook)[section][0]["source"]).splitlines()[0]
    return MARK.sub("", line.split(". ", 1)[1])


@cache
def printed(notebook: int, section: int | None = None) -> set[str]:
    """Every number in the stored text outputs, of one section or of all."""
    text = ""
    for cell in cells(notebook) if section is None else sections(notebook)[section]:
        for output in cell.get("outputs", []):
            text += "".join(output.get("text", [])) + "\n"
            text += "".join(output.get("data", {}).get("text/plain", [])) + "\n"
    return set(NUMBER.findall(text))


def part(text: str, heading: str) -> str:
    """What stands below a heading of level two."""
    (found,) = re.findall(rf"(?ms)^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text)
    return found


def table(text: str) -> list[list[str]]:
    """The rows of the first table, without its head."""
    lines = re.search(r"(?m)(?:^\|.*\n)+", text)[0].splitlines()
    return [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def numbers_without_source(text: str, known: set[str]) -> list[str]:
    """Decimal numbers, and whole ones of two digits or more, that ``known`` does not hold."""
    plain = re.sub(r"`[^`]*`", "", LINK.sub("", text))
    found = NUMBER.findall(plain)
    return [n for n in found if len(n) > 1 and n not in known]


# --- all pages -----------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"(?m)^#+ (.+)$", path.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert links
    for _, target in links:
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_sections_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for notebook, some in SECTIONS.findall(text):
        for number in map(int, re.findall(r"\d+", some)):
            assert number in sections(int(notebook)), f"notebook {notebook}, section {number}"
    for words, target in LINK.findall(text):
        named = re.match(r"(?:notebook|defter) (\d), (?:section|bölüm) (\d+)(?:: (.+))?$", words)
        if named:
            notebook, section = int(named[1]), int(named[2])
            assert NOTEBOOKS[notebook].name == Path(target).name, words
            assert named[3] in (None, title(notebook, section)), words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_exercises_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r'(?:check|hint|solution)\("(\d\.\w+)"', text)
    named += re.findall(r"(?<![\d.])0\.[a-z]\b", text)
    for words in re.findall(r"[Ee]xercises? ((?:\d\.\d(?:, | and )?)+)", text):
        named += re.findall(r"\d\.\d", words)
    assert set(named) <= set(EXERCISES), sorted(set(named) - set(EXERCISES))


def test_readme_and_the_overview_name_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(NOTEBOOKS) == 10
    assert "Ten Jupyter notebooks" in readme
    targets = {target for _, target in LINK.findall(readme)}
    there = {f"docs/{page.name}" for page in PAGES if page.name != "README.md"}
    assert there | {"docs/cheatsheet.html"} <= targets


# --- the workshop --------------------------------------------------------------------------------


def minutes_of(exercise: str) -> int:
    text = "\n".join("".join(cell["source"]) for cell in cells(int(exercise[0])))
    return int(re.search(rf"### Exercise {re.escape(exercise)} .*\((\d+) minutes?\)", text)[1])


@pytest.mark.parametrize(
    ("plan", "total"), [("Ninety minutes", 90), ("Half a day", 240), ("A day", 480)]
)
def test_minutes_add_up(plan: str, total: int) -> None:
    clock = at_a_stretch = 0
    for row in table(part(read("workshop.md"), plan)):
        hours, minutes = map(int, row[0].split(":"))
        assert (60 * hours + minutes, minutes < 60) == (clock, True), row
        clock += int(row[1])
        at_a_stretch = 0 if row[2].startswith("**") else at_a_stretch + int(row[1])
        assert at_a_stretch <= 90, f"no break before {row}"
    assert clock == total


def test_ninety_minutes_hold_all_of_notebook_0_in_its_order() -> None:
    rows = table(part(read("workshop.md"), "Ninety minutes"))
    done = {"": 0}
    order = []
    for _, minutes, what, predictions, exercises in rows:
        section = re.match(r"Section (\d+)", what)
        here = re.findall(r"\d\.\w", predictions + exercises)
        order += [int(section[1])] if section else []
        if here:
            source = "\n".join("".join(c["source"]) for c in sections(0)[int(section[1])])
            assert sorted(re.findall(r'(?m)^check\("(\S+)"', source)) == sorted(here), what
        used = sum(minutes_of(e) for e in re.findall(r"\d\.\d", exercises))
        assert used + 1 < int(minutes), f"no time left to read: {what}"
        done |= dict.fromkeys(here, 1)
    assert order == sorted(sections(0))
    assert set(done) - {""} == set(exercises_of(0))


MEASURED = {  # what the cell of a prediction prints, for the function that tells the letter
    "0.d": r"different from the rocket: (\S+), from the pizza: (\S+)",
    "0.e": r"untrained: (\d+) of (\d+)",
    "0.f": r"another seed: (\S+) +another prompt: (\S+)",
}


def test_answers_of_the_predictions() -> None:
    rows = table(part(read("workshop.md"), "The predictions of notebook 0"))
    output = "\n".join("".join(o.get("text", "")) for c in cells(0) for o in c.get("outputs", []))
    right = {}
    for id_, exercise in exercises_of(0).items():
        if isinstance(exercise, Choice):
            letter = exercise.right
            if not isinstance(letter, str):
                letter = letter(re.search(MEASURED[id_], output).groups())
            right[id_] = (letter, "no" if isinstance(exercise.right, str) else "yes")
    assert {row[0]: (row[2], row[3]) for row in rows} == right
    for id_, section, *_ in rows:
        source = "\n".join("".join(c["source"]) for c in sections(0)[int(section)])
        assert f'check("{id_}"' in source


def test_wrong_answers_are_known_to_check(clip: Any) -> None:
    rows = table(part(read("workshop.md"), "Wrong answers that always come"))
    for id_, answer, _, says in rows:
        exercise = EXERCISES[id_]
        if isinstance(exercise, Choice):
            assert exercise.wrong[answer[0]] == says, id_
        else:
            assert says in exercise.mistakes, says
            if answer.isdigit():
                assert exercise.judge(int(answer), clip).endswith(says)
    assert {row[0] for row in rows} == set(exercises_of(0))


def test_what_is_left_out_saves_what_it_says() -> None:
    text = read("workshop.md")
    plan = {row[2][:10]: int(row[1]) for row in table(part(text, "Ninety minutes"))}
    before = 0
    for late, what in table(part(text, "When you are late")):
        saved = before if what.startswith("these") else 0
        saved += sum(map(minutes_of, set(re.findall(r"0\.\d", what))))
        saved += sum(plan[f"Section {n}"] for n in re.findall(r"\b1[12]\b", what))
        assert saved == int(late.split()[0]), what
        before = saved


def test_numbers_of_the_surprises_are_those_of_notebook_0() -> None:
    text = part(read("workshop.md"), "What to say at the surprising cells")
    text = re.sub(r"Section \d+|section \d+|\b0\.[a-z]\b", "", text)
    assert len(NUMBER.findall(text)) > 15
    assert numbers_without_source(text, printed(0)) == []


def test_what_a_plan_takes_of_a_long_notebook_is_core() -> None:
    text = read("workshop.md")
    for plan in ("Half a day", "A day"):
        rows = part(text, plan).split("What to leave for home")[0]
        for notebook, some in SECTIONS.findall(rows):
            heads = {n: "".join(c[0]["source"]) for n, c in sections(int(notebook)).items()}
            if not any(MARK.search(head.split("\n")[0]) for head in heads.values()):
                continue  # this notebook has no marks
            for number in map(int, re.findall(r"\d+", some)):
                mark = MARK.search(heads[number].split("\n")[0])
                assert mark, f"notebook {notebook}, section {number}"
                assert mark[1] == "core", f"notebook {notebook}, section {number}"


# --- the questions -------------------------------------------------------------------------------


def questions() -> list[tuple[str, str]]:
    found = re.findall(r"(?ms)^## (\d+\. [^\n]+)\n+(.*?)(?=^## |\Z)", read("faq.md"))
    return [(heading, text.strip()) for heading, text in found]


def test_twenty_questions() -> None:
    assert [heading.split(".")[0] for heading, _ in questions()] == [str(i + 1) for i in range(20)]


@pytest.mark.parametrize(("question", "text"), questions(), ids=[q for q, _ in questions()])
def test_an_answer_is_short_and_says_where_it_is_proved(question: str, text: str) -> None:
    answer, _, proof = text.partition("\n→ ")
    sentences = re.split(r"(?<=[.!?])\s+(?=\S)", re.sub(r"`[^`]*`", "x", answer))
    assert len(sentences) <= 3, sentences
    links = LINK.findall(proof)
    known: set[str] = set()
    for words, _ in links:
        named = re.fullmatch(r"notebook (\d), section (\d+): .+", words)
        assert named, words
        known |= printed(int(named[1]), int(named[2]))
    assert links
    answer = re.sub(r"Stable Diffusion \d( and \d)?|transformers \d", "", answer)
    assert numbers_without_source(f"{question.split('. ', 1)[1]} {answer}", known) == []


# --- the glossaries ------------------------------------------------------------------------------


def glossary() -> list[list[str]]:
    return table(read("glossary.md"))


def prose(where: str) -> str:
    """The text of "notebook 3, section 5" or "notebook 1, Set-up"."""
    notebook, number = re.match(r"notebook (\d), (?:section (\d+)|Set-up)", where).groups()
    some = sections(int(notebook))[int(number)] if number else cells(int(notebook))[:5]
    text = " ".join("".join(c["source"]) for c in some if c["cell_type"] == "markdown")
    return re.sub(r"[*`]", "", text).lower()


def test_glossary_is_in_order() -> None:
    words = [row[0].strip("`").lower() for row in glossary()]
    assert words == sorted(set(words))
    assert len(words) > 40


@pytest.mark.parametrize("row", glossary(), ids=lambda row: row[0])
def test_a_word_is_explained_where_the_glossary_says(row: list[str]) -> None:
    word, meaning, link = row
    text = prose(LINK.search(link)[1])
    for piece in re.findall(r"[\w-]{2,}", word.lower()):
        root = piece[:-1] if len(piece) > 5 else piece  # analogy, analogies
        assert re.search(rf"\b{re.escape(root)}", text), piece
    assert meaning[-1] == "."
    assert len(re.findall(r"[.?!](?: |$)", re.sub(r"`[^`]*`", "x", meaning))) <= 2


def test_the_turkish_glossary_has_the_same_words_and_places() -> None:
    turkish = table(part(read("tr.md"), "Sözlük"))
    assert [row[0] for row in turkish] == [row[0] for row in glossary()]
    for english, (_, word, meaning, where) in zip(glossary(), turkish, strict=True):
        assert word, english
        assert meaning[-1] == ".", english
        assert where.replace("defter", "notebook").replace("bölüm", "section") == english[2]


def test_the_turkish_map_names_every_notebook() -> None:
    rows = table(part(read("tr.md"), "Defterlerin haritası"))
    named = {Path(LINK.search(row[0])[2]).name for row in rows}
    assert named == {path.name for path in NOTEBOOKS.values()}


# --- the cheat sheet -----------------------------------------------------------------------------

CHROMIUM = next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)


def test_the_sheet_holds_all_it_shows() -> None:
    sheet = read("cheatsheet.html")
    assert set(re.findall(r'(?:src|href)="([^"]{1,26})', sheet)) == {"data:image/svg+xml;base64,"}
    assert "url(" not in sheet
    drawings = {path.read_bytes() for path in (DOCS / "drawings").glob("*.svg")}
    found = re.findall(r'<img alt="([^"]+)" src="data:image/svg\+xml;base64,([^"]+)"', sheet)
    assert len(found) == sheet.count("<img") > 0
    for alt, data in found:
        svg = base64.b64decode(data)
        assert svg in drawings, f"not as in docs/drawings: {alt[:40]}"
        told = re.search(r"<desc[^>]*>(.*?)</desc>", svg.decode(), re.DOTALL)[1]
        assert html.unescape(alt) == html.unescape(told)


def test_the_code_of_the_sheet_runs() -> None:
    code = html.unescape(
        re.search(r'<pre id="code"[^>]*>(.*?)</pre>', read("cheatsheet.html"), re.DOTALL)[1]
    )
    names: dict[str, Any] = {}
    exec(compile(code, "cheatsheet", "exec"), names)
    assert names["rows"].shape == (2, 77, 128)
    assert [picture.size for picture in names["pictures"]] == [(64, 64)] * 2
    assert names["mask"].sum(-1).tolist() == [5, 6]
    assert names["lost"].split() == ["very"] * 25
    assert names["skipped"].shape == (2, 77, 128)
    assert names["found"].indices[:, 0].tolist() == [0, 1]


def test_the_sizes_on_the_sheet_are_those_that_notebook_2_counts() -> None:
    rows = re.findall(r"<tr><td>(.*?)</td></tr>", read("cheatsheet.html").split("Sizes</h2>")[1])[
        :3
    ]
    output = "\n".join("".join(o.get("text", "")) for c in cells(2) for o in c.get("outputs", []))
    counted = re.findall(r"(?m)^(?:this checkpoint|SD \d) +(\d+) +(\d+) ", output)
    assert [tuple(row.split("</td><td>")[1:3]) for row in rows] == counted
    assert all(row.endswith("49,408 × 77") for row in rows)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to print with")
def test_the_sheet_is_one_page(tmp_path: Path) -> None:
    def pages(file: Path) -> int:
        pdf = tmp_path / "sheet.pdf"
        pdf.unlink(missing_ok=True)
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path}/user",
        ]
        subprocess.run(
            [str(CHROMIUM), *options, f"--print-to-pdf={pdf}", file.as_uri()],
            capture_output=True, check=True, timeout=120,
        )  # fmt: skip
        return len(re.findall(rb"/Type\s*/Page[^s]", pdf.read_bytes()))

    assert pages(DOCS / "cheatsheet.html") == 1
    longer = tmp_path / "longer.html"  # the count can be another
    longer.write_text(read("cheatsheet.html").replace("<footer>", "<p>one<br>more" * 40), "utf-8")
    assert pages(longer) > 1
