"""What is said to bad input: one sentence that tells what was wrong and what to do.

The other modules ask here first and then do their own work on what comes back, so that each of
them shows what it is about. Functions named ``check_...`` return nothing.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

# what a figure can hold
MOST_LETTERS = 1000  # in one piece of text
MOST_PICTURES, MOST_COLUMNS = 200, 24
MOST_NUMBERS = 2000  # written into the cells of a table
TALLEST = 100  # inches


def short(value: Any, letters: int = 60) -> str:
    """``repr(value)`` on one line, its beginning only if it is long."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python writes no number of more than 4300 digits
        return f"({type(value).__name__} too long to show)"
    return text if len(text) <= letters else f"{text[:letters]}…"


# --- texts ------------------------------------------------------------------------------------


def prompts_as_list(prompts: Any, name: str = "prompts") -> list[str]:
    """A string, or a list or tuple of them, as a list of strings."""
    if isinstance(prompts, str):
        prompts = [prompts]
    if not isinstance(prompts, list | tuple):
        hint = " (the empty prompt is '')" if prompts is None else ""
        if hasattr(prompts, "text_model"):
            hint = " (the clip comes first, then the prompts)"
        raise TypeError(
            f"{name} must be a string or a list of strings, not {type(prompts).__name__}{hint}."
        )
    if not prompts:
        raise ValueError("the list of prompts is empty; pass at least one string ('' will do).")
    for number, prompt in enumerate(prompts):
        check_text(prompt, f"{name}[{number}]")
    return list(prompts)


def holds_text(values: Any) -> bool:
    """Whether something is meant as text: a string or a list, but not a list of ids."""
    if isinstance(values, list | tuple):
        return not (values and isinstance(values[0], int | list | tuple))
    return isinstance(values, str)


def check_text(text: Any, what: str) -> None:
    """A string of whole characters."""
    if not isinstance(text, str):
        hint = "; decode it first: text.decode('utf-8')" if isinstance(text, bytes) else ""
        if hasattr(text, "layout"):
            hint = "; join tensors first: torch.stack(list)"
        raise TypeError(f"{what} must be a string, not {type(text).__name__}{hint}.")
    half = re.search("[\ud800-\udfff]", text)
    if half:
        raise ValueError(
            f"{what} holds a lone surrogate, U+{ord(half[0]):04X}, at position {half.start()}: "
            "half a character, which no encoding has; remove it or read the text again as UTF-8."
        )


def check_padding(padding: Any) -> None:
    """One of the two kinds of padding."""
    if padding not in ("max_length", "longest"):
        raise ValueError(f"padding must be 'max_length' or 'longest', not {short(padding)}.")


# --- token ids --------------------------------------------------------------------------------


def rows_of_ids(tokens: Any) -> list[list[int]]:
    """Whatever holds ids, as a list of lists of int."""
    tokens = getattr(tokens, "input_ids", tokens)
    no_rows = getattr(tokens, "ndim", None) == 2 and len(tokens) == 0  # (0, L) is not (0,)
    tokens = _listed(tokens)
    if not isinstance(tokens, list | tuple):
        raise TypeError(
            f"tokens must be what tokenize returned, ids (n, L) or (L,), or a list of ids, "
            f"not {type(tokens).__name__}."
        )
    rows = [_listed(row) for row in tokens]
    nested = sum(isinstance(row, list | tuple) for row in rows)
    if 0 < nested < len(rows):
        raise TypeError("tokens mixes rows of ids and single values; pass one row or only rows.")
    if not nested and not no_rows:
        rows = [rows]
    rows = [[_listed(token) for token in row] for row in rows]
    for token in (token for row in rows for token in row):
        if not isinstance(token, int) or isinstance(token, bool):
            kind = type(token).__name__
            hint = "; for an embedding pass the input_ids it came from" if kind != "str" else ""
            raise TypeError(f"ids must be whole numbers, not {kind}{hint}.")
    return rows


