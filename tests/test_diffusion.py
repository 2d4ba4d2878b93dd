"""load_pipeline and paint: against diffusers itself, and what they say of bad input."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import EMOJI, ROOT, link
from PIL import Image
from safetensors.torch import load_file, save_file

from helpers import (
    CHECKPOINTS,
    embed,
    embed_images,
    load_artwork,
    load_clip,
    load_pipeline,
    nearest,
    paint,
)
from helpers.checkpoints import CheckpointError
from helpers.diffusion import _is_whole

DIFFUSION = EMOJI.parent / "emoji-diffusion"
WEIGHTS = "diffusion_pytorch_model.safetensors"
PROMPTS = ["red heart", "fox", "pizza"]


def pixels(images: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(image, dtype=np.int16) for image in images])


@pytest.fixture(scope="module")
def pipe(clip):
    return load_pipeline(clip)


@pytest.fixture(scope="module")
def rows(clip) -> torch.Tensor:
    return embed(clip, PROMPTS).last_hidden_state


@pytest.fixture(scope="module")
def painted(pipe) -> np.ndarray:
    return pixels(paint(pipe, PROMPTS))


@pytest.fixture
def sd_folder(tmp_path: Path) -> Callable[..., Path]:
    """A whole Stable Diffusion in one folder, made of links to the shipped files."""

    def build(*, without: str = "") -> Path:
        folder = tmp_path / "sd"
        for source, target in ((EMOJI, "text_encoder"), (EMOJI, "tokenizer"), (DIFFUSION, "")):
            for file in source.rglob("*"):
                name = (Path(target) / file.relative_to(source)).as_posix()
                if file.suffix in (".json", ".txt", ".safetensors") and name != without:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    link(folder / name, file)
        return folder

    return build


def nested(depth: int) -> list:
    """A list in a list in a list ..."""
    return [nested(depth - 1)] if depth else []


def rewrite(file: Path, change: Callable[[Any], Any]) -> None:
    """Change a JSON or safetensors file that may be a link to a shipped one."""
    if file.suffix == ".json":
        value = change(json.loads(file.read_text(encoding="utf-8")))
        file.unlink()
        file.write_text(json.dumps(value), encoding="utf-8")
    else:
        state = change(load_file(file))
        file.unlink()
        save_file(state, file, metadata={"format": "pt"})


# --- what is shipped ---


def test_size_and_kind_of_the_files() -> None:
    files = [file for file in DIFFUSION.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 40_000_000
    kinds = {f.suffix for f in files if f.name != "SHA256SUMS"}
    assert kinds <= {".json", ".safetensors", ".md", ".webp"}
    for part in ("unet", "vae"):
        state = load_file(DIFFUSION / part / WEIGHTS)
        assert {value.dtype for value in state.values()} == {torch.float16}


def test_the_files_name_no_machine() -> None:
    for file in DIFFUSION.rglob("*.json"):
        text = file.read_text(encoding="utf-8")
        assert "_name_or_path" not in text
        assert str(ROOT) not in text


# --- load_pipeline ---


def test_the_parts_are_diffusers_own(clip, pipe) -> None:
    assert type(pipe).__module__.startswith("diffusers.")
    assert type(pipe).__name__ == "StableDiffusionPipeline"
    assert pipe.tokenizer is clip.tokenizer
    table = pipe.text_encoder.get_input_embeddings().weight
    assert table.data_ptr() == clip.inner.embeddings.token_embedding.weight.data_ptr()
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        assert {(p.dtype, p.device, p.requires_grad) for p in part.parameters()} == {
            (clip.dtype, clip.device, False)
        }
        assert not part.training
    assert pipe.safety_checker is None


def test_loading_and_painting_are_quiet(capfd, clip) -> None:
    paint(load_pipeline(clip), "fox", num_inference_steps=2)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("said", "shown"), [("1", False), ("", True), ("0", True)])
def test_bars_are_for_slow_machines_only_and_can_be_turned_off(
    clip, monkeypatch, capfd, said: str, shown: bool
) -> None:
    monkeypatch.setenv("TQDM_DISABLE", said)
    pipe = load_pipeline(clip)
    pipe.set_progress_bar_config(**pipe._progress_bar_config | {"delay": 0})  # a slow machine
    paint(pipe, "fox", num_inference_steps=2)
    assert ("steps" in capfd.readouterr().err) == shown


def test_a_folder_gives_what_the_name_gives(sd_folder, painted) -> None:
    pipe = load_pipeline(load_clip(sd_folder(), device="cpu"))
    assert np.array_equal(pixels(paint(pipe, PROMPTS)), painted)


def test_files_in_half_precision_alone_will_do(sd_folder, painted) -> None:
    folder = sd_folder()
    for part in ("unet", "vae"):
        (folder / part / WEIGHTS).rename(folder / part / "diffusion_pytorch_model.fp16.safetensors")
    pipe = load_pipeline(load_clip(folder, device="cpu"))
    assert np.array_equal(pixels(paint(pipe, PROMPTS)), painted)


def test_a_snapshot_that_lacks_a_part_is_not_whole(sd_folder) -> None:
    folder = sd_folder()
    assert _is_whole(folder, None)
    assert not _is_whole(folder, "fp16")
    rewrite(folder / "model_index.json", lambda i: i | {"safety_checker": ["a", "b"]})
    assert not _is_whole(folder, None)
    (folder / "safety_checker").mkdir()
    (folder / "safety_checker" / "model.safetensors").touch()
    assert _is_whole(folder, None)
    for part in ("unet", "vae", "safety_checker"):
        (weights,) = (folder / part).glob("*.safetensors")
        weights.rename(weights.with_suffix(".fp16.safetensors"))
        assert not _is_whole(folder, None)
        assert _is_whole(folder, "fp16") == (part == "safety_checker")


def test_the_safety_checker_stays(sd_folder) -> None:
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig

    folder = sd_folder()
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    sizes = {"num_attention_heads": 2, "projection_dim": 8}
    config = CLIPConfig(text_config=small | sizes, vision_config=small | sizes, projection_dim=8)
    StableDiffusionSafetyChecker(config).save_pretrained(folder / "safety_checker")
    (folder / "feature_extractor").mkdir()
    link(folder / "feature_extractor/preprocessor_config.json", EMOJI / "preprocessor_config.json")

    def add(index: dict[str, Any]) -> dict[str, Any]:
        return index | {
            "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
            "feature_extractor": ["transformers", "CLIPImageProcessor"],
        }

    rewrite(folder / "model_index.json", add)
    pipe = load_pipeline(load_clip(folder, device="cpu"))
    assert type(pipe.safety_checker).__name__ == "StableDiffusionSafetyChecker"
    assert {p.dtype for p in pipe.safety_checker.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("model_index.json", "no model_index.json there"),
        (f"unet/{WEIGHTS}", "its unet cannot be loaded"),
        ("unet/config.json", "its unet cannot be loaded"),
        (f"vae/{WEIGHTS}", "its vae cannot be loaded"),
        ("scheduler/scheduler_config.json", "the pipeline cannot be loaded"),
    ],
)
def test_missing_files(sd_folder, missing: str, says: str) -> None:
    clip = load_clip(sd_folder(without=missing), device="cpu")
    with pytest.raises(CheckpointError, match=says) as caught:
        load_pipeline(clip)
    assert str(caught.value).endswith('load_pipeline(load_clip("emoji")) needs no download.')
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_damaged_files_of_the_series_say_how_to_get_them_back(
    clip, tmp_path: Path, monkeypatch, capfd
) -> None:
    from helpers import diffusion

    folder = tmp_path / "models" / "emoji-diffusion"
    shutil.copytree(DIFFUSION, folder)
    (folder / "unet" / WEIGHTS).unlink()
    monkeypatch.setattr(diffusion, "__file__", str(tmp_path / "diffusion.py"))
    with pytest.raises(
        CheckpointError, match="git checkout -- helpers/models/emoji-diff"
    ) as caught:
        load_pipeline(clip)
    assert "needs no download" not in str(caught.value)
    assert str(caught.value).endswith("else install it again.")
    assert capfd.readouterr() == ("", "")


def test_a_weight_that_is_missing_is_not_made_up(sd_folder) -> None:
    folder = sd_folder()
    rewrite(
        folder / "unet" / WEIGHTS,
        lambda state: {k: v for k, v in state.items() if k != "conv_in.weight"},
    )
    with pytest.raises(CheckpointError, match="unet"):
        load_pipeline(load_clip(folder, device="cpu"))


def test_weights_that_are_no_numbers(sd_folder) -> None:
    folder = sd_folder()
    rewrite(
        folder / "vae" / WEIGHTS,
        lambda s: s | {"decoder.conv_in.bias": s["decoder.conv_in.bias"] / 0},
    )
    with pytest.raises(
        CheckpointError, match="weights of its vae hold NaN or infinity, in decoder.conv_in.bias"
    ):
        load_pipeline(load_clip(folder, device="cpu"))


def test_a_file_cut_short(sd_folder) -> None:
    folder = sd_folder()
    file = folder / "vae" / WEIGHTS
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="its vae cannot be loaded"):
        load_pipeline(load_clip(folder, device="cpu"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda index: index | {"_class_name": "StableDiffusionXLPipeline"}, "this is a StableDif"),
        (lambda index: [], "model_index.json cannot be read"),
        (lambda index: nested(500), "model_index.json cannot be read"),
    ],
)
def test_another_kind_of_pipeline(sd_folder, change: Callable, says: str) -> None:
    folder = sd_folder()
    rewrite(folder / "model_index.json", change)
    with pytest.raises(CheckpointError, match=says):
        load_pipeline(load_clip(folder, device="cpu"))


@pytest.mark.parametrize("target", ["diffusion_pytorch_model.bin", "../vae/" + WEIGHTS])
def test_an_index_of_a_part_cannot_point_elsewhere(sd_folder, target: str) -> None:
    folder = sd_folder()
    names = dict.fromkeys(load_file(folder / "unet" / WEIGHTS), target)
    (folder / "unet" / WEIGHTS).unlink()
    index = folder / "unet" / f"{WEIGHTS}.index.json"
    index.write_text(json.dumps({"weight_map": names}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"unet: its index .* no \*.safetensors in the same"):
        load_pipeline(load_clip(folder, device="cpu"))


def test_a_part_in_shards(pipe, sd_folder, painted) -> None:
    folder = sd_folder()
    shutil.rmtree(folder / "unet")
    pipe.unet.save_pretrained(folder / "unet", max_shard_size="10MB")
    shards = sorted((folder / "unet").glob("*-of-*.safetensors"))
    assert len(shards) > 1
    assert _is_whole(folder, None)
    again = load_pipeline(load_clip(folder, device="cpu"))
    assert np.array_equal(pixels(paint(again, PROMPTS)), painted)
    shards[1].unlink()
    assert not _is_whole(folder, None)


def test_a_unet_for_another_text_encoder(sd_folder, sd1_folder) -> None:
    folder = sd_folder()
    shutil.rmtree(folder / "unet")
    shutil.copytree(sd1_folder / "unet", folder / "unet")
    with pytest.raises(CheckpointError, match="768 wide and the text encoder's are 128 wide"):
        load_pipeline(load_clip(folder, device="cpu"))


def test_a_clip_without_a_unet(clip, link_folder) -> None:
    with pytest.raises(CheckpointError, match="clip-l is a CLIP alone.*emoji, sd1, sd2"):
        load_pipeline(replace(clip, name="clip-l"))
    alone = load_clip(link_folder(), device="cpu")
    with pytest.raises(CheckpointError, match="no model_index.json there"):
        load_pipeline(alone)
    with pytest.raises(TypeError, match="clip = load_clip"):
        load_pipeline("emoji")


@pytest.mark.parametrize("name", ["sd1", "sd2"])
def test_what_is_not_in_the_cache_is_said_to_be_so(clip, name: str, monkeypatch, tmp_path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="not, or not wholly, in the cache"):
        load_pipeline(replace(clip, name=name))


@pytest.mark.parametrize("size", ["sd1", "sd2"])
def test_true_geometries(size: str, request) -> None:
    clip = load_clip(request.getfixturevalue(f"{size}_folder"), device="cpu")
    pipe = load_pipeline(clip)
    assert pipe.unet.config.cross_attention_dim == clip.text_config.hidden_size
    first, second = paint(pipe, ["a fox", "a pizza"], num_inference_steps=3)
    assert first.size == second.size
    assert not np.array_equal(pixels([first]), pixels([second]))


@pytest.mark.parametrize("name", ["sd1", "sd2"])
def test_real_pipelines(name: str) -> None:
    """Where they have been fetched: the rows, the parts' widths, and a picture for a seed."""
    from huggingface_hub import try_to_load_from_cache

    known = CHECKPOINTS[name]
    files = ("text_encoder/model.safetensors", "unet/config.json")
    for file in files:
        if not isinstance(try_to_load_from_cache(known.id, file, revision=known.revision), str):
            pytest.skip(f"{known.id} is not in this machine's cache; load_pipeline fetches it")
    clip = load_clip(name)
    pipe = load_pipeline(clip)
    text = "a photo of a fox"
    theirs = pipe.encode_prompt(text, clip.device, 1, False)[0]
    assert torch.equal(theirs, embed(clip, text).last_hidden_state)
    first, second = (pixels(paint(pipe, text, num_inference_steps=4)) for _ in range(2))
    assert np.array_equal(first, second)


