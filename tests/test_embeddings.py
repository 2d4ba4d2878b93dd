"""embed, on the shipped CLIP and on the true geometry of Stable Diffusion's text encoders."""

from __future__ import annotations

import io
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from by_hand import encode_text
from huggingface_hub import try_to_load_from_cache
from transformers import BatchEncoding

from helpers import CHECKPOINTS, detokenize, embed, load_clip, tokenize

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


def test_what_is_printed(clip) -> None:
    d = clip.text_config.hidden_size
    e = embed(clip, "a")
    rows = "input_ids (1, 77), attention_mask (1, 77)"
    state = f"last_hidden_state (1, 77, {d}), pooler_output (1, {d})"
    assert repr(e) == f"Embeddings({state}, text_embeds (1, {d}), {rows})"
    assert repr(replace(e, text_embeds=None)) == f"Embeddings({state}, text_embeds None, {rows})"


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


def test_a_mask_may_be_given_as_the_library_takes_it(clip) -> None:
    """``attention_mask=tokens["attention_mask"]``, as every tutorial writes it."""
    tokens = tokenize(clip, TEXTS)
    ids, mask = tokens["input_ids"], tokens["attention_mask"]
    expected = embed(clip, TEXTS, attention_mask=True).last_hidden_state
    assert (expected - embed(clip, TEXTS).last_hidden_state).abs().max() > 1e-2
    for texts in (TEXTS, tokens, ids):
        for same in (mask, mask.bool(), mask.float(), mask.numpy()):
            e = embed(clip, texts, attention_mask=same)
            assert torch.equal(e.last_hidden_state, expected)
            assert torch.equal(e.attention_mask, mask)
            assert e.attention_mask.dtype == torch.long
    one = embed(clip, ids[0], attention_mask=mask[0])
    torch.testing.assert_close(one.last_hidden_state, expected[:1], atol=1e-5, rtol=1e-4)
    none = embed(clip, tokens, attention_mask=None)  # as the library takes it, too
    assert torch.equal(none.last_hidden_state, embed(clip, TEXTS).last_hidden_state)


def test_any_mask_is_used_as_it_is(clip) -> None:
    tokens = tokenize(clip, TEXTS[0], padding="longest")
    mask = tokens["attention_mask"].clone()
    mask[0, 3] = 0  # a word that later rows do not see
    library = clip.text_model(input_ids=tokens["input_ids"], attention_mask=mask)
    hidden = embed(clip, tokens, attention_mask=mask)
    torch.testing.assert_close(hidden.last_hidden_state, library.last_hidden_state)
    assert torch.equal(hidden.attention_mask, mask)
    plain = embed(clip, tokens).last_hidden_state
    torch.testing.assert_close(hidden.last_hidden_state[0, :3], plain[0, :3], atol=1e-5, rtol=1e-4)
    assert (hidden.last_hidden_state[0, 4:] - plain[0, 4:]).abs().max() > 1e-2
    # what is given here goes before what lies in the tokens, and True takes the latter
    within = BatchEncoding({"input_ids": tokens["input_ids"], "attention_mask": mask})
    for e in (
        embed(clip, within, attention_mask=True),
        embed(clip, tokens, attention_mask=mask),
        embed(clip, BatchEncoding(tokens | {"attention_mask": mask * 0 + 1}), attention_mask=mask),
    ):
        assert torch.equal(e.last_hidden_state, hidden.last_hidden_state)
    assert torch.equal(embed(clip, within).last_hidden_state, plain)
    assert torch.equal(embed(clip, within).attention_mask, mask)


def test_pooling_finds_the_first_end_and_not_the_largest_id(clip) -> None:
    """They differ as soon as somebody adds a token: its id is larger (transformers #24773)."""
    own = load_clip("emoji", device="cpu")
    table = own.inner.embeddings.token_embedding
    more = torch.cat([table.weight, table.weight[:1]])
    own.inner.embeddings.token_embedding = torch.nn.Embedding.from_pretrained(more)
    ids = torch.tensor([[49406, 320, 49408, 49407, 49407], [49406, 49407, 49408, 320, 49407]])
    e = embed(own, ids)
    assert torch.equal(e.pooler_output, e.last_hidden_state[[0, 1], [3, 1]])
    assert e.attention_mask.tolist() == [[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]]
    with pytest.raises(ValueError, match="between 0 and 49407"):
        embed(clip, ids)  # the shipped table has no such row
    with pytest.raises(ValueError, match="between 0 and 49408"):
        embed(own, torch.where(ids == 49408, 49409, ids))


def test_many_threads(clip) -> None:
    expected = [embed(clip, text).text_embeds for text in TEXTS]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: embed(clip, TEXTS[i % 3]).text_embeds, range(48)))
    for number, vector in enumerate(found):
        torch.testing.assert_close(vector, expected[number % 3])
    assert not any(module.training for module in clip.model.modules())


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
    from tqdm import tqdm

    drawn = io.StringIO()

    def fast(steps: range, *, delay: float, **options: Any) -> tqdm:
        """The same bar, but less patient, and not silenced for the tests."""
        assert delay == 2
        return tqdm(steps, delay=0.05, file=drawn, disable=False, mininterval=0, **options)

    monkeypatch.setattr("tqdm.tqdm", fast)
    hook = clip.text_model.register_forward_pre_hook(lambda *_: time.sleep(0.1))
    try:
        assert len(embed(clip, ["a cat"] * 64).input_ids) == 64
        assert drawn.getvalue() == ""  # one batch has no progress to show
        assert len(embed(clip, ["a cat"] * 65).input_ids) == 65
        assert re.search(r"embed: +\d+%.* 1/2 .*(batch/s|s/batch)\]", drawn.getvalue())
        assert drawn.getvalue().split("\r")[-1].strip() == ""  # and gone when the work is done
    finally:
        hook.remove()


def test_a_model_in_training_mode_is_refused_and_left_as_it_is(clip) -> None:
    """Switched for the time of a call, it would be switched for every other thread as well."""
    clip.model.train()
    try:
        with pytest.raises(ValueError, match=r"training mode.*call clip\.model\.eval\(\) first"):
            embed(clip, "a cat")
        assert all(module.training for module in clip.model.modules())
    finally:
        clip.model.eval()
    try:
        clip.model.vision_model.train()  # no part of the text side
        embed(clip, "a cat")
        assert clip.model.vision_model.training
    finally:
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


def test_a_default_device_of_somebody_else_changes_nothing(clip) -> None:
    ids = tokenize(clip, TEXTS)["input_ids"]
    expected = embed(clip, ids)
    with torch.device("meta"):  # new tensors go there unless they are told where
        e = embed(clip, ids)
    for name, value in vars(e).items():
        torch.testing.assert_close(value, vars(expected)[name])


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
    known = CHECKPOINTS[name]
    for file in known.files:
        path = try_to_load_from_cache(known.id, file, revision=known.revision)
        if not isinstance(path, str) and not file.endswith("special_tokens_map.json"):
            pytest.skip(
                f"{known.id} is not in this machine's cache; load_clip({name!r}) fetches it"
            )
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
