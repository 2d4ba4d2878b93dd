"""Copy what the book is made of into a folder for Sphinx, in the way that it understands.

The tree stays as it is, so relative links between pages hold. What is changed on the way:

- a drawing that a notebook carries as an attachment becomes the vector file it was drawn from;
- the alt text of a figure moves to where myst-nb looks for it;
- an anchor in JupyterLab's spelling becomes one in MyST's;
- a solution stands folded below each exercise;
- a link to source code leads to a page that shows it; one to a folder, to its README.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from helpers.exercises.verbs import exercises_of  # noqa: E402

HERE = Path(__file__).resolve().parent

PAGES = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "docs/*/README.md",
    "training/README.md",
    "helpers/models/*/README.md",
    "notebooks/*.ipynb",
)
PICTURES = ("docs/drawings/*.svg", "docs/playground/*.webp", "helpers/models/*/*.webp")
LINK = re.compile(r"(?<!!)\[([^\]\[]*(?:\[[^\]]*\][^\]\[]*)*)\]\(([^)\s]+)\)")
# "notebooks [2](02_clip_text_encoder.ipynb), sections 7 to 9": the first of them
PROOF = re.compile(r"\[(\d)\]\(((?:\.\./notebooks/)?\d\d_\w+\.ipynb)\)(, sections? )(\d+)")
ATTACHMENT = re.compile(r"\(attachment:([\w-]+)\.png\)")
CODE = re.compile(r"(?ms)^(```|~~~).*?^\1|`[^`\n]+`")
BUILT = "build/playground"
PLAYGROUND = """# The playground

<p><a href="docs/playground/index.html">Open the playground</a>: type any prompt and see its tokens,
rows, nearest emoji and a picture. All of it is computed in your browser; nothing is sent
anywhere.</p>

