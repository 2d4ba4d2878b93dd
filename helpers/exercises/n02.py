"""The exercises and predictions of notebook 2, in its order."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from ..embeddings import embed
from .kinds import Choice, Exercise
from .n00 import ids_of, rows_of, table_row

PROMPT = "a red heart and a blue circle"
GREEN = "a red heart and a green square"
SWAPPED = "a blue heart and a red circle"
THREE = ["a fox", "a photorealistic fox", ""]

# --- 2. what goes in -----------------------------------------------------------------------------

CIRCLE = "a circle"  # start, a, circle, end


def place_row(clip: Any, place: int) -> Any:
    """A row of the position table, (d,)."""
    return clip.inner.embeddings.position_embedding.weight[place]


def going_in(clip: Any, token: int, place: int) -> Any:
    """The row of a token of "a circle" and that of a place, added, (d,)."""
    return table_row(clip, ids_of(clip, CIRCLE)[token]) + place_row(clip, place)


# --- 3. to 5. the layers by hand -----------------------------------------------------------------


# An answer is compared with many mistakes, so what the model says is kept. (It does not
# notice weights that were changed in place.)


@lru_cache(maxsize=2)
def states(clip: Any) -> Any:
    """The hidden states of the prompt of the notebook, (1, L, d) each."""
    import torch

    ids = ids_of(clip, [PROMPT]).to(clip.device)
    with torch.no_grad():
        return clip.text_model(input_ids=ids, output_hidden_states=True).hidden_states


def causal_mask(rows: Any) -> Any:
    """0 where a row may look, the lowest number of the format where it may not, (L, L)."""
    import torch

    lowest = torch.finfo(rows.dtype).min
    return rows.new_full((rows.shape[1], rows.shape[1]), lowest).triu(1)


def scores(clip: Any, block: Any, rows: Any, scaled: bool = True) -> Any:
    """Of every row for every row, in each head, (n, heads, L, L)."""
    query, key = (split(clip, part(rows)) for part in (block.q_proj, block.k_proj))
    return query @ key.transpose(-1, -2) / (math.sqrt(query.shape[-1]) if scaled else 1)


def split(clip: Any, rows: Any) -> Any:
    """(n, L, d) cut into heads, (n, heads, L, d / heads)."""
    return rows.view(*rows.shape[:2], clip.text_config.num_attention_heads, -1).transpose(1, 2)


def second_layer(
    clip: Any,
    layer: int = 1,
    state: int = 1,
    *,
    normed: bool = True,
    norm: Any = None,
    scaled: bool = True,
    shrunk: float = 1,
    causal: bool = True,
    dim: int = -1,
) -> Any:
    """The attention weights of the second layer, (1, heads, L, L), or those of a slip."""
    layer_ = clip.inner.encoder.layers[layer]
    rows = states(clip)[state]
    mask = causal_mask(rows) if causal else 0
    rows = (norm or layer_.layer_norm1)(rows) if normed else rows
    found = scores(clip, layer_.self_attn, rows, scaled) / shrunk
    return (found + mask).float().softmax(dim)


def skipped(clip: Any, state: int) -> Any:
    """A hidden state of the prompt, through the final layer norm, (1, L, d)."""
    return clip.inner.final_layer_norm(states(clip)[state])


def no_mask(rows: Any) -> int:
    """Every row may look at every row."""
    return 0


def turned_mask(rows: Any) -> Any:
    """No row may look back."""
    return causal_mask(rows).T


@lru_cache(maxsize=8)
def apart(clip: Any, other: str = GREEN, mask: Any = no_mask) -> Any:
    """How far the rows of two prompts are apart, by hand and with a mask of ours, (L, d)."""
    import torch

    inner = clip.inner
    ids = ids_of(clip, [PROMPT, other]).to(clip.device)
    places = inner.embeddings.position_embedding.weight[: ids.shape[1]]
    with torch.no_grad():
        rows = inner.embeddings.token_embedding.weight[ids] + places
        for layer in inner.encoder.layers:
            normed, block = layer.layer_norm1(rows), layer.self_attn
            weights = (scores(clip, block, normed) + mask(rows)).float().softmax(-1).to(rows.dtype)
            mixed = weights @ split(clip, block.v_proj(normed))
            rows = rows + block.out_proj(mixed.transpose(1, 2).reshape(rows.shape))
            rows = rows + layer.mlp(layer.layer_norm2(rows))
        one, two = inner.final_layer_norm(rows).float()
    return (one - two).abs()


# --- 7. the pooled rows --------------------------------------------------------------------------


def picked(clip: Any, shift: int = 0) -> Any:
    """The rows of the first end tokens, or so many further, (3, d)."""
    ids = ids_of(clip, THREE)
    ends = (ids == clip.eos_token_id).int().argmax(-1)
    return three(clip)[range(len(THREE)), ends + shift]


@lru_cache(maxsize=2)
def embedded(clip: Any) -> Any:
    """The three texts, embedded."""
    return embed(clip, THREE)


def three(clip: Any) -> Any:
    """All rows of the three texts, (3, L, d)."""
    return embedded(clip).last_hidden_state


def all_picked(clip: Any) -> Any:
    """The rows of all three ends out of each text, (3, 3, d)."""
    ends = (ids_of(clip, THREE) == clip.eos_token_id).int().argmax(-1)
    return three(clip)[:, ends]


# --- 11. parameters ------------------------------------------------------------------------------

WIDTH, MLP, LAYERS, HEADS = 1280, 5120, 32, 20


def count(
    *,
    layers: int = LAYERS,
    bias: int = 1,
    norms: int = 2,
    final: int = 1,
    tables: int = 1,
    positions: int = 77,
    copies: int = 1,
) -> int:
    """Parameters of a text encoder, by a formula."""
    attention = copies * 4 * (WIDTH * WIDTH + bias * WIDTH)
    mlp = 2 * WIDTH * MLP + bias * (MLP + WIDTH)
    table = tables * (49408 + positions) * WIDTH
    return table + layers * (attention + mlp + norms * 2 * WIDTH) + final * 2 * WIDTH


EXERCISES = [
    Choice(
        id="2.a",
        right="A",
        why="To such a model every caption is as likely as every other, so the true one gets one "
        "chance in n. The more pairs there are in a batch, the harder the task.",
        wrong={
            "A": None,
            "B": "A loss of nothing would mean that it always finds the true caption.",
            "C": "What is counted is the logarithm of a chance, and not how many pairs there are.",
        },
        hints=["The softmax of four equal scores: what does the true caption get?"],
    ),
    Exercise(
        id="2.1",
        asks="one row of numbers",
        right=lambda clip: going_in(clip, 2, 2),
        why="That is all the encoder is told of a word: which token it is, and where it stands.",
        mistakes={
            "That is the token's row alone. It does not say where the token stands.": (
                lambda clip: table_row(clip, ids_of(clip, CIRCLE)[2])
            ),
            "That is the position's row alone. It does not say which token stands there.": (
                lambda clip: place_row(clip, 2)
            ),
            "You counted the place from the first word. The start token stands before it.": (
                lambda clip: going_in(clip, 2, 1)
            ),
            "That is circle at its place in the long prompt.": lambda clip: going_in(clip, 2, 7),
            "That is the row of the word before it.": lambda clip: going_in(clip, 1, 1),
            "That is the row of the end token.": lambda clip: going_in(clip, 3, 3),
            "You multiplied the two rows. They are added.": (
                lambda clip: table_row(clip, ids_of(clip, CIRCLE)[2]) * place_row(clip, 2)
            ),
            "That row has been through the layers. Asked for is what goes in.": (
                lambda clip: rows_of(clip, CIRCLE)[2]
            ),
        },
        hints=[
            "Two tables, one row of each: `token_table` and `position_table`.",
            '`tokenize(clip, "a circle")["input_ids"][0]` holds the ids. Where does circle stand?',
            "Add the two rows.",
        ],
        solution="""\