def check_vocabulary(ids: Sequence[int], size: int) -> None:
    """Ids that the vocabulary has."""
    for token in ids:
        if not 0 <= token < size:
            raise ValueError(f"id {short(token)} is not in the vocabulary (0 to {size - 1}).")


def ids_as_tensor(tokens: Any, *, vocabulary: int, longest: int, end: int) -> torch.Tensor:
    """What ``tokenize`` returned, or ids (n, L) or (L,), as a tensor (n, L) of torch.long."""
    import torch

    ids = getattr(tokens, "input_ids", tokens)
    if isinstance(ids, list) and ids is not tokens:
        raise TypeError("input_ids must be a torch tensor; pass return_tensors='pt'.")
    if isinstance(ids, list | tuple):
        raise TypeError(
            "prompts is a list, but not of strings; ids go into a tensor: torch.tensor(ids)."
        )
    ids = _tensor(ids)
    if not isinstance(ids, torch.Tensor):
        raise TypeError(
            "prompts must be a string, a list of strings, what tokenize returned, or a torch "
            f"tensor of ids (n, L), not {type(tokens).__name__}."
        )
    _check_dense("ids", ids)
    if ids.dtype.is_floating_point or ids.dtype.is_complex or ids.dtype == torch.bool:
        raise TypeError(f"ids must be whole numbers, not {ids.dtype}.")
    ids = ids.unsqueeze(0) if ids.dim() == 1 else ids
    if ids.dim() != 2 or 0 in ids.shape:
        raise ValueError(f"ids must have shape (n, L) or (L,), not {tuple(ids.shape)}.")
    if ids.shape[1] > longest:
        raise ValueError(f"rows of {ids.shape[1]} ids are too long; {longest} fit.")
    ids = ids.long()
    if int(ids.min()) < 0 or int(ids.max()) >= vocabulary:
        raise ValueError(f"ids must lie between 0 and {vocabulary - 1}.")
    if not bool((ids == end).any(dim=-1).all()):
        raise ValueError(
            f"every row needs an end-of-text token ({end}): its row is the pooled output. "
            "tokenize(clip, text) puts it there."
        )
    return ids


def mask_as_tensor(mask: Any, input_ids: torch.Tensor) -> torch.Tensor:
    """A mask of 0 and 1 that fits ``input_ids``, as torch.long on the same device."""
    import torch

    mask = _tensor(mask)
    if not isinstance(mask, torch.Tensor):
        raise TypeError(
            "attention_mask must be True, False or a torch tensor, such as "
            f"tokens['attention_mask'], not {type(mask).__name__}."
        )
    _check_dense("attention_mask", mask)
    mask = mask.unsqueeze(0) if mask.dim() == 1 else mask
    if mask.shape != input_ids.shape:
        raise ValueError(
            f"attention_mask {tuple(mask.shape)} does not fit ids {tuple(input_ids.shape)}."
        )
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError("attention_mask must hold only 1 (look at this row) and 0 (hide it).")
    if not bool(mask.any(dim=-1).all()):
        raise ValueError("attention_mask hides a whole row; leave at least one 1 in each.")
    return mask.to(device=input_ids.device, dtype=torch.long)


def check_evaluating(part: nn.Module) -> None:
    """A model in evaluation mode; switching it here would switch it for other threads too."""
    if part.training:
        raise ValueError(
            "the model is in training mode, in which outputs may be random; call clip.model.eval() "
            "first, and clip.model.train() afterwards."
        )


# --- pictures ---------------------------------------------------------------------------------


def check_pixel_values(pixels: torch.Tensor, side: int) -> None:
    """Prepared pictures (n, 3, side, side)."""
    import torch

    if not pixels.dtype.is_floating_point:
        raise TypeError(
            f"a tensor must hold pixel_values in floating point, not {pixels.dtype}; pass PIL "
            "images or numpy arrays of uint8 to have them prepared."
        )
    _check_dense("pixel_values", pixels)
    if pixels.dim() != 4 or pixels.shape[0] == 0 or pixels.shape[1:] != (3, side, side):
        raise ValueError(
            f"pixel_values must have shape (n, 3, {side}, {side}), not {tuple(pixels.shape)}."
        )
    if not bool(torch.isfinite(pixels).all()):
        raise ValueError("pixel_values hold NaN or infinity; look for the step that made them.")


