"""Many prompts as one tree: what begins alike is computed once.

A CLIP text encoder is causal: a row depends on no token behind its own. So prompts that begin alike
share their first rows, and none behind the first end-of-text token counts. Below, each beginning of
three prompts is a node: 8 of them, not 3 x 77 places. It attends to itself and its ancestors::

    0 start ── 1 a ─┬─ 2 cat ─┬─ 3 asleep ── 4 end
                    │         └─ 5 end
                    └─ 6 dog ── 7 end

    sorted ids, 9: end    node at each place    token        1 5 6 7 9 9 8 9
    1 5 6 7 9             0 1 2 3 4             depth        0 1 2 3 4 3 2 3
    1 5 6 9               0 1 2 5               end          4 5 7
    1 5 8 9               0 1 6 7               node 7 sees  0 1 6 7
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

NODES = {"cuda": 16_000, "mps": 1000, "cpu": 1000}  # at once, about; twice that of narrow ones


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
    width = len(inner.final_layer_norm.weight)
    budget = NODES.get(prompts.device.type, 1000) * (2 if width < 256 else 1)
    # a tree's attention costs nodes x nodes: at two thirds of the width, about a tenth of all
    nodes = min(budget, max(170, 2 * width // 3))
    grown, ends = trees(prompts, nodes), []
    with tqdm(total=len(prompts), desc="embed", unit="prompt", leave=False, delay=2) as bar:
        while side_by_side := list(islice(grown, budget // nodes)):
            ends.append(run(inner, side_by_side))
            bar.update(len(ends[-1]))
    return inner.final_layer_norm(torch.cat(ends))[back]


def run(inner: nn.Module, some: list[Tree]) -> Tensor:
    """Token row + position row, then the layers, on all nodes. At the ends: (prompts, d)."""
    token, depth, end = (nn.utils.rnn.pad_sequence([t[i] for t in some], True) for i in (0, 1, 3))
    sees = torch.eye(token.shape[1], dtype=torch.bool, device=token.device).repeat(len(some), 1, 1)
    for one, tree in zip(sees, some, strict=True):  # the eye stays where a tree is smaller
        one[: len(tree.sees), : len(tree.sees)] = tree.sees
    x = inner.embeddings.token_embedding(token) + inner.embeddings.position_embedding(depth)
    mask = torch.zeros_like(sees, dtype=x.dtype).masked_fill_(~sees, -torch.inf)  # (trees, n, n)
    for layer in inner.encoder.layers[:-1]:
        x = through(layer, x, x, mask)
    at = torch.arange(len(some), device=x.device)[:, None], end
    x = through(inner.encoder.layers[-1], x[at], x, mask[at])  # of the ends; they read all
    return torch.cat([rows[: len(tree.end)] for rows, tree in zip(x, some, strict=True)])


def through(layer: nn.Module, x: Tensor, seen: Tensor, mask: Tensor) -> Tensor:
    """One layer: rows ``x`` (trees, q, d) read those of ``seen`` (trees, n, d) that are shown."""
    attention, normed = layer.self_attn, layer.layer_norm1(seen)
    q = attention.q_proj(normed if x is seen else layer.layer_norm1(x))
    k, v = attention.k_proj(normed), attention.v_proj(normed)
    q, k, v = (y.unflatten(-1, (-1, attention.head_dim)).transpose(1, 2) for y in (q, k, v))
    read = nn.functional.scaled_dot_product_attention(q, k, v, mask[:, None], scale=attention.scale)
    x = x + attention.out_proj(read.transpose(1, 2).flatten(2))
    return x + layer.mlp(layer.layer_norm2(x))


def sort(input_ids: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """The different prompts in order, -1 behind their ends; and which of them each of n is."""
    place = torch.arange(int(length.max()), device=length.device)
    ids = input_ids[:, : len(place)].masked_fill(place >= length[:, None], -1)
    prompts, back = torch.unique(ids.cpu(), dim=0, return_inverse=True)  # sorted like words
    return prompts.to(length.device), back.to(length.device)


def trees(prompts: Tensor, nodes: int) -> Iterator[Tree]:
    """Cut sorted prompts into trees of at most so many nodes, or of one prompt."""
    real = prompts >= 0
    shared = torch.zeros_like(real)  # with the prompt before it: from the start, without a gap
    shared[1:] = (prompts[1:] == prompts[:-1]).cumprod(-1)
    lengths, added = real.sum(-1).tolist(), (real & ~shared).sum(-1).tolist()
    first, size = 0, lengths[0]  # of the tree so far: its first prompt, its nodes
    for this in range(1, len(prompts)):
        size += added[this]
        if size > nodes:  # begin another, where this prompt has nobody to share with
            yield grow(prompts[first:this], shared[first:this])
            first, size = this, lengths[this]
    yield grow(prompts[first:], shared[first:])


def grow(prompts: Tensor, shared: Tensor) -> Tree:
    """One tree of sorted prompts: a node wherever one does not share what is above it."""
    real = prompts >= 0
    new = real & torch.cat([real[:1], ~shared[1:]])
    row, depth = new.nonzero(as_tuple=True)  # of each node, in the order of their numbers
    # a shared place has the node of the place above it: the largest number so far in the column
    node = (new.flatten().cumsum(0).view_as(new) - 1).masked_fill(~new, -1).cummax(0).values
    # a node sees the nodes of its row up to its depth; behind that, itself once more
    place = torch.arange(prompts.shape[1], device=row.device)
    seen = torch.where(place <= depth[:, None], node[row], node[new][:, None])
    sees = torch.zeros(2 * row.shape, dtype=torch.bool, device=row.device).scatter_(1, seen, True)
    return Tree(prompts[new], depth, sees, node.gather(1, real.sum(-1, keepdim=True) - 1)[:, 0])