# --- paint ---


def test_size_and_kind(painted) -> None:
    assert painted.shape == (3, 64, 64, 3)


def test_a_seed_is_a_picture(pipe, painted) -> None:
    assert np.array_equal(pixels(paint(pipe, PROMPTS)), painted)
    assert np.array_equal(pixels(paint(pipe, PROMPTS, seeds=[0, 0, 0])), painted)
    assert not np.array_equal(pixels(paint(pipe, PROMPTS, seeds=1)), painted)
    one_other = pixels(paint(pipe, PROMPTS, seeds=[0, 1, 0]))
    assert np.array_equal(one_other[[0, 2]], painted[[0, 2]])
    assert not np.array_equal(one_other[1], painted[1])


def test_rows_and_text_are_the_same(clip, pipe, rows, painted) -> None:
    for same in (rows, embed(clip, PROMPTS), tuple(PROMPTS)):
        assert np.array_equal(pixels(paint(pipe, same)), painted)
    assert paint(pipe, rows[0])[0].size == (64, 64)


def test_the_library_draws_the_same(pipe, painted) -> None:
    """diffusers from its own files and its own words, without any helper."""
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTextModel, CLIPTokenizer

    theirs = StableDiffusionPipeline.from_pretrained(
        DIFFUSION,
        text_encoder=CLIPTextModel.from_pretrained(EMOJI).float(),
        tokenizer=CLIPTokenizer.from_pretrained(EMOJI),
    )
    images = theirs(
        PROMPTS,
        num_inference_steps=20,
        guidance_scale=4.0,
        generator=[torch.Generator().manual_seed(0) for _ in PROMPTS],
    ).images
    # another attention kernel adds up in another order; a level or two of 255 is rounding
    assert np.abs(pixels(images) - painted).max() <= 2


