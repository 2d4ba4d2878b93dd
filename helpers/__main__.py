"""``python -m helpers doctor`` and ``python -m helpers fetch``."""

from __future__ import annotations

import argparse
import os
import sys

from .doctor import doctor
from .fetch import fetch, table
from .hub import CheckpointError


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 if all is well, 1 if not, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m helpers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    look = commands.add_parser("doctor", help="is everything there that the notebooks need?")
    look.add_argument(
        "--deep", action="store_true", help="also compare downloads with their hashes"
    )
    look.add_argument("--json", action="store_true", help="for programs")
    get = commands.add_parser("fetch", help="download a checkpoint beforehand")
    get.add_argument("name", nargs="?", help="clip-l, sd1 or sd2; without one, the table is shown")
    get.add_argument("--to", metavar="FOLDER", help="plain files there, such as on a USB stick")
    get.add_argument("--pipeline", action="store_true", help="with the U-Net, to draw pictures")
    get.add_argument(
        "--half", action="store_true", help="that one in half precision: half as large"
    )
    asked = parser.parse_args(arguments)
    try:
        if asked.command == "doctor":
            os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "3")  # seconds for the Hub to answer
            return doctor(deep=asked.deep, as_json=asked.json)
        if asked.name is None:
            print(table())
        else:
            fetch(asked.name, asked.to, pipeline=asked.pipeline, half=asked.half)
        return 0
    except CheckpointError as error:
        print(error.args[0], file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, such as "head", has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
