"""Shards of embeddings on the disk: each is there whole, or not at all.

The layout is that of clip-retrieval (``text_emb/text_emb_0.npy``, ``metadata/metadata_0.parquet``),
so that its index, autofaiss and embedding-reader read the folder. They take shards in the order of
their names as text: 0, 1, 10, 11, 2, vectors and metadata alike. Beside the captions the metadata
holds the number of each one's line, because bad lines have no row. What is to be known of the
whole, and of the captions that were left out, is in ``manifest.json``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .captions import where

Bad = tuple[int, int, str]  # the number of a caption, its line of the file, what is wrong with it
HASHED = {"captions": "the captions file has", "files": "the checkpoint's files have"}
VECTORS, METADATA, MANIFEST = "text_emb", "metadata", "manifest.json"


@dataclass(frozen=True)
class Shards:
    """A folder of shards that all come from the same captions, model and settings."""

    folder: Path
    job: dict[str, Any]

    def open(self) -> None:
        """Make the folder, or see that the shards in it belong to this job.

        Raises:
            ValueError: it belongs to another one.
        """
        for name in (VECTORS, METADATA):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        manifest = self.folder / MANIFEST
        filled = any(self.folder.glob(f"{VECTORS}/*.npy"))
        if manifest.exists():
            try:
                was = dict(json.loads(manifest.read_text(encoding="utf-8"))["job"])
            except (ValueError, KeyError, TypeError):
                raise ValueError(
                    f"{manifest} is damaged; delete {self.folder} to begin anew."
                ) from None
            other = changes(was, self.job)
            if other and filled:
                raise ValueError(
                    f"{self.folder} holds the shards of another job: {other}. To go on, run it "
                    "as it was; else name another folder, or delete this one to begin anew."
                )
            if other:  # nothing was embedded, so there is nothing to mix up
                self.write_manifest({})
        elif filled:
            raise ValueError(f"{self.folder} holds shards and no {MANIFEST}; name another folder.")
        else:
            self.write_manifest({})

    def there(self) -> set[int]:
        """The numbers of the shards that are there and whole."""
        found = (path.stem.rpartition("_")[2] for path in self.folder.glob(f"{VECTORS}/*.npy"))
        return {
            int(number) for number in found if number.isdecimal() and self.is_there(int(number))
        }

    def paths(self, number: int) -> tuple[Path, Path]:
        """Of the vectors and of the metadata."""
        return (
            self.folder / VECTORS / f"{VECTORS}_{number}.npy",
            self.folder / METADATA / f"{METADATA}_{number}.parquet",
        )

    def is_there(self, number: int) -> bool:
        """Whether the shard is there and whole. The vectors come last."""
        vectors, metadata = self.paths(number)
        if not (vectors.is_file() and metadata.is_file()):
            return False
        from pyarrow import parquet
        from pyarrow.lib import ArrowException

        try:
            rows = parquet.read_metadata(metadata).num_rows
            return len(np.load(vectors, mmap_mode="r" if rows else None)) == rows
        except (OSError, ValueError, EOFError, ArrowException):
            return False

    def write(
        self,
        number: int,
        vectors: np.ndarray,
        texts: list[str],
        lines: list[int],
        cut: int,
        bad: list[Bad],
    ) -> None:
        """Both files under other names first, renamed when they are whole."""
        import pyarrow
        from pyarrow import parquet

        blank = sum(not text.strip() for text in texts)
        told = {"cut": str(cut), "blank": str(blank), "bad": json.dumps(bad)}
        table = pyarrow.table({"caption": texts, "line": lines}).replace_schema_metadata(told)
        to_vectors, to_metadata = self.paths(number)
        whole(to_metadata, lambda file: parquet.write_table(table, file))
        whole(to_vectors, lambda file: np.save(file, vectors))

    def counts(self, number: int) -> tuple[int, int, int, list[Bad]]:
        """(rows, captions that were cut, blank captions, bad lines) of a shard."""
        from pyarrow import parquet

        about = parquet.read_metadata(self.paths(number)[1])
        told = about.metadata
        bad = [(number, line, problem) for number, line, problem in json.loads(told[b"bad"])]
        return about.num_rows, int(told[b"cut"]), int(told[b"blank"]), bad

    def close(self, shards: int) -> dict[str, Any]:
        """Count what is there, write it into the manifest, and sweep up after killed processes.

        Raises:
            ValueError: a shard is missing; or none has a row, and they are deleted.
        """
        missing = [number for number in range(shards) if not self.is_there(number)]
        if missing:
            raise ValueError(f"shard {missing[0]} is missing: run the same command once more.")
        rows = cut = blank = bad = 0
        shown: list[Bad] = []
        for number in range(shards):
            more, more_cut, more_blank, bad_lines = self.counts(number)
            rows, cut, blank = rows + more, cut + more_cut, blank + more_blank
            bad += len(bad_lines)
            shown += bad_lines[: max(0, 100 - len(shown))]
        for name in (f"{VECTORS}/{VECTORS}_*", f"{METADATA}/{METADATA}_*", MANIFEST):
            for part in self.folder.glob(f"{name}.part*"):
                with suppress(OSError):  # another process has it open
                    part.unlink()
        if not rows:
            for path in (self.folder / MANIFEST, *sum(map(self.paths, range(shards)), ())):
                path.unlink()
            raise ValueError(
                f"Nothing to embed: all {bad:,} lines are bad, the first is "
                f"{where(*shown[0][:2])}: {shown[0][2]}."
            )
        counts = {"shards": shards, "rows": rows, "cut": cut, "blank": blank, "bad": bad}
        told = [(where(number, line), problem) for number, line, problem in shown]
        self.write_manifest(counts | {"first_bad": told})
        return counts | {"first_bad": told}

    def write_manifest(self, counts: dict[str, Any]) -> None:
        """``manifest.json``: the job, and once it is done, the counts."""
        text = json.dumps({"job": self.job, "whole": counts}, indent=1)
        whole(self.folder / MANIFEST, lambda file: file.write(text.encode()))


def changes(was: dict[str, Any], now: dict[str, Any]) -> str:
    """What differs between two jobs, in words; "" where nothing does."""
    other = [key for key in now | was if now.get(key) != was.get(key)]
    return "; ".join(change(key, was.get(key), now.get(key)) for key in other)


def change(key: str, was: Any, now: Any) -> str:
    """The same for one of their keys."""
    if key in HASHED:
        return f"{HASHED[key]} changed since"
    if isinstance(was, dict) and isinstance(now, dict):
        other = [name for name in was | now if was.get(name) != now.get(name)]
        return ", ".join(f"{name} was {was.get(name)}, is {now.get(name)}" for name in other)
    return f"{key} was {was}, is {now}"


def whole(path: Path, write: Callable[[Any], object]) -> None:
    """Write a file under another name, and rename it when it lies on the disk.

    Raises:
        ValueError: there was no room for all of it.
    """
    part = path.with_name(f"{path.name}.part{os.getpid()}")
    try:
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        if error.strerror is None:  # numpy's says how much was written, and no more
            raise ValueError(f"{path} is not whole ({error}): is the disk full?") from None
        raise
    finally:
        part.unlink(missing_ok=True)
