"""Many prompts as one tree: what begins alike is computed once.

A CLIP text encoder is causal: a row depends on the tokens up to its own, and on nothing after it.
So nothing behind the first end-of-text token can change its row, and prompts that begin alike share
their first rows. The prompts "a cat", "a cat asleep" and "a dog" are this tree::

    start ── a ─┬─ cat ─┬─ end              one node for each different beginning;
                │       └─ asleep ── end    its position is its depth;
                └─ dog ── end               it attends to itself and to its ancestors

Here the layers run on the nodes instead of on 77 places for each prompt, the last layer on the ends
alone. For an encoder that looks both ways it would be wrong: there, rows depend on what follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

NODES = 1000  # that run at once, about; 16 times as many on a GPU


class Tree(NamedTuple):
    """The n nodes of some prompts."""

    token: Tensor  # (n,) long, the id of each node
    depth: Tensor  # (n,) long, its position
    sees: Tensor  # (n, n) bool, row a: True at a itself and at its ancestors
    end: Tensor  # (prompts,) long, the node where each prompt ends


@torch.no_grad()
def pooled_by_tree(inner: nn.Module, input_ids: Tensor, length: Tensor) -> Tensor:
    """The rows of the first end-of-text tokens, (n, d), after the final layer norm.

    ``input_ids`` (n, L) and ``length`` (n,) are torch.long; ``length`` counts the tokens up to and
    with the first end-of-text. ``inner`` is a text model as ``checks.is_plain_clip`` wants it.
    """
    prompts, back = sort(input_ids, length)
    budget = 16 * NODES if prompts.is_cuda else NODES
    # a tree's attention costs nodes x nodes: at two thirds of the width, about a tenth of all
    nodes = min(budget, max(77, 2 * len(inner.final_layer_norm.weight) // 3))
    grown, ends = trees(prompts, nodes), []
    with tqdm(total=len(prompts), desc="embed", unit="prompt", leave=False, delay=2) as bar:
        while side_by_side := list(islice(grown, budget // nodes)):
            ends.append(run(inner, side_by_side))
            bar.update(len(ends[-1]))
    return inner.final_layer_norm(torch.cat(ends))[back]


def run(inner: nn.Module, some: list[Tree]) -> Tensor:
    """Token row + position row, then the layers, on all nodes. At the ends: (prompts, d)."""
    token, depth, end = (pad_sequence([t[i] for t in some], True) for i in (0, 1, 3))
    sees = torch.eye(token.shape[1], dtype=torch.bool, device=token.device).repeat(len(some), 1, 1)
    for one, tree in zip(sees, some, strict=True):  # the eye stays where a tree is smaller
        one[: len(tree.sees), : len(tree.sees)] = tree.sees
    x = inner.embeddings.token_embedding(token) + inner.embeddings.position_embedding(depth)
    mask = torch.zeros_like(sees, dtype=x.dtype).masked_fill_(~sees, -torch.inf)  # (trees, n, n)
    for layer in inner.encoder.layers[:-1]:
        x = through(layer, x, x, mask)
    at = torch.arange(len(some), device=x.device)[:, None], end
    x = through(inner.encoder.layers[-1], x[at], x, mask[at])
    return torch.cat([rows[: len(tree.end)] for rows, tree in zip(x, some, strict=True)])


def through(layer: nn.Module, x: Tensor, seen: Tensor, mask: Tensor) -> Tensor:
    """One layer: rows ``x`` (trees, q, d) read those of ``seen`` (trees, n, d) that are shown."""
    attention, normed = layer.self_attn, layer.layer_norm1(seen)
    q = attention.q_proj(normed if x is seen else layer.layer_norm1(x))
    k, v = attention.k_proj(normed), attention.v_proj(normed)
    q, k, v = (y.unflatten(-1, (-1, attention.head_dim)).transpose(1, 2) for y in (q, k, v))
    read = scaled_dot_product_attention(q, k, v, mask[:, None], scale=attention.scale)
    x = x + attention.out_proj(read.transpose(1, 2).flatten(2))
    return x + layer.mlp(layer.layer_norm2(x))


def sort(input_ids: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """The different prompts, as in a dictionary, -1 behind their ends; and where each of n went."""
    places = torch.arange(int(length.max()), device=length.device)
    ids = input_ids[:, : len(places)].masked_fill(places >= length[:, None], -1).cpu()
    # bytes, the high one first, compare like words, and fast
    words = (ids + 1).numpy().astype(">u4", order="C").view(f"V{4 * len(places)}")
    _, first, back = np.unique(words, return_index=True, return_inverse=True)
    return ids[first].to(length.device), torch.from_numpy(back.ravel()).to(length.device)


def trees(prompts: Tensor, nodes: int) -> Iterator[Tree]:
    """Cut sorted prompts into trees of at most so many nodes, or of one prompt."""
    real = prompts >= 0
    alike = real[1:] & (prompts[1:] == prompts[:-1])
    same = torch.cat([torch.zeros_like(real[:1]), alike.cumprod(-1).bool()])
    total = (real & ~same).sum(-1).cumsum(0)  # nodes up to each prompt, in one tree of them all
    start = before = 0
    while start < len(prompts):
        room = before + nodes - int(same[start].sum())  # the first has all its nodes here
        stop = max(start + 1, int(torch.searchsorted(total, room, right=True)))
        yield grow(prompts[start:stop], real[start:stop], same[start:stop])
        start, before = stop, int(total[stop - 1])


def grow(prompts: Tensor, real: Tensor, same: Tensor) -> Tree:
    """The tree of sorted prompts: a node wherever one is not the same as the one before it."""
    new = real & ~same
    new[0] = real[0]
    number = new.view(-1).cumsum(0).view(new.shape) - 1
    node = number.masked_fill(~new, -1).cummax(0).values  # a shared place: as in a row above
    row, depth = new.nonzero(as_tuple=True)
    place = torch.arange(new.shape[1], device=row.device)
    path = torch.where(place <= depth[:, None], node[row], number[new][:, None])
    sees = torch.eye(len(row), dtype=torch.bool, device=row.device).scatter_(1, path, True)
    return Tree(prompts[new], depth, sees, node.gather(1, real.sum(-1, keepdim=True) - 1)[:, 0])
