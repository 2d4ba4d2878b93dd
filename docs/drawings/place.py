"""Put drawings into notebooks, as attachments of text cells.

    python docs/drawings/place.py put bpe notebooks/01_tokenizing.ipynb 01-s3-bpe
    python docs/drawings/place.py refresh notebooks/*.ipynb
    python docs/drawings/place.py check notebooks/*.ipynb

An attachment travels inside the notebook, so it is also seen where a notebook was copied alone.
``put`` writes the picture at the end of the cell (``--top``: at its beginning, ``--after WORDS``:
after the paragraph with these words), or anew where the cell has it already. ``refresh`` writes
anew what is there. Both need resvg-py, ``check`` does not.

PNG bytes may differ between versions of the renderer, so ``check`` compares what cannot: the
picture's alt text with the drawing's, and two SHA-256 that ``put`` left in the cell's metadata,
of the .svg file that was rendered and of the PNG that came out.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree

FOLDER = Path(__file__).parent
IMAGE = re.compile(r"!\[(?P<alt>[^\]]*)\]\(attachment:(?P<name>[\w-]+)\.png\)")
KEY = "drawings"  # in the metadata of a cell


def svg_of(name: str) -> str:
    """The source of a drawing.

    Raises:
        ValueError: there is no such drawing.
    """
    file = FOLDER / f"{name}.svg"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in FOLDER.glob("*.svg")))
        raise ValueError(f"there is no drawing {name!r}; there are {known}.")
    return file.read_text(encoding="utf-8")


def alt_of(svg: str) -> str:
    """What a drawing explains, in words."""
    return ElementTree.fromstring(svg).findtext("{http://www.w3.org/2000/svg}desc") or ""


def _digest(data: bytes | str) -> str:
    return sha256(data.encode("utf-8") if isinstance(data, str) else data).hexdigest()


def read(notebook: Path) -> dict:
    """A notebook as it is stored."""
    return json.loads(notebook.read_text(encoding="utf-8"))


def write(notebook: Path, content: dict) -> None:
    """Store a notebook as Jupyter does, so that nothing else in the file changes."""
    text = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    notebook.write_text(text, encoding="utf-8")


def put(cell: dict, name: str, png: bytes, *, top: bool = False, after: str = "") -> None:
    """Put a rendered drawing into a text cell, or put it there anew.

    Args:
        cell: of the notebook, as JSON has it.
        name: of the drawing.
        png: what it was rendered to.
        top: put it before the text, and not after it.
        after: put it after the paragraph with these words.

    Raises:
        ValueError: no such drawing, the cell is not a text cell, or ``after`` is not in it once.
    """
    svg = svg_of(name)
    if cell["cell_type"] != "markdown":
        raise ValueError(f"cell {cell.get('id')} holds code; a drawing goes into a text cell.")
    source = "".join(cell["source"])
    image = f"![{alt_of(svg)}](attachment:{name}.png)"
    places = [found for found in IMAGE.finditer(source) if found["name"] == name]
    for found in reversed(places):
        source = source[: found.start()] + image + source[found.end() :]
    if not places:
        if source.count(after) != 1 and after:
            raise ValueError(f"cell {cell.get('id')} holds {after!r} {source.count(after)} times.")
        end = source.find("\n\n", source.find(after)) if after else -1
        before, rest = (source[:end], source[end:]) if end >= 0 else (source.rstrip(), "")
        source = f"{image}\n\n{source}" if top else f"{before}\n\n{image}{rest}"
    cell["source"] = source.splitlines(keepends=True)
    data = b64encode(png).decode("ascii")
    cell.setdefault("attachments", {})[f"{name}.png"] = {"image/png": data}
    cell["metadata"].setdefault(KEY, {})[name] = {"png": _digest(png), "svg": _digest(svg)}


def placed(cell: dict) -> list[str]:
    """The names of the drawings that a cell shows, in their order."""
    return [found["name"] for found in IMAGE.finditer("".join(cell["source"]))]


def problems(content: dict) -> list[str]:
    """Where a notebook's attachments are not what the sources say, one sentence each."""
    found = []
    for cell in content["cells"]:
        where, shown = f"cell {cell.get('id')}", placed(cell)
        attached = cell.get("attachments", {})
        marks = cell["metadata"].get(KEY, {})
        for name in sorted({file.removesuffix(".png") for file in attached} | set(marks)):
            if name not in shown:
                found.append(f"{where}: {name} is attached, and not shown.")
        for image in IMAGE.finditer("".join(cell["source"])):
            name, mark = image["name"], marks.get(image["name"], {})
            try:
                svg = svg_of(name)
            except ValueError as error:
                found.append(f"{where}: {error}")
                continue
            picture = attached.get(f"{name}.png", {}).get("image/png")
            if picture is None:
                found.append(f"{where}: {name} is shown, and not attached.")
            elif _digest(b64decode(picture)) != mark.get("png"):
                found.append(f"{where}: the picture of {name} is not the one that was put there.")
            if mark.get("svg") != _digest(svg):
                found.append(f"{where}: {name}.svg has changed since; refresh it.")
            if image["alt"] != alt_of(svg):
                found.append(f"{where}: the alt text of {name} is not the drawing's; refresh it.")
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("put", help="put one drawing into one cell")
    one.add_argument("name")
    one.add_argument("notebook", type=Path)
    one.add_argument("cell", help="the cell's id")
    one.add_argument("--top", action="store_true", help="before the text, not after it")
    one.add_argument("--after", default="", metavar="WORDS", help="after this paragraph")
    for verb, text in (("refresh", "render again what is placed"), ("check", "compare")):
        many = verbs.add_parser(verb, help=text)
        many.add_argument("notebooks", type=Path, nargs="+")
    arguments = parser.parse_args()

    if arguments.verb == "check":
        found = [f"{path}: {line}" for path in arguments.notebooks for line in problems(read(path))]
        print("\n".join(found) or "all drawings are what their sources say")
        sys.exit(bool(found))

    from make import png

    if arguments.verb == "put":
        content = read(arguments.notebook)
        cells = [cell for cell in content["cells"] if cell.get("id") == arguments.cell]
        if not cells:
            parser.error(f"{arguments.notebook} has no cell {arguments.cell!r}.")
        try:
            picture = png(svg_of(arguments.name))
            put(cells[0], arguments.name, picture, top=arguments.top, after=arguments.after)
        except ValueError as error:
            parser.error(str(error))
        write(arguments.notebook, content)
        return
    for path in arguments.notebooks:
        content = read(path)
        for cell in content["cells"]:
            for name in placed(cell):
                put(cell, name, png(svg_of(name)))
        write(path, content)


if __name__ == "__main__":
    main()
