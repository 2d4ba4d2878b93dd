"""load_clip: what it loads, and what it says when it cannot."""

from __future__ import annotations

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import EMOJI, ROOT
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

import helpers.checkpoints as module
from helpers import CHECKPOINTS, CheckpointError, Clip, embed, folders, load_clip, tokenize
from helpers.folders import check_tokenizer

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


def test_threads_leave_the_settings_as_they_were() -> None:
    from transformers.utils import logging as library

    def settings() -> tuple:
        bars = library.is_progress_bar_enabled()
        return library.get_verbosity(), bars, torch.get_default_dtype()

    before = settings()
    with ThreadPoolExecutor(8) as pool:
        clips = list(pool.map(lambda _: load_clip("emoji", device="cpu"), range(8)))
    assert settings() == before
    ids = tokenize(clips[0], "a cat")["input_ids"]
    assert all(tokenize(clip, "a cat")["input_ids"].equal(ids) for clip in clips)


def test_bars_of_the_hub_that_were_off_stay_off() -> None:
    from huggingface_hub import utils

    utils.disable_progress_bars()
    try:
        load_clip("emoji", device="cpu")
        assert utils.are_progress_bars_disabled()
    finally:
        utils.enable_progress_bars()


# --- folders it refuses ---


def test_not_there(tmp_path: Path) -> None:
    refuses("nonsense", "neither a known name")
    refuses(tmp_path / "nowhere", "nor a folder that exists")
    refuses("./nowhere", "nor a folder that exists")
    refuses(EMOJI / "config.json", "is a file")
    refuses(tmp_path, "no config.json")
    for long in ("x" * 300, "x" * 5000, "x/" * 2500, f"org/{'x' * 5000}"):
        refuses(long, "cannot be looked up as a folder|neither a known name")
    refuses("a\0b", "cannot be looked up as a folder|neither a known name")
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
    refuses(link_folder("e", config="[" * 100_000 + "]" * 100_000), "config.json cannot be read")
    refuses(link_folder("f", config='{"a":' * 100_000), "config.json cannot be read")


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


def with_file(folder: Path, name: str, text: str) -> Path:
    """Put a file into a folder of links, in the place of the link."""
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return folder


MERGES = (EMOJI / "merges.txt").read_text(encoding="utf-8").splitlines(keepends=True)
VOCABULARY = json.loads((EMOJI / "vocab.json").read_text(encoding="utf-8"))
SWAPPED = VOCABULARY | {"cat</w>": VOCABULARY["dog</w>"], "dog</w>": VOCABULARY["cat</w>"]}


