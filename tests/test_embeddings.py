"""embed, on the shipped CLIP and on the true geometry of Stable Diffusion's text encoders."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from by_hand import encode_text
from transformers import BatchEncoding

from helpers import detokenize, embed, load_clip, tokenize

TEXTS = ["a photo of a cat", "a photo of a woman wearing a red dress", ""]


@pytest.fixture(scope="module")
def embedded(any_clip):
    return embed(any_clip, TEXTS)


def test_shapes(any_clip, embedded) -> None:
    e = embedded
    d = any_clip.text_config.hidden_size
    assert e.last_hidden_state.shape == (3, 77, d)
    assert e.pooler_output.shape == (3, d)
    if any_clip.text_projection is None:
        assert e.text_embeds is None
    else:
        assert e.text_embeds.shape == (3, any_clip.text_projection.out_features)
    assert torch.equal(e.input_ids, tokenize(any_clip, TEXTS)["input_ids"])
    assert torch.equal(e.attention_mask, tokenize(any_clip, TEXTS)["attention_mask"])
    assert not e.last_hidden_state.requires_grad
    assert detokenize(any_clip, e) == TEXTS


def test_by_hand_forward_equals_the_library(any_clip, embedded) -> None:
    e = embedded
    by_hand = encode_text(any_clip.inner, e.input_ids[:2, :20])
    torch.testing.assert_close(e.last_hidden_state[:2, :20], by_hand, atol=2e-4, rtol=1e-3)
    assert e.last_hidden_state.std() > 0.1  # two equal nothings would prove nothing


def test_pooled_is_the_first_end_row(any_clip, embedded) -> None:
    e = embedded
    for row, text in enumerate(TEXTS):
        end = len(text.split()) + 1
        assert e.input_ids[row, end] == 49407
        assert torch.equal(e.pooler_output[row], e.last_hidden_state[row, end])
    library = any_clip.text_model(input_ids=e.input_ids[:2]).pooler_output
    torch.testing.assert_close(e.pooler_output[:2], library, atol=1e-5, rtol=1e-4)


def test_projected(clip) -> None:
    e = embed(clip, TEXTS)
    torch.testing.assert_close(e.text_embeds, e.pooler_output @ clip.text_projection.weight.T)
    library = clip.model(
        input_ids=e.input_ids, pixel_values=torch.zeros(1, 3, *[image_size(clip)] * 2)
    ).text_embeds
    ours = e.text_embeds / e.text_embeds.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(ours, library, atol=1e-5, rtol=1e-4)


def image_size(clip) -> int:
    return clip.model.config.vision_config.image_size


def test_causal_prefix_is_shared(embedded) -> None:
    """Row i depends on tokens 0..i only: prompts that begin alike have equal first rows."""
    first, second, _ = embedded.last_hidden_state
    torch.testing.assert_close(first[:5], second[:5], atol=1e-5, rtol=1e-4)
    assert (first[5] - second[5]).abs().max() > 1e-2


def test_mask_changes_padding_only(any_clip, embedded) -> None:
    plain, masked = embedded, embed(any_clip, TEXTS, attention_mask=True)
    real = plain.attention_mask.bool()
    a, b = plain.last_hidden_state, masked.last_hidden_state
    torch.testing.assert_close(a[real], b[real], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(plain.pooler_output, masked.pooler_output, atol=1e-4, rtol=1e-3)
    assert (a[~real] - b[~real]).abs().max() > 1e-2


def test_no_mask_is_what_stable_diffusion_does(clip) -> None:
    e = embed(clip, TEXTS)
    plain = clip.text_model(input_ids=e.input_ids).last_hidden_state
    assert torch.equal(e.last_hidden_state, plain)


def test_published_geometry(sd1_folder, sd2_folder, known) -> None:
    names = {
        "openai/clip-vit-large-patch14 text (Stable Diffusion 1.x)": sd1_folder,
        "OpenCLIP ViT-H/14 text as packaged by Stable Diffusion 2 base": sd2_folder,
    }
    assert names.keys() == known["geometry"].keys()
    activations = {
        "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
        "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    }
    x = torch.linspace(-3, 3, 101)
    for name, folder in names.items():
        expected = known["geometry"][name]
        clip = load_clip(folder, device="cpu")
        table = clip.inner.embeddings
        assert list(table.token_embedding.weight.shape) == expected["token_embedding"]
        assert list(table.position_embedding.weight.shape) == expected["position_embedding"]
        assert len(clip.inner.encoder.layers) == expected["layers"]
        if "parameters_without_projection" in expected:
            count = sum(p.numel() for p in clip.text_model.parameters())
            assert count == expected["parameters_without_projection"]
        # asked of the modules themselves: the configuration is written in this repository
        width = table.token_embedding.weight.shape[1]
        activation = activations[expected.get("activation", "quick_gelu")]  # OpenAI's own CLIPs
        for layer in clip.inner.encoder.layers:
            mlp = expected.get("mlp", 4 * width)  # Vaswani et al. 2017, and every CLIP since
            assert list(layer.mlp.fc1.weight.shape) == [mlp, width]
            assert list(layer.mlp.fc2.weight.shape) == [width, mlp]
            torch.testing.assert_close(layer.mlp.activation_fn(x), activation(x))
        assert clip.text_config.eos_token_id == 2  # as published; so ...
        assert clip.eos_token_id == 49407  # ... it is the tokenizer that is asked
        assert clip.max_length == 77
        assert clip.vision_model is clip.logit_scale is clip.image_processor is None


def test_attention_is_visible_and_causal(any_clip) -> None:
    ids = tokenize(any_clip, TEXTS[0], padding="longest")["input_ids"]
    maps = any_clip.text_model(input_ids=ids, output_attentions=True).attentions
    assert len(maps) == any_clip.text_config.num_hidden_layers
    for weights in maps:
        assert weights.triu(1).abs().max() == 0
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))


def test_every_kind_of_input(clip) -> None:
    tokens = tokenize(clip, TEXTS)
    expected = embed(clip, TEXTS).pooler_output
    for same in (tokens, tokens["input_ids"], tokens["input_ids"].int(), tuple(TEXTS)):
        torch.testing.assert_close(embed(clip, same).pooler_output, expected)
    for kind in ("int64", "int32"):
        arrays = BatchEncoding({name: value.numpy().astype(kind) for name, value in tokens.items()})
        for same in (arrays, arrays["input_ids"]):
            torch.testing.assert_close(embed(clip, same).pooler_output, expected)
    first = BatchEncoding({name: value[0] for name, value in tokens.items()})  # (L,) and its mask
    torch.testing.assert_close(embed(clip, first).attention_mask, tokens["attention_mask"][:1])
    one = embed(clip, tokens["input_ids"][0])
    torch.testing.assert_close(one.pooler_output, expected[:1], atol=1e-5, rtol=1e-4)
    assert torch.equal(embed(clip, tokens["input_ids"]).attention_mask, tokens["attention_mask"])
    short = embed(clip, tokenize(clip, TEXTS, padding="longest"))
    assert short.last_hidden_state.shape[1] < 77
    torch.testing.assert_close(short.pooler_output, expected, atol=1e-5, rtol=1e-4)


def test_many_texts_go_in_batches(clip) -> None:
    texts = [f"{number} cats" for number in range(150)]
    e = embed(clip, texts)
    assert e.last_hidden_state.shape[0] == 150
    for number in (0, 63, 64, 149):
        alone = embed(clip, texts[number]).pooler_output[0]
        torch.testing.assert_close(e.pooler_output[number], alone, atol=1e-4, rtol=1e-3)


def test_progress_bar_only_for_long_work(clip, monkeypatch: pytest.MonkeyPatch) -> None:
    import helpers.embeddings as module

    bars = []
    monkeypatch.setattr("tqdm.tqdm", lambda steps, **_: bars.append(len(steps)) or steps)
    monkeypatch.setattr(module, "PATIENCE", 1e9)  # however slow this machine is
    assert len(embed(clip, ["a cat"] * 70).input_ids) == 70
    assert bars == []
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    assert len(embed(clip, ["a cat"] * 70).input_ids) == 70
    assert bars == [1]  # the first batch has been done by then


def test_embed_leaves_the_mode_of_the_model(clip) -> None:
    expected = embed(clip, "a cat").pooler_output
    modes = []  # while it runs: this model has no dropout that would show it
    hook = clip.text_model.register_forward_hook(lambda module, *_: modes.append(module.training))
    clip.model.train()
    try:
        again = embed(clip, "a cat").pooler_output
        assert modes == [False]
        torch.testing.assert_close(again, expected)
        assert clip.model.training
    finally:
        hook.remove()
        clip.model.eval()


def test_no_gradients(clip) -> None:
    """Not even while somebody trains the projection."""
    clip.text_projection.requires_grad_(True)
    try:
        for name, value in vars(embed(clip, "a cat")).items():
            assert not value.requires_grad, name
    finally:
        clip.text_projection.requires_grad_(False)


def test_embed_goes_where_the_model_is(clip) -> None:
    """The model may have been moved after loading; what Clip remembers is then out of date."""
    moved = replace(clip, device=torch.device("meta"))
    for given in ("a cat", tokenize(clip, "a cat"), tokenize(clip, "a cat")["input_ids"]):
        e = embed(moved, given)
        assert e.input_ids.device == e.attention_mask.device == e.text_embeds.device
        torch.testing.assert_close(e.text_embeds, embed(clip, "a cat").text_embeds)


def test_half_precision(clip) -> None:
    half = load_clip("emoji", device="cpu", dtype="bfloat16")
    e = embed(half, TEXTS)
    assert e.last_hidden_state.dtype == e.text_embeds.dtype == torch.bfloat16
    full = embed(clip, TEXTS).pooler_output
    cosine = torch.nn.functional.cosine_similarity(e.pooler_output.float(), full)
    assert cosine.min() > 0.99


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_cuda(clip) -> None:
    on_gpu = load_clip("emoji")
    assert on_gpu.device.type == "cuda"
    assert on_gpu.dtype == torch.float16
    e = embed(on_gpu, TEXTS)
    assert e.pooler_output.is_cuda
    cosine = torch.nn.functional.cosine_similarity(
        e.pooler_output.float().cpu(), embed(clip, TEXTS).pooler_output
    )
    assert cosine.min() > 0.99


ENDS = torch.tensor([[320, 49407], [320, 49407]])


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        (None, TypeError, "NoneType"),
        (3, TypeError, "int"),
        ([320, 2368], TypeError, "list"),
        ([], ValueError, "empty"),
        (torch.rand(1, 5), TypeError, "whole numbers"),
        (torch.zeros(1, 78, dtype=torch.long), ValueError, "too long"),
        (torch.tensor([[49406, 320]]), ValueError, "end-of-text"),
        (torch.tensor([[99999, 49407]]), ValueError, "between 0 and"),
        (torch.tensor([[-1, 49407]]), ValueError, "between 0 and"),
        (torch.zeros(1, 1, 5, dtype=torch.long), ValueError, "shape"),
        (torch.zeros(0, 5, dtype=torch.long), ValueError, "shape"),
        (torch.rand(1, 5).numpy(), TypeError, "whole numbers"),
        (torch.zeros(1, 78, dtype=torch.long).numpy(), ValueError, "too long"),
        (np.array(["a cat"]), TypeError, "ndarray"),
        (BatchEncoding({"input_ids": [[320, 49407]]}), TypeError, "return_tensors='pt'"),
        (BatchEncoding({"input_ids": ENDS, "attention_mask": [[1]]}), TypeError, "not list"),
        (BatchEncoding({"input_ids": ENDS, "attention_mask": ENDS[0]}), ValueError, "does not fit"),
    ],
)
def test_bad_input(clip, wrong: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        embed(clip, wrong)


# --- published activations, where the real checkpoint is present ---


def cached_clip(name: str):
    from helpers.checkpoints import CHECKPOINTS
    from helpers.hub import cached

    known = CHECKPOINTS[name]
    needed = [file for file in known.files if not file.endswith("special_tokens_map.json")]
    if cached(known.id, known.revision, needed) is None:
        pytest.skip(f"{known.id} is not in this machine's cache; load_clip({name!r}) fetches it")
    return load_clip(name, device="cpu", dtype="float32")


def check_rows(state: torch.Tensor, rows: dict, tolerance: float) -> None:
    for place, expected in rows.items():
        row = state[tuple(int(number) for number in place.split(","))]
        for end, values in (("first3", row[:3]), ("last3", row[-3:])):
            torch.testing.assert_close(
                values.float(), torch.tensor(expected[end]), atol=tolerance, rtol=0
            )


@pytest.mark.parametrize("name", ["clip-l", "sd1"])
def test_published_activations_sd1(known, name: str) -> None:
    entry = known["activations"][0]
    e = embed(cached_clip(name), entry["text"])
    assert list(e.last_hidden_state[0].shape) == entry["shape"]
    check_rows(e.last_hidden_state[0], entry["rows"], 5e-4)


def test_published_activations_sd2(known) -> None:
    entry = known["activations"][1]
    clip = cached_clip("sd2")
    e = embed(clip, tokenize(clip, entry["texts"], padding="longest"), attention_mask=True)
    assert list(e.last_hidden_state.shape) == entry["shape"]
    check_rows(e.last_hidden_state, entry["rows"], 2e-2)  # published from float16
    check_rows(e.pooler_output, entry["pooler_output"], 2e-2)


def test_the_check_of_activations_can_fail(known) -> None:
    rows = json.loads(json.dumps(known["activations"][0]["rows"]))
    with pytest.raises(AssertionError):
        check_rows(torch.zeros(77, 768), rows, 5e-4)


@pytest.mark.parametrize("ids", [[320, 2368], [[320, 2368]], [["a", "b"]]])
def test_a_list_of_ids_is_sent_to_a_tensor(clip, ids: list) -> None:
    with pytest.raises(TypeError, match=r"torch\.tensor\(ids\)"):
        embed(clip, ids)
