"""The book: what is staged for it, what its check finds, and the built pages in a browser."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from browser import barriers, chromium, watch
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tools" / "book"))

from check import faults  # noqa: E402
from stage import LINK, Links, figures_apart, notebook, slug  # noqa: E402

from helpers.exercises.kinds import Choice  # noqa: E402
from helpers.exercises.verbs import exercises_of  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LOOKED_AT = (
    "index", "notebooks/00_start_here", "notebooks/03_padding_and_attention_masks",
    "notebooks/06_from_embedding_to_picture", "docs/faq", "docs/workshop", "docs/tr",
    "helpers/models/emoji/README", "helpers/tokens.py", "search",
)  # fmt: skip


# --- staging ---


@pytest.mark.parametrize(
    ("link", "leads"),
    [
        ("03_padding_and_attention_masks.ipynb", "03_padding_and_attention_masks.ipynb"),
        ("#2.-Two-masks-%C2%B7-core-%C2%B7-3-min", "#2-two-masks--core--3-min"),
        ("../docs/faq.md#14-a-b", "../docs/faq.md#14-a-b"),
        ("../helpers/tokens.py", "../helpers/tokens.py.md"),
        ("../helpers/models/emoji", "../helpers/models/emoji/README.md"),
        ("../LICENSE", "../LICENSE.md"),
        ("https://example.org/a#B", "https://example.org/a#B"),
    ],
)
def test_where_links_lead(link: str, leads: str) -> None:
    assert Links(ROOT).target(NOTEBOOKS[0], link) == leads


def test_a_link_to_nothing_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"00_start_here.ipynb links to nothing.md"):
        Links(ROOT).target(NOTEBOOKS[0], "nothing.md")


def test_links_in_text_and_not_in_code() -> None:
    links = Links(ROOT)
    said = "[`embed`](../helpers/embeddings.py), `[a](b.py)` and [page](../docs/cheatsheet.html)"
    assert links.text(NOTEBOOKS[0], said) == (
        "[`embed`](../helpers/embeddings.py.md), `[a](b.py)` and "
        '<a href="../docs/cheatsheet.html">page</a>'
    )
    assert links.sources == {ROOT / "helpers/embeddings.py"}


def test_anchor_of_a_heading_and_of_jupyterlab_are_the_same() -> None:
    heading = "7. The pooled output: which row? · going deeper · 5 min"
    assert slug(heading) == slug(heading.replace(" ", "-"))


def test_a_named_section_leads_to_it() -> None:
    links = Links(ROOT)
    said = "[notebook 1, section 5: Nothing is unknown](../notebooks/01_tokenizing.ipynb)"
    target = LINK.fullmatch(links.text(ROOT / "docs/faq.md", said))[2]
    name, _, anchor = target.partition("#")
    headings = [c.source.split("\n")[0] for c in nbformat.read(NOTEBOOKS[1], 4).cells]
    (wanted,) = (h for h in headings if h.startswith("## 5. "))
    assert (name, anchor) == ("../notebooks/01_tokenizing.ipynb", slug(wanted.removeprefix("## ")))


def test_where_a_claim_is_proved_is_a_link_to_it() -> None:
    said = (
        "*Proved in notebooks [2](02_clip_text_encoder.ipynb), sections 7 to 9, "
        "and [1](01_tokenizing.ipynb).*"
    )
    staged = Links(ROOT).text(NOTEBOOKS[0], said)
    assert "[2](02_clip_text_encoder.ipynb#7-the-pooled-output-is-one-row--core--" in staged
    assert ", sections 7 to 9, and [1](01_tokenizing.ipynb).*" in staged


def test_every_exercise_has_its_solution_below_it() -> None:
    for number, path in enumerate(NOTEBOOKS):
        cells = json.loads(notebook(path, Links(ROOT)))["cells"]
        for id_, exercise in exercises_of(number).items():
            if isinstance(exercise, Choice):
                continue
            (asked,) = (
                i for i, c in enumerate(cells) if f'check("{id_}"' in "".join(c["source"])
                and c["cell_type"] == "code"
            )  # fmt: skip
            below = cells[asked + 1]["source"]
            assert below.startswith(f"<details><summary>A solution of {id_}</summary>")
            assert exercise.solution in below


def test_two_figures_in_a_cell_keep_their_alt_texts() -> None:
    def figure(alt: str) -> dict[str, Any]:
        data, metadata = {"image/png": ""}, {"image/png": {"alt": alt}}
        return {"output_type": "display_data", "data": data, "metadata": metadata}

    said = {"output_type": "stream", "name": "stdout", "text": "said"}
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": "draw()"}
    first, second = figures_apart({**cell, "outputs": [said, figure("one"), figure("two")]})
    assert [o["output_type"] for o in first["outputs"]] == ["stream", "display_data"]
    assert first["metadata"]["mystnb"]["image"]["alt"] == "one"
    assert second["metadata"]["mystnb"]["image"]["alt"] == "two"
    assert second["metadata"]["tags"] == ["remove-input"]
    assert figures_apart({**cell, "outputs": [said]}) == [{**cell, "outputs": [said]}]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_drawings_become_vector_files_that_exist(path: Path) -> None:
    staged = notebook(path, Links(ROOT))
    assert "attachment:" not in staged
    drawings = re.findall(r"\(\.\./docs/drawings/([\w-]+\.svg)\)", staged)
    assert len(drawings) == path.read_text("utf-8").count("](attachment:") > 0
    assert all((ROOT / "docs/drawings" / name).exists() for name in drawings)


# --- the check ---


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<script src="https://example.org/x.js"></script>', "fetches https://example.org/x.js"),
        ('<link rel="stylesheet" href="//example.org/a.css">', "fetches //example.org/a.css"),
        ('<img src="a.png">', "picture a.png has no alt text"),
        ('<a href="away.html">x</a>', "link to away.html, which is not there"),
        ('<a href="#gone">x</a>', "link to #gone, an anchor that is not there"),
    ],
)
def test_the_check_sees(tmp_path: Path, body: str, fault: str) -> None:
    page = tmp_path / "index.html"
    page.write_text(f'<p id="here">{body}</p>', encoding="utf-8")
    assert faults(tmp_path) == [f"index.html: {fault}"]
    good = '<p id="here"><a href="#here">x</a> <a href="https://example.org">y</a></p>'
    page.write_text(good, encoding="utf-8")
    assert faults(tmp_path) == []
    (tmp_path / "a.css").write_text("@import url(https://example.org/font.css);", "utf-8")
    assert faults(tmp_path) == ["a.css: fetches https://example.org/font.css"]


# --- the built book ---


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("myst_nb", reason="pip install -r requirements.txt, to build the book")
    pytest.importorskip("sphinx_book_theme", reason="pip install -r requirements.txt")
    folder = tmp_path_factory.mktemp("book") / "book"
    command = [sys.executable, str(ROOT / "tools/book/make.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 faults" in done.stdout
    return folder


def test_every_alt_text_is_in_the_book(book: Path) -> None:
    for path in NOTEBOOKS:
        page = (book / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8")
        shown = " ".join(html.unescape(page).split())
        outputs = [
            output
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
            for output in cell.get("outputs", [])
            if "image/png" in output.get("data", {})
        ]
        assert outputs
        for output in outputs:
            assert " ".join(output["metadata"]["image/png"]["alt"].split()) in shown


def test_plumbing_is_folded(book: Path) -> None:
    folded = shown = 0
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        folded += sum("hide-input" in cell["metadata"].get("tags", []) for cell in cells)
        page = (book / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8")
        shown += page.count("Show code cell source")
    assert folded == shown > 0


def test_no_library_for_formulas_and_no_button_without_an_address(book: Path) -> None:
    page = (book / "notebooks/00_start_here.html").read_text(encoding="utf-8")
    assert "mathjax" not in page.lower()
    assert "colab.research" not in page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.mark.parametrize(
    ("query", "page_title"),
    [("padding", "Padding and attention masks"), ("77", "Tokenizing"), ("49407 id", "Tokenizing")],
)
def test_search_finds(book: Path, browser: Any, query: str, page_title: str) -> None:
    page = browser.new_page()
    wrong = watch(page)
    page.goto(f"{(book / 'search.html').as_uri()}?q={query}")
    page.wait_for_selector("#search-results li")
    assert page_title in page.inner_text("#search-results")
    assert not wrong


def test_the_menu_opens_on_a_phone(book: Path, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto((book / "docs/faq.html").as_uri())
    links = page.locator("#pst-primary-sidebar-modal a", has_text="1. Tokenizing")
    assert links.count() == 0
    page.locator("button.primary-toggle").click()
    links.first.wait_for(state="visible")


def test_a_hit_of_a_search_is_marked(book: Path, browser: Any) -> None:
    page = browser.new_page()
    address = (book / "notebooks/03_padding_and_attention_masks.html").as_uri()
    page.goto(f"{address}?highlight=tutorial")
    page.wait_for_selector("article .highlighted")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_in_a_browser(book: Path, browser: Any, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    wrong = watch(page)

    def fits(width: int) -> bool:
        return page.evaluate("document.documentElement.scrollWidth") <= width

    for name in LOOKED_AT:
        page.set_viewport_size({"width": 390, "height": 900})
        page.goto((book / f"{name}.html").as_uri())
        assert barriers(page) == [], name
        assert fits(390), name
        # wider, axe looks at all but code, which has the same colours, and scrolls less
        page.set_viewport_size({"width": 1280, "height": 900})
        assert barriers(page, but=["pre"]) == [], name
        assert fits(1280), name
    context.close()
    assert not wrong


def test_every_page_opens_quietly(book: Path, browser: Any) -> None:
    page = browser.new_page()
    wrong = watch(page)
    pages = [p for p in sorted(book.rglob("*.html")) if "_static" not in p.parts]
    assert len(pages) > 40
    for path in pages:
        page.goto(path.as_uri())
        assert page.title(), path
        assert not wrong, path