# --- numbers and vectors ----------------------------------------------------------------------


def one_number(name: str, value: Any) -> float:
    """A finite float, from a number of Python, numpy or torch."""
    number = _number(name, value)
    if not math.isfinite(number):
        raise ValueError(f"{name} is {number}; it must be finite.")
    return number


def between_0_and_1(name: str, value: Any) -> float:
    """A float from 0 to 1."""
    number = _number(name, value)
    if not 0 <= number <= 1:
        raise ValueError(
            f"slerp: {name} must lie between 0 and 1, not {number}; only mix goes beyond."
        )
    return number


def whole_number(name: str, value: Any) -> int:
    """An int, from a whole number of Python, numpy or torch."""
    if not _is_bool(value):
        try:
            return operator.index(value)
        except (TypeError, RuntimeError):
            pass
    raise TypeError(f"{name} must be a whole number, not {_kind(value)}.")


def whole_number_to(name: str, value: Any, most: int) -> int:
    """An int from 1 to ``most``."""
    number = whole_number(name, value)
    if not 1 <= number <= most:
        raise ValueError(f"{name} is {short(number)}; it must be a whole number from 1 to {most}.")
    return number


def seed_number(value: Any, name: str = "seed") -> int:
    """A seed that every generator takes."""
    seed = whole_number(name, value)
    if not 0 <= seed < 2**63:
        raise ValueError("a seed must lie between 0 and 2**63 - 1.")
    return seed


def vectors(name: str, a: Any) -> torch.Tensor:
    """A floating-point tensor (..., d)."""
    a = _floating(name, a)
    _check_here(name, a)
    return a


