"""embed_images: against the library, and pixel by pixel."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPModel

from helpers import ImageEmbeddings, embed, embed_images, load_artwork, load_clip
from helpers.images import as_rgb

NAMES = ["dog face", "red heart", "pizza", "full moon"]


@pytest.fixture(scope="module")
def drawings() -> list[Image.Image]:
    artwork = load_artwork("noto-v1")
    return [artwork[name] for name in NAMES]


@pytest.fixture(scope="module")
def embedded(clip, drawings: list[Image.Image]) -> ImageEmbeddings:
    return embed_images(clip, drawings)


def picture(width: int = 64, height: int = 64, mode: str = "RGB") -> Image.Image:
    """Colours that differ everywhere."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8)).convert(mode)


def test_shapes(clip, embedded: ImageEmbeddings) -> None:
    config = clip.vision_model.config
    patches = (config.image_size // config.patch_size) ** 2
    e, d, p = embedded, config.hidden_size, clip.visual_projection.out_features
    assert e.last_hidden_state.shape == (4, 1 + patches, d)
    assert e.pooler_output.shape == (4, d)
    assert e.image_embeds.shape == (4, p)
    assert e.pixel_values.shape == (4, 3, config.image_size, config.image_size)
    for value in vars(e).values():
        assert value.dtype == clip.dtype
        assert value.device == clip.device
        assert not value.requires_grad
    assert repr(e).startswith(f"ImageEmbeddings(last_hidden_state (4, {1 + patches}, {d}), pooler")
    assert (e.image_embeds.norm(dim=-1) - 1).abs().min() > 0.1  # not normalised


def test_the_library_says_the_same(clip, drawings: list[Image.Image], embedded) -> None:
    """transformers' own model and image processor, without any helper."""
    from transformers import CLIPImageProcessor

    folder = str(Path(__file__).parent.parent / "helpers" / "models" / "emoji")
    pixels = CLIPImageProcessor.from_pretrained(folder)(images=drawings, return_tensors="pt")
    torch.testing.assert_close(embedded.pixel_values, pixels["pixel_values"])
    model = CLIPModel.from_pretrained(folder).float().eval()
    with torch.no_grad():
        library = model.get_image_features(**pixels)
        whole = model(input_ids=torch.tensor([[49406, 49407]]), **pixels)
        vision = model.vision_model(**pixels)
    library = getattr(library, "pooler_output", library)  # transformers 5 wraps it
    torch.testing.assert_close(embedded.image_embeds, library, atol=1e-4, rtol=1e-3)
    unit = embedded.image_embeds / embedded.image_embeds.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(unit, whole.image_embeds, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(embedded.pooler_output, vision.pooler_output, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(
        embedded.last_hidden_state, vision.last_hidden_state, atol=1e-4, rtol=1e-3
    )
    assert unit.std(dim=0).max() > 0.01  # four equal answers would prove nothing


def test_pooled_and_projected_by_hand(clip, embedded: ImageEmbeddings) -> None:
    e = embedded
    pooled = clip.vision_model.post_layernorm(e.last_hidden_state[:, 0])
    torch.testing.assert_close(e.pooler_output, pooled, atol=1e-5, rtol=1e-4)
    projected = pooled @ clip.visual_projection.weight.T
    torch.testing.assert_close(e.image_embeds, projected, atol=1e-4, rtol=1e-4)


def test_pixel_values_by_hand(clip) -> None:
    """A picture of the model's own size is neither resized nor cropped."""
    config = json.loads(
        (Path(__file__).parent.parent / "helpers/models/emoji/preprocessor_config.json").read_text()
    )
    side = clip.vision_model.config.image_size
    image = picture(side, side)
    mean, std = (torch.tensor(config[f"image_{name}"]) for name in ("mean", "std"))
    expected = (torch.from_numpy(np.array(image)) / 255 - mean) / std
    found = embed_images(clip, image).pixel_values
    torch.testing.assert_close(found[0], expected.permute(2, 0, 1))
    dot = Image.new("RGB", (side, side))
    dot.putpixel((5, 2), (255, 0, 51))
    column = embed_images(clip, dot).pixel_values[0, :, 2, 5]
    torch.testing.assert_close(column, (torch.tensor([1, 0, 0.2]) - mean) / std)


def test_other_sizes_are_resized_and_cropped(clip) -> None:
    """The shorter side is fitted, what the longer one has too much is cut off at both ends."""
    side = clip.vision_model.config.image_size
    wide = Image.new("RGB", (6 * side, 2 * side), "red")
    wide.paste("blue", (2 * side, 0, 4 * side, 2 * side))  # the middle third is blue
    found = embed_images(clip, [wide, Image.new("RGB", (3, 3), "blue")]).pixel_values
    blue = embed_images(clip, Image.new("RGB", (side, side), "blue")).pixel_values[0]
    torch.testing.assert_close(found[1], blue)
    torch.testing.assert_close(found[0, :, :, 4:-4], blue[:, :, 4:-4])


class Watched:
    """An image processor that notes the sizes of what it is given."""

    def __init__(self, processor: Any) -> None:
        self.processor, self.sizes = processor, []
        self.do_center_crop = processor.do_center_crop

    def __call__(self, images: list[Image.Image], **options: Any) -> Any:
        self.sizes += [image.size for image in images]
        return self.processor(images=images, **options)


@pytest.mark.parametrize(
    ("size", "shrunk"),
    [
        ((200_000, 1), (8, 1)),  # went through the processor with 5 GB
        ((1, 200_001), (1, 9)),  # as many from both ends
        ((1025, 64), (513, 64)),
        ((1024, 64), (1024, 64)),
        ((1023, 4000), (1023, 4000)),
        ((1024, 1024), (512, 512)),
        ((3000, 2000), (768, 512)),
        ((2000, 40_000), (512, 4096)),
    ],
    ids=str,
)
def test_far_too_large_pictures_are_shrunk_before(clip, size: tuple, shrunk: tuple) -> None:
    watched = Watched(clip.image_processor)
    found = embed_images(replace(clip, image_processor=watched), Image.new("RGB", size, "red"))
    assert watched.sizes == [shrunk]
    red = embed_images(clip, Image.new("RGB", (64, 64), "red")).pixel_values
    torch.testing.assert_close(found.pixel_values, red)


@pytest.mark.parametrize(
    ("size", "levels"),
    [((1500, 1023), 0), ((640, 480), 0), ((64, 1024), 0), ((3000, 2001), 2), ((2999, 101), 2)],
    ids=str,
)
def test_shrinking_changes_next_to_nothing(clip, size: tuple, levels: int) -> None:
    """Nothing at all where the picture is not far too large, as photographs for SD's CLIP."""
    wide, high = size
    y, x = np.mgrid[:high, :wide]
    waves = [np.sin(x / 37) + np.cos(y / 91), np.sin((x + y) / 53), np.cos(x * y / 9e4)]
    grain = np.random.default_rng(0).normal(0, 20, (high, wide, 3))
    pixels = np.stack(waves, axis=-1) * 60 + 128 + grain
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    library = clip.image_processor(images=image, return_tensors="pt")["pixel_values"]
    std = torch.tensor(clip.image_processor.image_std)[:, None, None]
    moved = (embed_images(clip, image).pixel_values - library).abs() * std * 255
    assert moved.max() <= levels + 0.01
    assert levels == 0 or moved.max() > 0.5


def test_without_a_crop_the_ends_stay(clip) -> None:
    watched = Watched(clip.image_processor)
    watched.do_center_crop = False
    embed_images(replace(clip, image_processor=watched), Image.new("RGB", (2000, 64)))
    assert watched.sizes == [(2000, 64)]


def test_every_kind_of_input(clip, tmp_path: Path, embedded, drawings) -> None:
    expected = embedded.image_embeds[:1]
    first = drawings[0]
    first.save(tmp_path / "dog.png")
    array = np.array(first)
    alpha = np.dstack([array, np.full(array.shape[:2], 255, np.uint8)])
    for same in (
        first,
        [first],
        (first,),
        tmp_path / "dog.png",
        str(tmp_path / "dog.png"),
        [tmp_path / "dog.png"],
        array,
        array[:, ::-1][:, ::-1],  # not contiguous
        alpha,
        first.convert("RGBA"),
        embedded.pixel_values[:1],
        embedded.pixel_values[:1].double(),
    ):
        torch.testing.assert_close(
            embed_images(clip, same).image_embeds, expected, atol=1e-4, rtol=1e-3
        )


def test_one_picture_alone_and_in_many_batches(clip, embedded, drawings) -> None:
    many = embed_images(clip, drawings * 40)  # three batches
    assert len(many.image_embeds) == 160
    for row in (0, 63, 64, 158):
        torch.testing.assert_close(
            many.image_embeds[row], embedded.image_embeds[row % 4], atol=1e-4, rtol=1e-3
        )
        assert torch.equal(many.pixel_values[row], embedded.pixel_values[row % 4])


def test_text_and_pictures_of_one_thing_lie_nearest(clip, embedded: ImageEmbeddings) -> None:
    """Four drawings by an artist the model never saw, and their names: a true model, truly used."""
    text = embed(clip, NAMES).text_embeds
    similarity = torch.nn.functional.cosine_similarity(
        embedded.image_embeds[:, None], text[None], dim=-1
    )
    assert similarity.argmax(dim=1).tolist() == [0, 1, 2, 3]


def test_no_gradients(clip, embedded: ImageEmbeddings) -> None:
    """Not even where the given pixel_values ask for them."""
    pixels = embedded.pixel_values.clone().requires_grad_()
    for name, value in vars(embed_images(clip, pixels)).items():
        assert not value.requires_grad, name
    assert pixels.requires_grad


def test_a_model_in_training_mode_is_refused_and_left_as_it_is(clip, drawings) -> None:
    clip.model.train()
    try:
        with pytest.raises(ValueError, match=r"training mode.*call clip\.model\.eval\(\) first"):
            embed_images(clip, drawings)
        assert all(module.training for module in clip.model.modules())
    finally:
        clip.model.eval()


def test_it_goes_where_the_model_is(clip, drawings, embedded) -> None:
    moved = replace(clip, device=torch.device("meta"))
    torch.testing.assert_close(embed_images(moved, drawings).image_embeds, embedded.image_embeds)


def test_half_precision(drawings, embedded: ImageEmbeddings) -> None:
    half = load_clip("emoji", device="cpu", dtype="bfloat16")
    e = embed_images(half, drawings)
    assert {value.dtype for value in vars(e).values()} == {torch.bfloat16}
    cosine = torch.nn.functional.cosine_similarity(e.image_embeds.float(), embedded.image_embeds)
    assert cosine.min() > 0.98


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_cuda(drawings, embedded: ImageEmbeddings) -> None:
    e = embed_images(load_clip("emoji"), drawings)
    assert all(value.is_cuda and value.dtype == torch.float16 for value in vars(e).values())
    cosine = torch.nn.functional.cosine_similarity(
        e.image_embeds.float().cpu(), embedded.image_embeds
    )
    assert cosine.min() > 0.98


# --- as_rgb ---


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "RGBA", "LA", "PA", "HSV", "LAB"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = picture(mode=mode)
    before = image.tobytes()
    found = as_rgb(image)
    assert (found.mode, found.size) == ("RGB", (64, 64))
    expected = image.convert("RGB")
    assert np.abs(np.asarray(found).astype(int) - np.asarray(expected)).max() <= 2
    assert image.tobytes() == before


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(mode: str, tmp_path: Path) -> None:
    """Half transparent black on white is middle grey; a fully transparent red is white."""
    image = Image.new("RGBA", (3, 1), (0, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 128))
    image.putpixel((2, 0), (200, 0, 0, 0))
    if mode == "P":
        image = image.quantize(3)
        image.save(tmp_path / "palette.png")
        image = Image.open(tmp_path / "palette.png")
        assert image.mode == "P"
    else:
        image = image.convert(mode)
    assert np.asarray(as_rgb(image))[0].tolist() == [[0] * 3, [127] * 3, [255] * 3]


def test_sixteen_bits_keep_their_greys(tmp_path: Path) -> None:
    levels = np.array([[0, 257, 100 * 257 - 1, 128 * 257, 65535]], dtype=np.uint16)
    expected = np.array([0, 1, 99, 128, 255])[:, None].repeat(3, axis=1)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    for image in (
        Image.fromarray(levels),
        Image.fromarray(levels.astype(np.int32)),
        tmp_path / "deep.png",
    ):
        assert np.array_equal(np.asarray(as_rgb(image))[0], expected)


def test_thirty_two_bits_are_cut_off_at_sixteen() -> None:
    """Pillow's mode "I" can hold numbers that are no 16-bit grey; they must not wrap around."""
    levels = np.array([[-5, 0, 65535, 70000]], dtype=np.int32)
    found = np.asarray(as_rgb(Image.fromarray(levels)))[0]
    assert found.tolist() == [[0] * 3, [0] * 3, [255] * 3, [255] * 3]


def test_turned_photographs_are_put_upright(tmp_path: Path) -> None:
    image = picture(40, 20)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me a quarter clockwise", as a phone held upright writes it
    image.save(tmp_path / "turned.png", exif=exif)
    found = as_rgb(tmp_path / "turned.png")
    assert found.size == (20, 40)
    assert np.array_equal(np.asarray(found), np.rot90(np.asarray(image), -1))


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3), (5, 4, 4)])
def test_arrays(shape: tuple[int, ...]) -> None:
    array = np.full(shape, 100, dtype=np.uint8)
    if shape[-1] == 4 and len(shape) == 3:
        array[..., 3] = 255
    found = as_rgb(array)
    assert found.size == (4, 5)
    assert np.asarray(found).reshape(-1, 3).tolist() == [[100] * 3] * 20


