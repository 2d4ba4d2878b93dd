"""Captions from a file, one after another: text, JSON lines, CSV or Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

LONGEST = 100_000  # letters of a caption; a longer one is a file that was taken for a line
LONGEST_JSON = 2**26  # bytes of a line of JSON, which may hold other things as well
BOM = b"\xef\xbb\xbf"  # some editors begin a file with it
UTF16 = {b"\xff\xfe", b"\xfe\xff"}  # what such a file begins with; it cannot be UTF-8
SEPARATORS = {".csv": ",", ".tsv": "\t"}
LINES = {".txt", ".jsonl", ".ndjson"}
PARQUET = {".parquet", ".pq"}
FIRST = 1000  # lines of JSON, one of which must have the column
KINDS = sorted(LINES | PARQUET | set(SEPARATORS))


class Caption(NamedTuple):
    """A caption, or why there is none.

    Attributes:
        number: of its line, from 1; of its row in a CSV or Parquet file, without the header.
        text: the caption; "" where there is a problem.
        problem: what is wrong with it in a few words, or "".
        line: of the file, where it begins; 0 in a Parquet file, which has no lines.
    """

    number: int
    text: str
    problem: str = ""
    line: int = 0


def where(number: int, line: int) -> str:
    """How a person finds a caption in the file."""
    if number == line:
        return f"line {line}"
    return f"row {number}" + (f" (line {line} of the file)" if line else "")


def captions(path: Path, column: str) -> Iterator[Caption]:
    """Read captions without holding more than some of them in memory.

    Args:
        path: a file whose name ends in .txt (a caption a line), .jsonl or .ndjson (an object a
            line), .csv, .tsv (with a header), .parquet or .pq.
        column: where the caption is, in all but .txt.

    Raises:
        ValueError: another kind of file, a damaged one, or none of its columns has that name (of
            JSON lines: none of the first 1,000 has it).
        ImportError: a Parquet file, and pyarrow is not installed.
    """
    kind = path.suffix.lower()
    with path.open("rb") as file:
        if file.read(2) in UTF16 and kind not in PARQUET:
            raise ValueError(f"{path.name} is UTF-16; save it as UTF-8.")
    found: Iterator[tuple[int, tuple[str, str]]]
    if kind == ".txt":  # 4 bytes a letter at most
        found = enumerate(map(text_of, lines(path, 4 * LONGEST)), start=1)
    elif kind in LINES:
        check_fields(path, column)
        fields = (field_of(line, column) for line in lines(path, LONGEST_JSON))
        found = enumerate(fields, start=1)
    elif kind in SEPARATORS:
        found = cells(path, column, SEPARATORS[kind])
    elif kind in PARQUET:
        found = ((0, cell) for cell in parquet(path, column))
    else:
        raise ValueError(f"{path.name} is none of {', '.join(KINDS)}.")
    for number, (line, (text, problem)) in enumerate(found, start=1):
        if not problem and "\0" in text:
            problem = "a NUL in it"
        if not problem and len(text) > LONGEST:
            problem = f"longer than {LONGEST:,} letters"
        yield Caption(number, "" if problem else text, problem, line)


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


def check_fields(path: Path, column: str) -> None:
    """See that the column is in one of the first lines of JSON, which the first one mostly tells.

    Raises:
        ValueError: it is in none of them.
    """
    count, objects, names = 0, 0, dict[str, None]()
    for line in islice(lines(path, LONGEST_JSON), FIRST):
        count += 1
        try:
            entry = json.loads(line or b"")
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            if column in entry:
                return
            objects += 1
            names |= dict.fromkeys(entry)
    if count:
        what, has = "first line", "it has"
        if count > 1:
            what, has = f"first {count:,} lines", "they have"
        have = ", ".join(map(repr, names)) or "no fields"
        there = f"{has} {have}" if objects else "there is no JSON object"
        raise ValueError(f"{path.name} has no column {column!r} in its {what}; {there}.")


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


def cells(path: Path, column: str, separator: str) -> Iterator[tuple[int, tuple[str, str]]]:
    """A column of a CSV file, each cell with the line where its row begins.

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
        line = rows.line_num + 1
        for row in rows:
            yield line, cell(row or [""], place, len(header))  # an empty line is an empty cell
            line = rows.line_num + 1


def cell(row: list[str], place: int, width: int) -> tuple[str, str]:
    """A cell of a row, and what is wrong with it."""
    if len(row) != width:
        return "", f"{len(row)} cell{'s' * (len(row) != 1)} where the header has {width}"
    if "\n" in row[place]:
        return "", "a line break in it (an open quote?)"
    return string(row[place])


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
