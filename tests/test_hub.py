"""From a name to a folder, against a small Hub on loopback: what arrives, and what goes wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import os
import pickle
import random
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from conftest import EMOJI, ROOT
from hub_server import HubServer, serving
from huggingface_hub import constants, file_download

from helpers import CHECKPOINTS, CheckpointError, load_clip, load_pipeline, paint
from helpers.checkpoints import find_folder
from helpers.hub import ask, cached, cached_hashes, damaged, download, find

DOWNLOAD = inspect.signature(huggingface_hub.hf_hub_download).parameters
PINNED = "32bd64288804d66eefd0ccbe215aa642df71cc41"
WEIGHTS = random.Random(0).randbytes(1_500_000)
SMALL = ("config.json", "preprocessor_config.json", "tokenizer_config.json", "merges.txt")
# content is not looked at here, only carried: vocab.json is a large file, as on the Hub
CLIP = {name: json.dumps([name] * 300).encode() for name in SMALL} | {"config.json": b'{"a": 1}'}
CLIP |= {"vocab.json": WEIGHTS[:600_000], "model.safetensors": WEIGHTS}
NOT_WANTED = {
    **dict.fromkeys(("pytorch_model.bin", "flax_model.msgpack", "tf_model.h5"), b"x" * 600000),
    **dict.fromkeys(("model.fp16.safetensors", "README.md", ".gitattributes", "run.py"), b"x"),
}
PARTS = ("vae", "unet", "safety_checker")
TEXT_SIDE = {f"tokenizer/{name}": CLIP[name] for name in ("vocab.json", *SMALL[2:])} | {
    f"text_encoder/{name}": CLIP[name] for name in ("config.json", "model.safetensors")
}
STABLE_DIFFUSION = {
    **TEXT_SIDE,
    **{f"{part}/config.json": CLIP["config.json"] for part in PARTS},
    **{f"{part}/diffusion_pytorch_model.safetensors": WEIGHTS for part in PARTS[:2]},
    **{f"{part}/diffusion_pytorch_model.fp16.safetensors": WEIGHTS for part in PARTS[:2]},
    **{f"{part}/diffusion_pytorch_model.bin": b"x" for part in PARTS[:2]},
    "safety_checker/model.safetensors": WEIGHTS,
    "text_encoder/model.fp16.safetensors": b"x",
    "text_encoder/pytorch_model.bin": b"x",
    "v1-5-pruned.ckpt": b"x" * 600_000,
    "model_index.json": b"{}",
}


def reset_sessions() -> None:
    """Before huggingface_hub 1.0 a session remembers whether it was made offline."""
    getattr(huggingface_hub.utils, "reset_sessions", lambda: None)()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """A Hub that is well, asked by this process, with a cache of its own and short patience."""
    with serving() as server:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        for name, value in {
            "ENDPOINT": server.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(tmp_path / "cache"),
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_ETAG_TIMEOUT": 1,
            "HF_HUB_DOWNLOAD_TIMEOUT": 0.3,
            "DOWNLOAD_CHUNK_SIZE": 50_000,
        }.items():
            monkeypatch.setattr(constants, name, value)
            if hasattr(file_download, name):  # imported there before huggingface_hub 1.0
                monkeypatch.setattr(file_download, name, value)
        monkeypatch.setattr(file_download, "_ETAG_RETRY_TIMEOUT", 0.3, raising=False)
        monkeypatch.setattr("time.sleep", lambda _: None)  # between the library's own tries
        reset_sessions()
        yield server
    reset_sessions()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def make() -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        reset_sessions()

    return make


def cache() -> Path:
    return Path(constants.HF_HUB_CACHE)


def hold_all(hub: HubServer) -> dict[str, dict[str, bytes]]:
    """Fill the Hub; what each name should give."""
    known = CHECKPOINTS["sd1"]
    hub.hold("openai/clip-vit-large-patch14", CLIP | NOT_WANTED | {"tokenizer.json": b"x"}, PINNED)
    hub.hold(known.id, STABLE_DIFFUSION | NOT_WANTED, known.revision)
    commit = hub.hold("org/name", CLIP | NOT_WANTED)
    hub.hold("org/pipeline", STABLE_DIFFUSION)
    return {
        "clip-l": CLIP,
        "sd1": TEXT_SIDE,
        "org/name": CLIP,
        "org/name@v1": CLIP,
        f"org/name@{commit}": CLIP,
        "org/pipeline": TEXT_SIDE,
    }


NAMES = ["clip-l", "sd1", "org/name", "org/name@v1", "org/name@commit", "org/pipeline"]


def contents(folder: Path) -> dict[str, bytes]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def nothing_wrong_in_the_cache(right: dict[str, bytes]) -> None:
    """Files under their own name are right, however few of them have come so far."""
    for snapshot in cache().glob("*/snapshots/*"):
        for name, content in contents(snapshot).items():
            assert content == right[name], name


def refuses(name: str, says: str | None = None) -> str:
    with pytest.raises(CheckpointError, match=says) as caught:
        find_folder(name)
    text = str(caught.value)
    assert "\n" not in text
    assert text.count('load_clip("emoji") needs no download.') == 1
    assert len(text) < 500
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return text


# --- all is well ---


@pytest.mark.parametrize("name", NAMES)
def test_a_download_is_found_again(hub, offline, monkeypatch, caplog, name: str) -> None:
    right = hold_all(hub)
    name = next(n for n in right if n.startswith(name.removesuffix("commit")))  # the true commit
    folder = find_folder(name)
    assert contents(folder) == right[name]
    assert hub.fetched() == set(right[name])  # and nothing else was even begun

    hub.asked.clear()
    asks = 1 if name in ("org/name", "org/name@v1", "org/pipeline") else 0  # these can move
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    assert find_folder(name) == folder
    assert len(hub.asked) == asks

    hub.fail("drop")
    caplog.clear()
    assert find_folder(name) == folder
    assert ("could not be reached" in caplog.text) == bool(asks)
    assert ("copy in the cache is used" in caplog.text) == bool(asks)
    hub.asked.clear()
    offline()
    assert find_folder(name) == folder
    assert hub.asked == []


def test_a_new_version_is_fetched_and_an_old_one_kept(hub) -> None:
    hub.hold("org/name", CLIP)
    old = find_folder("org/name")
    new = CLIP | {"config.json": b"{}"}
    hub.hold("org/name", new, commit="b" * 40)
    hub.fail("500", "GET /org")  # where the new configuration would come from
    assert find_folder("org/name") == old
    hub.fail("")
    folder = find_folder("org/name")
    assert contents(folder) == new
    assert folder.name == "b" * 40
    hub.fail("drop")
    assert find_folder("org/name") == folder
    assert contents(old) == CLIP


def test_what_is_there_is_not_fetched_twice(hub) -> None:
    hub.hold("org/name", CLIP)
    folder = find_folder("org/name")
    (folder / "merges.txt").unlink()
    hub.asked.clear()
    assert contents(find_folder("org/name")) == CLIP
    assert hub.fetched() <= {"merges.txt"}


def test_weights_come_last(hub) -> None:
    hub.hold("org/name", {"model.safetensors": WEIGHTS, **CLIP})
    find_folder("org/name")
    last = [path for method, path in hub.asked if method == "GET"][-1]
    assert last.endswith("model.safetensors")


def test_weights_in_shards(hub) -> None:
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = json.dumps({"weight_map": dict(zip("ab", shards, strict=True))}).encode()
    files = CLIP | {"model.safetensors.index.json": index, shards[0]: WEIGHTS, shards[1]: b"x"}
    del files["model.safetensors"]
    hub.hold("org/name", files)
    folder = find_folder("org/name")
    assert contents(folder) == files
    hub.fail("drop")
    assert find_folder("org/name") == folder
    (folder / shards[1]).unlink()
    refuses("org/name", "could not be reached")


def test_no_safetensors(hub) -> None:
    hub.hold("org/name", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    refuses("org/name", "no model.safetensors")
    assert hub.fetched() == set()


# --- broken off ---


def test_cut_at_random_points_and_again(hub) -> None:
    hub.hold("org/name", CLIP)
    points = random.Random(1)
    for _ in range(30):
        name = points.choice(["vocab.json", "merges.txt", *["model.safetensors"] * 4])
        hub.fail("cut", name, at=points.randrange(len(CLIP[name])))
        assert "could not be reached" in refuses("org/name")
        assert hub.reached.is_set()
        nothing_wrong_in_the_cache(CLIP)
        hub.fail("")
        assert contents(find_folder("org/name")) == CLIP
        shutil.rmtree(cache())


def test_cut_once_is_mended_on_the_way(hub) -> None:
    hub.hold("org/name", CLIP)
    hub.fail("cut once", "model.safetensors", at=700_001)
    if "tqdm_class" not in DOWNLOAD:  # before huggingface_hub 1.0 the next try goes on from there
        refuses("org/name", "the connection broke")
    assert contents(find_folder("org/name")) == CLIP
    assert hub.reached.is_set()


DOWNLOADS = "from helpers.checkpoints import find_folder; find_folder('org/name')"


def another_process(hub: HubServer, first: str = "") -> subprocess.Popen[str]:
    """A Python that does nothing but download org/name."""
    environment = os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_CACHE": str(cache()),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": str(ROOT),
    }
    del environment["TQDM_DISABLE"]
    return subprocess.Popen(
        [sys.executable, "-c", first + DOWNLOADS],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_in_mid_download_and_again(hub) -> None:
    hub.hold("org/name", CLIP)
    points = random.Random(2)
    for _ in range(10):
        name = points.choice(["vocab.json", "model.safetensors"])
        hub.fail("stall", name, at=points.randrange(len(CLIP[name])))
        with another_process(hub) as process:
            assert hub.reached.wait(60)
            process.kill()
        nothing_wrong_in_the_cache(CLIP)
        hub.fail("drop")
        refuses("org/name", "could not be reached")  # half of it is not taken for the whole
        hub.fail("")
        assert contents(find_folder("org/name")) == CLIP
        shutil.rmtree(cache())


# the process is gone when a file has arrived, and before anyone has looked at it
DIES = """
import os
from huggingface_hub import file_download
import huggingface_hub

