"""``python -m helpers doctor``: what it says when all is well, and when something is not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import COMPILED, EMOJI, ROOT
from huggingface_hub import constants

from helpers import CHECKPOINTS, CheckpointError, doctor
from helpers.fetch import SUMS, read_sums
from helpers.hub import damaged
from training.diffusion import model as diffusion
from training.sums import sums

MODELS = sorted(file.parent for file in (ROOT / "helpers" / "models").glob("*/README.md"))
NAMES = ["Python", "packages", "kernel", "helpers", "disk", "memory", "models", "device"]
NAMES += ["text", "picture", "checkpoint", "downloads", "Hub"]
UNREACHABLE = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}


def run(*options: str, cwd: Path = ROOT, path: str = str(ROOT), **more: str) -> Any:
    """Run it as a reader does, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": path} | more
    return subprocess.run(
        [sys.executable, *options], cwd=cwd, env=environment, capture_output=True, text=True
    )


def lines_of(done: Any) -> dict[str, dict[str, str]]:
    return {line["name"]: line for line in json.loads(done.stdout)["lines"]}


# --- the shipped hashes ---


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_the_hashes_are_those_of_what_is_shipped(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    sums(copy)
    assert (copy / SUMS).read_bytes() == (folder / SUMS).read_bytes(), (
        "these weights are newer than their hashes: python -m training.sums"
    )
    read = {f.relative_to(folder).as_posix() for f in folder.rglob("*.*") if f.is_file()}
    not_read = {"README.md", "results.json", ".gitattributes"}
    assert set(read_sums(folder)) == {f for f in read - not_read if not f.endswith(".webp")}


def test_an_export_writes_the_hashes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    diffusion.export(diffusion.new_vae(), diffusion.new_unet(), tmp_path)
    assert set(read_sums(tmp_path)) == set(read_sums(diffusion.SHIPPED))
    assert not damaged(tmp_path, read_sums(tmp_path))
    assert damaged(diffusion.SHIPPED, read_sums(tmp_path))  # other weights


def test_git_changes_no_line_endings_there() -> None:
    """With other line endings, as git makes them on Windows, a file would have another hash."""
    files = [f"helpers/models/emoji/{name}" for name in ("merges.txt", "config.json")]
    asked = ["git", "check-attr", "text", "--", *files]
    told = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    if told.returncode:
        pytest.skip("this is no clone, or there is no git")
    assert [line.split(": ")[-1] for line in told.stdout.splitlines()] == ["unset", "unset"]


# --- the whole, as it is run ---


def test_all_is_well(tmp_path: Path) -> None:
    began = time.perf_counter()
    done = run("-m", "helpers", "doctor", HF_HUB_CACHE=str(tmp_path), HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.perf_counter() - began < 60  # 5 to 10 s where nothing else runs
    shown = done.stdout.splitlines()
    assert max(map(len, shown)) <= 80 or len(str(ROOT)) > 40  # a path is not broken
    heads = [line for line in shown if line.startswith("[")]
    # below the line of the packages stands each that has another version than the tested one
    versions = shown.index(heads[2]) - shown.index(heads[1]) - 1
    assert len(shown) - versions <= 24
    assert [line[7:].split()[0] for line in heads] == NAMES
    assert not [line for line in heads if line.startswith("[fail]")]
    assert "Traceback" not in done.stderr


def test_a_broken_copy_is_told_line_by_line(tmp_path: Path) -> None:
    """Wrong hash, old package, stray file, no Hub, a checkpoint that is not there: each by name."""
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "helpers", clone / "helpers", ignore=COMPILED)
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy2(ROOT / name, clone / name)
    (clone / "notebooks").mkdir()
    (clone / "notebooks" / "helpers.py").write_text("mine = 1", encoding="utf-8")
    config = clone / "helpers" / "models" / "emoji-diffusion" / "unet" / "config.json"
    text = config.read_text(encoding="utf-8")
    config.write_text(text + " ", encoding="utf-8")
    old = tmp_path / "old" / "ftfy-5.0.dist-info" / "METADATA"
    old.parent.mkdir(parents=True)
    old.write_text("Metadata-Version: 2.1\nName: ftfy\nVersion: 5.0\n", encoding="utf-8")
    done = run(
        *("-m", "helpers", "doctor", "--json"),
        cwd=clone,
        path=os.pathsep.join([str(clone), str(old.parent.parent)]),
        CLIP_CHECKPOINT="not/a/folder",
        HF_HUB_CACHE=str(tmp_path / "cache"),
        **UNREACHABLE,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert not json.loads(done.stdout)["ok"]
    lines = lines_of(done)
    assert list(lines) == NAMES
    failed = {name for name, line in lines.items() if line["status"] == "fail"}
    assert failed == {"packages", "helpers", "models", "checkpoint"}
    assert lines["packages"]["found"] == "ftfy is 5.0 and must be >=6.1"
    assert "pip install -r" in lines["packages"]["remedy"]
    assert str(clone / "notebooks" / "helpers.py") in lines["helpers"]["found"]
    assert "rename it" in lines["helpers"]["remedy"]
    assert lines["models"]["found"].endswith("not as published: emoji-diffusion/unet/config.json")
    assert "git checkout" in lines["models"]["remedy"]
    assert lines["Hub"]["status"] == "warn"
    assert "could not be reached" in lines["Hub"]["found"]
    assert "do not need it" in lines["Hub"]["remedy"]
    assert lines["text"]["status"] == lines["picture"]["status"] == "ok"  # these still run
    assert all(line["remedy"] for line in lines.values() if line["status"] == "fail")


def old_pythons() -> list[str]:
    """Pythons before 3.11 on this machine, as far as they start."""
    paths = [shutil.which(f"python3.{minor}") for minor in (9, 10)]
    paths += map(str, Path.home().glob(".pyenv/versions/3.9.*/bin/python"))
    return [
        path
        for path in filter(None, paths)
        if not subprocess.run([path, "-c", ""], capture_output=True).returncode
    ]


def test_an_old_python_is_told_so_by_that_python() -> None:
    """The least it must do there is to start: so nothing newer is used when it is imported."""
    if not old_pythons():
        pytest.skip("no older Python here")
    for old in old_pythons():
        code = [old, "-m", "helpers", "doctor", "--json"]
        done = subprocess.run(code, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 1
        (line,) = lines_of(done).values()
        assert line["status"] == "fail"
        assert "3.11 or newer is needed" in line["remedy"]


def test_an_old_python_stops_the_rest(monkeypatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    assert [line.status for line in doctor.look(False, lambda _: None)] == ["fail"]


def test_no_check_ends_the_others(monkeypatch, capsys) -> None:
    def breaks(*_: object) -> doctor.Line:
        raise RuntimeError("first\nsecond")

    def lacks(*_: object) -> doctor.Line:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    def fine(*_: object) -> doctor.Line:
        return doctor.Line("fine", "ok", "yes")

    checks = "packages kernel source disk memory shipped device text picture chosen downloads"
    for name in checks.split():
        monkeypatch.setattr(doctor, name, fine)
    monkeypatch.setattr(doctor, "kernel", breaks)
    monkeypatch.setattr(doctor, "device", lacks)
    monkeypatch.setattr(doctor, "hub", lambda: fine)
    assert doctor.doctor() == 1
    shown = capsys.readouterr().out
    assert "RuntimeError: first\n" in shown
    assert "torch is missing" in shown
    assert shown.count("[ok]") == 11
    assert "follow the arrows" in shown
    monkeypatch.setattr(doctor, "kernel", lambda: doctor.Line("kernel", "warn", "a", "b"))
    monkeypatch.setattr(doctor, "device", fine)
    assert doctor.doctor() == 0


# --- one thing at a time ---


def test_a_line_fits_into_eighty_columns() -> None:
    line = doctor.Line("packages", "warn", "word " * 40, "do " * 60)
    shown = str(line).splitlines()
    assert max(map(len, shown)) <= 80
    assert shown[0].startswith("[warn] packages     word word")
    assert [text[:20] for text in shown if "->" in text] == [" " * 17 + "-> "]
    assert str(doctor.Line("a", "ok", "b")) == "[ok]   a            b"


def test_other_versions_than_the_tested(monkeypatch) -> None:
    assert doctor.packages().status in ("ok", "warn")
    true = metadata.version

    def changed(**versions: str | None) -> Callable[[str], str]:
        def version(name: str) -> str:
            if name not in versions:
                return true(name)
            if versions[name] is None:
                raise metadata.PackageNotFoundError(name)
            return versions[name]

        return version

    monkeypatch.setattr(metadata, "version", changed(tqdm="4.66.1"))
    line = doctor.packages()
    assert line.status == "warn"
    assert "tqdm 4.66.1 (tested: " in line.found
    monkeypatch.setattr(metadata, "version", changed(torch=None, numpy="1.0"))
    line = doctor.packages()
    assert line.status == "fail"
    assert "torch is missing" in line.found
    assert "numpy is 1.0 and must be >=1.26" in line.found


def test_an_installed_copy_knows_the_ranges(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "ROOT", tmp_path)  # no pyproject.toml there
    known = ["tqdm>=4.66", 'ruff>=99; extra == "test"']
    monkeypatch.setattr(metadata, "requires", lambda name: known if name == doctor.PACKAGE else [])
    line = doctor.packages()
    assert (line.status, line.found) == ("ok", "all 1 there, versions in the ranges that should do")
    known[0] = "tqdm>=999"
    assert doctor.packages().status == "fail"


def test_the_kernel(monkeypatch, tmp_path: Path) -> None:
    from jupyter_client.kernelspec import KernelSpecManager

    def kernel(program: str) -> doctor.Line:
        monkeypatch.setattr(
            KernelSpecManager, "get_kernel_spec", lambda *_: SimpleNamespace(argv=[program, "-m"])
        )
        return doctor.kernel()

    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert kernel("python").status == "ok"
    assert kernel(sys.executable).status == "ok"
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho /elsewhere\n", encoding="utf-8")
    other.chmod(0o755)
    line = kernel(str(other))
    assert line.status == "fail"
    assert str(other) in line.found
    assert "ipykernel install" in line.remedy
    assert kernel(str(tmp_path / "gone")).status == "fail"
    monkeypatch.setattr(shutil, "which", lambda _: "/elsewhere/bin/jupyter-lab")
    line = kernel("python3")
    assert line.status == "warn"
    assert "/elsewhere/bin/jupyter-lab" in line.found


def test_where_helpers_comes_from(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert doctor.source() == doctor.Line("helpers", "ok", f"the clone {ROOT}")
    (tmp_path / "random.py").touch()
    line = doctor.source()
    assert line.status == "fail"
    assert str(tmp_path / "random.py") in line.found
    (tmp_path / "random.py").rename(tmp_path / "mine.py")
    assert doctor.source().status == "ok"

    other = tmp_path / "site" / "helpers"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(other.parent))
    line = doctor.source()
    assert line.status == "fail"
    assert str(other / "__init__.py") in line.found
    (other / "models" / "emoji").mkdir(parents=True)  # an installed copy of ours
    assert doctor.source().status == "warn"


def test_notebooks_that_cannot_import_helpers(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "_output", lambda *_: "")
    line = doctor.source()
    assert line.status == "fail"
    assert "pip install --no-deps -e" in line.remedy


def test_device_memory_and_disk(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert doctor.device().status == "ok"
    monkeypatch.setattr(shutil, "which", lambda _: "nvidia-smi")
    assert doctor.device().status == "warn"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2_000_000_000, 8_000_000_000))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    assert doctor.device().found == "cuda: a GPU, 2.0 GB of 8.0 GB free"

    small = SimpleNamespace(available=500_000_000, total=4_000_000_000)
    fake = SimpleNamespace(virtual_memory=lambda: small)
    monkeypatch.setattr(doctor, "import_module", lambda _: fake)
    assert (doctor.memory().status, doctor.memory().found) == ("warn", "0.5 GB of 4.0 GB free")
    small.available = 3_000_000_000
    assert doctor.memory().status == "ok"

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=900_000_000))
    assert doctor.disk().status == "warn"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_100_000_000))
    assert doctor.disk().status == "ok"


