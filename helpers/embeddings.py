"""From token ids to the three outputs of a CLIP text encoder: ``embed``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .checkpoints import check_clip
from .checks import (
    check_evaluating,
    holds_text,
    ids_as_tensor,
    is_plain_clip,
    mask_as_tensor,
)
from .tokens import tokenize

if TYPE_CHECKING:
    import torch
    from transformers import BatchEncoding

    from .checkpoints import Clip

BATCH = 64  # rows through the model at once; what is kept of them still grows with the list


@dataclass(frozen=True, eq=False, repr=False)
class Embeddings:
    """What a CLIP text encoder makes of n prompts, and what it was made from.

    Attributes:
        last_hidden_state: (n, L, d), every row after the final layer norm. Stable Diffusion's
            U-Net reads this. None if ``rows=False`` was asked for.
        pooler_output: (n, d), the row of the first ``<|endoftext|>``: *pooled*.
        text_embeds: (n, p), the pooled row through the text projection: *projected*, to be
            compared with images. None where the checkpoint has no projection.
        input_ids: (n, L), torch.long.
        attention_mask: (n, L), torch.long, 1 up to and including the first ``<|endoftext|>``,
            or what was given.

    The first three have the model's dtype, all lie on the model's device, and none is
    normalised: their lengths are as the model gives them.
    """

    last_hidden_state: torch.Tensor
    pooler_output: torch.Tensor
    text_embeds: torch.Tensor | None
    input_ids: torch.Tensor
    attention_mask: torch.Tensor

    def __repr__(self) -> str:
        shapes = {k: str(None if v is None else tuple(v.shape)) for k, v in vars(self).items()}
        if self.last_hidden_state is None:
            shapes["last_hidden_state"] = "None, because of rows=False"
        return f"Embeddings({', '.join(f'{k} {v}' for k, v in shapes.items())})"


def embed(
    clip: Clip,
    prompts: str | Sequence[str] | BatchEncoding | torch.Tensor,
    *,
    attention_mask: bool | torch.Tensor | None = False,
    rows: bool = True,
) -> Embeddings:
    """Run the text encoder: no gradients, in batches, where the model lies.

    ``pooler_output`` is the row of the first ``<|endoftext|>`` for every checkpoint. That is what
    transformers does too, except that for old configurations (``eos_token_id: 2``, as in Stable
    Diffusion 1.5) it takes the row of the largest id: the same row until somebody adds a token
    (transformers #24773).

    Args:
        clip: what ``load_clip`` returned.
        prompts: a string or list of strings (tokenized with ``tokenize`` and its defaults), what
            ``tokenize`` returned, or its ``input_ids`` as a torch tensor or numpy array, (n, L)
            or (L,).
        attention_mask: False or None passes no mask, like Stable Diffusion: padding rows are
            computed as if they were text. True hides padding; rows up to the first
            ``<|endoftext|>`` do not change. A tensor of 0 and 1, (n, L), such as
            ``tokens["attention_mask"]``, is passed on as it is.
        rows: False computes the pooled and projected outputs alone, which is several times as
            fast for many short prompts: what begins alike is computed once, and nothing behind
            the first ``<|endoftext|>`` (``helpers/tree.py``). Equal to 1e-5 in float32. With a
            mask that hides text, or layers that are hooked or not transformers' own, everything
            is computed.

    Returns:
        Embeddings: see there for shapes.

    Raises:
        TypeError: neither text nor ids.
        ValueError: ids that are too long (77), not in the vocabulary, or hold no
            ``<|endoftext|>``; a mask that does not fit them; a model in training mode; and what
            ``tokenize`` raises.
    """
    import torch

    from .tree import pooled_by_tree

    check_clip(clip)
    check_evaluating(clip.text_model)
    tokens = tokenize(clip, prompts) if holds_text(prompts) else prompts
    table = clip.inner.embeddings.token_embedding.weight
    input_ids = ids_as_tensor(
        tokens, vocabulary=len(table), longest=clip.max_length, end=clip.eos_token_id
    ).to(table.device)  # not clip.device: the model may have been moved since
    # the first 1 of the comparison: argmax gives the first of equal values
    first_eos = (input_ids == clip.eos_token_id).int().argmax(dim=-1)

    up_to_end = torch.arange(input_ids.shape[1], device=table.device) <= first_eos[:, None]
    plain = attention_mask is False or attention_mask is None
    mask = attention_mask
    if plain or attention_mask is True:
        mask = getattr(tokens, "attention_mask", None)
    mask = mask_as_tensor(up_to_end if mask is None else mask, input_ids)
    hides_text = not plain and bool((up_to_end & (mask == 0)).any())

    with torch.no_grad():
        if not rows and not hides_text and is_plain_clip(clip.inner):
            last_hidden_state = None
            pooler_output = pooled_by_tree(clip.inner, input_ids, first_eos + 1)
        else:
            states, pooled = [], []
            for part in batches(len(input_ids)):
                found = clip.text_model(
                    input_ids=input_ids[part], attention_mask=None if plain else mask[part]
                ).last_hidden_state
                pooled.append(found[range(len(found)), first_eos[part]])
                states += [found] if rows else []
            last_hidden_state = torch.cat(states) if rows else None
            pooler_output = torch.cat(pooled)
        project = clip.text_projection
        text_embeds = None if project is None else project(pooler_output)
    return Embeddings(last_hidden_state, pooler_output, text_embeds, input_ids, mask)


def batches(n: int) -> Iterator[slice]:
    """Slices of ``BATCH`` rows; a progress bar appears if they take longer than two seconds."""
    starts = range(0, n, BATCH)
    if len(starts) > 1:
        from tqdm import tqdm

        starts = tqdm(starts, desc="embed", unit="batch", leave=False, delay=2)
    for start in starts:
        yield slice(start, start + BATCH)
