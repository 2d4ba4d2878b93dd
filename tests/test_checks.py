"""Every sentence that bad input gets, whole: what was wrong and what to do, on one line."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BatchEncoding

from helpers import (
    add,
    clean,
    cosine_similarity,
    detokenize,
    embed,
    embed_images,
    heatmap,
    load_artwork,
    load_clip,
    load_pipeline,
    mix,
    nearest,
    normalize,
    paint,
    picture_grid,
    picture_table,
    pixel_difference,
    pixels,
    randomize,
    remove_direction,
    scale,
    shift,
    show,
    slerp,
    token_strip,
    tokenize,
)

Case = tuple[Callable[[Any], object], type[Exception], str]
R = torch.arange(1.0, 9)  # one vector, and four
RS = torch.eye(4, 8)
IDS = torch.tensor([[49406, 320, 49407]])
MASK = torch.ones(1, 3, dtype=torch.long)
PIXELS = torch.zeros(1, 3, 64, 64)
WORDS = {"title": "t", "xlabel": "x", "ylabel": "y", "alt": "a"}
DOT = np.zeros((2, 2))
SMALL, WIDE = Image.new("RGB", (4, 4)), Image.new("RGB", (8, 4))
STACK = torch.zeros(1, 77, 128)  # rows for the U-Net
BIG = 10**5000  # Python writes no number of more than 4300 digits
NESTED = torch.nested.nested_tensor([R[:2], R], layout=torch.jagged)
PLAIN = "must be a plain tensor; pass .to_dense(), or .dequantize()."
META = "is on the device 'meta', which holds no numbers; use 'cpu'."
COARSE = "is torch.float8_e4m3fn, too coarse to compute with; pass .float()."
pipeline = cache(load_pipeline)


def draw(clip: Any, prompts: Any = "fox", **options: Any) -> object:
    return paint(pipeline(clip), prompts, **{"num_inference_steps": 1} | options)


def grid(*images: Any, columns: Any = 8, **words: Any) -> object:
    labels = words.pop("labels", ["a"] * len(images))
    return picture_grid(list(images), labels, **{"title": "t"} | words, columns=columns)


def table(*images: Any, lines: Any = ("a",), columns: Any = ("b",), **words: Any) -> object:
    return picture_table(images, lines, columns, **{"title": "t", "alt": "a"} | words)


TEXTS: list[Case] = [
    (
        lambda c: tokenize(c, None),
        TypeError,
        "prompts must be a string or a list of strings, not NoneType (the empty prompt is '').",
    ),
    (
        lambda c: tokenize(c, c),
        TypeError,
        "prompts must be a string or a list of strings, not Clip (the clip comes first, then the "
        "prompts).",
    ),
    (
        lambda c: tokenize(c, {"a"}),
        TypeError,
        "prompts must be a string or a list of strings, not set.",
    ),
    (
        lambda c: tokenize(c, []),
        ValueError,
        "the list of prompts is empty; pass at least one string ('' will do).",
    ),
    (lambda c: tokenize(c, ["a", 3]), TypeError, "prompts[1] must be a string, not int."),
    (
        lambda c: clean(b"a"),
        TypeError,
        "text must be a string, not bytes; decode it first: text.decode('utf-8').",
    ),
    (
        lambda c: clean("ab\udfff"),
        ValueError,
        "text holds a lone surrogate, U+DFFF, at position 2: half a character, which no encoding "
        "has; remove it or read the text again as UTF-8.",
    ),
    (
        lambda c: tokenize(c, "a", padding="no"),
        ValueError,
        "padding must be 'max_length' or 'longest', not 'no'.",
    ),
]
IDS_AND_MASKS: list[Case] = [
    (
        lambda c: detokenize(c, 3),
        TypeError,
        "tokens must be what tokenize returned, ids (n, L) or (L,), or a list of ids, not int.",
    ),
    (
        lambda c: detokenize(c, [[320], 5]),
        TypeError,
        "tokens mixes rows of ids and single values; pass one row or only rows.",
    ),
    (
        lambda c: detokenize(c, [1.5]),
        TypeError,
        "ids must be whole numbers, not float; for an embedding pass the input_ids it came from.",
    ),
    (
        lambda c: detokenize(c, [True]),
        TypeError,
        "ids must be whole numbers, not bool; for an embedding pass the input_ids it came from.",
    ),
    (lambda c: detokenize(c, ["320"]), TypeError, "ids must be whole numbers, not str."),
    (
        lambda c: detokenize(c, IDS.to("meta")),
        ValueError,
        "a tensor of ids is on the device 'meta', which holds no numbers; use 'cpu'.",
    ),
    (
        lambda c: detokenize(c, [IDS[0].to_sparse()]),
        TypeError,
        "a tensor of ids must be a plain tensor; pass .to_dense(), or .dequantize().",
    ),
    (
        lambda c: detokenize(c, [49408]),
        ValueError,
        "id 49408 is not in the vocabulary (0 to 49407).",
    ),
    (lambda c: detokenize(c, [-1]), ValueError, "id -1 is not in the vocabulary (0 to 49407)."),
    (
        lambda c: detokenize(c, [BIG]),
        ValueError,
        "id (int too long to show) is not in the vocabulary (0 to 49407).",
    ),
    (lambda c: token_strip(c, [-1]), ValueError, "id -1 is not in the vocabulary (0 to 49407)."),
    (
        lambda c: token_strip(c, [320, 49407, 10**100]),
        ValueError,
        f"id 1{'0' * 59}… is not in the vocabulary (0 to 49407).",
    ),
    (
        lambda c: embed(c, BatchEncoding({"input_ids": [[320, 49407]]})),
        TypeError,
        "input_ids must be a torch tensor; pass return_tensors='pt'.",
    ),
    (
        lambda c: embed(c, (320, 49407)),
        TypeError,
        "prompts is a list, but not of strings; ids go into a tensor: torch.tensor(ids).",
    ),
    (
        lambda c: embed(c, {"input_ids": IDS}),
        TypeError,
        "prompts must be a string, a list of strings, what tokenize returned, or a torch tensor of "
        "ids (n, L), not dict.",
    ),
    (lambda c: embed(c, IDS.float()), TypeError, "ids must be whole numbers, not torch.float32."),
    (lambda c: embed(c, IDS + 1j), TypeError, "ids must be whole numbers, not torch.complex64."),
    (lambda c: embed(c, IDS > 0), TypeError, "ids must be whole numbers, not torch.bool."),
    (
        lambda c: embed(c, IDS.to_sparse()),
        TypeError,
        "ids must be a plain tensor; pass .to_dense(), or .dequantize().",
    ),
    (
        lambda c: embed(c, IDS[None]),
        ValueError,
        "ids must have shape (n, L) or (L,), not (1, 1, 3).",
    ),
    (lambda c: embed(c, IDS[:0]), ValueError, "ids must have shape (n, L) or (L,), not (0, 3)."),
    (
        lambda c: embed(c, torch.full((1, 78), 49407)),
        ValueError,
        "rows of 78 ids are too long; 77 fit.",
    ),
    (lambda c: embed(c, IDS + 1), ValueError, "ids must lie between 0 and 49407."),
    (lambda c: embed(c, IDS - 321), ValueError, "ids must lie between 0 and 49407."),
    (
        lambda c: embed(c, torch.cat([IDS, IDS * 0])),
        ValueError,
        "every row needs an end-of-text token (49407): its row is the pooled output. "
        "tokenize(clip, text) puts it there.",
    ),
    (
        lambda c: embed(c, IDS, attention_mask="yes"),
        TypeError,
        "attention_mask must be True, False or a torch tensor, such as tokens['attention_mask'], "
        "not str.",
    ),
    (
        lambda c: embed(c, IDS, attention_mask=MASK.to("meta")),
        ValueError,
        "attention_mask is on the device 'meta', which holds no numbers; use 'cpu'.",
    ),
    (
        lambda c: embed(c, IDS, attention_mask=MASK.to(torch.float8_e4m3fn)),
        TypeError,
        f"attention_mask {COARSE}",
    ),
    (
        lambda c: embed(c, IDS, attention_mask=MASK[:, :2]),
        ValueError,
        "attention_mask (1, 2) does not fit ids (1, 3).",
    ),
    (
        lambda c: embed(c, IDS, attention_mask=MASK * 2),
        ValueError,
        "attention_mask must hold only 1 (look at this row) and 0 (hide it).",
    ),
    (
        lambda c: embed(c, torch.cat([IDS, IDS]), attention_mask=torch.cat([MASK, MASK * 0])),
        ValueError,
        "attention_mask hides a whole row; leave at least one 1 in each.",
    ),
]
PICTURES: list[Case] = [
    (
        lambda c: embed_images(c, PIXELS.long()),
        TypeError,
        "a tensor must hold pixel_values in floating point, not torch.int64; pass PIL images or "
        "numpy arrays of uint8 to have them prepared.",
    ),
    (
        lambda c: embed_images(c, PIXELS[0]),
        ValueError,
        "pixel_values must have shape (n, 3, 64, 64), not (3, 64, 64).",
    ),
    (
        lambda c: embed_images(c, PIXELS[:0]),
        ValueError,
        "pixel_values must have shape (n, 3, 64, 64), not (0, 3, 64, 64).",
    ),
    (
        lambda c: embed_images(c, PIXELS[..., 1:]),
        ValueError,
        "pixel_values must have shape (n, 3, 64, 64), not (1, 3, 64, 63).",
    ),
    (
        lambda c: embed_images(c, PIXELS / 0),
        ValueError,
        "pixel_values hold NaN or infinity; look for the step that made them.",
    ),
    (
        lambda c: embed_images(c, PIXELS.to("meta")),
        ValueError,
        "pixel_values is on the device 'meta', which holds no numbers; use 'cpu'.",
    ),
    (
        lambda c: embed_images(c, PIXELS.to(torch.float8_e4m3fn)),
        TypeError,
        f"pixel_values {COARSE}",
    ),
    (
        lambda c: embed_images(c, "x" * 5000),
        ValueError,
        f"there is no file '{'x' * 299}…. For a drawing of an emoji: load_artwork()['dog face'].",
    ),
    (
        lambda c: embed_images(c, closed()),
        ValueError,
        "a picture cannot be read (ValueError: Operation on closed image).",
    ),
]
NUMBERS: list[Case] = [
    (lambda c: scale(R, "2"), TypeError, "factor must be one number, not str."),
    (lambda c: scale(R, 10**400), ValueError, "factor is too large to compute with."),
    (lambda c: scale(R, BIG), ValueError, "factor is too large to compute with."),
    (lambda c: shift(R, True), TypeError, "constant must be one number, not bool."),
    (lambda c: shift(R, np.True_), TypeError, "constant must be one number, not bool."),
    *(
        (
            lambda c, call=call, wrong=wrong: call(wrong),
            ValueError,
            f"{name} is {wrong}; it must be finite.",
        )
        for wrong in (math.nan, math.inf)
        for name, call in (
            ("factor", lambda x: scale(R, x)),
            ("constant", lambda x: shift(R, x)),
            ("t", lambda x: mix(R, R, x)),
            ("strength", lambda x: randomize(R, x)),
        )
    ),
    (
        lambda c: slerp(R, R, 2),
        ValueError,
        "slerp: t must lie between 0 and 1, not 2.0; only mix goes beyond.",
    ),
    (
        lambda c: slerp(R, -R, 0.5),
        ValueError,
        "slerp: a and b point in opposite directions, so no arc between them is the shortest; go "
        "by way of a third vector, or use mix.",
    ),
    (lambda c: randomize(R, 1, seed=1.5), TypeError, "seed must be a whole number, not float."),
    (
        lambda c: randomize(R, 1, seed=2**63),
        ValueError,
        "a seed must lie between 0 and 2**63 - 1.",
    ),
    (
        lambda c: randomize(R, 1, seed=torch.tensor(2, device="meta")),
        TypeError,
        "seed must be a whole number, not Tensor.",
    ),
    (lambda c: randomize(R, 1, seed=-1), ValueError, "a seed must lie between 0 and 2**63 - 1."),
    (
        lambda c: normalize(None),
        TypeError,
        "a is None. A checkpoint without a projection has no text_embeds: use pooler_output, or "
        "load one that has it: load_clip('emoji').",
    ),
    (
        lambda c: normalize([1.0]),
        TypeError,
        "a must be a torch tensor, such as embed(clip, text).text_embeds, not list.",
    ),
    (
        lambda c: normalize(R.long()),
        TypeError,
        "a must hold floating-point numbers, not torch.int64.",
    ),
    (
        lambda c: normalize(R.to(torch.float8_e4m3fn)),
        TypeError,
        "a is torch.float8_e4m3fn, too coarse to compute with; pass .float().",
    ),
    (lambda c: normalize(NESTED), TypeError, f"a {PLAIN}"),
    (lambda c: normalize(R.to_mkldnn()), TypeError, f"a {PLAIN}"),
    (lambda c: normalize(R[:0]), ValueError, "a must have shape (..., d), not (0,)."),
    (lambda c: normalize(R[0]), ValueError, "a must have shape (..., d), not ()."),
    (
        lambda c: normalize(R.to_sparse()),
        TypeError,
        "a must be a plain tensor; pass .to_dense(), or .dequantize().",
    ),
    (
        lambda c: normalize(R.to("meta")),
        ValueError,
        "a is on the device 'meta', which holds no numbers; use 'cpu'.",
    ),
    (
        lambda c: add(R, RS[:, :7]),
        ValueError,
        "a has 8 numbers a row and b has 7; both must be the same kind of embedding, from the same "
        "model.",
    ),
    (
        lambda c: add(R, R.to("meta")),
        ValueError,
        "a is on cpu and b on meta; move one with .to().",
    ),
    (
        lambda c: mix(R.to("meta"), R.to("meta"), 0.5),
        ValueError,
        "a is on the device 'meta', which holds no numbers; use 'cpu'.",
    ),
    (
        lambda c: add(RS, RS[:3]),
        ValueError,
        "a (4, 8) and b (3, 8) do not fit: pass as many rows in both, or one row in one of them.",
    ),
    (
        lambda c: cosine_similarity(R, RS[None]),
        ValueError,
        "b must have shape (n, d) or (d,), not (1, 4, 8); choose one row of each prompt, or "
        "compare all of them as one long vector with .flatten(1).",
    ),
    (
        lambda c: remove_direction(RS, RS * torch.tensor([[1], [1], [1], [0]])),
        ValueError,
        "direction is zero, so it points nowhere; nothing can be removed.",
    ),
    (
        lambda c: nearest(R, R),
        ValueError,
        "candidates must have shape (m, d) with at least one row, not (8,).",
    ),
    (
        lambda c: nearest(R * math.nan, RS),
        ValueError,
        "the vectors hold NaN or infinity, so they have no nearest neighbour; look for the step "
        "that made them (float16 overflows above 65504).",
    ),
    (
        lambda c: nearest(R, RS),
        ValueError,
        "k is 5; it must be at least 1 and at most the number of candidates that are left, 4.",
    ),
    (
        lambda c: nearest(R, RS, BIG),
        ValueError,
        "k is (int too long to show); it must be at least 1 and at most the number of candidates "
        "that are left, 4.",
    ),
    (lambda c: nearest(R, RS, True), TypeError, "k must be a whole number, not bool."),
    (
        lambda c: nearest(R, RS, 1, exclude={1: 2}),
        TypeError,
        "exclude must be row numbers of the candidates, a list or one list for each query, not "
        "dict.",
    ),
    (
        lambda c: nearest(R, RS, 1, exclude=[[1], [2]]),
        ValueError,
        "exclude has 2 lists for 1 queries.",
    ),
    (
        lambda c: nearest(RS[:2], RS, 1, exclude=[1, [2]]),
        TypeError,
        "exclude mixes lists and single numbers; pass only one of them.",
    ),
    (
        lambda c: nearest(R, RS, 1, exclude=["dog"]),
        TypeError,
        "exclude must hold row numbers, not 'dog'; look it up: names.index('dog').",
    ),
    (
        lambda c: nearest(R, RS, 1, exclude=[1.0]),
        TypeError,
        "a row number in exclude must be a whole number, not float.",
    ),
    (
        lambda c: nearest(R, RS, 1, exclude=[4]),
        ValueError,
        "exclude holds row 4; the candidates have 0 to 3.",
    ),
]
FIGURES: list[Case] = [
    (lambda c: token_strip(c, IDS, title=None), TypeError, "title must be a string, not NoneType."),
    (lambda c: token_strip(c, IDS, alt=3), TypeError, "alt must be a string, not int."),
    (
        lambda c: token_strip(c, IDS[:0]),
        ValueError,
        "there is no row of ids to draw; pass at least one.",
    ),
    (
        lambda c: token_strip(c, IDS.repeat(200, 1)),
        ValueError,
        "the figure would be 150.6 inches tall; it must be more than 0 and at most 100: draw fewer "
        "rows, or more columns.",
    ),
    *(
        (
            lambda c, name=name: heatmap(DOT, **WORDS | {name: 3}),
            TypeError,
            f"{name} must be a string, not int.",
        )
        for name in ("title", "xlabel", "ylabel", "alt", "colorbar")
    ),
    (
        lambda c: heatmap(DOT, **WORDS | {"title": "x" * 1001}),
        ValueError,
        "title has 1001 letters, too many to draw; pass 1000 at most.",
    ),
    (
        lambda c: heatmap(DOT, **WORDS, xticks=[1, 2]),
        TypeError,
        "xticks[0] must be a string, not int.",
    ),
    (
        lambda c: heatmap(DOT, **WORDS, yticks=3),
        TypeError,
        "yticks must be a list of strings, not int.",
    ),
    (
        lambda c: heatmap(DOT, **WORDS, xticks=np.array("ab")),
        TypeError,
        "xticks must be a list of strings, not ndarray.",
    ),
    (
        lambda c: heatmap(DOT, **WORDS, yticks=["a"]),
        ValueError,
        "yticks has 1 names for 2 of them.",
    ),
    (
        lambda c: heatmap(DOT, **WORDS, cmap="nope"),
        ValueError,
        "cmap is 'nope', which is no colour map of matplotlib; pass 'viridis' or 'cividis', for "
        "example.",
    ),
    (
        lambda c: heatmap(DOT, **WORDS, vmax=math.inf),
        ValueError,
        "vmax is inf; it must be finite.",
    ),
    (
        lambda c: heatmap([[BIG]], **WORDS),
        TypeError,
        "array must be a table of numbers, (rows, columns), not (list too long to show).",
    ),
    (lambda c: heatmap(DOT, **WORDS, vmin="a"), TypeError, "vmin must be one number, not str."),
    (
        lambda c: heatmap(DOT, **WORDS, height=0),
        ValueError,
        "the figure would be 0 inches tall; it must be more than 0 and at most 100: draw fewer "
        "rows, or more columns.",
    ),
    (lambda c: heatmap(DOT, **WORDS, height="a"), TypeError, "height must be one number, not str."),
    *(
        (
            lambda c, wrong=wrong: heatmap(wrong, **WORDS),
            TypeError,
            f"array must be a table of numbers, (rows, columns), not {wrong!r}.",
        )
        for wrong in (None, "abc", [["1", "2"]], [[1, 2], [3]], {"a": 1}, [[1j]])
    ),
    (
        lambda c: heatmap(torch.eye(2).to_sparse(), **WORDS),
        TypeError,
        "array must be a plain tensor; pass .to_dense(), or .dequantize().",
    ),
    (
        lambda c: heatmap(DOT[None], **WORDS),
        ValueError,
        "array must have shape (rows, columns), not (1, 2, 2).",
    ),
    (
        lambda c: heatmap(np.zeros((40, 51)), **WORDS, annotate=True),
        ValueError,
        "2040 numbers are too many to read; annotate 2000 at most.",
    ),
    *(
        (
            lambda c, labels=labels: grid(DOT, labels=labels),
            TypeError,
            "labels must be a list of strings, one for each picture.",
        )
        for labels in ("a", None, [1], (x for x in "a"), np.array("a"))
    ),
    (
        lambda c: grid("dog"),
        TypeError,
        "images must be a list of pictures; for drawings by name: [artwork[n] for n in names].",
    ),
    (
        lambda c: grid(*[DOT] * 201),
        ValueError,
        "201 pictures are too many to see; pass 200 at most.",
    ),
    (
        lambda c: picture_grid(np.array(3), ["a"], title="t"),
        TypeError,
        "images must be a list of pictures; for drawings by name: [artwork[n] for n in names].",
    ),
    (lambda c: grid(), ValueError, "images is empty; pass at least one picture."),
    (
        lambda c: grid(DOT, labels=["a", "b"]),
        ValueError,
        "2 labels for 1 pictures; pass one for each.",
    ),
    (
        lambda c: grid(DOT, labels=["x" * 1001]),
        ValueError,
        "labels[0] has 1001 letters, too many to draw; pass 1000 at most.",
    ),
    *(
        (
            lambda c, columns=columns: grid(DOT, columns=columns),
            ValueError,
            f"columns is {columns!r}; it must be a whole number from 1 to 24.",
        )
        for columns in (0, 25, 10**9)
    ),
    *(
        (
            lambda c, columns=columns: grid(DOT, columns=columns),
            TypeError,
            f"columns must be a whole number, not {type(columns).__name__}.",
        )
        for columns in (True, "6", 2.5, None)
    ),
    (
        lambda c: grid(*[DOT] * 200, columns=1),
        ValueError,
        "the figure would be 1632.6 inches tall; it must be more than 0 and at most 100: draw "
        "fewer rows, or more columns.",
    ),
    *(
        (
            lambda c, wrong=wrong: grid(wrong),
            TypeError,
            f"images must be a list of pictures, PIL images or arrays, not of {wrong!r}.",
        )
        for wrong in (None, Path("x.png"), [["a"]], [[1j]], [[1], [1, 2]])
    ),
    (
        lambda c: grid(PIXELS.to("meta")[0]),
        TypeError,
        "images must be a list of pictures, PIL images or arrays, not of tensor(..., "
        "device='meta', size=(3, 64, 64)).",
    ),
    *(
        (
            lambda c, shape=shape: grid(np.zeros(shape)),
            ValueError,
            f"a picture must have shape (height, width) or (height, width, 3), not {shape}.",
        )
        for shape in ((3,), (3, 8, 8), (3, 3, 5), (0, 3))
    ),
    (lambda c: grid(DOT, title=3), TypeError, "title must be a string, not int."),
    (lambda c: grid(DOT, xlabel=None), TypeError, "xlabel must be a string, not NoneType."),
    (lambda c: grid(DOT, alt=3), TypeError, "alt must be a string, not int."),
    (
        lambda c: show(SimpleNamespace(savefig=print, alt="a")),
        TypeError,
        "show draws figures, such as heatmap and picture_grid make, not SimpleNamespace.",
    ),
    (lambda c: show(heatmap(DOT, **WORDS), alt=3), TypeError, "alt must be a string, not int."),
]
COMPARED: list[Case] = [
    *(
        (
            lambda c, wrong=wrong: pixels(wrong),
            TypeError,
            "images must be a PIL image or a list of them, such as paint returns.",
        )
        for wrong in (None, "fox", DOT, [DOT], [SMALL, None], iter([SMALL]), R)
    ),
    (lambda c: pixels([]), ValueError, "images is empty; pass at least one picture."),
    (
        lambda c: pixels([SMALL, WIDE]),
        ValueError,
        "images holds pictures of different sizes; resize them to one size, they have 4 x 4, 8 x 4 "
        "pixels.",
    ),
    (
        lambda c: pixel_difference([SMALL], "fox"),
        TypeError,
        "other must be a PIL image or a list of them, such as paint returns.",
    ),
    (
        lambda c: pixel_difference([SMALL] * 2, [SMALL] * 3),
        ValueError,
        "2 pictures cannot be compared with 3, pair by pair.",
    ),
    (
        lambda c: pixel_difference([SMALL], [SMALL] * 3),
        ValueError,
        "1 pictures cannot be compared with 3, pair by pair.",
    ),
    (
        lambda c: pixel_difference(SMALL, WIDE),
        ValueError,
        "one and other differ in size; resize them to one size, they have 4 x 4, 8 x 4 pixels.",
    ),
    (
        lambda c: table(DOT),
        TypeError,
        "images must be a PIL image or a list of them, such as paint returns.",
    ),
    (
        lambda c: table(SMALL, SMALL, columns=["b", "c", "d"]),
        ValueError,
        "2 pictures do not fill 1 lines of 3; pass 3, line by line.",
    ),
    (
        lambda c: table(SMALL, lines="a"),
        TypeError,
        "lines must be a list of strings, not str.",
    ),
    (lambda c: table(SMALL, columns=()), ValueError, "columns is empty; pass at least one name."),
    (lambda c: table(SMALL, lines=[3]), TypeError, "lines[0] must be a string, not int."),
    (
        lambda c: table(*[SMALL] * 25, columns=["b"] * 25),
        ValueError,
        "25 columns are too many; pass 24 at most.",
    ),
    (
        lambda c: table(*[SMALL] * 201, lines=["a"] * 201),
        ValueError,
        "201 pictures are too many to see; pass 200 at most.",
    ),
    (
        lambda c: table(SMALL, tile=2.5),
        TypeError,
        "tile must be a whole number, not float.",
    ),
    (
        lambda c: table(*[SMALL] * 100, lines=["a"] * 100, tile=102),
        ValueError,
        "the figure would be 106.25 inches tall; it must be more than 0 and at most 100: draw "
        "fewer rows, or more columns.",
    ),
    *(
        (
            lambda c, tile=tile: table(SMALL, tile=tile),
            ValueError,
            f"tile is {tile}; it must be a whole number from 1 to 256.",
        )
        for tile in (0, 257)
    ),
    (lambda c: table(SMALL, ylabel=3), TypeError, "ylabel must be a string, not int."),
    (lambda c: table(SMALL, alt=None), TypeError, "alt must be a string, not NoneType."),
]
ARTWORK: list[Case] = [
    (
        lambda c: load_artwork(["noto"]),
        ValueError,
        "there is no artist ['noto'] here; pass 'noto' or 'noto-v1'.",
    ),
    (
        lambda c: load_artwork(np.array([1, 2])),
        ValueError,
        "there is no artist array([1, 2]) here; pass 'noto' or 'noto-v1'.",
    ),
    (
        lambda c: load_artwork()[-(10**100)],
        IndexError,
        f"noto has {len(load_artwork())} drawings, so none has number -1{'0' * 58}….",
    ),
    (
        lambda c: load_artwork()[torch.tensor(2, device="meta")],
        TypeError,
        "pass one name or one number, not Tensor; for several: [artwork[i] for i in numbers].",
    ),
    *(
        (
            lambda c, wrong=wrong: load_artwork().index(wrong),
            KeyError,
            f"noto has no drawing called {shown}; see .names.",
        )
        for wrong, shown in ((BIG, "(int too long to show)"), (math.nan, "nan"))
    ),
    (lambda c: load_artwork().index([]), KeyError, "noto has no drawing called []; see .names."),
    (
        lambda c: load_artwork()["x" * 10**6],
        KeyError,
        f"noto has no drawing called '{'x' * 59}…; see .names.",
    ),
]


PAINT: list[Case] = [
    *(
        (
            lambda c, wrong=wrong: paint(wrong, "fox"),
            TypeError,
            f"pipe must be what load_pipeline() returned, not {type(wrong).__name__}: pipe = "
            "load_pipeline(load_clip()), then paint(pipe, text).",
        )
        for wrong in ("fox", None, {1}, np.zeros(3), STACK)
    ),
    *(
        (lambda c, wrong=wrong: draw(c, wrong), error, f"prompts {says}")
        for wrong, error, says in (
            (STACK.to_sparse(), TypeError, PLAIN),
            (STACK.to_mkldnn(), TypeError, PLAIN),
            (NESTED, TypeError, PLAIN),
            (STACK.to("meta"), ValueError, META),
            (STACK.to(torch.float8_e4m3fn), TypeError, COARSE),
            (
                STACK.double() + 1e300,
                ValueError,
                "holds numbers that are not finite in float32 (NaN, infinite, or too large).",
            ),
        )
    ),
    (
        lambda c: draw(c, negative_prompt=STACK.to_sparse()),
        TypeError,
        f"negative_prompt {PLAIN}",
    ),
    (
        lambda c: draw(c, negative_prompt=["a", 3]),
        TypeError,
        "negative_prompt[1] must be a string, not int.",
    ),
    (
        lambda c: draw(c, [STACK, STACK]),
        TypeError,
        "prompts[0] must be a string, not Tensor; join tensors first: torch.stack(list).",
    ),
    (lambda c: draw(c, seeds=1.5), TypeError, "seeds must be a whole number, not float."),
    (lambda c: draw(c, seeds=[np.True_]), TypeError, "seeds[0] must be a whole number, not bool."),
    (lambda c: draw(c, seeds=BIG), ValueError, "a seed must lie between 0 and 2**63 - 1."),
    (
        lambda c: draw(c, num_inference_steps=BIG),
        ValueError,
        "num_inference_steps is (int too long to show); it must be a whole number from 1 to 1000.",
    ),
    (
        lambda c: draw(c, num_inference_steps=2.5),
        TypeError,
        "num_inference_steps must be a whole number, not float.",
    ),
    (
        lambda c: draw(c, guidance_scale=10**400),
        ValueError,
        "guidance_scale is too large to compute with.",
    ),
    (
        lambda c: draw(c, guidance_scale=math.nan),
        ValueError,
        "guidance_scale is nan; it must be finite.",
    ),
    (
        lambda c: draw(c, STACK + 1e30),
        ValueError,
        "the picture came out as NaN: guidance_scale 4 may be too large (1 to 15 is usual), or the "
        "numbers in the rows; paint from text to see which.",
    ),
]
LOADING: list[Case] = [
    *(
        (
            lambda c, device=device: load_clip("emoji", device=device),
            ValueError,
            f"device {shown} is not one torch knows; pass 'cuda', 'mps' or 'cpu'.",
        )
        for device, shown in (
            (10**30, 10**30),
            (BIG, "(int too long to show)"),
            ("x" * 9000, f"'{'x' * 59}…"),
        )
    ),
    *(
        (
            lambda c, dtype=dtype: load_clip("emoji", device="cpu", dtype=dtype),
            ValueError,
            f"dtype {shown} is no floating-point type to compute in; pass 'float32', 'float16' or "
            "'bfloat16'.",
        )
        for dtype, shown in (
            ("float8_e4m3fn", "torch.float8_e4m3fn"),
            (torch.float8_e5m2, "torch.float8_e5m2"),
            ("int64", "torch.int64"),
            ("float31", "'float31'"),
            (BIG, "(int too long to show)"),
        )
    ),
]


def closed() -> Image.Image:
    image = Image.new("RGB", (4, 4))
    image.close()
    return image


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [*TEXTS, *IDS_AND_MASKS, *PICTURES, *NUMBERS, *FIGURES, *COMPARED, *ARTWORK, *PAINT, *LOADING],
)
def test_the_sentence(clip, call: Callable, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error) as caught:
        call(clip)
    assert caught.value.args == (sentence,)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert caught.traceback[-1].path.parent.name == "helpers"  # not the library's, deep inside


def test_what_is_odd_but_works(clip) -> None:
    """Odd arguments that have one clear meaning."""
    for odd in (np.str_("a cat"), ["a cat"], "a\0cat"):
        assert tokenize(clip, odd)["input_ids"].shape == (1, 77)
    ids = tokenize(clip, "a cat")["input_ids"]
    assert detokenize(clip, [*ids[0, :4].tolist(), -100]) == ["a cat"]  # after the end: not read
    for same in (ids.int(), ids.numpy().astype(">i8"), ids.numpy().astype(np.uint16)):
        assert torch.equal(embed(clip, same).input_ids, ids)
    assert torch.isfinite(embed_images(clip, Image.new("RGB", (1, 1))).image_embeds).all()
    expected = np.asarray(draw(clip, seeds=3, guidance_scale=2)[0])
    three = np.int64(3), [np.uint8(3)], np.array([3]), torch.tensor(3), np.array(3)
    for seeds in three:
        one = {"num_inference_steps": np.int32(1), "guidance_scale": np.float32(2)}
        assert np.array_equal(draw(clip, seeds=seeds, **one)[0], expected)
    assert np.array_equal(draw(clip, seeds=3, guidance_scale=torch.tensor(2))[0], expected)
    assert len(grid(DOT, columns=np.int64(3)).axes) == 3
    assert [] not in load_artwork()
    assert heatmap(DOT, **WORDS | {"title": "x" * 1000}).axes[0].get_title() == "x" * 1000
    table = heatmap(torch.eye(2) > 0, **WORDS, xticks=np.array(["a", "b"]), colorbar="$ a $")
    assert table.axes[1].get_ylabel() == r"\$ a \$"
    assert heatmap(3, **WORDS, height=100).get_figheight() == 100
    assert heatmap(np.zeros((40, 50)), **WORDS, annotate=True).axes[0].texts
    for image in (torch.zeros(2, 2, requires_grad=True), [[0, 1]], Image.new("P", (2, 2))):
        assert grid(image, labels=np.array(["a"]), columns=24).axes[0].images