def test_a_missing_file_of_a_model(monkeypatch, link_folder) -> None:
    folder = link_folder(without=("vocab.json",))
    monkeypatch.setattr(doctor, "find_folder", lambda _: folder)
    line = doctor.shipped()
    assert line.status == "fail"
    assert line.found.endswith(": copy/vocab.json")
    (folder / SUMS).unlink()
    assert f"copy/{SUMS}" in doctor.shipped().found  # without hashes nothing is well


def test_a_model_that_computes_nonsense(monkeypatch, clip) -> None:
    """Its text side gives NaN; a U-Net that draws something else."""
    real = doctor.embed
    broken = SimpleNamespace(last_hidden_state=torch.full((5, 77, 4), torch.nan))
    monkeypatch.setattr(doctor, "embed", lambda *_: broken)
    assert doctor.text().status == "fail"
    assert "NaN" in doctor.text().found
    monkeypatch.setattr(doctor, "embed", real)
    drawn = doctor.paint
    monkeypatch.setattr(doctor, "paint", lambda pipe, _, **options: drawn(pipe, "frog", **options))
    line = doctor.picture()
    assert line.status == "fail"
    assert line.found.endswith("CLIP sees 'frog' in it")


def test_the_hub(monkeypatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert doctor.hub()().status == "ok"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(doctor, "ask", lambda *_: None)
    assert doctor.hub()() == doctor.Line("Hub", "ok", "reached")

    def refuses(*_: object) -> None:
        raise CheckpointError("something else answers")

    monkeypatch.setattr(doctor, "ask", refuses)
    assert doctor.hub()().found == "something else answers"
    monkeypatch.setattr(doctor, "ask", lambda *_: time.sleep(3))
    monkeypatch.setattr(doctor, "PATIENCE", 0.05)
    line = doctor.hub()()
    assert (line.status, line.found) == ("warn", "no answer in 0.05 seconds")


def put_into_cache(name: str, files: list[str], cache: Path) -> Path:
    """Lay files of a known checkpoint into a cache as the Hub's library does: links to blobs."""
    known = CHECKPOINTS[name]
    place = cache / ("models--" + str(known.id).replace("/", "--"))
    snapshot = place / "snapshots" / str(known.revision)
    (place / "blobs").mkdir(parents=True, exist_ok=True)
    for file in files:
        source = EMOJI / Path(file).name
        digest = read_sums(EMOJI)[source.name]
        blob = place / "blobs" / digest
        shutil.copyfile(source, blob)
        (snapshot / file).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / file).symlink_to(os.path.relpath(blob, (snapshot / file).parent))
    return snapshot


