"""``python docs/drawings/make.py`` writes the drawings of the series as .svg files, next to itself.

``--png FOLDER`` also renders them, which needs ``pip install resvg-py==0.5.0``.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from drawings import DRAWINGS
from pen import font_file

FOLDER = Path(__file__).parent
# Pixels of the PNG for one unit. Markdown shows a picture with as many pixels as it has, where the
# column has room: 800 of them stand well in a notebook, and are enough for a phone's fine screen.
SCALE = 1.25


def png(svg: str) -> bytes:
    """Render, in at most 64 colours: bytes of a PNG. It needs resvg_py."""
    import resvg_py
    from PIL import Image

    data = resvg_py.svg_to_bytes(
        svg_string=svg,
        zoom=SCALE,
        skip_system_fonts=True,
        font_files=[str(font_file()), str(font_file(bold=True))],
    )
    picture = Image.open(io.BytesIO(bytes(data))).convert("RGB")
    picture = picture.quantize(64, dither=Image.Dither.NONE)
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="which drawings; all if none is named")
    parser.add_argument(
        "--png", type=Path, metavar="FOLDER", help="also render them, into a folder"
    )
    arguments = parser.parse_args()
    for name in arguments.names or sorted(DRAWINGS):
        svg = DRAWINGS[name]().svg()
        (FOLDER / f"{name}.svg").write_text(svg, encoding="utf-8")
        if arguments.png:
            arguments.png.mkdir(parents=True, exist_ok=True)
            data = png(svg)
            (arguments.png / f"{name}.png").write_bytes(data)
            print(f"{name}: {len(data) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