def test_many_pictures_come_in_order(pipe) -> None:
    many = ["red circle", "blue circle"] * 9
    images = pixels(paint(pipe, many, num_inference_steps=4))
    assert len(images) == 18
    assert np.abs(images[::2] - images[0]).max() <= 2
    assert np.abs(images[1::2] - images[1]).max() <= 2
    assert np.abs(images[0] - images[1]).max() > 50


def test_negative(clip, pipe, rows) -> None:
    def drawn(**settings) -> np.ndarray:
        return pixels(paint(pipe, rows, num_inference_steps=5, **settings))

    without = drawn()
    assert np.array_equal(drawn(negative_prompt=""), without)
    away = embed(clip, "red").last_hidden_state
    by_text = drawn(negative_prompt="red")
    assert not np.array_equal(by_text, without)
    for same in (away, away[0], away.expand(3, -1, -1)):
        assert np.array_equal(drawn(negative_prompt=same), by_text)
    # without guidance nobody looks at it
    assert np.array_equal(*(drawn(negative_prompt=n, guidance_scale=1) for n in ("", "red")))


def test_rows_are_left_as_they_were(pipe, rows) -> None:
    before = rows.clone()
    paint(pipe, rows, num_inference_steps=2)
    assert torch.equal(rows, before)


def test_more_rows_than_77(clip, pipe, rows) -> None:
    empty = embed(clip, "").last_hidden_state
    long = torch.cat([rows, rows], dim=1)
    assert (
        len(
            paint(
                pipe, long, negative_prompt=torch.cat([empty, empty], dim=1), num_inference_steps=2
            )
        )
        == 3
    )
    with pytest.raises(ValueError, match="negative_prompt has 77 rows and the prompts have 154"):
        paint(pipe, long)


