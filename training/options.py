"""Command lines: ``--help`` is a module's docstring and every default."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


class Options(argparse.ArgumentParser):
    """Of a module with this docstring."""

    def __init__(self, doc: str) -> None:
        spec = sys.modules["__main__"].__spec__  # of what -m runs
        super().__init__(
            prog=f"python -m {spec.name}" if spec else None,
            description=doc,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def number(self, name: str, default: float, what: str) -> None:
        """An option with a number, of the default's type."""
        help_ = f"{what} (default: {default:g})"
        self.add_argument(name, type=type(default), default=default, metavar="N", help=help_)

    def positive(self, name: str, default: float, what: str) -> None:
        """An option with a number above 0."""

        def number(text: str) -> float:
            if not (value := float(text)) > 0:  # NaN is not, either
                raise argparse.ArgumentTypeError(f"must be more than 0, not {text}")
            return value

        help_ = f"{what} (default: {default:g})"
        self.add_argument(name, type=number, default=default, metavar="N", help=help_)

    def flag(self, name: str, what: str) -> None:
        """An option without a value."""
        self.add_argument(name, action="store_true", help=what)

    def folder(self, name: str, default: Path, what: str) -> None:
        """An option with a folder."""
        self.add_argument(
            name, type=Path, default=default, metavar="FOLDER", help=f"{what} (default: {default})"
        )

    def export(self, shipped: Path) -> None:
        """``--export``, alone or with a folder."""
        what = f"train nothing; write the checkpoint's model there (default: over {shipped})"
        self.add_argument(
            "--export", nargs="?", type=Path, const=shipped, metavar="FOLDER", help=what
        )
