"""What the drawings show of the shipped checkpoint: tokens, ids, merges, rows, angles.

Nothing of it is typed by hand, so a drawing shows what a cell of a notebook prints.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from math import acos, degrees


@cache
def clip():
    """The CLIP that comes with the series."""
    from helpers import load_clip

    return load_clip("emoji", device="cpu", dtype="float32")


def tokens(prompt: str) -> list[tuple[str, int]]:
    """(word, id) of each of the 77 places; what is no text is called start, end and pad."""
    from helpers import tokenize

    found = tokenize(clip(), prompt)
    ids, real = found["input_ids"][0].tolist(), int(found["attention_mask"].sum())
    pieces = [piece.replace("</w>", "") for piece in clip().tokenizer.convert_ids_to_tokens(ids)]
    words = ["start", *pieces[1 : real - 1], "end", *["pad"] * (len(ids) - real)]
    return list(zip(words, ids, strict=True))


def id_of(word: str) -> int:
    """The id of a word that is one token."""
    (_, _), (found, number), (end, _) = tokens(word)[:3]
    assert (found, end) == (word, "end"), f"{word!r} is not one token"
    return number


@cache
def _ranks() -> dict[tuple[str, str], int]:
    model = json.loads(clip().tokenizer.backend_tokenizer.to_str())["model"]
    pairs = (pair if isinstance(pair, list) else pair.split(" ") for pair in model["merges"])
    return {tuple(pair): rank for rank, pair in enumerate(pairs)}


def merge_tree(word: str) -> tuple[list[str], list[tuple[int, int, str, int]]]:
    """The symbols of a word, and (left, right, piece, rank) of each merge, in their order.

    ``left`` and ``right`` are numbers of nodes: the symbols come first, then the merges.
    """
    symbols = [*word[:-1], word[-1] + "</w>"]
    row, merges = list(enumerate(symbols)), []
    while True:
        pairs = [(_ranks().get((a[1], b[1])), i) for i, (a, b) in enumerate(pairwise(row))]
        pairs = [pair for pair in pairs if pair[0] is not None]
        if not pairs:
            return symbols, merges
        rank, i = min(pairs)
        piece = row[i][1] + row[i + 1][1]
        merges.append((row[i][0], row[i + 1][0], piece, rank))
        row[i : i + 2] = [(len(symbols) + len(merges) - 1, piece)]


def rows_in(prompt: str, count: int):
    """Numbers of token rows, position rows and their sums: (77, count) each.

    Of the columns those are taken in which the position rows differ most.
    """
    table = clip().inner.embeddings
    ids = [number for _, number in tokens(prompt)]
    place = table.position_embedding.weight.detach()[: len(ids)].float()
    columns = place[:10].std(dim=0).topk(count).indices.sort().values
    token, place = table.token_embedding.weight.detach()[ids][:, columns], place[:, columns]
    return token, place, token + place


def pieces(text: str) -> list[str]:
    """The words and pieces of a text of any length, nothing cut off."""
    found = clip().tokenizer(text, truncation=False, verbose=False)["input_ids"][1:-1]
    return [piece.replace("</w>", "") for piece in clip().tokenizer.convert_ids_to_tokens(found)]


def angle(one: str, two: str) -> int:
    """Between the projected vectors of two texts, in whole degrees."""
    from torch.nn.functional import cosine_similarity

    from helpers import embed

    a, b = embed(clip(), [one, two]).text_embeds.float()
    return round(degrees(acos(cosine_similarity(a, b, dim=0).item())))
