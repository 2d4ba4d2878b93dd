"""Captions from a file, one after another: text, JSON lines, CSV or Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LONGEST = 100_000  # letters of a caption; a longer one is a file that was taken for a line
SEPARATORS = {".csv": ",", ".tsv": "\t"}
LINES = {".txt", ".jsonl", ".ndjson"}
PARQUET = {".parquet", ".pq"}
KINDS = sorted(LINES | PARQUET | set(SEPARATORS))


class Caption(NamedTuple):
    """A caption, or why there is none.

    Attributes:
        number: of its line or row, from 1; a CSV's header is not counted.
        text: the caption; "" where there is a problem.
        problem: what is wrong with it in a few words, or "".
    """

    number: int
    text: str
    problem: str = ""


def captions(path: Path, column: str) -> Iterator[Caption]:
    """Read captions without holding more than some of them in memory.

    Args:
        path: a file whose name ends in .txt (a caption a line), .jsonl or .ndjson (an object a
            line), .csv, .tsv (with a header) or .parquet.
        column: where the caption is, in all but .txt.

    Raises:
        ValueError: another kind of file, or none of its columns has that name.
        ImportError: a Parquet file, and pyarrow is not installed.
    """
    kind = path.suffix.lower()
    found: Iterator[tuple[str, str]]
    if kind == ".txt":
        found = (text_of(line) for line in lines(path))
    elif kind in LINES:
        found = (field_of(line, column) for line in lines(path))
    elif kind in SEPARATORS:
        found = cells(path, column, SEPARATORS[kind])
    elif kind in PARQUET:
        found = parquet(path, column)
    else:
        raise ValueError(f"{path.name} is none of {', '.join(KINDS)}.")
    for number, (text, problem) in enumerate(found, start=1):
        if not problem and len(text) > LONGEST:
            problem = f"longer than {LONGEST:,} letters"
        yield Caption(number, "" if problem else text, problem)


def lines(path: Path) -> Iterator[bytes]:
    """Lines without their ends. Of one that is far too long the beginning."""
    room = 4 * LONGEST + 2  # bytes: a letter has at most four
    with path.open("rb") as file:
        while line := file.readline(room):
            rest = line
            while len(rest) == room and not rest.endswith(b"\n"):
                rest = file.readline(room)
            yield line.removesuffix(b"\n").removesuffix(b"\r")


def text_of(line: bytes) -> tuple[str, str]:
    """A line as text, and what is wrong with it."""
    try:
        return line.decode("utf-8"), ""
    except UnicodeDecodeError:
        return "", "not UTF-8"


def field_of(line: bytes, column: str) -> tuple[str, str]:
    """A field of a line of JSON."""
    text, problem = text_of(line)
    if problem:
        return "", problem
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return "", "not JSON"
    if not isinstance(entry, dict) or column not in entry:
        return "", f"no {column!r} in it"
    return string(entry[column])


def string(value: object) -> tuple[str, str]:
    """A value that should be a text."""
    if value is None:
        return "", "null"
    if not isinstance(value, str):
        return "", f"{type(value).__name__} instead of text"
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return "", "not UTF-8"
    return value, ""


def cells(path: Path, column: str, separator: str) -> Iterator[tuple[str, str]]:
    """A column of a CSV file."""
    csv.field_size_limit(2**31 - 1)  # what is too long is told below, and not by an error here
    # a byte that is no UTF-8 becomes a lone surrogate, which `string` finds
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.DictReader(file, delimiter=separator)
        if column not in (rows.fieldnames or []):
            names = ", ".join(map(repr, rows.fieldnames or []))
            raise ValueError(f"{path.name} has no column {column!r}; it has {names or 'none'}.")
        for row in rows:
            yield string(row[column])


def parquet(path: Path, column: str) -> Iterator[tuple[str, str]]:
    """A column of a Parquet file."""
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise ImportError("A Parquet file needs pyarrow: run 'pip install pyarrow'.") from None
    file = ParquetFile(path)
    if column not in file.schema_arrow.names:
        names = ", ".join(map(repr, file.schema_arrow.names))
        raise ValueError(f"{path.name} has no column {column!r}; it has {names}.")
    for batch in file.iter_batches(batch_size=10_000, columns=[column]):
        for value in batch.column(0):
            try:
                yield string(value.as_py())
            except UnicodeDecodeError:
                yield "", "not UTF-8"
