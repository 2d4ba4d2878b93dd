"""From token ids to the three outputs of a CLIP text encoder: ``embed``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .checkpoints import Clip, check_clip
from .tokens import tokenize

if TYPE_CHECKING:
    import torch
    from transformers import BatchEncoding

BATCH = 64  # rows through the model at once; keeps memory flat however long the list is
PATIENCE = 2.0  # seconds; a progress bar appears only if the work takes longer


@dataclass(frozen=True, eq=False, repr=False)
class Embeddings:
    """What a CLIP text encoder makes of n texts, and what it was made from.

    Attributes:
        last_hidden_state: (n, L, d), every row after the final layer norm. Stable Diffusion's
            U-Net reads this.
        pooler_output: (n, d), the row of the first ``<|endoftext|>``: *pooled*.
        text_embeds: (n, p), the pooled row through the text projection: *projected*, to be
            compared with images. None where the checkpoint has no projection.
        input_ids: (n, L), torch.long.
        attention_mask: (n, L), torch.long, 1 up to and including the first ``<|endoftext|>``.

    The first three have the model's dtype, all lie on the model's device, and none is
    normalised: their lengths are as the model gives them.
    """

    last_hidden_state: torch.Tensor
    pooler_output: torch.Tensor
    text_embeds: torch.Tensor | None
    input_ids: torch.Tensor
    attention_mask: torch.Tensor

    def __repr__(self) -> str:
        shapes = (f"{k} {None if v is None else tuple(v.shape)}" for k, v in vars(self).items())
        return f"Embeddings({', '.join(shapes)})"


def embed(
    clip: Clip,
    texts_or_tokens: str | Sequence[str] | BatchEncoding | torch.Tensor,
    *,
    attention_mask: bool = False,
) -> Embeddings:
    """Run the text encoder: no gradients, evaluation mode, in batches, where the model lies.

    ``pooler_output`` is the row of the first ``<|endoftext|>`` for every checkpoint. That is what
    transformers does too, except that for old configurations (``eos_token_id: 2``, as in Stable
    Diffusion 1.5) it takes the row of the largest id: the same row until somebody adds a token
    (transformers #24773).

    Args:
        clip: what ``load_clip`` returned.
        texts_or_tokens: a string or list of strings (tokenized with ``tokenize`` and its
            defaults), what ``tokenize`` returned, or ids as a torch tensor or numpy array,
            (n, L) or (L,).
        attention_mask: False passes no mask, like Stable Diffusion: padding rows are computed as
            if they were text. True hides padding; rows up to the first ``<|endoftext|>`` do not
            change.

    Returns:
        Embeddings: see there for shapes.

    Raises:
        TypeError: neither text nor ids.
        ValueError: ids that are too long (77), not in the vocabulary, or hold no
            ``<|endoftext|>``; and what ``tokenize`` raises.
    """
    import torch

    check_clip(clip)
    was_training = clip.model.training
    clip.model.eval()
    try:
        with torch.no_grad():
            ids, mask = _ids_and_mask(clip, texts_or_tokens)
            states = []
            for start in _progress(range(0, len(ids), BATCH)):
                part = slice(start, start + BATCH)
                states.append(
                    clip.text_model(
                        input_ids=ids[part], attention_mask=mask[part] if attention_mask else None
                    ).last_hidden_state
                )
            last_hidden_state = torch.cat(states)
            # the first 1 of the comparison: argmax gives the first of equal values
            first_eos = (ids == clip.eos_token_id).int().argmax(dim=-1)
            pooled = last_hidden_state[torch.arange(len(ids), device=ids.device), first_eos]
            projection = clip.text_projection
            projected = projection(pooled) if projection is not None else None
    finally:
        clip.model.train(was_training)
    return Embeddings(last_hidden_state, pooled, projected, ids, mask)


def _ids_and_mask(clip: Clip, given: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask on the model's device, checked."""
    import torch

    table = clip.inner.embeddings.token_embedding.weight
    device = table.device  # not clip.device: the model may have been moved since

    if isinstance(given, str) or (isinstance(given, list | tuple) and not _holds_ids(given)):
        given = tokenize(clip, given)
    ids = getattr(given, "input_ids", given)
    if isinstance(ids, list) and ids is not given:
        raise TypeError("input_ids must be a torch tensor; pass return_tensors='pt'.")
    ids = _tensor(ids)
    if isinstance(ids, list | tuple):
        raise TypeError(
            "texts_or_tokens is a list, but not of texts; ids go into a tensor: torch.tensor(ids)."
        )
    if not isinstance(ids, torch.Tensor):
        raise TypeError(
            "texts_or_tokens must be a string, a list of strings, what tokenize returned, or a "
            f"torch tensor of ids (n, L), not {type(given).__name__}."
        )
    if ids.dtype.is_floating_point or ids.dtype.is_complex or ids.dtype == torch.bool:
        raise TypeError(f"ids must be whole numbers, not {ids.dtype}.")
    ids = ids.unsqueeze(0) if ids.dim() == 1 else ids
    if ids.dim() != 2 or 0 in ids.shape:
        raise ValueError(f"ids must have shape (n, L) or (L,), not {tuple(ids.shape)}.")
    if ids.shape[1] > clip.max_length:
        raise ValueError(f"rows of {ids.shape[1]} ids are too long; {clip.max_length} fit.")
    ids = ids.to(device=device, dtype=torch.long)

    rows = table.shape[0]
    if int(ids.min()) < 0 or int(ids.max()) >= rows:
        raise ValueError(f"ids must lie between 0 and {rows - 1}.")
    ends = ids == clip.eos_token_id
    if not bool(ends.any(dim=-1).all()):
        raise ValueError(
            f"every row needs an end-of-text token ({clip.eos_token_id}): its row is the pooled "
            "output. tokenize(clip, text) puts it there."
        )
    mask = _tensor(getattr(given, "attention_mask", None))
    if mask is None:
        positions = torch.arange(ids.shape[1], device=device)
        mask = positions <= ends.int().argmax(dim=-1, keepdim=True)
    elif not isinstance(mask, torch.Tensor):
        raise TypeError(f"attention_mask must be a torch tensor, not {type(mask).__name__}.")
    mask = mask.unsqueeze(0) if mask.dim() == 1 else mask
    if mask.shape != ids.shape:
        raise ValueError(f"attention_mask {tuple(mask.shape)} does not fit ids {tuple(ids.shape)}.")
    return ids, mask.to(device=device, dtype=torch.long)


def _tensor(values: Any) -> Any:
    """A numpy array of numbers as a torch tensor; anything else as it is."""
    import numpy as np
    import torch

    if isinstance(values, np.ndarray) and values.dtype.kind in "iufb":
        return torch.from_numpy(values.copy())
    return values


def _holds_ids(values: Sequence[Any]) -> bool:
    return bool(values) and isinstance(values[0], int | list | tuple)


def _progress(starts: range) -> Any:
    """``starts``, with a progress bar from the second batch on if the rest will take a while."""
    began = time.perf_counter()
    for number, start in enumerate(starts):
        if number == 1 and (time.perf_counter() - began) * (len(starts) - 1) > PATIENCE:
            from tqdm import tqdm

            yield from tqdm(starts[1:], desc="embed", unit="batch", leave=False)
            return
        yield start