def vector_pair(
    a: Any, b: Any, *, names: tuple[str, str] = ("a", "b"), all_pairs: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two tensors of one width on one device.

    Their rows broadcast; with ``all_pairs`` each has two dimensions at most instead.
    """
    import torch

    a, b = _floating(names[0], a), _floating(names[1], b)
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(
            f"{names[0]} has {a.shape[-1]} numbers a row and {names[1]} has {b.shape[-1]}; both "
            "must be the same kind of embedding, from the same model."
        )
    if a.device != b.device:
        raise ValueError(
            f"{names[0]} is on {a.device} and {names[1]} on {b.device}; move one with .to()."
        )
    for name, x in zip(names, (a, b), strict=True):
        _check_here(name, x)
        if all_pairs and x.dim() > 2:
            raise ValueError(
                f"{name} must have shape (n, d) or (d,), not {tuple(x.shape)}; choose one row of "
                "each prompt, or compare all of them as one long vector with .flatten(1)."
            )
    if not all_pairs:
        try:
            torch.broadcast_shapes(a.shape, b.shape)
        except RuntimeError:
            raise ValueError(
                f"{names[0]} {tuple(a.shape)} and {names[1]} {tuple(b.shape)} do not fit: pass as "
                "many rows in both, or one row in one of them."
            ) from None
    return a, b


def check_not_zero(name: str, a: torch.Tensor) -> None:
    """Rows that are not all zeros."""
    if not bool((a != 0).any(dim=-1).all()):
        raise ValueError(f"{name} is zero, so it points nowhere; nothing can be removed.")


def check_no_opposites(opposite: torch.Tensor) -> None:
    """No row where the mask is True."""
    if bool(opposite.any()):
        raise ValueError(
            "slerp: a and b point in opposite directions, so no arc between them is the shortest; "
            "go by way of a third vector, or use mix."
        )


def check_candidates(candidates: torch.Tensor) -> None:
    """Rows to choose from."""
    if candidates.dim() != 2 or len(candidates) == 0:
        raise ValueError(
            "candidates must have shape (m, d) with at least one row, not "
            f"{tuple(candidates.shape)}."
        )


def check_similarities(similarities: torch.Tensor) -> None:
    """Cosines of vectors that have a direction."""
    if not bool(similarities.isfinite().all()):
        raise ValueError(
            "the vectors hold NaN or infinity, so they have no nearest neighbour; look for the "
            "step that made them (float16 overflows above 65504)."
        )


def how_many(k: Any, left: int) -> int:
    """A number from 1 to ``left``, the number of candidates that may be found."""
    k = whole_number("k", k)
    if not 1 <= k <= left:
        raise ValueError(
            f"k is {short(k)}; it must be at least 1 and at most the number of candidates that "
            f"are left, {left}."
        )
    return k


def exclusions(exclude: Any, queries: int, candidates: int) -> list[list[int]]:
    """One list of row numbers for each query, from one for all or one for each."""
    lists = list | tuple | set | range
    given = [] if exclude is None else _listed(exclude)
    if not isinstance(given, lists):
        raise TypeError(
            "exclude must be row numbers of the candidates, a list or one list for each query, "
            f"not {type(exclude).__name__}."
        )
    given = [_listed(x) for x in given]
    if not any(isinstance(x, lists) for x in given):
        given = [given] * queries
    if len(given) != queries:
        raise ValueError(f"exclude has {len(given)} lists for {queries} queries.")
    for rows in given:
        if not isinstance(rows, lists):
            raise TypeError("exclude mixes lists and single numbers; pass only one of them.")
        for row in rows:
            if isinstance(row, str):
                raise TypeError(
                    f"exclude must hold row numbers, not {row!r}; look it up: names.index({row!r})."
                )
            if not 0 <= whole_number("a row number in exclude", row) < candidates:
                raise ValueError(
                    f"exclude holds row {short(row)}; the candidates have 0 to {candidates - 1}."
                )
    return [list(rows) for rows in given]


# --- what is given to paint -------------------------------------------------------------------


def check_pipeline(pipe: Any, loaded: Container[Any]) -> None:
    """One of the pipelines that ``load_pipeline`` returned."""
    try:
        if pipe in loaded:
            return
    except TypeError:  # a list, say, which cannot be looked up
        pass
    raise TypeError(
        f"pipe must be what load_pipeline() returned, not {type(pipe).__name__}: "
        "pipe = load_pipeline(load_clip()), then paint(pipe, text)."
    )


def prompt_embeds_as_tensor(name: str, rows: Any, width: int, like: torch.Tensor) -> torch.Tensor:
    """Rows (n, L, width) or (L, width) as (n, L, width), on the device and in the dtype of
    ``like``."""
    import torch

    if not isinstance(rows, torch.Tensor) or not rows.dtype.is_floating_point:
        kind = rows.dtype if isinstance(rows, torch.Tensor) else type(rows).__name__
        raise TypeError(
            f"{name} must be text, what embed returned, or a floating-point tensor of rows "
            f"(n, L, d), not {kind}."
        )
    _check_dense(name, rows)
    rows = rows.unsqueeze(0) if rows.dim() == 2 else rows
    if rows.dim() != 3 or 0 in rows.shape or rows.shape[-1] != width:
        raise ValueError(
            f"{name} has shape {tuple(rows.shape)}; rows must be (n, L, {width}) or "
            f"(L, {width}), as in embed(clip, text).last_hidden_state."
        )
    rows = rows.detach().to(like.device, like.dtype)
    if not bool(rows.isfinite().all()):
        raise ValueError(
            f"{name} holds numbers that are not finite in {str(rows.dtype).removeprefix('torch.')} "
            "(NaN, infinite, or too large)."
        )
    return rows


def check_negative(negative: torch.Tensor, prompts: torch.Tensor) -> None:
    """Stacks of rows that go with those of the prompts: as many or one, and as long."""
    n, length, _ = prompts.shape
    if len(negative) not in (1, n):
        raise ValueError(f"negative_prompt has {len(negative)} stacks of rows for {n} prompts.")
    if negative.shape[1] != length:
        raise ValueError(
            f"negative_prompt has {negative.shape[1]} rows and the prompts have {length}; both "
            "need the same number. (paint reads last_hidden_state, not pooled vectors.)"
        )


def seeds_as_list(seeds: Any, n: int) -> list[int]:
    """One seed for each of ``n`` pictures, from one for all or one for each."""
    seeds = _listed(seeds, "seeds")
    if isinstance(seeds, list | tuple | range):
        seeds = [seed_number(seed, f"seeds[{number}]") for number, seed in enumerate(seeds)]
    else:
        seeds = [seed_number(seeds, "seeds")] * n
    if len(seeds) != n:
        raise ValueError(f"{len(seeds)} seeds for {n} pictures; pass one for each, or one.")
    return seeds


def check_drawn(pictures: torch.Tensor, *, guidance_scale: float, dtype: torch.dtype) -> None:
    """Pictures of finite numbers."""
    if bool(pictures.isfinite().all()):
        return
    why = "the numbers in the rows; paint from text to see which."
    if dtype.itemsize < 4:
        kind = str(dtype).removeprefix("torch.")
        why = f"{kind} too narrow for this model (load_clip(..., dtype='float32'))."
    raise ValueError(
        f"the picture came out as NaN: guidance_scale {guidance_scale:g} may be too large "
        f"(1 to 15 is usual), or {why}"
    )


# --- models -----------------------------------------------------------------------------------

# the hooks that transformers 5 leaves on layers whose states were once asked for: they only listen
LISTENERS = "transformers.utils.output_capturing"


def is_plain_clip(inner: Any) -> bool:
    """Whether a text model consists of transformers' own CLIP layers, and nobody changed one.

    ``inner`` has ``embeddings``, ``encoder`` and ``final_layer_norm``. A hook or another
    ``forward`` may put in other numbers, so whoever takes the layers apart has to leave it alone.
    """
    from transformers.models.clip import modeling_clip as clip

    layers = list(inner.encoder.layers)
    parts = [inner.embeddings, *layers, *(getattr(layer, "self_attn", None) for layer in layers)]
    known = {clip.CLIPTextEmbeddings, clip.CLIPEncoderLayer, clip.CLIPAttention}
    if {type(part) for part in parts} != known:
        return False
    for part in [inner, inner.encoder, *parts]:
        hooks = [*part._forward_hooks.values(), *part._forward_pre_hooks.values()]
        if any(getattr(hook, "__module__", "") != LISTENERS for hook in hooks):
            return False
        if getattr(part.forward, "__func__", None) is not type(part).forward:
            return False
    return True


# --- figures ----------------------------------------------------------------------------------


def check_words(**words: Any) -> None:
    """Strings that can be drawn; each argument is called by its name."""
    for name, text in words.items():
        check_text(text, name)
        if len(text) > MOST_LETTERS:
            raise ValueError(
                f"{name} has {len(text)} letters, too many to draw; pass {MOST_LETTERS} at most."
            )


def check_ticks(name: str, ticks: Any, size: int) -> None:
    """None, or one string for each column or row."""
    if ticks is None:
        return
    if not _is_sequence(ticks):
        raise TypeError(f"{name} must be a list of strings, not {type(ticks).__name__}.")
    if len(ticks) != size:
        raise ValueError(f"{name} has {len(ticks)} names for {size} of them.")
    check_words(**{f"{name}[{number}]": text for number, text in enumerate(ticks)})


def pictures_to_draw(images: Any, labels: Any) -> list[Any]:
    """Pictures, and a label for each."""
    if (
        isinstance(labels, str)
        or not _is_sequence(labels)
        or not all(isinstance(label, str) for label in labels)
    ):
        raise TypeError("labels must be a list of strings, one for each picture.")
    if not _is_sequence(images) or any(isinstance(image, str) for image in images):
        raise TypeError(
            "images must be a list of pictures; for drawings by name: [artwork[n] for n in names]."
        )
    if len(images) > MOST_PICTURES:
        raise ValueError(
            f"{len(images)} pictures are too many to see; pass {MOST_PICTURES} at most."
        )
    if len(images) == 0:
        raise ValueError("images is empty; pass at least one picture.")
    if len(images) != len(labels):
        raise ValueError(f"{len(labels)} labels for {len(images)} pictures; pass one for each.")
    check_words(**{f"labels[{number}]": label for number, label in enumerate(labels)})
    return [_drawable(image) for image in images]


def pictures_as_list(name: str, images: Any) -> list[Any]:
    """PIL images of one size, at least one; a single picture is a list of one."""
    from PIL import Image

    pictures = [images] if isinstance(images, Image.Image) else images
    if not _is_sequence(pictures) or not all(isinstance(p, Image.Image) for p in pictures):
        raise TypeError(f"{name} must be a PIL image or a list of them, such as paint returns.")
    if len(pictures) == 0:
        raise ValueError(f"{name} is empty; pass at least one picture.")
    sizes = sorted({p.size for p in pictures})
    if len(sizes) > 1:
        raise ValueError(f"{name} holds pictures of different sizes; {_resize(sizes)}.")
    return list(pictures)


def check_pairs(one: list[Any], other: list[Any], single: bool) -> None:
    """As many pictures on both sides, or a single one on one of them, all of one size."""
    if len(one) != len(other) and not single:
        raise ValueError(f"{len(one)} pictures cannot be compared with {len(other)}, pair by pair.")
    if one[0].size != other[0].size:
        raise ValueError(f"one and other differ in size; {_resize([one[0].size, other[0].size])}.")


def check_table(images: Sequence[Any], lines: Any, columns: Any) -> None:
    """Names of lines and columns, and a picture for each pair of them."""
    for name, names in (("lines", lines), ("columns", columns)):
        if isinstance(names, str) or not _is_sequence(names):
            raise TypeError(f"{name} must be a list of strings, not {_kind(names)}.")
        if len(names) == 0:
            raise ValueError(f"{name} is empty; pass at least one name.")
        check_words(**{f"{name}[{number}]": text for number, text in enumerate(names)})
    if len(columns) > MOST_COLUMNS:
        raise ValueError(f"{len(columns)} columns are too many; pass {MOST_COLUMNS} at most.")
    if len(images) > MOST_PICTURES:
        raise ValueError(
            f"{len(images)} pictures are too many to see; pass {MOST_PICTURES} at most."
        )
    if len(images) != len(lines) * len(columns):
        raise ValueError(
            f"{len(images)} pictures do not fill {len(lines)} lines of {len(columns)}; pass "
            f"{len(lines) * len(columns)}, line by line."
        )


def check_height(inches: Any) -> None:
    """A figure that fits into a notebook, and into matplotlib."""
    if not 0 < one_number("height", inches) <= TALLEST:
        raise ValueError(
            f"the figure would be {short(inches)} inches tall; it must be more than 0 and at most "
            f"{TALLEST}: draw fewer rows, or more columns."
        )


def check_colour_map(cmap: Any) -> None:
    """A colour map of matplotlib, or the name of one."""
    import matplotlib

    if isinstance(cmap, matplotlib.colors.Colormap):
        return
    if not isinstance(cmap, str) or cmap not in matplotlib.colormaps:
        raise ValueError(
            f"cmap is {short(cmap)}, which is no colour map of matplotlib; pass 'viridis' or "
            "'cividis', for example."
        )


def table_of_numbers(array: Any, *, write: bool) -> np.ndarray:
    """A table (rows, columns) or a row (columns,) as (rows, columns) of float64.

    With ``write``, one that is small enough for every number to be written.
    """
    import numpy as np

    if hasattr(array, "detach"):
        _check_dense("array", array)
        array = array.detach().float().cpu().numpy()
    try:
        table = np.asarray(array)
        if array is None or table.dtype.kind not in "biufO":
            raise TypeError
        table = np.atleast_2d(table.astype(float))
    except (TypeError, ValueError, OverflowError):
        raise TypeError(
            f"array must be a table of numbers, (rows, columns), not {short(array)}."
        ) from None
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"array must have shape (rows, columns), not {table.shape}.")
    if write and table.size > MOST_NUMBERS:
        raise ValueError(
            f"{table.size} numbers are too many to read; annotate {MOST_NUMBERS} at most."
        )
    return table


def _resize(sizes: Sequence[tuple[int, int]]) -> str:
    """What to do about pictures of several sizes."""
    return f"resize them to one size, they have {', '.join(f'{w} x {h}' for w, h in sizes)} pixels"


def _drawable(image: Any) -> Any:
    """A PIL image as it is, or numbers (height, width) or (height, width, 3 or 4) as an array."""
    import numpy as np
    from PIL import Image

    if isinstance(image, Image.Image):
        return image
    try:
        array = np.asarray(image.detach().cpu() if hasattr(image, "detach") else image)
    except (TypeError, ValueError, NotImplementedError, RuntimeError):
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"images must be a list of pictures, PIL images or arrays, not of {short(image)}."
        )
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if not fits or array.size == 0:
        raise ValueError(
            f"a picture must have shape (height, width) or (height, width, 3), not {array.shape}."
        )
    return array


# --- pieces -----------------------------------------------------------------------------------


def _is_bool(value: Any) -> bool:
    """Whether something is True or False, of Python, numpy or torch."""
    return isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")


def _kind(value: Any) -> str:
    """The name of its type; numpy 1 says ``bool_`` where numpy 2 says ``bool``."""
    return type(value).__name__.rstrip("_")


def _is_sequence(values: Any) -> bool:
    """Whether something has a length; arrays and tensors without a dimension have none."""
    return hasattr(values, "__len__") and getattr(values, "ndim", 1) > 0


def _number(name: str, value: Any) -> float:
    """A float, finite or not."""
    if not isinstance(value, str | bytes) and not _is_bool(value):
        try:
            return float(value)
        except OverflowError:
            raise ValueError(f"{name} is too large to compute with.") from None
        except (TypeError, ValueError, RuntimeError):
            pass
    raise TypeError(f"{name} must be one number, not {_kind(value)}.")


def _listed(values: Any, name: str = "a tensor of ids") -> Any:
    """A torch tensor or numpy array as lists, or as a number if it is one; all else as it is."""
    if not hasattr(values, "tolist"):
        return values
    if hasattr(values, "layout"):
        _check_dense(name, values)
    return values.tolist()


def _tensor(values: Any) -> Any:
    """A numpy array of numbers as a torch tensor; anything else as it is."""
    import numpy as np
    import torch

    if isinstance(values, np.ndarray) and values.dtype.kind in "iufb":
        return torch.from_numpy(values.astype(values.dtype.newbyteorder("=")))
    return values


def _check_dense(name: str, a: torch.Tensor) -> None:
    """A plain tensor whose numbers can be computed with."""
    _check_plain(name, a)
    _check_here(name, a)


def _check_plain(name: str, a: torch.Tensor) -> None:
    import torch

    if a.layout != torch.strided or a.is_quantized or a.is_nested:
        raise TypeError(f"{name} must be a plain tensor; pass .to_dense(), or .dequantize().")
    if a.dtype.is_floating_point and a.element_size() < 2:
        raise TypeError(f"{name} is {a.dtype}, too coarse to compute with; pass .float().")


def _check_here(name: str, a: torch.Tensor) -> None:
    if a.is_meta:
        raise ValueError(f"{name} is on the device 'meta', which holds no numbers; use 'cpu'.")


def _floating(name: str, a: Any) -> torch.Tensor:
    import torch

    if a is None:
        raise TypeError(
            f"{name} is None. A checkpoint without a projection has no text_embeds: use "
            "pooler_output, or load one that has it: load_clip('emoji')."
        )
    if not isinstance(a, torch.Tensor):
        raise TypeError(
            f"{name} must be a torch tensor, such as embed(clip, text).text_embeds, not "
            f"{type(a).__name__}."
        )
    if not a.dtype.is_floating_point:
        raise TypeError(f"{name} must hold floating-point numbers, not {a.dtype}.")
    _check_plain(name, a)
    if a.dim() == 0 or a.shape[-1] == 0:
        raise ValueError(f"{name} must have shape (..., d), not {tuple(a.shape)}.")
    return a