<ul>
<li><a href="docs/playground/index.html#panel=rows&p=a+photo+of+a+cat&q=a+photo+of+a+dog">Which rows
two prompts share</a></li>
<li><a href="docs/playground/index.html#panel=nearest&p=red+heart&b=red&c=blue&minus=1&plus=1">red
heart − red + blue, and the same by a tower that never learned</a></li>
<li><a href="docs/playground/index.html#panel=draw&p=fox&q=frog&t=0.5">A picture of half a fox and
half a frog</a></li>
</ul>
"""
STILL = "*In this book nothing runs: guess first. Solutions are folded below exercises.*"
LANGUAGES = {".py": "python", ".toml": "toml", ".json": "json", ".js": "javascript"}


def slug(text: str) -> str:
    """The anchor that MyST gives to a heading, from the heading or from JupyterLab's anchor."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def without_code(text: str, change: Any) -> str:
    """``change`` applied to what stands outside code, which is left as it is."""
    # a link's text may hold code, so code is hidden, not cut out
    kept: list[str] = []

    def hide(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"\0{len(kept) - 1}\0"

    return re.sub(r"\0(\d+)\0", lambda m: kept[int(m[1])], change(CODE.sub(hide, text)))


class Links:
    """Where links of a page lead in the book; remembers which source files are wanted."""

    def __init__(self, root: Path) -> None:
        """Of the repository at ``root``."""
        self.root = root
        self.playground = (root / BUILT / "index.html").exists()  # made by make playground
        self.pages = {p.resolve() for pattern in PAGES for p in root.glob(pattern)}
        self.sources: set[Path] = set()

    def target(self, page: Path, link: str) -> str:
        """The link as it has to stand in the staged page. What lies outside stays as it is."""
        if re.match(r"[a-z]+:", link):
            return link
        name, _, anchor = link.partition("#")
        anchor = f"#{slug(unquote(anchor))}" if anchor else ""
        if not name:
            return anchor
        file = (page.parent / unquote(name)).resolve()
        if file.is_dir() and file / "README.md" in self.pages:
            return f"{name.rstrip('/')}/README.md{anchor}"
        if file in self.pages or file.suffix in {".webp", ".svg"}:
            return name + anchor
        if not file.is_file():
            raise FileNotFoundError(f"{page.relative_to(self.root)} links to {link}: not there")
        self.sources.add(file)
        return f"{name}.md"

    def section(self, number: str, section: str) -> str:
        """The anchor of a section of a notebook: "#1-what-is-a-token"."""
        (path,) = (self.root / "notebooks").glob(f"0{number}_*.ipynb")
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        heading = re.search(rf"(?m)^## ({section}\. .*)$", texts)
        return f"#{heading[1]}" if heading else ""

    def text(self, page: Path, text: str) -> str:
        """Markdown with its links changed."""

        def link(match: re.Match[str]) -> str:
            words, target = match[1], match[2]
            here = (page.parent / target.partition("#")[0]).resolve()
            if here == self.root / "docs/playground/index.html" and not self.playground:
                return f"{words} (which this copy of the book does not hold)"
            if re.search(r"\.html(#|$)", target) and "://" not in target:  # a page of its own
                return f'<a href="{target}">{words}</a>'
            if named := re.match(r"(?:notebook|defter) (\d), (?:section|bölüm) (\d+)\b", words):
                target += self.section(*named.groups()) if "#" not in target else ""
            return f"[{words}]({self.target(page, target)})"

        def proof(match: re.Match[str]) -> str:
            number, path, rest, section = match.groups()
            return f"[{number}]({path}#{slug(self.section(number, section)[1:])}){rest}{section}"

        return without_code(text, lambda plain: LINK.sub(link, PROOF.sub(proof, plain)))


def figures_apart(cell: dict[str, Any]) -> list[dict[str, Any]]:
    """The cell, or a cell for each of its figures: myst-nb has room for one alt text a cell."""
    cells, current = [], {**cell, "outputs": []}
    for output in cell["outputs"]:
        if "image/png" in output.get("data", {}):
            if "mystnb" in current["metadata"]:
                cells.append(current)
                # not empty: myst-nb leaves out a cell without source, and its output
                more = {"source": "# the next figure", "metadata": {"tags": ["remove-input"]}}
                current = {**cell, **more, "outputs": [], "id": f"{cell['id']}-{len(cells)}"}
            alt = output["metadata"]["image/png"]["alt"]
            current["metadata"] = {**current["metadata"], "mystnb": {"image": {"alt": alt}}}
        current["outputs"].append(output)
    return [*cells, current]


def solutions(cell: dict[str, Any]) -> list[dict[str, Any]]:
    """A folded cell with the solution of the exercise that this cell asks, if it asks one."""
    found = re.search(r'(?m)^check\("((\d)\.\d)"', "".join(cell["source"]))
    if not found:
        return []
    exercise = exercises_of(int(found[2]))[found[1]]
    text = (
        f"<details><summary>A solution of {exercise.id}</summary>\n\n```python\n"
        f"{exercise.solution}\n```\n\n{exercise.why}\n\n</details>"
    )
    name = f"solution-{exercise.id.replace('.', '-')}"
    return [{"cell_type": "markdown", "id": name, "metadata": {}, "source": text}]


def notebook(page: Path, links: Links) -> str:
    """The JSON of a notebook for myst-nb."""
    book = json.loads(page.read_text(encoding="utf-8"))
    depth = "../" * (len(page.relative_to(links.root).parts) - 1)
    cells: list[dict[str, Any]] = []
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            cells += [*figures_apart(cell), *solutions(cell)]
            continue
        text = links.text(page, "".join(cell["source"]))
        cell["source"] = ATTACHMENT.sub(rf"({depth}docs/drawings/\1.svg)", text)
        cell.pop("attachments", None)
        cells.append(cell)
    cells.insert(
        1, {"cell_type": "markdown", "id": "in-this-book", "metadata": {}, "source": STILL}
    )
    book["cells"] = cells
    return json.dumps(book, ensure_ascii=False)


def source_page(file: Path, root: Path) -> str:
    """A page that shows a file."""
    language = LANGUAGES.get(file.suffix, "text")
    name = file.relative_to(root).as_posix()
    return (
        f"---\norphan: true\nnosearch: true\n---\n\n# `{name}`\n\n"
        f"```{{literalinclude}} {file.name}\n:language: {language}\n:linenos:\n```\n"
    )


def way_back(page: str, to: str) -> str:
    """A page of its own with a link to the book on top, which is not printed."""
    style = "<style>@media print { .back { display: none } }</style>"
    link = f'{style}<p class="back"><a href="{to}">← the book</a></p>'
    return re.sub(r"(<body[^>]*>)", lambda body: f"{body[0]}\n{link}", page, count=1)


def stage(target: Path, root: Path = ROOT) -> None:
    """Write the sources of the book to an empty ``target``."""
    shutil.rmtree(target, ignore_errors=True)
    links = Links(root)

    def write(name: Path, text: str) -> None:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(text, encoding="utf-8")

    for page in sorted(links.pages):
        notebooks = page.suffix == ".ipynb"
        text = notebook(page, links) if notebooks else links.text(page, page.read_text("utf-8"))
        write(page.relative_to(root), text)
    for file in sorted(links.sources):
        name = file.relative_to(root)
        write(name, file.read_text(encoding="utf-8"))
        write(name.with_name(name.name + ".md"), source_page(file, root))
    for picture in (p for pattern in PICTURES for p in root.glob(pattern)):
        copy = target / picture.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, copy)
    for name in ("conf.py", "book.css", "book.js"):
        shutil.copyfile(HERE / name, target / name)
    first = (HERE / "index.md").read_text(encoding="utf-8")
    write(Path("index.md"), links.text(root / "index.md", first))
    shutil.copyfile(root / "pyproject.toml", target / "pyproject.toml")
    # pages of their own, put into the book as they are
    extra = target / "extra"
    (extra / "docs").mkdir(parents=True)
    sheet = (root / "docs/cheatsheet.html").read_text(encoding="utf-8")
    (extra / "docs/cheatsheet.html").write_text(way_back(sheet, "../index.html"), "utf-8")
    if links.playground:
        shutil.copytree(root / BUILT, extra / "docs/playground")
        page = extra / "docs/playground/index.html"
        page.write_text(way_back(page.read_text("utf-8"), "../../index.html"), encoding="utf-8")
        write(Path("playground.md"), PLAYGROUND)
        index = (target / "index.md").read_text(encoding="utf-8")
        write(Path("index.md"), index.replace("\ndocs/faq\n", "\nplayground\ndocs/faq\n"))