real = huggingface_hub.hf_hub_download

def fetch(repo, file, **options):
    path = real(repo, file, **options)
    if file == "%s":
        os._exit(9)
    return path

huggingface_hub.hf_hub_download = fetch
"""


@pytest.mark.parametrize("name", ["model.safetensors", "merges.txt"])
def test_killed_between_arrival_and_comparison(hub, offline, name: str) -> None:
    """Whole or flipped: with a network, and then without one."""
    pinned = "org/name@" + hub.hold("org/name", CLIP)
    for flipped in (True, False):
        for network in (True, False):
            hub.fail("flip" if flipped else "", name, at=random.Random(name).randrange(1000))
            with another_process(hub, DIES % name) as process:
                assert process.wait(60) == 9
            (arrived,) = cache().glob(f"models--org--name/snapshots/*/{name}")
            assert (arrived.read_bytes() == CLIP[name]) != flipped
            assert not huggingface_hub.scan_cache_dir(
                cache()
            ).warnings  # the mark is in nobody's way
            hub.fail("" if network else "drop")
            if network or (name == "model.safetensors" and not flipped):  # the last one
                assert contents(find_folder(pinned)) == CLIP
            else:
                refuses(pinned, "could not be reached")
            nothing_wrong_in_the_cache(CLIP)
            shutil.rmtree(cache())


@pytest.mark.parametrize("flipped", [True, False])
def test_what_another_process_fetches_meanwhile_is_compared(hub, flipped: bool) -> None:
    """It arrives after the look for what is left to compare, and before the look for the files."""
    commit = hub.hold("org/name", CLIP)
    folder = find_folder("org/name")
    weights = folder / "model.safetensors"
    right = hashlib.sha256(CLIP["model.safetensors"]).hexdigest()
    looks = []

    def here() -> Path | None:
        if not looks:
            if flipped:
                weights.write_bytes(CLIP["model.safetensors"][:-1] + b"?")
            mark = cache() / "models--org--name/.not_compared" / commit / "model.safetensors"
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text(right)
        looks.append(cached("org/name", commit, CLIP))
        return looks[-1]

    found = find("org/name", commit, here, lambda remote: download(remote, CLIP))
    assert contents(found) == CLIP
    assert looks == ([folder, None] if flipped else [folder])


def test_a_mark_is_there_whole_or_not_at_all(hub, monkeypatch) -> None:
    """An empty one would say of a right file that it is wrong."""
    hub.hold("org/name", CLIP)
    marks = []
    usual = Path.replace

    def replace(part: Path, target: Path) -> Path:
        if ".not_compared" in target.parts:
            marks.append((part.read_text(), target.exists()))
        return usual(part, target)

    monkeypatch.setattr(Path, "replace", replace)
    find_folder("org/name")
    hashes = ask("org/name", None).hashes
    assert sorted(marks) == sorted((hashes[file], False) for file in CLIP)
    assert not list(cache().glob("models--org--name/.mark-*"))


def test_what_was_compared_is_not_read_again(hub, offline, monkeypatch) -> None:
    hub.hold("org/name", CLIP)
    folder = find_folder("org/name")
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert find_folder("org/name") == folder
    hub.fail("drop")
    assert find_folder("org/name") == folder


def test_parts_of_a_wrong_size_are_forgotten(hub) -> None:
    """Those of a killed process, too: with some versions of the library they stay for ever."""
    hub.hold("org/name", CLIP)
    hub.fail("stall", "model.safetensors", at=700_000)
    with another_process(hub) as process:
        assert hub.reached.wait(60)
        process.kill()
    assert list(cache().glob("*/blobs/*.incomplete"))
    hub.fail("short", "model.safetensors", at=600_000)
    refuses("org/name", "the connection broke")
    assert not list(cache().glob("*/blobs/*.incomplete"))
    hub.fail("")
    assert contents(find_folder("org/name")) == CLIP


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.json", "merges.txt", "config.json"])
def test_flipped_bytes_of_the_right_size(hub, offline, name: str) -> None:
    hub.hold("org/name", CLIP)
    hub.fail("flip", name, at=random.Random(name).randrange(len(CLIP[name])))
    refuses("org/name", f"{name} did not arrive as the Hub holds it.*deleted")
    nothing_wrong_in_the_cache(CLIP)
    hub.fail("")
    assert contents(find_folder("org/name")) == CLIP
    offline()
    assert contents(find_folder("org/name")) == CLIP


# --- true causes ---

API, HEAD, FILE = "/api/", "HEAD /org", "GET /cdn"


@pytest.mark.parametrize(
    ("fault", "place", "says"),
    [
        ("401", API, r"gives no right to it \(401\)"),
        ("token", API, r"gives no right to it \(401\)"),
        ("403", API, r"gives no right to it \(403\)"),
        ("403", FILE, r"gives no right to it \(403\)"),
        ("gated", HEAD, r"gives no right to it \(403\)"),
        ("404", API, "was not found on the Hub"),
        ("429", API, "too many requests"),
        ("429", FILE, "too many requests"),
        ("400", API, r"refuses to answer \(400\)"),
        ("407", "", r"refuses to answer \(407\)"),
        ("410", HEAD, r"refuses to answer \(410\)"),
        ("451", FILE, r"refuses to answer \(451\)"),
        ("500", API, r"trouble \(500\)"),
        ("503", HEAD, r"trouble \(503\)"),
        ("500", FILE, r"trouble \(500\)"),
        ("portal", "", "log-in page of a guest network"),
        ("portal", HEAD, "log-in page of a guest network"),
        ("[]", API, "log-in page of a guest network"),
        ('{"id": "org/name", "siblings": []}', API, "log-in page of a guest network"),
        ('{"id": "org/name", "siblings": [{}]}', API, "log-in page of a guest network"),
        ("drop", "", "could not be reached"),
        ("drop", FILE, "could not be reached, or the connection broke"),
        ("hang", API, r"could not be reached.*Timeout"),
        ("hang", HEAD, "could not be reached.*Time"),
        ("hang", FILE, "could not be reached"),
    ],
)
def test_true_causes(hub, caplog, fault: str, place: str, says: str) -> None:
    hub.hold("org/name", CLIP)
    hub.fail(fault, place)
    refuses("org/name", says)
    nothing_wrong_in_the_cache(CLIP)
    hub.fail("")
    folder = find_folder("org/name")
    assert contents(folder) == CLIP
    if place in (API, ""):  # and with a copy in the cache the cause is said, and the copy used
        hub.fail(fault, place)
        caplog.clear()
        assert find_folder("org/name") == folder
        assert re.search(f"org/name.*{says}.*So the copy in the cache is used", caplog.text)


def test_a_page_in_place_of_a_file(hub) -> None:
    hub.hold("org/name", CLIP)
    for place in ("GET /org", FILE):
        hub.fail("portal", place)
        refuses("org/name", "could not be reached, or the connection broke")
        nothing_wrong_in_the_cache(CLIP)
    hub.fail("")
    assert contents(find_folder("org/name")) == CLIP


def test_stalled_in_mid_download(hub) -> None:
    hub.hold("org/name", CLIP)
    hub.fail("stall", FILE, at=400_000)
    refuses("org/name", "could not be reached, or the connection broke .*(Time|Connection)")
    nothing_wrong_in_the_cache(CLIP)
    hub.fail("")
    assert contents(find_folder("org/name")) == CLIP


def test_connection_refused(hub, monkeypatch) -> None:
    hub.hold("org/name", CLIP)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    refuses("org/name", r"could not be reached.*Connect")


def test_a_token_that_none_can_be(hub, monkeypatch) -> None:
    hub.hold("org/name", CLIP)
    monkeypatch.setenv("HF_TOKEN", "hf_ключ")
    assert "ключ" not in refuses("org/name", "token of the Hub .*HF_TOKEN.* is none")
    assert hub.asked == []


def test_what_the_hub_does_not_have(hub) -> None:
    hold_all(hub)
    assert "No folder of this name is in" in refuses("org/nothing", "not found on the Hub")
    refuses("org/name@v9", "does not have that revision")
    refuses("org/--..--", "no name that a repository on the Hub can have")
    hub.repos["org/name"]["merges.txt"] = b""
    place = "HEAD /org/name/resolve"
    hub.fail("404", place)
    refuses("org/name", "not found|does not have")


def test_offline_without_a_copy(hub, offline) -> None:
    hold_all(hub)
    offline()
    for name in ("clip-l", "sd1", "org/name"):
        refuses(name, "not, or not wholly, in the cache, and HF_HUB_OFFLINE forbids")
    assert hub.asked == []


def test_disk_too_full(hub, monkeypatch) -> None:
    hold_all(hub)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100_000_000))
    refuses("clip-l", r"needs 0\.2 GB .* 0\.1 GB are free.*HF_HOME")
    assert hub.fetched() == set()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(28, "No space left on device"), "the disk of the Hugging Face cache is full"),
        (PermissionError(13, "Permission denied", "x"), "cannot be written .Permission denied"),
        (ValueError("many\nlines"), r"could not be fetched \(ValueError: many\)"),
        (TypeError("slip"), r"could not be fetched \(TypeError: slip\)"),  # and no log-in page
        (KeyError("slip"), r"could not be fetched \(KeyError: 'slip'\)"),
    ],
)
def test_trouble_on_this_machine(hub, monkeypatch, error: Exception, says: str) -> None:
    hub.hold("org/name", CLIP)

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(file_download, "http_get", fail)
        refuses("org/name", says)
    assert contents(find_folder("org/name")) == CLIP


def test_a_cache_that_is_no_folder(hub, tmp_path: Path, monkeypatch) -> None:
    hub.hold("org/name", CLIP)
    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    refuses("org/name", r"cannot be written \(Not a directory\)")


def test_the_four_causes_are_four_sentences(hub, monkeypatch) -> None:
    hub.hold("org/name", CLIP)
    told = set()
    for fault in ("403", "429", "drop"):
        hub.fail(fault)
        told.add(refuses("org/name"))
    hub.fail("")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    told.add(refuses("org/name"))
    assert len({text.split(";")[0] for text in told}) == 4


# --- hashes ---


def test_damaged_compares_with_both_kinds_of_hash(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"what is up, doc?")
    git = "bd9dbf5aae1a3862dd1526723246b20206e5fc37"  # the example in the book Pro Git
    sha256 = hashlib.sha256(b"what is up, doc?").hexdigest()
    assert damaged(tmp_path, {"a": git}) == damaged(tmp_path, {"a": sha256}) == []
    for no_hash in (sha256[:-1] + "x", ""):  # nobody is what that says
        assert damaged(tmp_path, {"a": no_hash}) == ["a"]
    (tmp_path / "a").write_bytes(b"what is up, dog?")
    assert damaged(tmp_path, {"a": git, "b": git}) == damaged(tmp_path, {"a": sha256}) == ["a"]


def test_the_names_in_the_cache_are_hashes(hub) -> None:
    hub.hold("org/name", CLIP)
    folder = find_folder("org/name")
    if not (folder / "model.safetensors").is_symlink():
        pytest.skip("this machine's cache has no links")
    hashes = cached_hashes(folder)
    assert set(hashes) == set(CLIP)
    assert damaged(folder, hashes) == []
    for name in ("model.safetensors", "merges.txt"):
        blob = (folder / name).resolve()
        blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    assert sorted(damaged(folder, hashes)) == ["merges.txt", "model.safetensors"]


def test_a_plain_folder_has_no_hashes(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    (tmp_path / "other").symlink_to("model.safetensors")  # its name is no hash
    assert cached_hashes(tmp_path) == {}


def test_a_file_without_a_hash_is_not_fetched(hub) -> None:
    """A mirror that gives none: what cannot be compared is not taken."""
    hub.hold("org/name", CLIP)
    remote = ask("org/name", None)
    lacks = dataclasses.replace(remote, hashes={**remote.hashes, "merges.txt": ""})
    with pytest.raises(CheckpointError, match="no hash for merges.txt"):
        download(lacks, CLIP)
    assert hub.fetched() == set()


def test_damaged_knows_the_shipped_model() -> None:
    results = json.loads((EMOJI / "results.json").read_text(encoding="utf-8"))
    assert damaged(EMOJI, {"model.safetensors": results["sha256"]}) == []
    assert damaged(EMOJI, {"config.json": results["sha256"]}) == ["config.json"]


# --- the rest ---


def test_the_error_ends_with_the_way_out() -> None:
    error = CheckpointError("It broke.")
    assert str(error) == 'It broke. load_clip("emoji") needs no download.'
    assert str(CheckpointError()) == CheckpointError.way_out
    error.way_out = "Go home."
    for same in (error, pickle.loads(pickle.dumps(error))):
        assert str(same) == "It broke. Go home."
        assert isinstance(same, OSError)
        assert isinstance(same, ValueError)


@pytest.mark.skipif(
    "tqdm_class" not in DOWNLOAD,
    reason="before huggingface_hub 1.0 its bars are on terminals only",
)
def test_a_bar_is_shown_after_two_seconds_where_there_is_no_terminal(hub) -> None:
    hub.hold("org/name", CLIP)
    hub.fail("stall", "model.safetensors", at=700_000)
    with another_process(hub) as process:
        assert hub.reached.wait(60)
        threading.Timer(2.5, hub.fail, [""]).start()
        _, told = process.communicate(timeout=60)
    assert "model.safetensors: 100%" in told
    assert "vocab.json: " not in told  # quick, so it has none
    assert contents(find_folder("org/name")) == CLIP


# --- and loaded ---


@pytest.fixture
def real(hub) -> HubServer:
    """The shipped models under the names of the real ones."""
    clip = contents(EMOJI)
    pipeline = contents(EMOJI.parent / "emoji-diffusion")
    words = {f"tokenizer/{name}": clip[name] for name in ("vocab.json", *SMALL[2:])}
    side = {f"text_encoder/{n}": clip[n] for n in ("config.json", "model.safetensors")}
    more = {name.replace("_model.", "_model.fp16."): b"x" for name in pipeline if "_model." in name}
    hub.hold("openai/clip-vit-large-patch14", clip | NOT_WANTED, PINNED)
    known = CHECKPOINTS["sd1"]
    hub.hold(known.id, pipeline | words | side | more | NOT_WANTED, known.revision)
    hub.hold("org/pipeline", pipeline | words | side | NOT_WANTED)
    return hub


def test_a_clip_from_the_hub(real, offline, clip) -> None:
    assert load_clip("clip-l", device="cpu").vision_model is not None
    offline()
    again = load_clip("clip-l", device="cpu")
    table = clip.inner.embeddings.token_embedding.weight
    assert again.inner.embeddings.token_embedding.weight.equal(table)


@pytest.mark.parametrize("name", ["sd1", "org/pipeline"])
def test_a_pipeline_from_the_hub(real, offline, name: str) -> None:
    clip = load_clip(name, device="cpu")
    real.fail("cut", "/unet/diffusion_pytorch_model.safetensors", at=9_000_000)
    with pytest.raises(CheckpointError, match="could not be reached") as caught:
        load_pipeline(clip)
    assert str(caught.value).endswith('load_pipeline(load_clip("emoji")) needs no download.')
    real.fail("")
    before = paint(load_pipeline(clip), "fox", num_inference_steps=1)
    assert not any("fp16" in f or f.endswith((".bin", ".msgpack", ".h5")) for f in real.fetched())
    real.asked.clear()
    offline()
    after = paint(load_pipeline(load_clip(name, device="cpu")), "fox", num_inference_steps=1)
    assert [image.tobytes() for image in after] == [image.tobytes() for image in before]
    assert real.asked == []


def test_a_pipeline_moves_on_only_when_all_of_it_is_there(real, offline, caplog) -> None:
    clip = load_clip("org/pipeline", device="cpu")
    load_pipeline(clip)
    real.hold("org/pipeline", real.repos["org/pipeline"], commit="b" * 40)
    real.repos["org/pipeline"]["unet/config.json"] += b" "
    real.fail("500", "/unet/")
    load_pipeline(clip)
    assert "trouble (500)" in caplog.text
    offline()
    load_pipeline(clip)


def test_half_precision_is_fetched_for_half_precision(real, offline) -> None:
    files = real.repos["org/pipeline"]
    for name in [name for name in files if name.endswith("_model.safetensors")]:
        files[name.replace("_model.", "_model.fp16.")] = files[name]
    clip = load_clip("org/pipeline", device="cpu", dtype="bfloat16")
    real.asked.clear()
    load_pipeline(clip)
    weights = {name for name in real.fetched() if name.endswith(".safetensors")}
    assert weights == {f"{p}/diffusion_pytorch_model.fp16.safetensors" for p in ("unet", "vae")}
    offline()
    load_pipeline(clip)


def test_another_kind_of_pipeline_is_not_fetched(real) -> None:
    clip = load_clip("org/pipeline", device="cpu")
    flux = b'{"_class_name": "FluxPipeline"}'
    for index, says in ((flux, "this is a FluxPipeline"), (None, "no model_index.json there")):
        files = real.repos["org/pipeline"]
        files.pop("model_index.json")
        if index is not None:
            files["model_index.json"] = index
        real.hold("org/pipeline", files, commit=hashlib.sha1(index or b"").hexdigest())
        real.asked.clear()
        with pytest.raises(CheckpointError, match=says):
            load_pipeline(clip)
        assert real.fetched() <= {"model_index.json"}


def test_a_pipeline_without_safetensors_for_a_part(real) -> None:
    clip = load_clip("org/pipeline", device="cpu")
    files = real.repos["org/pipeline"]
    files["vae/diffusion_pytorch_model.bin"] = files.pop("vae/diffusion_pytorch_model.safetensors")
    with pytest.raises(CheckpointError, match="no safetensors for its vae"):
        load_pipeline(clip)
