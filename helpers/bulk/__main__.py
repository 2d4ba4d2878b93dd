"""Embed every caption of a file, in shards; stopped and started again, it goes on.

python -m helpers.bulk captions.txt out/
python -m helpers.bulk captions.parquet out/ --column caption --output projected --checkpoint clip-l
accelerate launch --multi_gpu --num_processes 2 -m helpers.bulk captions.txt out/  # CPUs, too
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from .. import CheckpointError, embed, load_clip, tokenize
from ..checkpoints import find_folder
from ..folders import layout
from .captions import Caption, captions, where
from .shards import Bad, Shards

SETTINGS = ("output", "dtype", "normalize", "column", "shard")
WRITES = """\
what is written, a shard of --shard lines at a time (it needs pyarrow, the extra "bulk"):
  out/text_emb/text_emb_0.npy        numpy.load(...): (captions, d), a row for each caption
  out/metadata/metadata_0.parquet    pyarrow.parquet.read_table(...): its "caption" and its "line"
                                     (in CSV and Parquet the row, counted without the header)
  out/manifest.json                  the settings, the counts, the first 100 bad lines
A bad line has no row: not UTF-8, over 100,000 letters, with a NUL; in JSON lines, CSV and Parquet
no text in that column; in CSV another number of cells than the header, or a line break in the
caption. A blank caption is the empty prompt. To go on after a stop, give the same command again.
"""
OUT_OF_MEMORY = "DefaultCPUAllocator", "MPS backend out of memory"  # what other devices say
OF_A_CLIP = {".safetensors", ".json", ".txt"}  # weights, configuration, vocabulary and merges


def command_line() -> argparse.ArgumentParser:
    """What it can be told."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.bulk",
        description=__doc__,
        epilog=WRITES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, default = parser.add_argument, "(default: %(default)s)"
    add(
        "captions",
        type=Path,
        help=".txt (a caption a line), .jsonl or .ndjson, .csv, .tsv, .parquet or .pq",
    )
    add("out", type=Path, help="a folder for the shards; it is made where there is none")
    add("--checkpoint", default="emoji", help=f"a name, a folder or a Hub id {default}")
    add(
        "--output",
        choices=["pooled", "projected"],
        default="projected",
        help=f"which vectors: projected are those that are compared with images {default}",
    )
    add(
        "--dtype",
        choices=["float16", "float32"],
        default="float16",
        help=f"of what is stored; CUDA computes in float16, all else in float32 {default}",
    )
    add("--normalize", action="store_true", help="to length 1, for an index (default: as they are)")
    add("--column", default="caption", help=f"where the caption is, in all but .txt {default}")
    add("--shard", type=int, default=10_000, help=f"lines in a shard {default}")
    add(
        "--strict",
        action="store_true",
        help="stop at the first bad line (default: leave it out, and say so)",
    )
    return parser


