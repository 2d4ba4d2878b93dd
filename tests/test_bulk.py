"""Captions in bulk: read from any file, shards whole or not at all, the same whoever makes them."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import accelerate
import numpy as np
import pyarrow
import pytest
import torch
from conftest import ROOT
from pyarrow import parquet

import helpers.tree
from helpers import embed, normalize
from helpers.bulk import __main__ as bulk
from helpers.bulk.captions import BOM, FIRST, KINDS, LONGEST, Caption, captions, where
from helpers.bulk.shards import Shards

TEXTS = ["a cat", "", "a red heart on a blue background", "“curly” café 猫", "a cat", "a, b\tc"]


def written(folder: Path, kind: str, texts: list[str | None]) -> Path:
    """A file of that kind with these captions in the column "caption"."""
    path = folder / f"captions{kind}"
    if kind == ".txt":
        path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    elif kind == ".jsonl":
        rows = (json.dumps({"id": i, "caption": text}) for i, text in enumerate(texts))
        path.write_text("\r\n".join(rows), encoding="utf-8")
    elif kind in (".csv", ".tsv"):
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="," if kind == ".csv" else "\t")
            writer.writerows([("id", "caption"), *enumerate(texts)])
    else:
        parquet.write_table(pyarrow.table({"id": range(len(texts)), "caption": texts}), path)
    return path


@pytest.mark.parametrize("kind", [".txt", ".jsonl", ".csv", ".tsv", ".parquet"])
def test_every_kind_of_file(kind: str, tmp_path: Path) -> None:
    found = list(captions(written(tmp_path, kind, TEXTS), "caption"))
    before = {".txt": 0, ".jsonl": 0, ".csv": 1, ".tsv": 1}  # lines of the file
    for number, (text, caption) in enumerate(zip(TEXTS, found, strict=True), start=1):
        line = number + before[kind] if kind in before else 0
        assert caption == Caption(number, text, "", line)


def test_bad_lines_of_a_text(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    longest = b"y" * LONGEST
    path.write_bytes(
        b"a\n\xff\n" + longest + b"\n" + b"x" * 9 * LONGEST + b"\r\nb\r\n" + longest + b"y\nc"
    )
    found = list(captions(path, "caption"))
    assert [(c.number, c.text[:3], c.problem) for c in found] == [
        (1, "a", ""),
        (2, "", "not UTF-8"),
        (3, "yyy", ""),
        (4, "", "longer than 100,000 letters"),
        (5, "b", ""),
        (6, "", "longer than 100,000 letters"),
        (7, "c", ""),
    ]


def test_bad_lines_of_json(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_bytes(
        b'{"caption": "a"}\n{"caption": null}\n{"caption": 3}\n{"text": "b"}\n{caption\n"caption"\n'
        b'\xff\n{"caption": "\\ud800"}\n' + b"[" * 100_000 + b"\n"
    )
    assert [(c.text, c.problem) for c in captions(path, "caption")] == [
        ("a", ""),
        ("", "null"),
        ("", "int instead of text"),
        ("", "no 'caption' in it"),
        ("", "not JSON"),
        ("", "no 'caption' in it"),
        ("", "not UTF-8"),
        ("", "not UTF-8"),
        ("", "not JSON"),
    ]


def test_long_lines_of_json_and_marks_at_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_bytes(
        BOM
        + json.dumps({"image": "x" * 500_000, "caption": "a"}).encode()
        + b"\n"
        + b'{"caption": "b"}'
    )
    assert [(c.text, c.problem) for c in captions(path, "caption")] == [("a", ""), ("b", "")]
    path = tmp_path / "captions.txt"
    path.write_bytes(BOM + b"a\n" + ("x" + "é" * 300_000).encode() + b"\nb")
    assert [(c.text, c.problem) for c in captions(path, "")] == [
        ("a", ""),
        ("", "longer than 100,000 letters"),
        ("b", ""),
    ]


def test_bad_rows_of_tables(tmp_path: Path) -> None:
    path = tmp_path / "captions.csv"
    path.write_bytes(
        b"\xef\xbb\xbfcaption,id\na,1\n\xff,2\n" + b"x" * 200_000 + b",3\na cat, asleep,4\nb\n"
        b'"open,5\nc,6\n'
    )
    assert [c.problem for c in captions(path, "caption")] == [
        "",
        "not UTF-8",
        "longer than 100,000 letters",
        "3 cells where the header has 2",
        "1 cell where the header has 2",
        "1 cell where the header has 2",  # the open quote runs to the end
    ]
    path.write_bytes(b'id,caption\n1,"open\n2,a\n3,"b\n')
    assert [c.problem for c in captions(path, "caption")] == ["a line break in it (an open quote?)"]
    path.write_bytes(b"caption\na\n\nb\n")
    assert [(c.number, c.text) for c in captions(path, "caption")] == [(1, "a"), (2, ""), (3, "b")]
    path.write_bytes(b'id,caption\n1,"a\nb"\n2,c\n3\n')
    assert [where(c.number, c.line) for c in captions(path, "caption")] == [
        "row 1 (line 2 of the file)",
        "row 2 (line 4 of the file)",
        "row 3 (line 5 of the file)",
    ]
    path.with_suffix(".parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match=r"captions.parquet is damaged, or no Parquet file"):
        list(captions(path.with_suffix(".parquet"), "caption"))
    path = written(tmp_path, ".parquet", ["a", None])
    assert [c.problem for c in captions(path, "caption")] == ["", "null"]
    assert [c.problem for c in captions(path, "id")] == ["int instead of text"] * 2


def run(*arguments: object) -> None:
    told = [str(argument) for argument in arguments]
    bulk.run(bulk.command_line().parse_args(told))


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file in it."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_rows_are_those_of_embed(clip, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "captions.txt"
    path.write_bytes("\n".join(TEXTS).encode() + b"\n\xff\n" + b"very " * 100)
    run(path, tmp_path / "out", "--shard", 3, "--dtype", "float32")
    good = [*TEXTS, "very " * 100]
    vectors = [np.load(tmp_path / f"out/text_emb/text_emb_{i}.npy") for i in range(3)]
    assert [part.shape for part in vectors] == [(3, 128), (3, 128), (1, 128)]
    expected = embed(clip, good).text_embeds.numpy()
    assert np.allclose(np.concatenate(vectors), expected, atol=1e-5)
    tables = [parquet.read_table(tmp_path / f"out/metadata/metadata_{i}.parquet") for i in range(3)]
    assert pyarrow.concat_tables(tables)["caption"].to_pylist() == good
    assert pyarrow.concat_tables(tables)["line"].to_pylist() == [1, 2, 3, 4, 5, 6, 8]
    whole = json.loads((tmp_path / "out/manifest.json").read_text())["whole"]
    assert whole == {
        **{"shards": 3, "rows": 7, "cut": 1, "blank": 1, "bad": 1},
        "first_bad": [["line 7", "not UTF-8"]],
    }
    told = capsys.readouterr().out
    assert re.match(rf"7 captions in 3 shards in {tmp_path}/out; [0-9,]+ captions/s\n", told)
    assert told.splitlines()[1:] == [
        "1 caption was cut to 77 tokens",
        "1 line is blank and became the empty prompt",
        "1 line was bad and has no row",
        "  line 7: not UTF-8",
    ]
    run(path, tmp_path / "out", "--shard", 3, "--dtype", "float32")
    assert "; finished already, nothing was left to do\n" in capsys.readouterr().out
    (tmp_path / "out/text_emb/text_emb_1.npy").unlink()
    run(path, tmp_path / "out", "--shard", 3, "--dtype", "float32")
    assert "captions/s; 2 of 3 shards were there\n" in capsys.readouterr().out


@pytest.mark.parametrize("kind", [".jsonl", ".csv", ".parquet"])
def test_a_wrong_column_blocks_nothing(kind: str, tmp_path: Path) -> None:
    path, out = written(tmp_path, kind, TEXTS), tmp_path / "out"
    with pytest.raises(ValueError, match=r"no column 'text'.* 'id', 'caption'\."):
        run(path, out, "--column", "text")
    assert not out.exists()
    with pytest.raises(ValueError, match="Nothing to embed: all 6 lines are bad, the first is"):
        run(path, out, "--column", "id") if kind != ".csv" else run(bad_csv(tmp_path), out)
    assert bytes_of(out) == {}
    Shards(out, {"column": "text"}).open()  # another job that embedded nothing
    run(path, out)
    assert json.loads((out / "manifest.json").read_text())["whole"]["rows"] == len(TEXTS)


def bad_csv(folder: Path) -> Path:
    """Six rows with a cell too many."""
    path = folder / "bad.csv"
    path.write_text("caption\n" + "a,b\n" * 6)
    return path


def test_only_the_first_lines_of_json_tell_the_column(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_text('{"other": 1}\n' * (FIRST - 1) + '{"caption": "a"}\n')
    assert sum(not c.problem for c in captions(path, "caption")) == 1
    path.write_text('{"other": 1}\n' * FIRST + '{"caption": "a"}\n')
    with pytest.raises(ValueError, match="in its first 1,000 lines; they have 'other'"):
        list(captions(path, "caption"))
    for line, said in [
        ("no JSON", "there is no JSON object"),
        ("{}", "it has no fields"),
        ('{"a": 1}', "it has 'a'"),
    ]:
        path.write_text(f"{line}\n")
        with pytest.raises(ValueError, match=f"in its first line; {said}"):
            list(captions(path, "caption"))


@pytest.mark.parametrize("kind", [".txt", ".jsonl", ".csv"])
def test_utf_16_is_told(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path, kind, TEXTS)
    path.write_text(path.read_text("utf-8"), "utf-16")  # as some editors and shells of Windows do
    with pytest.raises(ValueError, match=f"captions{kind} is UTF-16; save it as UTF-8"):
        list(captions(path, "caption"))
    if kind == ".txt":  # without the mark at the beginning
        path.write_bytes("a cat\na dog\n".encode("utf-16-le"))
        assert {c.problem for c in captions(path, "")} == {"a NUL in it"}


@pytest.mark.parametrize(("name", "text"), [("a.txt", ""), ("a.csv", "caption\n"), ("a.jsonl", "")])
def test_an_empty_file_is_told(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=f"{name} is empty: there is no caption in it"):
        run(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_settings(clip, tmp_path: Path) -> None:
    path = written(tmp_path, ".txt", TEXTS)
    run(path, tmp_path / "out", "--output", "pooled", "--normalize")
    found = np.load(tmp_path / "out/text_emb/text_emb_0.npy")
    assert found.dtype == np.float16
    expected = normalize(embed(clip, TEXTS).pooler_output).numpy()
    assert np.allclose(found, expected, atol=1e-3)


def test_stopped_and_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, ".txt", [f"{text} {i}" for i in range(4) for text in TEXTS])
    run(path, tmp_path / "straight", "--shard", 5)

    embedded = []
    usual, write = bulk.fitting, np.save

    def stopping(clip, tokens):
        embedded.append(len(tokens["input_ids"]))
        if len(embedded) == 3:
            raise KeyboardInterrupt
        return usual(clip, tokens)

    monkeypatch.setattr(bulk, "fitting", stopping)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(path, out, "--shard", 5)
    assert sorted(file.name for file in (out / "text_emb").iterdir()) == [
        "text_emb_0.npy",
        "text_emb_1.npy",
    ]

    def half(file, vectors):  # killed in the middle of writing
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", half)
    with pytest.raises(KeyboardInterrupt):
        run(path, out, "--shard", 5)
    assert not (out / "text_emb/text_emb_2.npy").exists()
    monkeypatch.setattr(np, "save", write)
    embedded[:] = [0] * 10
    run(path, out, "--shard", 5)
    assert embedded[10:] == [5, 5, 4]  # what was there was not computed again
    assert bytes_of(out) == bytes_of(tmp_path / "straight")


@pytest.mark.parametrize(
    "change", [["--shard", "4"], ["--output", "pooled"], ["--dtype", "float32"], ["--normalize"]]
)
def test_another_job_does_not_mix_in(change: list[str], tmp_path: Path) -> None:
    path = written(tmp_path, ".txt", TEXTS)
    run(path, tmp_path / "out")
    before = bytes_of(tmp_path / "out")
    with pytest.raises(ValueError, match="holds the shards of another job"):
        run(path, tmp_path / "out", *change)
    path.write_bytes(path.read_bytes().replace(b"cat", b"dog"))
    with pytest.raises(ValueError, match="the captions file has changed since. To go on,"):
        run(path, tmp_path / "out")
    assert bytes_of(tmp_path / "out") == before


def test_captions_that_change_under_the_run_are_told(tmp_path: Path, monkeypatch) -> None:
    path, usual = written(tmp_path, ".txt", TEXTS), bulk.fitting

    def fitting(clip, tokens):
        path.write_text("other\n" * 9)
        return usual(clip, tokens)

    monkeypatch.setattr(bulk, "fitting", fitting)
    with pytest.raises(ValueError, match="was changed while it was read: delete .* and begin anew"):
        run(path, tmp_path / "out")


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch) -> None:
    def save(file, vectors):
        raise OSError("1280000 requested and 102336 written")  # as numpy has it

    monkeypatch.setattr(np, "save", save)
    path = written(tmp_path, ".txt", TEXTS)
    monkeypatch.setattr(sys, "argv", ["bulk", str(path), str(tmp_path / "out")])
    with pytest.raises(SystemExit, match=r"text_emb_0.npy is not whole \(1280000 .*: is the disk"):
        bulk.main()
    assert not any((tmp_path / "out/text_emb").iterdir())


def test_what_a_killed_process_left_is_swept_up_and_nothing_else(tmp_path: Path) -> None:
    path, out = written(tmp_path, ".txt", TEXTS), tmp_path / "out"
    left = [out / "text_emb/text_emb_0.npy.part1", out / "manifest.json.part1"]
    others = [out / "text_emb/mine.part1", out / "images/film.part1"]
    for file in [*left, *others]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"half")
    with pytest.raises(ValueError, match="Nothing to embed"):
        run(bad_csv(tmp_path), out)
    assert not any(file.exists() for file in left)
    left[0].write_bytes(b"half")
    run(path, out, "--shard", 2)  # another job, which does not mind it
    assert not left[0].exists()
    assert all(file.exists() for file in others)


def test_several_processes_that_do_not_fit_are_told(tmp_path: Path, monkeypatch) -> None:
    path = written(tmp_path, ".txt", TEXTS)
    monkeypatch.setattr(
        accelerate.utils, "gather_object", lambda jobs: [*jobs, jobs[0] | {"captions": "x"}]
    )
    with pytest.raises(ValueError, match="0 and 1 have not the same job; different are captions"):
        run(path, tmp_path / "out")
    monkeypatch.setenv("WORLD_SIZE", "3")  # and nothing else of what a launcher sets
    with pytest.raises(ValueError, match="WORLD_SIZE is 3, and accelerate sees 1 of them"):
        run(path, tmp_path / "out")


@pytest.mark.parametrize("changed", ["config.json", "merges.txt", "model.safetensors"])
def test_another_checkpoint_does_not_mix_in(changed: str, tmp_path: Path) -> None:
    told = bulk.command_line().parse_args([str(written(tmp_path, ".txt", ["a"])), str(tmp_path)])
    folder = tmp_path / "clip"
    folder.mkdir()
    for name in ("config.json", "merges.txt", "model.safetensors", "vocab.json"):
        (folder / name).write_bytes(name.encode())
    before = bulk.job(told, str(folder), "float32")
    (folder / "unet").mkdir()  # what a pipeline has beside it changes nothing
    (folder / "unet" / "model.safetensors").write_bytes(b"x")
    assert bulk.job(told, str(folder), "float32") == before
    assert bulk.job(told, str(folder), "float16") != before
    (folder / changed).write_bytes(b"other")
    after = bulk.job(told, str(folder), "float32")
    assert {key for key, value in after.items() if value != before[key]} == {"files"}


@pytest.mark.parametrize("left", [b"", b"{}", b"[]", b'{"job": 1}', b"\xff"])
def test_a_damaged_manifest_is_told(left: bytes, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(left)
    with pytest.raises(ValueError, match=r"manifest.json is damaged"):
        Shards(tmp_path, {"a": 1}).open()


def test_shards_without_a_manifest_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "text_emb").mkdir()
    (tmp_path / "text_emb/text_emb_0.npy").write_bytes(b"")
    with pytest.raises(ValueError, match=r"holds shards and no manifest.json"):
        Shards(tmp_path, {"a": 1}).open()


def test_a_shard_that_was_cut_is_made_again(tmp_path: Path) -> None:
    path = written(tmp_path, ".txt", TEXTS)
    run(path, tmp_path / "out", "--shard", 2)
    before = bytes_of(tmp_path / "out")
    for name, size in (("text_emb/text_emb_1.npy", 0), ("text_emb/text_emb_2.npy", 200)):
        file = tmp_path / "out" / name
        file.write_bytes(file.read_bytes()[:size])
    (tmp_path / "out/metadata/metadata_0.parquet").write_bytes(b"PAR1")
    (tmp_path / "out/text_emb/text_emb_9.npy.part1").write_bytes(b"half")
    run(path, tmp_path / "out", "--shard", 2)
    assert bytes_of(tmp_path / "out") == before


def test_a_shard_of_bad_lines_alone(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_bytes(b"\xff\n" * 150 + b"a\n")
    run(path, tmp_path / "out", "--shard", 150)
    shapes = [np.load(tmp_path / f"out/text_emb/text_emb_{i}.npy").shape for i in range(2)]
    assert shapes == [(0, 128), (1, 128)]
    whole = json.loads((tmp_path / "out/manifest.json").read_text())["whole"]
    assert (whole["rows"], whole["bad"], len(whole["first_bad"])) == (1, 150, 100)
    with pytest.raises(ValueError, match="line 1 is bad"):  # although the shard is there
        run(path, tmp_path / "out", "--shard", 150, "--strict")


def test_a_shard_that_is_missing_at_the_end_is_told(tmp_path: Path) -> None:
    shards = Shards(tmp_path, {"a": 1})
    shards.open()
    shards.write(0, np.zeros((1, 2)), ["a"], [1], 0, [])
    with pytest.raises(ValueError, match="shard 1 is missing"):
        shards.close(2)


def test_out_of_memory_halves_the_tree(clip, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(helpers.tree.NODES, "cpu", 1200)
    usual = helpers.tree.run
    on_a_cpu = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
    on_mps = "MPS backend out of memory (MPS allocated: 9 GB)"
    errors = iter([torch.OutOfMemoryError(), RuntimeError(on_a_cpu), RuntimeError(on_mps)])

    def small(inner, some):
        if helpers.tree.NODES["cpu"] > 150:
            raise next(errors)
        return usual(inner, some)

    monkeypatch.setattr(helpers.tree, "run", small)
    run(written(tmp_path, ".txt", TEXTS), tmp_path / "out", "--dtype", "float32")
    assert capsys.readouterr().err.count("out of memory: half as many nodes at once") == 3
    assert helpers.tree.NODES["cpu"] == 150
    found = np.load(tmp_path / "out/text_emb/text_emb_0.npy")
    assert np.allclose(found, embed(clip, TEXTS).text_embeds.numpy(), atol=1e-5)
    monkeypatch.setitem(helpers.tree.NODES, "cpu", 100)
    monkeypatch.setattr(
        helpers.tree, "run", lambda inner, some: (_ for _ in ()).throw(torch.OutOfMemoryError)
    )
    with pytest.raises(ValueError, match="too little memory for one prompt"):
        run(written(tmp_path, ".txt", TEXTS), tmp_path / "other")
    assert helpers.tree.NODES["cpu"] == 77
    monkeypatch.setattr(
        helpers.tree, "run", lambda inner, some: (_ for _ in ()).throw(RuntimeError("a mistake"))
    )
    with pytest.raises(RuntimeError, match="a mistake"):  # is not taken for a lack of memory
        run(written(tmp_path, ".txt", TEXTS), tmp_path / "third")


def command(*arguments: object, launch: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    told = [sys.executable, "-m", *launch, *(("-m",) if launch else ()), "helpers.bulk"]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [*told, *map(str, arguments)], capture_output=True, text=True, env=env, check=False
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows has another way to interrupt")
def test_an_interrupt_is_told_and_the_same_command_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path, ".txt", [f"{text} {i}" for i in range(1000) for text in TEXTS])
    told = [sys.executable, "-m", "helpers.bulk", path, tmp_path / "out", "--shard", "20"]
    # whoever runs the tests in the background may ignore interrupts, and children inherit that
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        told, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=heard
    ) as process:
        while len(list(tmp_path.glob("out/text_emb/*.npy"))) < 2 and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate()
    assert process.returncode == 130, error
    assert error.splitlines()[-1] == "stopped; the same command goes on from here"
    assert "Traceback" not in error
    ended = command(path, tmp_path / "out", "--shard", 20)
    assert re.search(r"; [0-9]+ of 300 shards were there\n", ended.stdout), ended.stderr


def test_help_tells_every_option_and_how_to_read_what_is_written() -> None:
    parser = bulk.command_line()
    text = " ".join(parser.format_help().split())
    assert text.count("(default: ") == len(vars(parser.parse_args(["a", "b"]))) - 2
    for name in (*KINDS, "pyarrow", "numpy.load", "read_table", "manifest.json"):
        assert name in text


def test_what_goes_wrong_is_told_in_a_sentence(
    tmp_path: Path, sd1_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, ".csv", TEXTS)
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"a\n\xff\n")
    other = tmp_path / "x.docx"
    other.write_bytes(b"")
    cells = tmp_path / "cells.csv"
    cells.write_text("caption,id\na,1\nb,c,2\n")
    no_projection = ["--checkpoint", sd1_folder]
    for arguments, sentence in [
        ([path, tmp_path / "a", "--column", "text"], "no column 'text'; it has 'id', 'caption'."),
        ([tmp_path / "no.txt", tmp_path / "a"], f"{tmp_path / 'no.txt'} is not a file."),
        ([other, tmp_path / "b"], "none of .csv, .jsonl, .ndjson, .parquet, .pq, .tsv, .txt."),
        ([bad, tmp_path / "c", "--strict"], "is bad: not UTF-8; without --strict it is left out."),
        ([cells, tmp_path / "c", "--strict"], "row 2 (line 3 of the file) is bad: "
            "3 cells where the header has 2; without --strict it is left out."),
        ([path, tmp_path / "d", *no_projection], "has no projection; pass --output pooled."),
        ([path, tmp_path / "e", "--shard", "0"], "--shard must be at least 1."),
        ([path, path], "captions.csv/text_emb: Not a directory."),
    ]:  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["bulk", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            bulk.main()
        assert str(ended.value).endswith(sentence)  # which Python prints, and ends with 1
    ended = command(*arguments)
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1].endswith(sentence), ended.stderr
    assert "Traceback" not in ended.stderr


def test_one_process_and_two_write_the_same_bytes(tmp_path: Path) -> None:
    path = written(tmp_path, ".txt", [f"{text} {i}" for i in range(20) for text in TEXTS])
    assert command(path, tmp_path / "one", "--shard", 13).returncode == 0
    two = ("accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1")
    two += ("--mixed_precision=no", "--dynamo_backend=no")
    ended = command(path, tmp_path / "two", "--shard", 13, launch=two)
    assert ended.returncode == 0, ended.stderr
    assert " by 2 processes\n" in ended.stdout
    assert len(list((tmp_path / "two/text_emb").iterdir())) == 10
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