def test_a_long_prompt_says_what_it_loses(pipe, caplog) -> None:
    paint(pipe, "fox " * 75 + "in the snow", num_inference_steps=1)
    paint(pipe, "fox", negative_prompt="red " * 75 + "in the rain", num_inference_steps=1)
    assert "lost: 'in the snow'" in caplog.text
    assert "lost: 'in the rain'" in caplog.text


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_rows_of_another_dtype(pipe, rows, painted, dtype: torch.dtype) -> None:
    difference = np.abs(pixels(paint(pipe, rows.to(dtype))) - painted)
    assert difference.mean() <= (1 if dtype == torch.float64 else 5)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda r: r[..., :5], ValueError, r"shape \(3, 77, 5\)"),
        (lambda r: r[0, 0], ValueError, r"shape \(128,\)"),
        (lambda r: r[:0], ValueError, r"shape \(0, 77, 128\)"),
        (lambda r: r * float("nan"), ValueError, "not finite"),
        (lambda r: r.long(), TypeError, "torch.int64"),
        (lambda r: r.numpy(), TypeError, "ndarray"),
        (lambda r: None, TypeError, "NoneType"),
        (lambda r: [*r], TypeError, "torch.stack"),
        (lambda r: [], ValueError, "list of prompts is empty"),
        (lambda r: [1, 2], TypeError, r"\[0\] must be a string, not int"),
    ],
)
def test_bad_rows(pipe, rows, change: Callable, error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        paint(pipe, change(rows))
    if says != "list of prompts is empty":
        with pytest.raises(error, match=says):
            paint(pipe, rows, negative_prompt=change(rows))


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"seeds": [1, 2]}, ValueError, "2 seeds for 3 pictures"),
        ({"seeds": 0.5}, TypeError, "seeds must be a whole number"),
        ({"seeds": True}, TypeError, "seeds must be a whole number"),
        ({"seeds": -1}, ValueError, "between 0 and"),
        ({"seeds": 2**70}, ValueError, "between 0 and"),
        ({"num_inference_steps": 0}, ValueError, "steps is 0"),
        ({"num_inference_steps": 1001}, ValueError, "from 1 to 1000"),
        ({"num_inference_steps": 2.5}, TypeError, "num_inference_steps must be a whole number"),
        ({"guidance_scale": "4"}, TypeError, "guidance_scale must be one number, not str"),
        ({"guidance_scale": None}, TypeError, "guidance_scale must be one number, not None"),
        ({"guidance_scale": float("nan")}, ValueError, "guidance_scale is nan"),
        (
            {"negative_prompt": ["a", "b"]},
            ValueError,
            "negative_prompt has 2 stacks of rows for 3 prompts",
        ),
    ],
)
def test_bad_arguments(pipe, rows, arguments: dict, error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        paint(pipe, rows, **arguments)


def test_a_picture_that_is_no_picture(pipe, rows) -> None:
    for scale in (1e30, 1e300):
        with pytest.raises(ValueError, match=r"came out as NaN: guidance_scale .* too large"):
            paint(pipe, rows, guidance_scale=scale, num_inference_steps=2)
    assert len(paint(pipe, rows, guidance_scale=100.0, num_inference_steps=2)) == 3


def test_not_our_pipeline(clip) -> None:
    with pytest.raises(TypeError, match=r"what load_pipeline\(\) returned, not Clip"):
        paint(clip, "fox")


def test_bfloat16(pipe) -> None:
    half = load_pipeline(load_clip("emoji", device="cpu", dtype="bfloat16"))
    assert half.unet.dtype == half.vae.dtype == torch.bfloat16
    few = {"num_inference_steps": 5}  # a CPU takes its time for such numbers
    one, other = (pixels(paint(p, PROMPTS[:1], **few)) for p in (half, pipe))
    assert not np.array_equal(one, other)
    assert np.abs(one - other).mean() < 25


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_cuda(painted) -> None:
    pipe = load_pipeline(load_clip("emoji", device="cuda"))
    assert pipe.unet.dtype == torch.float16
    assert np.abs(pixels(paint(pipe, PROMPTS)) - painted).mean() < 25


# --- what it has learned ---


SHOWN = [
    *("red heart", "blue heart", "green circle", "red circle", "blue square", "fox", "dog face"),
    *("cat face", "frog", "penguin", "pizza", "rocket", "red apple", "banana", "tulip", "rainbow"),
    *("snowman", "soccer ball", "grinning face", "ghost", "man farmer", "woman firefighter"),
    *("prince", "octopus"),
]


def test_pictures_show_what_they_are_asked_for(clip, pipe) -> None:
    """The CLIP finds the name among the five nearest of 1,652; by chance in 1 picture of 330."""
    names = load_artwork("noto").names
    drawn = embed_images(clip, paint(pipe, SHOWN)).image_embeds
    found = nearest(drawn, embed(clip, names).text_embeds, 5).indices.tolist()
    right = [name in {names[i] for i in five} for name, five in zip(SHOWN, found, strict=True)]
    assert sum(right) >= 22


def test_a_style_word_says_whose_drawing_it_is_like(pipe) -> None:
    """Among 24 drawings of its artist the nearest by pixels is the prompted one; by chance in 1."""
    artwork = load_artwork("noto")
    drawn = pixels(paint(pipe, [f"soft {name}" for name in SHOWN]))
    known = pixels([artwork[name] for name in SHOWN])
    distance = np.abs(drawn[:, None] - known[None]).mean(axis=(2, 3, 4))
    assert (distance.argmin(axis=1) == np.arange(24)).sum() >= 22


def test_a_seed_picks_one_of_many_answers(clip, pipe) -> None:
    """Of an open prompt's 16 seeds the CLIP gives at least five different names."""
    names = load_artwork("noto").names
    drawn = embed_images(clip, paint(pipe, ["an animal"] * 16, seeds=range(16))).image_embeds
    found = nearest(drawn, embed(clip, names).text_embeds, 1).indices.flatten().tolist()
    assert len(set(found)) >= 5