def test_downloads(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    line = doctor.downloads(deep=True)
    assert line == doctor.Line("downloads", "ok", "clip-l not there; sd1 not there; sd2 not there")
    whole = put_into_cache("clip-l", list(read_sums(EMOJI)), tmp_path)
    line = doctor.downloads(deep=False)
    assert (line.status, line.found) == ("ok", "clip-l whole; sd1 not there; sd2 not there")
    assert doctor.downloads(deep=True).found.endswith("(as their hashes say)")
    plain = whole / "merges.txt"  # as on a system without links: nothing says what it should be
    content = plain.read_bytes()
    plain.unlink()
    plain.write_bytes(content)
    line = doctor.downloads(deep=True)
    assert line.status == "ok"
    assert line.found.endswith("(not compared: merges.txt)")
    put_into_cache("sd2", ["tokenizer/vocab.json", "text_encoder/config.json"], tmp_path)
    line = doctor.downloads(deep=False)
    assert line.status == "warn"
    assert "sd2 partly there" in line.found
    assert line.remedy.endswith("fetch sd2")
    weights = whole / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert doctor.downloads(deep=False).status == "warn"
    line = doctor.downloads(deep=True)
    assert line.status == "fail"
    assert "clip-l whole, DAMAGED: model.safetensors" in line.found
    assert line.remedy.endswith("fetch clip-l")


def test_the_chosen_checkpoint(monkeypatch, tmp_path: Path, link_folder) -> None:
    def chosen(name: str, deep: bool = False) -> doctor.Line:
        monkeypatch.setenv("CLIP_CHECKPOINT", name)
        return doctor.chosen(deep)

    assert chosen("").found == "the notebooks run on 'emoji'"
    assert chosen("SD1").found == "the notebooks run on 'sd1'"
    assert chosen("org/name@v1").status == "ok"
    assert chosen(str(tmp_path / "gone")).status == "fail"
    assert "no config.json" in chosen(str(tmp_path)).found
    folder = link_folder()
    assert chosen(str(folder)).status == "ok"
    assert "compared" not in chosen(str(folder)).found
    assert chosen(str(folder), deep=True).found.endswith(" (6 files as SHA256SUMS says)")
    sums = folder / "SHA256SUMS"
    text = sums.read_text(encoding="utf-8")
    sums.unlink()
    assert chosen(str(folder), deep=True).found.endswith(" (not compared: it has no SHA256SUMS)")
    sums.write_text(text, encoding="utf-8")
    (folder / "merges.txt").unlink()
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    assert chosen(str(folder)).status == "ok"
    line = chosen(str(folder), deep=True)
    assert line.status == "fail"
    assert "merges.txt" in line.found
