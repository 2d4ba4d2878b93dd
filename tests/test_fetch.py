"""``python -m helpers fetch``, run as a reader runs it, against the small Hub on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import EMOJI, ROOT
from hub_server import HubServer, serving
from random_checkpoint import SD1, save_random_pipeline, save_random_text_encoder

from helpers import CHECKPOINTS, CheckpointError, embed, load_clip, load_pipeline, paint
from helpers.fetch import SUMS, fetch, read_sums, write_sums
from helpers.hub import damaged

SMALL = SD1 | {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
KNOWN = CHECKPOINTS["sd1"]
WORDS = ("vocab.json", "merges.txt", "tokenizer_config.json")
TEXT_SIDE = {f"tokenizer/{name}" for name in WORDS}
TEXT_SIDE |= {"text_encoder/config.json", "text_encoder/model.safetensors"}
PIPELINE = {
    "model_index.json",
    "scheduler/scheduler_config.json",
    *(f"{part}/config.json" for part in ("unet", "vae")),
}
PLAIN = {f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae")}
HALF = {file.replace(".safetensors", ".fp16.safetensors") for file in PLAIN}


def files_of(folder: Path) -> set[str]:
    return {f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()}


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small random Stable Diffusion, and what else such a repository holds."""
    folder = tmp_path_factory.mktemp("sd")
    save_random_text_encoder(folder / "text_encoder", SMALL)
    save_random_pipeline(folder, SMALL["hidden_size"])
    files = {file: (folder / file).read_bytes() for file in files_of(folder)}
    files |= {f"tokenizer/{name}": (EMOJI / name).read_bytes() for name in WORDS}
    files |= {file.replace(".safetensors", ".fp16.safetensors"): files[file] for file in PLAIN}
    return files | {"README.md": b"x", "v1-5-pruned.ckpt": b"x", "unet/run.py": b"x"}


@pytest.fixture
def hub(stable_diffusion: dict[str, bytes]) -> Iterator[HubServer]:
    with serving() as server:
        server.hold(str(KNOWN.id), stable_diffusion, str(KNOWN.revision))
        yield server


