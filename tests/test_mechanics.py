"""What notebooks 03 and 04 rest on, on the shipped CLIP and in Stable Diffusion's true geometry.

The cells' mechanics: padding, masks, shared rows, pooling, clip_skip, chunks, and mixing before the
transformer. Random weights show structure as well as trained ones do.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from helpers import embed, mix, tokenize

TEXTS = ["a red cat", "a red dog on a long wooden table"]
EOS = 49407
ROUNDING = {"atol": 1e-4, "rtol": 1e-3}


@pytest.fixture(scope="module")
def runs(any_clip) -> SimpleNamespace:
    """The same two prompts in every way the notebook runs them."""
    short, full = (tokenize(any_clip, TEXTS, padding=p) for p in ("longest", "max_length"))
    return SimpleNamespace(
        short=embed(any_clip, short),
        full=embed(any_clip, full),
        masked=embed(any_clip, full, attention_mask=True),
        alone=embed(any_clip, tokenize(any_clip, TEXTS[0], padding="longest")),
    )


def forward(clip: Any, x: torch.Tensor) -> torch.Tensor:
    """Vectors (n, L, d) through the transformer's layers and the final layer norm, causally."""
    length = x.shape[1]
    future = torch.full((length, length), torch.finfo(x.dtype).min).triu(1)
    for layer in clip.inner.encoder.layers:
        out = layer(x, attention_mask=future[None, None].to(x.dtype), **extra(layer))
        x = out[0] if isinstance(out, tuple) else out
    return clip.inner.final_layer_norm(x)


def extra(layer: Any) -> dict[str, Any]:
    """transformers before 5 asks for a second mask, the causal one on its own."""
    import inspect

    needed = "causal_attention_mask" in inspect.signature(layer.forward).parameters
    return {"causal_attention_mask": None} if needed else {}


def test_real_rows_do_not_depend_on_padding_batch_or_mask(runs) -> None:
    end = int(runs.alone.attention_mask.sum())
    assert runs.alone.input_ids.shape[1] == end < runs.short.input_ids.shape[1] < 77
    for run in (runs.short, runs.full, runs.masked):
        torch.testing.assert_close(
            run.last_hidden_state[0, :end], runs.alone.last_hidden_state[0], **ROUNDING
        )
        torch.testing.assert_close(run.pooler_output, runs.short.pooler_output, **ROUNDING)


def test_padding_rows_depend_on_the_mask(runs) -> None:
    pads = ~runs.full.attention_mask.bool()
    change = (runs.full.last_hidden_state - runs.masked.last_hidden_state).abs().amax(-1)
    assert change[pads].min() > 1e-2  # every one of them
    assert change[~pads].max() < 1e-4


def test_prompts_share_the_rows_of_their_common_beginning(runs) -> None:
    first, second = runs.full.last_hidden_state
    torch.testing.assert_close(first[:3], second[:3], **ROUNDING)  # start, a, red
    assert (first[3] - second[3]).abs().max() > 1e-2  # cat, dog


def test_the_right_mask_comes_from_the_first_end(any_clip) -> None:
    tokens = tokenize(any_clip, [*TEXTS, "", "wow! a cat!!"])
    ids = tokens["input_ids"]
    first = (ids == EOS).int().argmax(-1)
    mask = (torch.arange(77) <= first[:, None]).long()
    assert torch.equal(mask, tokens["attention_mask"])
    wrong = (ids != any_clip.pad_token_id).long()
    assert (wrong != mask).any()  # hides the end (SD 1), or the user's own "!" (SD 2)
    if any_clip.pad_token_id == EOS:
        assert (wrong.gather(1, first[:, None]) == 0).all()
    else:
        assert any_clip.pad_token_id == 0
        assert (wrong[3] < mask[3]).sum() >= 2


def test_first_end_against_the_largest_id(any_clip, runs) -> None:
    """The same row, until a token with an id above the end's is added: embed keeps to the end."""
    ids = runs.full.input_ids
    first = (ids == EOS).int().argmax(-1)
    assert torch.equal(ids.argmax(-1), first)
    assert torch.equal(runs.full.pooler_output, runs.full.last_hidden_state[[0, 1], first])
    added = ids.clone()
    added[:, 2] = EOS + 1
    assert (added.argmax(-1) == 2).all()
    assert torch.equal((added == EOS).int().argmax(-1), first)
    # the token table is lent one row more; a copy of the whole model would be large
    parts, table = any_clip.inner.embeddings, any_clip.inner.embeddings.token_embedding
    rows = torch.cat([table.weight, table.weight[:1]])
    parts.token_embedding = torch.nn.Embedding.from_pretrained(rows)
    try:
        e = embed(any_clip, added)
        with torch.no_grad():
            library = any_clip.text_model(input_ids=added).pooler_output
    finally:
        parts.token_embedding = table
    assert torch.equal(e.pooler_output, e.last_hidden_state[[0, 1], first])
    assert (e.pooler_output - e.last_hidden_state[:, 2]).abs().amax(-1).min() > 1e-2
    old = any_clip.text_config.eos_token_id == 2  # as published with Stable Diffusion
    expected = e.last_hidden_state[:, 2] if old else e.pooler_output
    torch.testing.assert_close(library, expected, **ROUNDING)