place = 2  # start, a, circle
token_id = tokenize(clip, "a circle")["input_ids"][0, place]
answer = token_table[token_id] + position_table[place]""",
    ),
    Choice(
        id="2.b",
        right="C",
        why="A sum does not care in which order it is added up. The pooled row comes out of layers "
        "that know the order: by the position rows, and by the causal mask of the next section.",
        wrong={
            "A": "The sums say nothing of order, that is true. The pooled row does.",
            "B": "The same tokens are added up in both prompts, only in another order.",
            "C": None,
        },
        hints=[
            "Does 2 + 3 differ from 3 + 2? And which of the two is more than a sum of token rows?"
        ],
    ),
    Choice(
        id="2.c",
        right="A",
        why="It has only itself to look at, in every layer and in every prompt. So the start row "
        "can hold nothing about the prompt.",
        wrong={
            "A": None,
            "B": "That would be so if it could look everywhere and all scores were equal. Look at "
            "the triangle again.",
            "C": "The first line of the triangle says it already. Count what is left to look at.",
        },
        hints=["How many ones stand in the first line of the triangle?"],
    ),
    Exercise(
        id="2.2",
        asks="weights for all heads, of one row for each row",
        right=second_layer,
        why="The layers differ in their numbers only. One function does for all of them.",
        mistakes={
            "You left out the layer norm, through which the rows go first.": (
                lambda clip: second_layer(clip, normed=False)
            ),
            "The scale is missing. Dot products of wide vectors are large, and the largest takes "
            "nearly all the weight.": lambda clip: second_layer(clip, scaled=False),
            "Your scale is that of the whole width. Each dot product is within one head.": (
                lambda clip: second_layer(
                    clip, shrunk=math.sqrt(clip.text_config.num_attention_heads)
                )
            ),
            "Some rows look ahead: the causal mask is missing.": (
                lambda clip: second_layer(clip, causal=False)
            ),
            "That layer norm is the first layer's. Each layer has its own.": (
                lambda clip: second_layer(clip, norm=clip.inner.encoder.layers[0].layer_norm1)
            ),
            "That layer norm stands before the MLP. Attention has another.": (
                lambda clip: second_layer(clip, norm=clip.inner.encoder.layers[1].layer_norm2)
            ),
            "That is the attention of the first layer.": lambda clip: second_layer(clip, 0, 0),
            "These are the second layer's matrices, but the rows that go into the first.": (
                lambda clip: second_layer(clip, 1, 0)
            ),
            "The rows are right, the matrices are those of the first layer.": (
                lambda clip: second_layer(clip, 0, 1)
            ),
            "Your columns add up to 1, and not your rows.": (
                lambda clip: second_layer(clip, dim=-2)
            ),
            "That is the mean of the heads. Keep them apart.": (
                lambda clip: second_layer(clip).mean(1)
            ),
        },
        hints=[
            "The steps of the first layer, in order: layer norm, queries and keys, scores with "
            "their scale, mask, softmax.",
            "Take `layer_norm1` and `self_attn` from `clip.inner.encoder.layers[1]`. `layer_norm`, "
            "`split` and `mask` can stay as they are.",
            "Values are not needed: they come after the weights.",
        ],
        solution="""\
