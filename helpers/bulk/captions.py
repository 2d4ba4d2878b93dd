"""Captions from a file, one after another: text, JSON lines, CSV or Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LONGEST = 100_000  # letters of a caption; a longer one is a file that was taken for a line
LONGEST_JSON = 2**26  # bytes of a line of JSON, which may hold other things as well
BOM = b"\xef\xbb\xbf"  # some editors begin a file with it
SEPARATORS = {".csv": ",", ".tsv": "\t"}
LINES = {".txt", ".jsonl", ".ndjson"}
PARQUET = {".parquet", ".pq"}
KINDS = sorted(LINES | PARQUET | set(SEPARATORS))


class Caption(NamedTuple):
    """A caption, or why there is none.

    Attributes:
        number: of its line, from 1; of its row in a CSV or Parquet file, without the header.
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
        ValueError: another kind of file, a damaged one, or none of its columns has that name.
        ImportError: a Parquet file, and pyarrow is not installed.
    """
    kind = path.suffix.lower()
    found: Iterator[tuple[str, str]]
    if kind == ".txt":
        found = (text_of(line) for line in lines(path, 4 * LONGEST))  # 4 bytes a letter at most
    elif kind in LINES:
        found = (field_of(line, column) for line in lines(path, LONGEST_JSON))
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


def lines(path: Path, longest: int) -> Iterator[bytes | None]:
    """Lines without their ends; None for one of more bytes than the longest may have."""
    room = longest + 3  # for its end, and to see that it is longer
    with path.open("rb") as file:
        if file.read(len(BOM)) != BOM:
            file.seek(0)
        while line := file.readline(room):
            rest = line
            while len(rest) == room and not rest.endswith(b"\n"):
                rest = file.readline(room)
            line = line.removesuffix(b"\n").removesuffix(b"\r")
            yield line if len(line) <= longest else None


def text_of(line: bytes | None) -> tuple[str, str]:
    """A line as text, and what is wrong with it."""
    if line is None:
        return "", f"longer than {LONGEST:,} letters"
    try:
        return line.decode("utf-8"), ""
    except UnicodeDecodeError:
        return "", "not UTF-8"


def field_of(line: bytes | None, column: str) -> tuple[str, str]:
    """A field of a line of JSON."""
    if line is None:
        return "", f"a line of more than {LONGEST_JSON:,} bytes"
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
    """A column of a CSV file.

    A row of more or fewer cells than the header, and a caption with a line break in it, are no
    captions: most of these have a comma or an opening quote that was not escaped.
    """
    csv.field_size_limit(2**31 - 1)  # what is too long is told above, and not by an error here
    # a byte that is no UTF-8 becomes a lone surrogate, which `string` finds
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file, delimiter=separator)
        header = next(rows, [])
        if column not in header:
            names = ", ".join(map(repr, header)) or "none"
            raise ValueError(f"{path.name} has no column {column!r}; it has {names}.")
        place = header.index(column)
        for row in rows:
            row = row or [""]  # an empty line is an empty cell
            if len(row) != len(header):
                yield "", f"{len(row)} cells where the header has {len(header)}"
            elif "\n" in row[place]:
                yield "", "a line break in it (an open quote?)"
            else:
                yield string(row[place])


def parquet(path: Path, column: str) -> Iterator[tuple[str, str]]:
    """A column of a Parquet file."""
    try:
        from pyarrow.lib import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise ImportError("A Parquet file needs pyarrow: run 'pip install pyarrow'.") from None
    try:
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
    except (OSError, ArrowException) as error:
        raise ValueError(f"{path.name} is damaged, or no Parquet file ({error}).") from None