@pytest.fixture
def command(hub: HubServer, tmp_path: Path) -> Callable[..., subprocess.Popen]:
    """Start ``python -m helpers fetch ...`` with that Hub and a cache of its own."""

    def start(*arguments: str, **environment: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "helpers", "fetch", *arguments],
            cwd=tmp_path,
            env=os.environ
            | {
                "PYTHONPATH": str(ROOT),
                "HF_ENDPOINT": hub.url,
                "HF_HUB_CACHE": str(tmp_path / "cache"),
                "HF_HUB_OFFLINE": "0",
                "HF_HUB_DISABLE_XET": "1",
                "NO_PROXY": "127.0.0.1,localhost",
            }
            | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def ends(process: subprocess.Popen, code: int = 0) -> tuple[str, str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, out + err
    return out, err


def downloads(hub: HubServer) -> list[str]:
    return [path for method, path in hub.asked if method == "GET" and "/api/" not in path]


def test_the_table_names_sizes_and_licences(command) -> None:
    out, _ = ends(command())
    for name, known in CHECKPOINTS.items():
        (line,) = (line for line in out.splitlines() if line.split(" ")[0] == name)
        assert line.endswith(known.licence)
        assert (f"{known.download_bytes / 1e9:.2f} GB" if known.id else "shipped") in line
    assert max(map(len, out.splitlines())) <= 80


def test_a_stick(command, hub: HubServer, stable_diffusion, tmp_path: Path) -> None:
    """Real files, each right, which load and draw when network and cache are gone."""
    stick = tmp_path / "a stick" / "sd1"
    out, _ = ends(command("sd1", "--to", str(stick), "--pipeline"))
    plan, done = out.split("Ctrl-C")
    assert "CreativeML Open RAIL-M" in plan
    assert "0.49 GB and about 5.03 GB for its pipeline" in plan
    assert f"CLIP_CHECKPOINT={stick}" in done
    wanted = TEXT_SIDE | PIPELINE | PLAIN
    assert files_of(stick) == wanted | {"README.md", SUMS}
    assert all((stick / file).read_bytes() == stable_diffusion[file] for file in wanted)
    assert not any(file.is_symlink() for file in stick.rglob("*"))
    assert set(read_sums(stick)) == wanted
    assert not damaged(stick, read_sums(stick))
    assert KNOWN.licence in (stick / "README.md").read_text(encoding="utf-8")

    (tmp_path / "cache").rename(tmp_path / "gone")
    hub.fail("drop")
    asked = len(hub.asked)
    clip = load_clip(str(stick), device="cpu")
    assert embed(clip, "a fox").last_hidden_state.shape == (1, 77, 32)
    (drawn,) = paint(load_pipeline(clip), "a fox", num_inference_steps=2)
    assert drawn.size == (64, 64)
    assert len(hub.asked) == asked


def test_half_takes_the_smaller_files_and_they_load(command, tmp_path: Path) -> None:
    out, _ = ends(command("sd1", "--to", "sd1", "--pipeline", "--half"))
    assert f"{KNOWN.pipeline_bytes / 2e9:.2f} GB for its pipeline" in out
    assert files_of(tmp_path / "sd1") == TEXT_SIDE | PIPELINE | HALF | {"README.md", SUMS}
    clip = load_clip(str(tmp_path / "sd1"), device="cpu")
    assert load_pipeline(clip).unet.dtype == clip.dtype


def test_without_a_folder_it_goes_into_the_cache(command, hub: HubServer) -> None:
    out, _ = ends(command("sd1"))
    assert "CLIP_CHECKPOINT=sd1 make notebooks" in out
    assert len(downloads(hub)) >= len(TEXT_SIDE)
    hub.asked.clear()
    ends(command("sd1"))
    assert not downloads(hub)


def test_killed_and_started_again(command, hub: HubServer, stable_diffusion, tmp_path) -> None:
    weights = "text_encoder/model.safetensors"
    hub.fail("stall", place="/cdn/" + f"{KNOWN.id}/{weights}", at=2_000_000)
    process = command("sd1", "--to", "sd1")
    assert hub.reached.wait(60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "sd1" / weights).exists()
    first = downloads(hub)
    hub.fail("")
    hub.asked.clear()
    ends(command("sd1", "--to", "sd1"))
    assert (tmp_path / "sd1" / weights).read_bytes() == stable_diffusion[weights]
    again = {path.split(str(KNOWN.id))[1] for path in downloads(hub)}
    assert again == {f"/{weights}"}
    assert len(first) > len(again)


def test_a_file_that_rotted_in_the_cache_is_fetched_once_more(command, hub, tmp_path) -> None:
    ends(command("sd1"))
    (blob,) = (file for file in tmp_path.glob("cache/*/blobs/*") if file.stat().st_size > 3_000_000)
    content = blob.read_bytes()
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    hub.asked.clear()
    out, _ = ends(command("sd1", "--to", "sd1"))
    assert "Damaged, so fetched once more: text_encoder/model.safetensors" in out
    assert (tmp_path / "sd1" / "text_encoder" / "model.safetensors").read_bytes() == content

    blob.write_bytes(content[:-1])  # and without a network it is not copied
    hub.fail("drop")
    _, err = ends(command("sd1", "--to", "other", HF_HUB_OFFLINE="1"), code=1)
    assert "HF_HUB_OFFLINE" in err
    assert "Traceback" not in err


def test_what_could_not_be_compared_is_not_called_right(command, tmp_path: Path) -> None:
    """A cache without links, as on some systems, and nobody to ask."""
    out, _ = ends(command("sd1"))
    assert f"Done: {len(TEXT_SIDE)} files, " in out
    assert "each as its hash says" in out
    for link in tmp_path.glob("cache/*/snapshots/*/tokenizer/*"):
        link.rename(link.with_suffix(".link"))
        link.write_bytes(link.with_suffix(".link").read_bytes())
        link.with_suffix(".link").unlink()
    out, _ = ends(command("sd1", "--to", "sd1", HF_HUB_OFFLINE="1"))
    assert "each as its hash says" not in out
    assert "not compared, because the Hub could not be asked: tokenizer/merges.txt, " in out
    out, _ = ends(command("sd1"))
    assert "each as its hash says" in out


def test_a_stick_is_mended_and_not_written_twice(command, hub: HubServer, tmp_path: Path) -> None:
    ends(command("sd1", "--to", "sd1"))
    right, broken = (tmp_path / "sd1" / f for f in ("tokenizer/merges.txt", "tokenizer/vocab.json"))
    before = right.stat().st_mtime_ns
    content = broken.read_bytes()
    broken.write_bytes(b"!" + content[1:])
    hub.fail("drop")
    ends(command("sd1", "--to", "sd1", HF_HUB_OFFLINE="1"))  # from the cache
    assert broken.read_bytes() == content
    assert right.stat().st_mtime_ns == before


def test_refusals(command, hub: HubServer, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine", encoding="utf-8")
    _, err = ends(command("sd1", "--to", "full"), code=1)
    assert "holds something else" in err
    assert files_of(tmp_path / "full") == {"thesis.txt"}
    for name, options, says in (
        ("sd3", {}, "none of the table: emoji, clip-l, sd1, sd2"),
        ("emoji", {}, "ships with the series"),
        ("clip-l", {"pipeline": True}, "no pipeline"),
        ("sd1", {"to": tmp_path / "full" / "thesis.txt"}, "is a file"),
    ):
        with pytest.raises(CheckpointError, match=says):
            fetch(name, **options)
    assert not hub.asked  # all of that before anything is asked for
    hub.fail("drop")
    _, err = ends(command("sd1"), code=1)
    assert "the Hub could not be reached" in err
    assert "Traceback" not in err


def test_a_full_stick_is_said_before_it_is_written(command, tmp_path: Path, monkeypatch) -> None:
    ends(command("sd1"))
    code = (
        "import shutil, sys; from types import SimpleNamespace as N\n"
        "shutil.disk_usage = lambda _: N(free=1000)\n"
        "from helpers.__main__ import main; sys.exit(main(['fetch', 'sd1', '--to', 'sd1']))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "0.00 GB are free there" in run.stderr
    assert files_of(tmp_path / "sd1") == {"README.md"}


def test_sums_are_those_of_the_command_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_bytes(b"abc")
    write_sums(tmp_path, ["in/a.txt"])
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (tmp_path / SUMS).read_bytes() == f"{digest}  in/a.txt\n".encode()
    assert read_sums(tmp_path) == {"in/a.txt": digest}
    assert read_sums(tmp_path / "in") == {}
