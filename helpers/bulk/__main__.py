"""Embed every caption of a file, in shards; stopped and started again, it goes on.

python -m helpers.bulk captions.txt out/
python -m helpers.bulk captions.parquet out/ --column caption --output projected --checkpoint clip-l
accelerate launch --num_processes 2 -m helpers.bulk captions.txt out/
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import logging
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from .. import CheckpointError, embed, load_clip, tokenize
from ..checkpoints import find_folder
from ..folders import layout
from .captions import Caption, captions
from .shards import Shards

SETTINGS = ("output", "dtype", "normalize", "column", "shard")
OF_A_CLIP = {".safetensors", ".json", ".txt"}  # weights, configuration, vocabulary and merges


def command_line() -> argparse.ArgumentParser:
    """What it can be told."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.bulk",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("captions", type=Path, help=".txt, .jsonl, .csv, .tsv or .parquet")
    parser.add_argument("out", type=Path, help="a folder for the shards")
    parser.add_argument(
        "--checkpoint", default="emoji", help="a name, a folder or a Hub id (emoji)"
    )
    parser.add_argument("--output", choices=["pooled", "projected"], default="projected")
    parser.add_argument(
        "--dtype", choices=["float16", "float32"], default="float16", help="of what is stored"
    )
    parser.add_argument("--normalize", action="store_true", help="to length 1, for an index")
    parser.add_argument("--column", default="caption", help="where the caption is (caption)")
    parser.add_argument("--shard", type=int, default=10_000, help="lines in a shard (10000)")
    parser.add_argument("--strict", action="store_true", help="stop at the first bad line")
    return parser


def main() -> None:
    """Run it; what goes wrong is told in a sentence."""
    arguments = command_line().parse_args()
    if arguments.shard < 1:
        raise SystemExit("--shard must be at least 1.")
    try:
        run(arguments)
    except (CheckpointError, ImportError, ValueError) as error:
        raise SystemExit(str(error)) from None
    except OSError as error:
        raise SystemExit(f"{error.filename or arguments.out}: {error.strerror}.") from None


def run(arguments: argparse.Namespace) -> None:
    """Every process reads the whole file and embeds the shards that are its own."""
    from accelerate import PartialState
    from tqdm.auto import tqdm

    if find_spec("pyarrow") is None:
        raise ImportError("Shards need pyarrow: run 'pip install pyarrow'.")
    if not arguments.captions.is_file():
        raise ValueError(f"{arguments.captions} is not a file.")
    here = PartialState()
    clip = load_clip(arguments.checkpoint, device=here.device)
    if arguments.output == "projected" and clip.text_projection is None:
        raise ValueError(f"{clip.name} has no projection; pass --output pooled.")
    shards = Shards(arguments.out, job(arguments, clip.name))
    if here.is_main_process:
        shards.open()
    here.wait_for_everyone()

    number = -1
    bar = tqdm(desc="captions", unit="caption", unit_scale=True, disable=not here.is_main_process)
    with bar:
        for number, lines in enumerate(groups(arguments)):
            bad = [(line.number, line.problem) for line in lines if line.problem]
            if bad and arguments.strict:
                raise ValueError(
                    f"line {bad[0][0]} is bad: {bad[0][1]}; without --strict it is left out."
                )
            if number % here.num_processes == here.process_index and not shards.is_there(number):
                write(shards, number, lines, clip, arguments)
            bar.update(len(lines))
    here.wait_for_everyone()
    if here.is_main_process:
        whole = shards.close(number + 1)
        print(
            f"{whole['rows']:,} captions in {whole['shards']} shards in {arguments.out}; "
            f"{whole['cut']:,} were cut, {whole['bad']:,} lines were bad and have no row"
        )
        for line, problem in whole["first_bad"][:5]:
            print(f"  line {line}: {problem}")


def groups(arguments: argparse.Namespace) -> Iterator[list[Caption]]:
    """The lines of the file, a shard's at a time."""
    found = captions(arguments.captions, arguments.column)
    while group := list(islice(found, arguments.shard)):
        yield group


def write(
    shards: Shards, number: int, lines: list[Caption], clip: Any, arguments: argparse.Namespace
) -> None:
    """Embed one shard and store it."""
    import numpy as np

    bad = [(line.number, line.problem) for line in lines if line.problem]
    good = [line for line in lines if not line.problem]
    pooled = arguments.output == "pooled"
    width = clip.text_config.hidden_size if pooled else clip.text_projection.out_features
    cut, vectors = 0, np.zeros((0, width), arguments.dtype)
    if good:
        with cut_prompts() as log:
            tokens = tokenize(clip, [line.text for line in good])
        cut = len(log)
        embeddings = fitting(clip, tokens)
        found = (embeddings.pooler_output if pooled else embeddings.text_embeds).float().cpu()
        if arguments.normalize:
            from .. import normalize

            found = normalize(found)
        vectors = found.numpy().astype(arguments.dtype)
    shards.write(number, vectors, [x.text for x in good], [x.number for x in good], cut, bad)


def fitting(clip: Any, tokens: Any) -> Any:
    """``embed``; where memory does not suffice, with half as many nodes, and from then on."""
    import torch

    from .. import tree

    while True:
        try:
            return embed(clip, tokens, rows=False)
        except torch.OutOfMemoryError:
            if clip.max_length >= tree.NODES:
                raise ValueError(f"{clip.device} has too little memory for one prompt.") from None
            tree.NODES //= 2
            print(f"out of memory: {tree.NODES} nodes at once from here on", file=sys.stderr)


@contextlib.contextmanager
def cut_prompts() -> Iterator[list[logging.LogRecord]]:
    """Collect what ``tokenize`` says of prompts that do not fit, instead of printing a million."""
    log, records = logging.getLogger("helpers.tokens"), []

    def keep(record: logging.LogRecord) -> bool:
        records.append(record)
        return False

    log.addFilter(keep)
    try:
        yield records
    finally:
        log.removeFilter(keep)


def job(arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    """What the shards depend on: settings, captions, model, versions."""
    from importlib.metadata import version

    from .. import CHECKPOINTS, __version__

    parts = {*layout(name, find_folder(name))}
    files = [f for part in sorted(parts) for f in sorted(part.iterdir()) if f.suffix in OF_A_CLIP]
    known = CHECKPOINTS.get(name)
    packages = ("torch", "transformers", "tokenizers", "ftfy")
    return {key: getattr(arguments, key) for key in SETTINGS} | {
        "captions": digest([arguments.captions]),
        "checkpoint": name,
        "revision": known.revision if known else None,
        "files": digest(files),
        "versions": {"helpers": __version__} | {name: version(name) for name in packages},
    }


def digest(files: list[Path]) -> str:
    """SHA-256 over what is in the files."""
    found = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            found.update(hashlib.file_digest(stream, "sha256").digest())
    return found.hexdigest()


if __name__ == "__main__":
    main()