def main() -> None:
    """Run it; what goes wrong is told in a sentence."""
    arguments = command_line().parse_args()
    if arguments.shard < 1:
        raise SystemExit("--shard must be at least 1.")
    try:
        run(arguments)
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":  # of several processes one tells it
            print("\nstopped; the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from None  # what a shell says of a program that Ctrl-C ended
    except (CheckpointError, ImportError, ValueError) as error:
        raise SystemExit(str(error)) from None
    except OSError as error:
        raise SystemExit(f"{error.filename or arguments.out}: {error.strerror}.") from None


def run(arguments: argparse.Namespace) -> None:
    """Every process reads the whole file and embeds the shards that are its own."""
    from accelerate.utils import gather_object
    from tqdm.auto import tqdm

    if find_spec("pyarrow") is None:
        raise ImportError("Shards need pyarrow: run 'pip install pyarrow'.")
    if not arguments.captions.is_file():
        raise ValueError(f"{arguments.captions} is not a file.")
    if next(captions(arguments.captions, arguments.column), None) is None:  # or a wrong column
        raise ValueError(f"{arguments.captions} is empty: there is no caption in it.")
    here = state()
    clip = load_clip(arguments.checkpoint, device=here.device)
    if arguments.output == "projected" and clip.text_projection is None:
        raise ValueError(f"{clip.name} has no projection; pass --output pooled.")
    before = stamp(arguments.captions)
    shards = Shards(arguments.out, job(arguments, clip.name, f"{clip.dtype}, {here.device.type}"))
    for number, other in enumerate(gather_object([shards.job])):
        if differ := [key for key in other if other[key] != shards.job[key]]:
            raise ValueError(
                f"Processes {here.process_index} and {number} have not the same job; different are "
                f"{', '.join(differ)}."
            )
    if here.is_main_process:
        shards.open()
    there = shards.there()
    here.wait_for_everyone()  # nobody writes before all have looked

    number, fresh, began = -1, 0, time.perf_counter()
    quiet = not here.is_main_process
    bar = tqdm(desc="captions", unit=" captions", unit_scale=True, smoothing=0, disable=quiet)
    bar.initial = 0  # which it lacks where it is disabled
    with bar:
        for number, lines in enumerate(groups(arguments)):
            bad = bad_of(lines)
            if bad and arguments.strict:
                raise ValueError(
                    f"{where(*bad[0][:2])} is bad: {bad[0][2]}; without --strict it is left out."
                )
            if number in there:
                bar.initial += len(lines)  # they do not count in the rate
            else:
                fresh += len(lines)
                if number % here.num_processes == here.process_index:
                    write(shards, number, lines, clip, arguments)
            bar.update(len(lines))
    if stamp(arguments.captions) != before:
        raise ValueError(
            f"{arguments.captions} was changed while it was read: delete {arguments.out} and begin "
            "anew."
        )
    here.wait_for_everyone()
    if here.is_main_process:
        counts = shards.close(number + 1)
        rate = fresh / (time.perf_counter() - began)
        tell(
            counts,
            arguments.out,
            clip.max_length,
            len(there & {*range(number + 1)}),
            rate,
            here.num_processes,
        )


def state() -> Any:
    """Accelerate's, of this process among all.

    Raises:
        ValueError: several were started, and accelerate takes this one for the only one.
    """
    import torch
    from accelerate import PartialState

    started = int(os.environ.get("WORLD_SIZE", 1))
    # where there is no GPU, some versions of accelerate have to be told so to see the others
    on_cpu = started > 1 and not torch.cuda.is_available()
    here = PartialState(cpu=on_cpu, timeout=timedelta(days=1))  # for who is done first, and waits
    if here.num_processes != started:
        raise ValueError(
            f"WORLD_SIZE is {started}, and accelerate sees {here.num_processes} of them: start it "
            "with 'accelerate launch --multi_gpu' or with torchrun."
        )
    return here


def tell(
    whole: dict[str, Any], out: Path, longest: int, there: int, rate: float, processes: int
) -> None:
    """The closing lines."""
    shards, cut, blank, bad = (whole[key] for key in ("shards", "cut", "blank", "bad"))
    print(f"{many(whole['rows'], 'caption')} in {many(shards, 'shard')} in {out}", end="")
    if there == shards:
        print("; finished already, nothing was left to do")
    else:
        print(
            f"; {rate:,.0f} captions/s"
            + f" by {processes} processes" * (processes > 1)
            + f"; {there} of {shards} shards were there" * (there > 0)
        )
    if cut:
        print(f"{many(cut, 'caption was', 'captions were')} cut to {longest} tokens")
    if blank:
        print(f"{many(blank, 'line is', 'lines are')} blank and became the empty prompt")
    if bad:
        print(
            f"{many(bad, 'line was', 'lines were')} bad and {'have' if bad > 1 else 'has'} no row"
        )
    for place, problem in whole["first_bad"][:5]:
        print(f"  {place}: {problem}")


def many(count: int, one: str, more: str = "") -> str:
    """ "1 shard", "2 shards"."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def bad_of(lines: list[Caption]) -> list[Bad]:
    """Those that are no captions."""
    return [(line.number, line.line, line.problem) for line in lines if line.problem]


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
    shards.write(
        number, vectors, [x.text for x in good], [x.number for x in good], cut, bad_of(lines)
    )


def fitting(clip: Any, tokens: Any) -> Any:
    """``embed``; where memory does not suffice, with half as many nodes, and from then on.

    It changes ``tree.NODES``, which ``embed`` reads at each call, for the rest of this process.

    Raises:
        ValueError: not even a tree of one prompt finds room.
    """
    import torch

    from .. import tree

    kind = clip.device.type
    tree.NODES.setdefault(kind, 1000)
    while True:
        try:
            return embed(clip, tokens, rows=False)
        except RuntimeError as error:
            full = isinstance(error, torch.OutOfMemoryError)  # that is CUDA's
            if not full and not any(said in str(error) for said in OUT_OF_MEMORY):
                raise
            if tree.NODES[kind] <= clip.max_length:
                raise ValueError(f"{clip.device} has too little memory for one prompt.") from None
            tree.NODES[kind] = max(clip.max_length, tree.NODES[kind] // 2)
            print("out of memory: half as many nodes at once from now on", file=sys.stderr)


@contextlib.contextmanager
def cut_prompts() -> Iterator[list[logging.LogRecord]]:
    """Collect what ``tokenize`` says of prompts that do not fit, instead of printing a million.

    It logs one record for each prompt it cuts and returns no count, so the records are the count.
    """
    log, records = logging.getLogger("helpers.tokens"), []

    def keep(record: logging.LogRecord) -> bool:
        records.append(record)
        return False

    log.addFilter(keep)
    try:
        yield records
    finally:
        log.removeFilter(keep)


def stamp(path: Path) -> tuple[int, int]:
    """When it was last written, and how large it is."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def job(arguments: argparse.Namespace, name: str, computed: str) -> dict[str, Any]:
    """What the shards depend on: settings, captions, model, type of number and device, versions."""
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
        "computed": computed,
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
