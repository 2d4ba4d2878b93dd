"""What every notebook of the series keeps to, as functions from a notebook to complaints."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

# what makes nbval leave a cell's output alone, as a comment and (small, with hyphens) as a tag
IGNORED = {"NBVAL_IGNORE_OUTPUT", "NBVAL_SKIP", "PYTEST_VALIDATE_IGNORE_OUTPUT"}
NOT_COMPARED = {"image/png", "image/jpeg", "application/vnd.jupyter.widget-view+json"}
MACHINE = re.compile(
    r"(/home/|/root/|/Users/|/tmp/|/work/|/opt/|/usr/lib|/mnt/|[A-Z]:\\\\?Users|site-packages"
    r"|ipykernel_\d+|localhost|127\.0\.0\.1)"
)
HELPERS = Path(__file__).parents[1] / "helpers"
HELPER_LINK = re.compile(r"\[([^\]]*)\]\(\.\./helpers/([\w/]+\.py)\)")
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:href|src)=\"([^\"]+)\"")

SHIPPED = "**On the shipped model:** "
HEADING = re.compile(r"(?m)^(#{1,6}) +(.+)$")
SECTION = {"#", "##", "###"}  # a heading of one of these levels ends what was printed above it
NO_EXPERIMENT = ("set-up", "summary", "what you saw", "exercise", "solution", "further reading")
# a sign, digits, thousands set off by commas, decimals, exponent; a digit in a name does not count
NUMBER = re.compile(
    r"(?<![A-Za-z_0-9.])((?<![0-9)\]])[-+])?([0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
    r"(\.[0-9]+)?(e[-+]?[0-9]+)?"
)
# what is read past: `code` (see below), a link to a notebook, the target of any other link
PAST = re.compile(r"`([^`]*)`|\[[^\]]*\]\([^)]*\.ipynb[^)]*\)|\]\([^)]*\)")


def code_cells(notebook: Any) -> list[Any]:
    return [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]


def prints(cell: Any) -> bool:
    return bool(cell.outputs)


def markers(cell: Any) -> set[str]:
    """Everything in the cell that nbval may read as a marker: its comment lines and its tags."""
    lines = (line.strip() for line in cell.source.splitlines())
    comments = {line.lstrip("#").strip() for line in lines if line.startswith("#")}
    return comments | {tag.upper().replace("-", "_") for tag in cell.metadata.get("tags", [])}


def compared(cell: Any) -> bool:
    """Whether nbval compares at least one field of the cell's stored output.

    nbval leaves out a cell that was never run, one that is marked, and every picture.
    """
    if cell.execution_count is None or markers(cell) & IGNORED:
        return False
    return any(
        output.output_type in ("stream", "error") or set(output.get("data", {})) - NOT_COMPARED
        for output in cell.outputs
    )


def not_compared(notebook: Any) -> list[str]:
    """Over 5 % of the cells that print are not compared."""
    printing = [cell for cell in code_cells(notebook) if prints(cell)]
    count = sum(compared(cell) for cell in printing)
    if not printing:
        return ["no cell prints anything"]
    if count < 0.95 * len(printing):
        first = next(cell for cell in printing if not compared(cell))
        return [f"{count} of {len(printing)} printing cells are compared; not: {start(first)}"]
    return []


def execution_counts(notebook: Any) -> list[str]:
    """A cell was not run, or the cells were not run once from top to bottom."""
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        return [f"execution counts are {counts}, not 1 to {len(counts)}"]
    return []


def stored_errors(notebook: Any) -> list[str]:
    return [
        f"stored error: {output.ename} in {start(cell)}"
        for cell, output in outputs(notebook)
        if output.output_type == "error"
        and not markers(cell) & {"RAISES_EXCEPTION", "NBVAL_RAISES_EXCEPTION"}
    ]


def images_without_alt(notebook: Any) -> list[str]:
    complaints = []
    for cell, output in outputs(notebook):
        for kind in output.get("data", {}):
            alt = output.get("metadata", {}).get(kind, {}).get("alt", "")
            if kind.startswith("image/") and len(alt.strip()) < 20:
                complaints.append(f"picture without alt text in {start(cell)}")
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and re.search(r"!\[\s*\]\(|<img(?![^>]*alt=)", cell.source):
            complaints.append(f"picture without alt text in {start(cell)}")
    return complaints


def machine_paths(notebook: Any) -> list[str]:
    texts = [(cell, cell.source) for cell in notebook.cells]
    texts += [(cell, text) for cell, output in outputs(notebook) for text in texts_of(output)]
    return [
        f"{found[0]!r} in {start(cell)}" for cell, text in texts if (found := MACHINE.search(text))
    ]


def noise_on_stderr(notebook: Any) -> list[str]:
    """Anything on stderr but the helpers' own line on a prompt that was cut."""
    own = re.compile(r"prompt \d+ is \d+ tokens long, \d+ fit; lost: .*")
    return [
        f"stderr in {start(cell)}: {line[:80]!r}"
        for cell, output in outputs(notebook)
        if output.get("name") == "stderr"
        for line in output.text.splitlines()
        if line.strip() and not own.fullmatch(line)
    ]