# --- bad input ---


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        (None, TypeError, "not NoneType"),
        (3, TypeError, "not int"),
        (b"GIF89a", TypeError, "not bytes"),
        ([], ValueError, "empty list"),
        ([None], TypeError, "not NoneType"),
        ([[]], TypeError, "not list"),
        ((i for i in ()), TypeError, "not generator"),
        ({"dog": 1}, TypeError, "not dict"),
        ("a photo of a cat", ValueError, "no file 'a photo of a cat'"),
        (Path(__file__).parent, ValueError, "there is no file"),
        (Path(__file__), ValueError, r"test_images.py' cannot be read .*UnidentifiedImageError"),
        (Image.new("RGB", (0, 4)), ValueError, "no pixels"),
        (Image.new("F", (4, 4)), ValueError, "floating-point pixels"),
        (np.zeros((4, 4, 3)), ValueError, r"uint8.*not float64 \(4, 4, 3\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), ValueError, r"not uint8 \(2, 4, 4, 3\)"),
        (np.zeros((3, 4, 5), np.uint8), ValueError, "height, width"),
        (np.zeros((0, 4), np.uint8), ValueError, "height, width"),
        ([torch.zeros(3, 64, 64)], TypeError, "not Tensor"),
        (
            torch.zeros(1, 3, 64, 64, dtype=torch.uint8),
            TypeError,
            "floating point, not torch.uint8",
        ),
        (torch.zeros(3, 64, 64), ValueError, r"\(n, 3, \d+, \d+\), not \(3, 64, 64\)"),
        (torch.zeros(1, 3, 8, 8), ValueError, r"not \(1, 3, 8, 8\)"),
        (torch.zeros(0, 3, 64, 64), ValueError, r"not \(0, 3, 64, 64\)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_bad_input(clip, wrong: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        embed_images(clip, wrong)


def test_a_file_that_breaks_off(tmp_path: Path) -> None:
    picture().save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"half\.png' cannot be read"):
        as_rgb(tmp_path / "half.png")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("limit", [64 * 64 // 3, 64 * 64 - 1])
def test_a_file_that_would_unpack_to_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Pillow warns of more than its limit and refuses twice that; lowered here, for a small file
    to be too large."""
    picture().save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64)
    assert as_rgb(tmp_path / "bomb.png").size == (64, 64)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    says = r"bomb\.png' cannot be read as a picture \(DecompressionBombError\): .*make it smaller"
    with pytest.raises(ValueError, match=says):
        as_rgb(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # Pillow's way to say "no limit"
    assert as_rgb(tmp_path / "bomb.png").size == (64, 64)


def test_no_image_model(clip, drawings) -> None:
    with pytest.raises(ValueError, match=r"emoji has no image model; load_clip\('emoji'\)"):
        embed_images(replace(clip, vision_model=None, visual_projection=None), drawings)


def test_no_image_processor(clip, drawings, embedded, link_folder) -> None:
    bare = load_clip(link_folder(without=("preprocessor_config.json",)), device="cpu")
    with pytest.raises(ValueError, match=r"no preprocessor_config\.json.*pass pixel_values"):
        embed_images(bare, drawings)
    found = embed_images(bare, embedded.pixel_values).image_embeds
    torch.testing.assert_close(found, embedded.image_embeds, atol=1e-4, rtol=1e-3)