@pytest.mark.parametrize(
    ("merges", "vocabulary", "says"),
    [
        (MERGES[: len(MERGES) // 2], VOCABULARY, "its 24,446 merges are not CLIP's 48,894"),
        (MERGES[:-1], VOCABULARY, "merges are not CLIP's"),
        (MERGES[:1], VOCABULARY, "merges are not CLIP's"),
        (MERGES[:1] + MERGES[:0:-1], VOCABULARY, "merges are not CLIP's"),
        (
            [*MERGES[:1000], MERGES[1001], MERGES[1000], *MERGES[1002:]],
            VOCABULARY,
            "merges are not",
        ),
        (MERGES, SWAPPED, "vocabulary has other tokens or ids"),
        (MERGES, VOCABULARY | {"cat</w>": 60000}, "vocabulary has other tokens or ids"),
        (MERGES, dict(list(VOCABULARY.items())[:40000]), "not CLIP's|cannot be read"),
    ],
)
def test_words_that_would_become_wrong_ids(link_folder, merges, vocabulary, says: str) -> None:
    folder = link_folder(vocab=json.dumps(vocabulary))
    refuses(with_file(folder, "merges.txt", "".join(merges)), says)


def all_in_one_file(clip: Clip, change) -> str:
    state = json.loads(clip.tokenizer.backend_tokenizer.to_str())
    change(state)
    return json.dumps(state)


def half_the_merges(state: dict) -> None:
    del state["model"]["merges"][24_000:]


def two_ids(state: dict) -> None:
    words = state["model"]["vocab"]
    words["cat</w>"], words["dog</w>"] = words["dog</w>"], words["cat</w>"]


def no_lower_case(state: dict) -> None:
    state["normalizer"] = None


def at_random(state: dict) -> None:
    state["model"]["dropout"] = 0.5


def no_end(state: dict) -> None:
    state["post_processor"] = None


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize(
    "change", [half_the_merges, two_ids, no_lower_case, at_random, no_end], ids=lambda c: c.__name__
)
def test_a_bad_tokenizer_json(clip: Clip, link_folder, change, beside: bool) -> None:
    """Beside good files or alone it is refused, or has no say: then the ids are right."""
    folder = link_folder(without=() if beside else ("vocab.json", "merges.txt"))
    with_file(folder, "tokenizer.json", all_in_one_file(clip, change))
    text = "It's a Café at 7!?"
    try:
        other = load_clip(folder, device="cpu")
    except CheckpointError as error:
        assert "its tokenizer" in str(error)  # noqa: PT017
    else:
        assert change not in (half_the_merges, two_ids) or beside
        for _ in range(3):
            assert tokenize(other, text)["input_ids"].equal(tokenize(clip, text)["input_ids"])


def test_tokens_of_ones_own_are_welcome(clip: Clip, link_folder) -> None:
    weights = load_file(EMOJI / "model.safetensors")
    key = "text_model.embeddings.token_embedding.weight"
    weights[key] = torch.cat([weights[key], weights[key][:2]])
    folder = link_folder(without=("model.safetensors", "config.json", "tokenizer_config.json"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((EMOJI / "config.json").read_text())
    config["text_config"]["vocab_size"] = 49410
    with_file(folder, "config.json", json.dumps(config))
    words = json.loads((EMOJI / "tokenizer_config.json").read_text())
    words["extra_special_tokens" if MODERN else "additional_special_tokens"] = ["<cat-toy>"]
    with_file(folder, "tokenizer_config.json", json.dumps(words))
    assert tokenize(load_clip(folder, device="cpu"), "a <cat-toy>")["input_ids"][0, 2] == 49408


CAT = {"content": "cat", "special": False, "lstrip": False, "rstrip": False}
CAT |= {"normalized": True, "single_word": False}


@pytest.mark.parametrize(
    "words",
    [
        {"added_tokens_decoder": {"1481": CAT}},
        {"extra_special_tokens" if MODERN else "additional_special_tokens": ["cat"]},
        {"pad_token": "cat"},
        {"pad_token": "cat</w>"},
    ],
    ids=lambda words: next(iter(words)),
)
def test_an_added_token_takes_no_place(words: dict[str, Any], link_folder) -> None:
    """ "a cat" would become other ids, or every row would be filled up with cats."""
    folder = link_folder(without=("tokenizer_config.json",))
    config = json.loads((EMOJI / "tokenizer_config.json").read_text())
    with_file(folder, "tokenizer_config.json", json.dumps(config | words))
    with pytest.raises(CheckpointError, match="its tokenizer is not CLIP's"):
        load_clip(folder, device="cpu")


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("model", "dropout"), 0.5, "takes a text apart"),
        (("pre_tokenizer",), {"type": "Whitespace"}, "takes a text apart"),
        (("added_tokens",), [{**CAT, "id": 1481}], "takes the place"),
    ],
)
def test_a_tokenizer_that_was_changed_is_noticed(
    clip: Clip, place: tuple[str, ...], value: Any, said: str
) -> None:
    """However it came about: the library's own loading puts some of this right by itself."""

    class Changed:
        backend_tokenizer: Any
        pad_token, pad_token_id = "<|endoftext|>", 49407

        def __call__(self, text: str) -> dict[str, list[int]]:
            return {"input_ids": self.backend_tokenizer.encode(text).ids}

    state = json.loads(clip.tokenizer.backend_tokenizer.to_str())
    inner = state
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = [*inner[place[-1]], *value] if isinstance(value, list) else value
    changed = Changed()
    changed.backend_tokenizer = Tokenizer.from_str(json.dumps(state))
    with pytest.raises(CheckpointError, match=said):
        check_tokenizer("changed", changed)


def test_both_paddings_are_welcome(clip_sd2_words: Clip) -> None:
    check_tokenizer("sd2", clip_sd2_words.tokenizer)
    assert clip_sd2_words.pad_token_id == 0


def test_the_fingerprints_are_those_of_the_files() -> None:
    words = sorted(VOCABULARY, key=VOCABULARY.get)
    merges = [line.rstrip("\n") for line in MERGES[1:]]
    for lines, size, digest in (
        (words, folders.VOCABULARY_SIZE, folders.WORDS),
        (merges, folders.MERGES_SIZE, folders.MERGES),
    ):
        assert len(lines) == size
        assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == digest


# --- safetensors only ---


@pytest.mark.parametrize(
    "target",
    [
        *("pytorch_model.bin", "../m/model.safetensors", "sub/model.safetensors", "model.ckpt"),
        *("/etc/model.safetensors", "..", "", "sub\\\\model.safetensors", "C:model.safetensors"),
    ],
)
def test_an_index_cannot_point_elsewhere(clip: Clip, link_folder, target: str) -> None:
    folder = link_folder("m", without=("model.safetensors",))
    for place in (folder / "pytorch_model.bin", folder / "sub"):
        place.mkdir() if place.name == "sub" else torch.save(clip.model.state_dict(), place)
    shutil.copy(EMOJI / "model.safetensors", folder / "sub")
    names = dict.fromkeys(load_file(EMOJI / "model.safetensors"), target)
    with_file(folder, "model.safetensors.index.json", json.dumps({"weight_map": names}))
    refuses(folder, r"which is no \*.safetensors in the same folder")


@pytest.mark.parametrize("index", ["[]", "{}", '{"weight_map": 3}', "[" * 100_000])
def test_an_index_that_is_none(link_folder, index: str) -> None:
    folder = link_folder(without=("model.safetensors",))
    refuses(with_file(folder, "model.safetensors.index.json", index), "index.json|its index or")


def test_a_configuration_cannot_point_elsewhere(clip: Clip, link_folder) -> None:
    config = json.loads((EMOJI / "config.json").read_text())
    folder = link_folder(config=json.dumps(config | {"transformers_weights": "pytorch_model.bin"}))
    torch.save(clip.model.state_dict(), folder / "pytorch_model.bin")
    refuses(folder, "its index or config.json points to 'pytorch_model.bin'")


def test_weights_in_shards(clip: Clip, tmp_path: Path) -> None:
    clip.model.save_pretrained(tmp_path, max_shard_size="5MB")
    clip.tokenizer.save_pretrained(tmp_path)
    shards = sorted(tmp_path.glob("model-*-of-*.safetensors"))
    assert len(shards) > 1
    again = load_clip(tmp_path, device="cpu")
    torch.testing.assert_close(embed(again, "a cat").text_embeds, embed(clip, "a cat").text_embeds)
    shards[0].unlink()
    refuses(tmp_path, "weights cannot be loaded")


# --- weights that do not fit ---


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


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers(link_folder, bad: float) -> None:
    def spoil(weights: dict) -> None:
        weights[KEY][7] = bad

    refuses(
        with_weights(link_folder(), spoil), f"its weights hold NaN or infinity, in .*{KEY[11:]}"
    )


# --- an image processor that does not fit ---

FITTING = json.loads((EMOJI / "preprocessor_config.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "change",
    [
        {"size": {"shortest_edge": 10**9}},
        {"size": {"shortest_edge": 32}},
        {"size": {"height": 10**6, "width": 10**6}},
        {"crop_size": {"height": 224, "width": 224}},
        {"crop_size": {"height": 10**9, "width": 10**9}},
        {"crop_size": {"height": 64, "width": 63}},
        {"do_center_crop": False},
        {"do_resize": False, "do_center_crop": False},
        {"image_mean": [0.5]},
        {"image_std": [0.0, 0.0, 0.0]},
        {"image_std": "wide"},
        {"rescale_factor": float("nan")},
        {"resample": 99},
        None,
    ],
    ids=str,
)
def test_a_processor_that_does_not_fit(link_folder, change: dict | None) -> None:
    config = {} if change is None else FITTING | change
    folder = link_folder(preprocessor_config=json.dumps(config))
    refuses(folder, r"preprocessor_config\.json (does not make|cannot be used)")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"size": 64, "crop_size": 64},  # as older versions wrote it
        {"size": {"shortest_edge": 72}},
        {"size": {"height": 64, "width": 64}, "do_center_crop": False},
    ],
    ids=str,
)
def test_a_processor_that_fits(link_folder, change: dict) -> None:
    folder = link_folder(preprocessor_config=json.dumps(FITTING | change))
    assert load_clip(folder, device="cpu").image_processor is not None


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
        ({"device": "meta"}, "'meta' holds shapes without numbers"),
        ({"device": "xpu"}, "'xpu' cannot be used on this machine"),
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


# --- the table; tests/test_hub.py has the Hub ---


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