def dead_links(notebook: Any, folder: Path) -> list[str]:
    """Links to files that are not there; links to other sites are not followed."""
    complaints = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for groups in LINK.findall(cell.source):
                target = unquote(next(filter(None, groups))).split("#")[0]
                if re.match(r"[a-z]+:", target) or target.startswith("attachment:"):
                    continue
                if target and not (folder / target).exists():
                    complaints.append(f"link to {target}, which is not there")
    return complaints


def shape_of_the_series(notebook: Any) -> list[str]:
    """A title first, the time it takes, exercises, and what was seen at the end."""
    first = notebook.cells[0]
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    headings = re.findall(r"(?m)^#+ +(.+)$", "\n".join(prose))
    complaints = []
    if first.cell_type != "markdown" or not first.source.startswith("# "):
        complaints.append("it does not begin with a title")
    if not re.search(r"\b(minutes|hour|hours)\b", "\n".join(prose[:3])):
        complaints.append("it does not say how long it takes")
    for words in (("summary", "what you saw"), ("exercise",)):
        if not any(word in heading.lower() for heading in headings for word in words):
            complaints.append(f"it has no heading {' or '.join(words)!r}")
    return complaints


def shipped_numbers(notebook: Any) -> list[str]:
    """A number in a line "On the shipped model:" that no cell above it in its section printed.

    Compared is the text of the numbers, so 0.5 is not 0.50; commas and a leading plus are left
    out, signs of per cent and units too.
    """
    complaints, printed = [], set()
    for kind, text in blocks(notebook):
        if kind in SECTION:
            printed = set()
        elif kind == "output":
            printed |= set(numbers(text))
        elif kind == "prose" and text.startswith(SHIPPED):
            missing = [number for number in numbers(measured(text)) if number not in printed]
            complaints += [f"{number} is not printed above: {text[:90]!r}" for number in missing]
        elif kind == "prose" and "on the shipped model:" in text.lower():
            complaints.append(f"the paragraph does not begin with {SHIPPED!r}: {text[:90]!r}")
    return complaints


def shipped_lines(notebook: Any) -> list[str]:
    """A section whose cells print a decimal number, and no line says what came out."""
    decimal: dict[str, bool] = {}  # does the section print one?
    said = set()
    section = ""
    for kind, text in blocks(notebook):
        if kind == "##":
            section = text
        elif kind == "output":
            found = any("." in number for number in numbers(text))
            decimal[section] = decimal.get(section, False) or found
        elif kind == "prose" and text.startswith(SHIPPED):
            said.add(section)
    return [
        f"section {section!r} prints decimal numbers, and no line begins with {SHIPPED!r}"
        for section, prints_one in decimal.items()
        if prints_one
        and section not in said
        and not any(word in section.lower() for word in NO_EXPERIMENT)
    ]