second = clip.inner.encoder.layers[1]
into_second = layer_norm(output.hidden_states[1], second.layer_norm1)
asks = split(second.self_attn.q_proj(into_second))
offers = split(second.self_attn.k_proj(into_second))
second_scores = asks @ offers.transpose(-1, -2) / math.sqrt(head_width)
answer = (second_scores + mask).float().softmax(-1)""",
    ),
    Exercise(
        id="2.3",
        asks="all rows of the prompt, one for each place",
        right=lambda clip: skipped(clip, -2),
        why="This is `clip_skip=1` in diffusers. Some other programs begin to count at 1, and call "
        "it clip skip 2.",
        mistakes={
            "The final layer norm is missing: these rows are on another scale.": (
                lambda clip: states(clip)[-2]
            ),
            "That is the output itself: no layer is left out.": lambda clip: skipped(clip, -1),
            "These rows have been through all layers, and through no final layer norm.": (
                lambda clip: states(clip)[-1]
            ),
            "You left out two layers.": lambda clip: skipped(clip, -3),
            "You counted from the first layer.": lambda clip: skipped(clip, 1),
            "The final layer norm was applied to rows that had been through it.": (
                lambda clip: clip.inner.final_layer_norm(skipped(clip, -1))
            ),
            "That is the layer norm of the last layer, and not the final one.": (
                lambda clip: clip.inner.encoder.layers[-1].layer_norm1(states(clip)[-2])
            ),
        },
        hints=[
            "Which entry of `output.hidden_states` comes out of the last layer? Which one before?",
            "`clip.inner.final_layer_norm` is a function of rows.",
        ],
        solution="""\
last_but_one = output.hidden_states[-2]
answer = clip.inner.final_layer_norm(last_but_one)""",
    ),
    Exercise(
        id="2.4",
        asks="one number",
        right=lambda clip: apart(clip)[0].max(),
        why="Without the mask no row is shared, not even the start row: each has now read the "
        "words that differ. The model was not trained like that, so nothing says that these rows "
        "are of use.",
        mistakes={
            "With the causal mask start rows are equal. Take it away: add zeros.": lambda clip: 0.0,
            "That is over all rows. Asked for is the start row.": lambda clip: apart(clip).max(),
            "That is the end row. Asked for is the start row.": lambda clip: apart(clip)[8].max(),
            "That is the mean difference. Asked for is the largest.": (
                lambda clip: apart(clip)[0].mean()
            ),
            "These are other prompts: red and blue were exchanged in one of them.": (
                lambda clip: apart(clip, SWAPPED)[0].max()
            ),
            "That mask is the wrong way round: it forbids to look back.": (
                lambda clip: apart(clip, GREEN, turned_mask)[0].max()
            ),
        },
        hints=[
            "The mask is added to the scores. What can be added that changes nothing?",
            "`torch.zeros_like(mask)` is as large as `mask`. `encoder_by_hand` returns two things; "
            "the first holds the rows.",
            "`(one - two).float().abs().max()` is the largest difference of two rows.",
        ],
        solution="""\
