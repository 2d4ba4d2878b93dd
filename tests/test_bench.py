"""The bench runs at a tiny size with what is installed, and its page has the tables it writes."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from helpers import tokenize
from tools.bench import __main__ as bench
from tools.bench import measure, million, prompts, report, ways
from tools.bench.models import folder_of

PAGE = ROOT / "docs" / "speed.md"
EMPTY = f"# A page\n\n{report.BEGIN}\n{report.END}\n\nAfter.\n"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.mark.parametrize("file", prompts.FILES)
def test_prompts(clip, file: str) -> None:
    texts = prompts.FILES[file](200)
    assert texts == prompts.FILES[file](200)
    assert len(texts) == 200
    length = tokenize(clip, texts)["attention_mask"].sum(-1)
    if file == "long":
        assert length.min() >= 60
    else:
        assert 8 < length.float().mean() < 16


def test_own_prompts(tmp_path: Path) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text("Prompt\tkind\na cat\tx\na dog\ty\n")
    assert prompts.of_file(path) == ["a cat", "a dog"]
    assert len(prompts.of_file(path, 1)) == 1
    path.rename(path.with_suffix(".txt"))
    assert prompts.of_file(path.with_suffix(".txt"))[0] == "Prompt\tkind"


def test_it_runs(build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)  # as if it was not installed
    page = tmp_path / "speed.md"
    page.write_text(EMPTY)
    mine = tmp_path / "mine.txt"
    mine.write_text("a cat\na red cat\n“a” dog\n")
    small = ["--models", "tiny", "--repeats", "2", "--build", str(build), "--page", str(page)]
    bench.main(["encode", "tokenize", "--files", "short", "--n", "20", *small])
    bench.main(["encode", "--prompts", str(mine), *small])
    bench.main(["encode", "--prompts", str(mine), "--add", *small])
    text = page.read_text()
    assert text.startswith("# A page")
    assert text.endswith("After.\n")
    assert "### short · tiny" in text
    assert "### mine · tiny" in text
    assert "| open_clip | skipped | | not installed (open_clip" in text
    assert "### Tokenizing, prompts a second" in text
    result = json.loads((build / "encode-tiny-mine-cpu.json").read_text())["figures"]
    assert {len(times) for times in result["seconds"].values()} == {4}
    assert {ways.USUAL, ways.TREE, "embed"} < set(result["seconds"])
    assert all(far < 1e-5 for far in result["difference"].values())
    mine.write_text("a cat\na red fox\n“a” dog\n")
    with pytest.raises(SystemExit, match="is of other prompts, versions or ways"):
        bench.main(["encode", "--prompts", str(mine), "--add", *small])
    bench.main(["table", *small])  # the same page from what is there
    assert page.read_text() == text
    other = ["--build", str(tmp_path / "nothing"), "--page", str(page)]
    bench.main(["table", *other])  # what was measured elsewhere stays
    assert page.read_text() == text


def test_what_differs_is_said(build: Path) -> None:
    figures = {
        "prompts": 2,
        "tokens": 3.0,
        "nodes": 3.0,
        "seconds": {ways.USUAL: [2.0, 2.2], ways.TREE: [1.0, 1.0], "other": [0.5, 0.4]},
        "difference": {ways.USUAL: 0.0, ways.TREE: 2e-5, "other": 1e-6},
        "skipped": {},
        "matrix_rate": 1e9,
        "products": {ways.USUAL: 1e9, ways.TREE: 5e8},
        "half": False,
    }
    text = "\n".join(report.encode({"part": "encode:tiny:mine:cpu", "figures": figures}))
    assert "| **embed(rows=False)** | 2 | 2.10 (2.00 to 2.20) | 2e-05 (not equal) |" in text
    assert "0.45 (0.40 to 0.50) times as fast as the best of the others, other" in text
    assert "at 50% of the rate" in text
    assert "From ids" not in text  # these figures are of before it was measured
    figures["parts"] = {"from ids": 0.8, "layers": 0.625}
    text = "\n".join(report.encode({"part": "encode:tiny:mine:cpu", "figures": figures}))
    assert (
        "From ids, without tokenizing: 62%; the layers with their masks, trees built: 80%." in text
    )
    figures["difference"]["other"] = measure.worse(1e-6, math.nan)
    text = "\n".join(report.encode({"part": "encode:tiny:mine:cpu", "figures": figures}))
    assert "| nan (not equal) |" in text


def test_the_layers_are_a_part_of_the_tree(build: Path) -> None:
    texts = [f"a {word}" for word in ["cat", "dog", "fox", "frog", "rose"]]
    found = measure.parts_of_tree(folder_of("tiny", build), texts * 40, 3, "cpu")
    assert 0 < found["layers"] < found["from ids"]


def test_a_way_that_is_wrong_is_seen(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ways.ways

    def with_a_wrong_one(folder, device):
        found, skipped = real(folder, device)
        return found | {"wrong": lambda texts: found[ways.USUAL](texts) + 1}, skipped

    monkeypatch.setattr(measure, "ways", with_a_wrong_one)
    figures = measure.encode(folder_of("tiny", build), ["a cat", "a dog"], 1, "cpu")
    assert figures["difference"]["wrong"] == pytest.approx(1, abs=1e-4)
    assert figures["difference"][ways.TREE] < 1e-5


def test_products_are_counted(build: Path) -> None:
    """By hand: 2 layers, 32 wide, an MLP of 64: 16,384 a row and layer, keys and values 4,096."""
    found = measure.products(folder_of("tiny", build), ["a cat", "a dog"], "cpu")
    assert found[ways.USUAL] == 2 * 77 * 2 * 16_384
    nodes = 6  # start, a; cat, its end; dog, its end
    assert found["nodes"] == nodes / 2
    assert found[ways.TREE] == nodes * 16_384 + nodes * 4_096 + 2 * (16_384 - 4_096)


def test_memory_and_start() -> None:
    found = measure.memory(20)
    assert found.keys() == {"1", "20"}
    assert min(found.values()) > 1e8
    assert measure.fresh("import time; time.sleep(0.3)") > 0.3


def test_unknown_parts_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["encoding"])
    assert "there is no part 'encoding'" in capsys.readouterr().err


def test_a_small_million(tmp_path: Path) -> None:
    found = million.million(tmp_path / "million", 60, 6, pause=0)
    assert found["complete"]
    assert found["killed_same"]
    assert found["two_same"]
    assert found["killed_with_shards"]
    assert found["files"] == 2 * 10 + 1
    assert not (tmp_path / "million").exists()
    assert "| captions, shards | 60, 10 |" in report.million({"figures": found})


@pytest.mark.parametrize("harm", ["lost", "doubled", "order", "vector"])
def test_an_incomplete_million_is_seen(harm: str, tmp_path: Path) -> None:
    import numpy as np

    from helpers.bulk.shards import Shards

    path = tmp_path / "all.txt"
    path.write_text("a\nb\nc\nd\n")
    shards = Shards(tmp_path / "out", {})
    shards.open()
    texts, lines, vectors = ["c", "d"], [3, 4], np.zeros((2, 3))
    shards.write(0, np.zeros((2, 3)), ["a", "b"], [1, 2], 0, [])
    shards.write(1, vectors, texts, lines, 0, [])
    assert million.complete(tmp_path / "out", path, 2)
    if harm == "lost":
        texts, lines, vectors = ["c"], [3], vectors[:1]
    elif harm == "doubled":
        texts, lines, vectors = ["c", "d", "d"], [3, 4, 4], np.zeros((3, 3))
    elif harm == "order":
        texts = ["d", "c"]
    else:
        vectors[1, 1] = np.nan
    shards.write(1, vectors, texts, lines, 0, [])
    assert not million.complete(tmp_path / "out", path, 2)


def test_the_page_has_the_tables() -> None:
    """Written by the script: both models, three files, all ways, and the machine."""
    text = PAGE.read_text(encoding="utf-8")
    inside = text.split(report.BEGIN)[1].split(report.END)[0]
    for model in ("emoji", "large"):
        for file in prompts.FILES:
            table = inside.split(f"### {file} · {model}\n")[1].split("###")[0]
            names = re.findall(r"^\| \**([^|*]+?)\** \|", table, flags=re.M)
            assert {ways.USUAL, ways.TREE, "embed", "open_clip", "sentence-transformers"} <= set(
                names
            )
            assert "times as fast as the best of the others" in table
            assert "(not equal)" not in table
            assert re.search(r"<sub>.+ cores, .+torch [\d.]+.+</sub>", table)
    for title in ("Tokenizing", "Starting", "Memory", "A million captions", "Notebooks"):
        assert f"### {title}" in inside
    assert (f"### {report.NO_GPU[0]}\n" in inside) != (f"{report.ON_GPU}\n" in inside)
    tables = inside.count("\n### ") - inside.count(f"### {report.NO_GPU[0]}\n")
    assert len(re.findall(r"<sub>20\d\d-\d\d-\d\d: .+ cores", inside)) == tables


def test_help_tells_it() -> None:
    assert "\nbench: $(BENCH)/.ready ## " in (ROOT / "Makefile").read_text(encoding="utf-8")