def helpers_linked(notebook: Any) -> list[str]:
    """A helper that is used, and no link above (or in the set-up) leads to its file.

    The name is part of the link's text, as in [`tokenize`](../helpers/tokens.py), and the file
    defines it or re-exports it.
    """
    linked, complaints = linked_helpers(set_up(notebook)), []
    imported: set[str] = set()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            linked |= linked_helpers([cell])
        elif cell.cell_type == "code":
            nodes = list(ast.walk(ast.parse(cell.source)))
            imported |= {name for node in nodes for name in imported_helpers(node)}
            used = {node.id for node in nodes if isinstance(node, ast.Name)} & imported
            complaints += [
                f"{name} is not linked to its file before {start(cell)}"
                for name in sorted(used - linked)
            ]
            linked |= used  # one complaint is enough
    return complaints


def set_up(notebook: Any) -> list[Any]:
    """The cells of the section that is called set-up."""
    inside, cells = False, []
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (heading := re.match(r"#{1,2} +(.+)", cell.source)):
            inside = heading[1].lower().startswith("set-up")
        cells += [cell] if inside else []
    return cells


def linked_helpers(cells: list[Any]) -> set[str]:
    """The names in the texts of links to files of helpers, where the file has that name."""
    return {
        name
        for cell in cells
        if cell.cell_type == "markdown"
        for text, file in HELPER_LINK.findall(cell.source)
        for name in re.findall(r"`(\w+)`", text)
        if (HELPERS / file).is_file() and name in names_of(HELPERS / file)
    }


def imported_helpers(node: ast.AST) -> list[str]:
    """The names that a statement imports from helpers or its modules."""
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "helpers":
        return [alias.asname or alias.name for alias in node.names]
    return []


def names_of(file: Path) -> set[str]:
    """What the top level of a file defines or imports."""
    names: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def blocks(notebook: Any) -> Iterator[tuple[str, str]]:
    """The notebook as ("##", heading), ("prose", paragraph) and ("output", printed text)."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            source = re.sub(r"(?ms)^```.*?^```", "", cell.source)  # a `#` in code is no heading
            for paragraph in re.split(r"\n\s*\n", HEADING.sub(r"\n\g<0>\n", source).strip()):
                heading = HEADING.fullmatch(paragraph.strip())
                yield (heading[1], heading[2]) if heading else ("prose", paragraph.strip("\n"))
        for output in cell.get("outputs", []):
            picture = any(kind.startswith("image/") for kind in output.get("data", {}))
            if output.get("name") != "stderr" and not picture:  # no <Figure size 700x340>
                for text in texts_of(output):
                    yield "output", text


def measured(paragraph: str) -> str:
    """The paragraph without links and without `code` in which a letter comes before any digit."""

    def keep(match: re.Match[str]) -> str:
        code = match[1] or ""
        return " " if re.match(r"[^0-9]*[A-Za-z_]", code) else f" {code} "

    return PAST.sub(keep, paragraph)


def numbers(text: str) -> list[str]:
    """The numbers in a text, without commas and leading plus, the minus sign as a hyphen."""
    found = NUMBER.finditer(text.replace("\N{MINUS SIGN}", "-"))
    return [match[0].replace(",", "").removeprefix("+") for match in found]


def outputs(notebook: Any) -> list[tuple[Any, Any]]:
    return [(cell, output) for cell in code_cells(notebook) for output in cell.outputs]


def texts_of(output: Any) -> list[str]:
    data = output.get("data", {}).values()
    return [text for text in (output.get("text"), *data) if isinstance(text, str)]


def start(cell: Any) -> str:
    return repr(cell.source.strip().split("\n")[0][:60])