def test_no_end_is_refused(any_clip, runs) -> None:
    ids = runs.short.input_ids[:1, :3]
    with torch.no_grad():
        library = any_clip.text_model(input_ids=ids)  # its silent answer: row 0
    torch.testing.assert_close(library.pooler_output, library.last_hidden_state[:, 0], **ROUNDING)
    assert (library.pooler_output - library.last_hidden_state[:, -1]).abs().max() > 1e-2
    with pytest.raises(ValueError, match="end-of-text"):
        embed(any_clip, ids)


def test_clip_skip_by_hand(any_clip, runs) -> None:
    """diffusers' clip_skip=k is the final layer norm of hidden_states[-(k + 1)]."""
    ids = runs.short.input_ids
    with torch.no_grad():
        states = any_clip.text_model(input_ids=ids, output_hidden_states=True).hidden_states
        norm = any_clip.inner.final_layer_norm
        layers = any_clip.inner.encoder.layers
        assert len(states) == len(layers) + 1
        torch.testing.assert_close(norm(states[-1]), runs.short.last_hidden_state, **ROUNDING)
        assert (states[-1] - runs.short.last_hidden_state).abs().max() > 1e-2
        # the last layer, left out by clip_skip=1, applied by hand to what clip_skip=1 keeps
        future = torch.full((ids.shape[1],) * 2, torch.finfo(states[0].dtype).min).triu(1)
        out = layers[-1](states[-2], attention_mask=future[None, None], **extra(layers[-1]))
        out = out[0] if isinstance(out, tuple) else out
        torch.testing.assert_close(out, states[-1], **ROUNDING)
    assert (norm(states[-2]) - norm(states[-1])).abs().max() > 1e-2


def test_two_windows_of_75_tokens_are_154_rows(any_clip) -> None:
    words = " ".join(["cat"] * 70 + ["dog"] * 70)
    content = any_clip.tokenizer(words, add_special_tokens=False)["input_ids"]
    assert len(content) == 140
    windows = [content[start : start + 75] for start in range(0, len(content), 75)]
    rows = [[any_clip.bos_token_id, *w, *[EOS] * (76 - len(w))] for w in windows]
    e = embed(any_clip, torch.tensor(rows))
    chunked = e.last_hidden_state.reshape(1, -1, e.last_hidden_state.shape[-1])
    assert chunked.shape == (1, 154, any_clip.text_config.hidden_size)
    # the second window starts anew: it knows nothing of the first, and its start row is the same
    torch.testing.assert_close(chunked[0, 0], chunked[0, 77], **ROUNDING)
    second = embed(any_clip, torch.tensor(rows[1:])).last_hidden_state[0]
    torch.testing.assert_close(chunked[0, 77:], second, **ROUNDING)


def test_the_empty_prompt_is_77_real_rows(any_clip) -> None:
    rows = embed(any_clip, "").last_hidden_state
    assert rows.shape[1] == 77
    assert rows[0].norm(dim=-1).min() > 0.1
    assert (rows[0, 1:] - rows[0, :-1]).abs().amax(-1).min() > 1e-4  # each pad row is its own


def test_mixing_tokens_before_the_transformer(any_clip) -> None:
    """embeddings -> encoder -> final_layer_norm, composed by hand, and one word replaced."""
    texts = ["a red cat", "a red dog"]
    tokens = tokenize(any_clip, texts, padding="longest")
    e = embed(any_clip, tokens)
    with torch.no_grad():
        x = any_clip.inner.embeddings(input_ids=e.input_ids)
        torch.testing.assert_close(forward(any_clip, x), e.last_hidden_state, **ROUNDING)
        for t, end in ((0, 0), (1, 1)):
            rows = forward(any_clip, mix(x[:1], x[1:], t))
            torch.testing.assert_close(rows[0], e.last_hidden_state[end], **ROUNDING)
        early = forward(any_clip, mix(x[:1], x[1:], 0.5))[0]
    late = mix(e.last_hidden_state[0], e.last_hidden_state[1], 0.5)
    change = (early - late).abs().amax(-1)
    torch.testing.assert_close(early[:3], e.last_hidden_state[0, :3], **ROUNDING)
    assert change[:3].max() < 1e-4  # before the word nothing differs
    assert change[3:].min() > 1e-3  # from the word on, to mix early is not to mix late
