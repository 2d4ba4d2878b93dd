"""load_clip: what it loads, and what it says when it cannot."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers
from conftest import EMOJI, ROOT
from safetensors.torch import load_file, save_file

import helpers.checkpoints as module
from helpers import CHECKPOINTS, CheckpointError, Clip, embed, load_clip, tokenize

MODERN = int(transformers.__version__.split(".")[0]) >= 5


def refuses(checkpoint: object, says: str, **options: object) -> None:
    """load_clip raises one clear sentence that names the way out and hides no other error."""
    with pytest.raises(CheckpointError, match=says) as caught:
        load_clip(checkpoint, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert 'load_clip("emoji")' in text
    assert len(text) < 500
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, ValueError)


# --- what it loads ---


@pytest.mark.parametrize("name", ["Emoji", " emoji "])
def test_names_are_read_kindly(name: str) -> None:
    assert load_clip(name).name == "emoji"


def test_a_name_nearly_right() -> None:
    refuses("sd-1", "Did you mean 'sd1'")


def test_the_shipped_clip(clip: Clip) -> None:
    assert clip.name == "emoji"
    assert not clip.model.training
    assert not any(p.requires_grad for p in clip.model.parameters())
    assert clip.dtype == clip.model.dtype == torch.float32
    assert clip.model.device == clip.device == torch.device("cpu")
    assert (clip.max_length, clip.bos_token_id, clip.eos_token_id) == (77, 49406, 49407)
    assert clip.vision_model is not None
    assert clip.visual_projection is not None
    assert 1 < clip.logit_scale <= 100.1
    for part in ("embeddings", "encoder", "final_layer_norm"):
        assert hasattr(clip.inner, part)
    assert clip.text_config.hidden_size == clip.inner.final_layer_norm.weight.shape[0]
    assert str(ROOT) not in repr(clip)


def test_every_key_of_the_shipped_weights_is_used(clip: Clip) -> None:
    """Loading checks names; this checks the numbers, key by key."""
    stored = load_file(EMOJI / "model.safetensors")
    loaded = clip.model.state_dict()
    for key, value in stored.items():
        assert value.dtype == torch.float16, key
        torch.testing.assert_close(loaded[key], value.float(), msg=key)
    assert {k for k in loaded if not k.endswith("position_ids")} == set(stored)


def test_image_side(clip: Clip) -> None:
    from PIL import Image

    picture = Image.new("RGB", (100, 80), "red")
    pixels = clip.image_processor(picture, return_tensors="pt")["pixel_values"]
    size = clip.model.config.vision_config.image_size
    assert pixels.shape == (1, 3, size, size)
    pooled = clip.vision_model(pixel_values=pixels).pooler_output
    assert clip.visual_projection(pooled).shape == (1, clip.text_projection.out_features)


def test_environment_variable(monkeypatch: pytest.MonkeyPatch, link_folder) -> None:
    folder = link_folder()
    monkeypatch.setenv("CLIP_CHECKPOINT", str(folder))
    assert load_clip(device="cpu").name == str(folder)
    assert load_clip("emoji", device="cpu").name == "emoji"  # what is written down wins
    monkeypatch.setenv("CLIP_CHECKPOINT", " ")
    assert load_clip(device="cpu").name == "emoji"


def test_whole_model_folder_saved_today(clip: Clip, tmp_path: Path) -> None:
    clip.model.save_pretrained(tmp_path)
    clip.tokenizer.save_pretrained(tmp_path)  # writes only tokenizer.json and a config
    again = load_clip(tmp_path, device="cpu")
    torch.testing.assert_close(embed(again, "a cat").text_embeds, embed(clip, "a cat").text_embeds)
    assert again.image_processor is None


def text_encoder_folder(clip: Clip, folder: Path, *, prefix: str, projection: bool = False) -> Path:
    """Save the shipped text tower the way Stable Diffusion's repositories hold theirs."""
    folder.mkdir(parents=True)
    config = clip.text_config.to_dict() | {"model_type": "clip_text_model"}
    kind = "CLIPTextModelWithProjection" if projection else "CLIPTextModel"
    (folder / "config.json").write_text(json.dumps(config | {"architectures": [kind]}))
    weights = {
        prefix + key: value.contiguous()
        for key, value in clip.inner.state_dict().items()
        if not key.endswith("position_ids")
    }
    if projection:
        weights["text_projection.weight"] = clip.text_projection.weight.detach()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def copy_words(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(EMOJI / name, folder / name)


def test_stable_diffusion_folder(clip: Clip, tmp_path: Path) -> None:
    text_encoder_folder(clip, tmp_path / "text_encoder", prefix="text_model.")
    copy_words(tmp_path / "tokenizer")
    expected = embed(clip, "a cat").pooler_output
    for folder in (tmp_path, tmp_path / "text_encoder"):
        part = load_clip(folder, device="cpu")
        torch.testing.assert_close(embed(part, "a cat").pooler_output, expected)
        assert part.text_projection is part.vision_model is part.logit_scale is None


def test_text_model_with_projection(clip: Clip, tmp_path: Path) -> None:
    folder = text_encoder_folder(clip, tmp_path / "m", prefix="text_model.", projection=True)
    copy_words(folder)
    part = load_clip(folder, device="cpu")
    torch.testing.assert_close(embed(part, "a cat").text_embeds, embed(clip, "a cat").text_embeds)


def test_text_model_saved_by_transformers_5(clip: Clip, tmp_path: Path) -> None:
    """Such a file has no text_model. prefix; transformers 4 would run on random numbers."""
    folder = text_encoder_folder(clip, tmp_path / "m", prefix="")
    copy_words(folder)
    if MODERN:
        part = load_clip(folder, device="cpu")
        torch.testing.assert_close(
            embed(part, "a cat").pooler_output, embed(clip, "a cat").pooler_output
        )
    else:
        refuses(folder, "missing and .* unexpected")


def test_largest_id_pooling_is_not_used(clip: Clip, tmp_path: Path) -> None:
    """eos_token_id 2, as in Stable Diffusion 1.5, makes the library pool at the largest id."""
    folder = text_encoder_folder(clip, tmp_path / "m", prefix="text_model.")
    copy_words(folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"eos_token_id": 2, "vocab_size": 49409}
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    table = weights["text_model.embeddings.token_embedding.weight"]
    weights["text_model.embeddings.token_embedding.weight"] = torch.cat([table, table[:1]])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    part = load_clip(folder, device="cpu")
    ids = tokenize(part, "a cat")["input_ids"]
    ids[0, 1] = 49408  # a token somebody added
    e = embed(part, ids)
    assert torch.equal(e.pooler_output[0], e.last_hidden_state[0, 3])
    library = part.text_model(input_ids=ids).pooler_output
    torch.testing.assert_close(library[0], e.last_hidden_state[0, 1])


def test_loading_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    from transformers.utils import logging as library

    before = library.get_verbosity(), library.is_progress_bar_enabled()
    load_clip("emoji", device="cpu")
    assert capfd.readouterr() == ("", "")
    assert (library.get_verbosity(), library.is_progress_bar_enabled()) == before


# --- folders it refuses ---


def test_not_there(tmp_path: Path) -> None:
    refuses("nonsense", "neither a known name")
    refuses(tmp_path / "nowhere", "nor a folder that exists")
    refuses("./nowhere", "nor a folder that exists")
    refuses(EMOJI / "config.json", "is a file")
    refuses(tmp_path, "no config.json")
    refuses("x" * 300, "cannot be looked up as a folder")
    refuses("~nobody-of-this-name/x", "cannot be looked up as a folder")
    refuses("", "is empty")
    refuses("  ", "is empty")


def test_wrong_kind_of_argument() -> None:
    with pytest.raises(TypeError, match="a folder or a Hub id, not int"):
        load_clip(3)


def test_not_a_clip(link_folder) -> None:
    refuses(link_folder("a", config='{"model_type": "bert"}'), "not a CLIP.*'bert'")
    refuses(link_folder("b", config="{}"), "not a CLIP")
    refuses(link_folder("c", config="[]"), "cannot be read")
    refuses(link_folder("d", config="not json"), "cannot be read")


def test_no_safetensors(link_folder) -> None:
    folder = link_folder(without=("model.safetensors",))
    refuses(folder, "no model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"x")
    refuses(folder, "can run code")


@pytest.mark.parametrize("missing", ["vocab.json", "merges.txt"])
def test_half_a_tokenizer(link_folder, missing: str) -> None:
    refuses(link_folder(without=(missing,)), "tokenizer is missing")


def test_wrong_tokenizer(link_folder) -> None:
    words = {f"w{number}": number for number in range(49408)}
    refuses(link_folder("a", vocab=json.dumps(words)), "tokenizer")
    refuses(link_folder("b", vocab='{"<|startoftext|>": 0, "<|endoftext|>": 1}'), "tokenizer")
    refuses(link_folder("c", vocab="not json"), "tokenizer")


def with_weights(folder: Path, change) -> Path:
    weights = load_file(EMOJI / "model.safetensors")
    change(weights)
    (folder / "model.safetensors").unlink()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


KEY = "text_model.final_layer_norm.weight"


def test_missing_key(link_folder) -> None:
    refuses(with_weights(link_folder(), lambda w: w.pop(KEY)), f"1 missing and 0.*{KEY[11:]}")


def test_unexpected_key(link_folder) -> None:
    folder = with_weights(link_folder(), lambda w: w.update(extra=torch.zeros(1)))
    refuses(folder, "0 missing and 1 unexpected.*'extra'")


def test_position_ids_are_no_unexpected_key(link_folder) -> None:
    ids = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    assert load_clip(with_weights(link_folder(), lambda w: w.update(ids)), device="cpu")


def test_wrong_shape(link_folder) -> None:
    refuses(with_weights(link_folder(), lambda w: w.update({KEY: torch.zeros(3)})), "weights")


def test_cut_short(link_folder) -> None:
    folder = link_folder(without=("model.safetensors",))
    whole = (EMOJI / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:100_000])
    refuses(folder, "cannot be loaded")
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    refuses(folder, "cannot be loaded")


def test_tokenizer_larger_than_the_model(link_folder) -> None:
    folder = link_folder()
    config = json.loads((EMOJI / "tokenizer_config.json").read_text())
    config["extra_special_tokens" if MODERN else "additional_special_tokens"] = ["<cat-toy>"]
    (folder / "tokenizer_config.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    refuses(folder, "tokenizer knows 49409 tokens, the model only 49408")


# --- device and dtype ---


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"device": "toaster"}, "'cuda', 'mps' or 'cpu'"),
        ({"dtype": "int64"}, "floating-point"),
        ({"dtype": "float31"}, "floating-point"),
        ({"dtype": 16}, "floating-point"),
        ({"dtype": torch.int8}, "floating-point"),
    ],
)
def test_wrong_device_or_dtype(options: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        load_clip("emoji", **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_cuda() -> None:
    with pytest.raises(ValueError, match="NVIDIA GPU"):
        load_clip("emoji", device="cuda")


def test_cuda_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert module._device_and_dtype("cuda:1", None)[0] == torch.device("cuda:1")
    with pytest.raises(ValueError, match=r"'cuda:7' is not there.* 'cuda:1' .*\.$"):
        load_clip("emoji", device="cuda:7")


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [
        (True, False, ("cuda", torch.float16)),
        (True, True, ("cuda", torch.float16)),
        (False, True, ("mps", torch.float32)),
        (False, False, ("cpu", torch.float32)),
    ],
)
def test_order_of_devices(monkeypatch, cuda: bool, mps: bool, expected: tuple) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    device, dtype = module._device_and_dtype(None, None)
    assert (device.type, dtype) == expected
    assert module._device_and_dtype("cpu", "float64")[1] == torch.float64


# --- the Hub ---


def test_table() -> None:
    assert list(CHECKPOINTS) == ["emoji", "clip-l", "sd1", "sd2"]
    for name, known in CHECKPOINTS.items():
        assert known.licence
        assert known.about
        assert not any(file.endswith((".bin", ".pt", ".ckpt", ".py")) for file in known.files)
        if name != "emoji":
            assert len(known.revision) == 40
            assert set(known.revision) <= set("0123456789abcdef")
            assert known.download_bytes > 4e8


@pytest.mark.parametrize("name", ["clip-l", "sd1", "sd2", "some/repository"])
def test_hub_not_reachable(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(module, "_cached", lambda *_: None)  # a reader may have fetched it
    refuses(name, "could not be reached")  # HF_HUB_OFFLINE is set for all tests


class Hub:
    """Stands in for huggingface_hub: holds one repository, remembers what is asked for."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder, self.names, self.asked = folder, names, []

    def model_info(self, repo: str, revision: str | None = None, **_: object) -> SimpleNamespace:
        files = [SimpleNamespace(rfilename=name, size=1000) for name in self.names]
        return SimpleNamespace(sha=revision or "a" * 40, siblings=files)

    def snapshot_download(self, repo: str, **options: object) -> str:
        if options.get("local_files_only"):
            raise OSError("not cached")
        self.asked.append((repo, options["revision"], sorted(options["allow_patterns"])))
        return str(self.folder)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch):
    def make(folder: Path, names: list[str]) -> Hub:
        fake = Hub(folder, names)
        monkeypatch.setattr("huggingface_hub.HfApi", lambda: fake)
        monkeypatch.setattr("huggingface_hub.snapshot_download", fake.snapshot_download)
        return fake

    return make


FILES = ["config.json", "model.safetensors", "vocab.json", "merges.txt", "tokenizer_config.json"]
NOT_WANTED = ["pytorch_model.bin", "model.fp16.safetensors", "run.py", "unet/model.safetensors"]


def test_names_fetch_their_pinned_files_only(hub) -> None:
    fake = hub(EMOJI, FILES)
    load_clip("clip-l", device="cpu")
    known = CHECKPOINTS["clip-l"]
    assert fake.asked == [(known.id, known.revision, sorted(known.files))]


def test_other_ids_fetch_what_is_needed_and_say_which_revision(hub, caplog) -> None:
    fake = hub(EMOJI, FILES + NOT_WANTED)
    with caplog.at_level(logging.WARNING, logger="helpers.checkpoints"):
        load_clip("org/name", device="cpu")
        load_clip("org/name@v1", device="cpu")
    assert fake.asked == [("org/name", "a" * 40, sorted(FILES)), ("org/name", "v1", sorted(FILES))]
    (record,) = caplog.records
    assert f"org/name@{'a' * 40}" in record.getMessage()


def test_repository_of_a_whole_pipeline(hub, clip: Clip, tmp_path: Path) -> None:
    text_encoder_folder(clip, tmp_path / "text_encoder", prefix="text_model.")
    copy_words(tmp_path / "tokenizer")
    wanted = [f"tokenizer/{name}" for name in FILES[2:]]
    wanted += ["text_encoder/config.json", "text_encoder/model.safetensors"]
    more = ["text_encoder/model.fp16.safetensors", "vae/config.json", "model_index.json"]
    fake = hub(tmp_path, wanted + more + NOT_WANTED)
    load_clip("org/pipeline@main", device="cpu")
    assert fake.asked == [("org/pipeline", "main", sorted(wanted))]


def test_repository_without_safetensors(hub) -> None:
    hub(EMOJI, ["config.json", "pytorch_model.bin", "vocab.json", "merges.txt"])
    refuses("org/name", "no model.safetensors")


def test_disk_too_full(hub, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = hub(EMOJI, FILES)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=300_000_000))
    refuses("sd2", r"needs 1\.6 GB .* 0\.3 GB are free")
    assert fake.asked == []


def test_hub_says_no(hub, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = hub(EMOJI, FILES)
    for kind, says in (
        ("RepositoryNotFoundError", "was not found"),
        ("GatedRepoError", "log-in"),
        ("RevisionNotFoundError", "revision"),
        ("ReadTimeout", r"could not be reached \(ReadTimeout\)"),
    ):

        def fail(*_: object, kind: str = kind, **__: object) -> None:
            raise type(kind, (Exception,), {})("many\nlines")

        monkeypatch.setattr(fake, "model_info", fail)
        refuses("org/name", says)
        refuses("sd1", says)


@pytest.fixture
def offline(hub, monkeypatch: pytest.MonkeyPatch):
    """The Hub cannot be reached; a folder stands in for the snapshot in the cache."""

    def make(folder: Path) -> None:
        fake = hub(folder, FILES)

        def fail(*_: object, **__: object) -> None:
            raise ConnectionError("gone")

        monkeypatch.setattr(fake, "model_info", fail)
        monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(folder))

    return make


def test_offline_takes_the_copy_in_the_cache(offline, caplog) -> None:
    offline(EMOJI)
    with caplog.at_level(logging.WARNING, logger="helpers.checkpoints"):
        load_clip("org/name", device="cpu")
    assert "using the copy of org/name" in caplog.text


@pytest.mark.parametrize("missing", FILES[:4])
def test_offline_with_part_of_a_copy(offline, link_folder, missing: str) -> None:
    offline(link_folder(without=(missing,)))
    refuses("org/name", r"\(ConnectionError\) and the copy in the cache is incomplete")


def test_offline_with_some_of_the_shards(offline, link_folder) -> None:
    folder = link_folder(without=("model.safetensors",))
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}})
    )
    offline(folder)
    refuses("org/name", "the cache is incomplete")
    (folder / "model.safetensors.index.json").write_text("[]")
    refuses("org/name", "the cache is incomplete")


def test_download_breaks_off(hub, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = hub(EMOJI, FILES)

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    refuses("sd1", "could not be reached")
    assert fake.asked == []