free, _ = encoder_by_hand(batch_ids[[0, 2]], torch.zeros_like(mask))
answer = (free[0, 0] - free[1, 0]).float().abs().max()""",
    ),
    Exercise(
        id="2.5",
        asks="three rows of numbers",
        right=picked,
        why="That is how the library does it: one place for each prompt, and nothing averaged.",
        mistakes={
            "These are the last rows, which are padding.": lambda clip: three(clip)[:, -1],
            "These are the start rows, which are the same for every prompt.": (
                lambda clip: three(clip)[:, 0]
            ),
            "That is the mean of all rows. CLIP takes no mean.": (
                lambda clip: three(clip).float().mean(1)
            ),
            "You took the same place for all. The prompts end at different ones.": (
                lambda clip: three(clip)[:, 3]
            ),
            "These are the rows of the last words, one place too early.": (
                lambda clip: picked(clip, -1)
            ),
            "These are rows of padding, one place too late.": lambda clip: picked(clip, 1),
            "You took every end out of every prompt. Each has one: a list of places, and a list "
            "of prompts beside it.": all_picked,
            "That is the projected output: one matrix too far.": (
                lambda clip: embedded(clip).text_embeds
            ),
        },
        hints=[
            "Where does each prompt's first end token stand? `(ids == clip.eos_token_id).int()` "
            "has a 1 at every end token, and `argmax(-1)` finds the first of them in each row.",
            "Two lists in the square brackets are read in pairs: `rows[[0, 1], [4, 7]]` is row 4 "
            "of prompt 0 and row 7 of prompt 1.",
            "`torch.arange` counts the prompts.",
        ],
        solution="""\
ends = (three.input_ids == clip.eos_token_id).int().argmax(-1)
answer = three.last_hidden_state[torch.arange(len(ends)), ends]""",
    ),
    Choice(
        id="2.d",
        right="B",
        why="In the last layer the end row reads every row up to itself. So training has shaped "
        "these, too, and an earlier hidden state is of use.",
        wrong={
            "A": "That holds for the rows that come out of the last layer. In it, the end row "
            "still reads others.",
            "B": None,
            "C": "Padding stands behind the end row, and no row looks ahead.",
        },
        hints=["What may the end row look at, in the last layer?"],
    ),
    Exercise(
        id="2.6",
        asks="one whole number",
        right=lambda clip: count(),
        why="The number of heads does not occur: heads cut the width into pieces, and add nothing. "
        "And the two tables, which are most of a small model, are less than a tenth of this one.",
        mistakes={
            "The biases are missing.": lambda clip: count(bias=0),
            "The final layer norm is missing.": lambda clip: count(final=0),
            "4 x width is missing in each layer: the layer norms, or the biases of attention.": (
                lambda clip: count(norms=0)
            ),
            "Each layer has more than one layer norm.": lambda clip: count(norms=1),
            "The position table is missing.": lambda clip: count(positions=0),
            "Both tables are missing.": lambda clip: count(tables=0),
            "That is one layer. All of them are asked for, and what stands around them.": (
                lambda clip: count(layers=1, tables=0, final=0)
            ),
            "You counted the matrices once for each head. The heads share the width.": (
                lambda clip: count(copies=HEADS)
            ),
            "The projection is counted in.": lambda clip: count() + WIDTH * WIDTH,
        },
        hints=[
            "A layer has four matrices for attention, two for the MLP, and two layer norms: "
            "section 3 printed them, with their biases.",
            "Around the layers: two tables, and the final layer norm.",
            "Try your formula on the numbers that the table above printed for Stable Diffusion 1.",
        ],
        solution="""\
width, mlp_width, layers = 1280, 5120, 32
attention_part = 4 * (width * width + width)  # q, k, v, out: a matrix and a bias each
mlp_part = (width * mlp_width + mlp_width) + (mlp_width * width + width)
norms_part = 2 * 2 * width  # two layer norms, each with weight and bias
tables_part = (49408 + 77) * width
answer = tables_part + layers * (attention_part + mlp_part + norms_part) + 2 * width""",
    ),
]
