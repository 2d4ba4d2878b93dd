"""From text to token ids and back: ``clean``, ``tokenize``, ``detokenize``."""

from __future__ import annotations

import html
import json
import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from .checkpoints import Clip, check_clip

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import BatchEncoding

log = logging.getLogger(__name__)

WORD_END = "</w>"  # CLIP marks the last piece of every word with it


def clean(text: str) -> str:
    """Prepare a caption the way OpenAI's own tokenizer does, which current libraries no longer do.

    Repairs broken encodings and curly quotes (ftfy), undoes HTML entities twice, turns every run
    of whitespace into one space, strips, and lower-cases. Source: ``basic_clean`` and
    ``whitespace_clean`` in OpenAI's ``clip/simple_tokenizer.py``.

    Args:
        text: one string.

    Raises:
        TypeError: not a string.
        ValueError: the string holds a lone surrogate, which is half a character.
        ImportError: ftfy is not installed.
    """
    _check_text(text, "text")
    try:
        import ftfy
    except ImportError:
        raise ImportError(
            "Cleaning text needs ftfy: run 'pip install ftfy', or pass clean=False to tokenize."
        ) from None
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return re.sub(r"\s+", " ", text).strip().lower()


_clean = clean  # tokenize has an argument of the same name


def tokenize(
    clip: Clip,
    texts: str | Sequence[str],
    *,
    padding: str = "max_length",
    clean: bool = True,
) -> BatchEncoding:
    """Turn text into the ids a CLIP reads, one row of 77 for each string.

    Every row is ``<|startoftext|>``, at most 75 tokens of text, ``<|endoftext|>``, then padding.
    A text that does not fit is cut, and the lost words are logged as a warning by the logger
    ``helpers.tokens``. Strings such as ``<|endoftext|>`` inside a text are ordinary text here:
    the library alone would end the prompt there. Everything else, the ``!`` of Stable Diffusion 2
    included, is as the checkpoint's own tokenizer has it.

    Args:
        clip: what ``load_clip`` returned.
        texts: a string, or a list or tuple of strings. ``""`` is the empty prompt: 77 real rows.
        padding: ``"max_length"`` fills every row to 77, as Stable Diffusion does; ``"longest"``
            only to the longest row of the batch.
        clean: apply ``clean`` first. False gives what diffusers feeds its text encoder.

    Returns:
        BatchEncoding with ``input_ids`` and ``attention_mask``, both (n, 77) or (n, longest),
        torch.long, on the CPU. The mask is 1 up to and including the ``<|endoftext|>`` that ends
        the text: it goes by position, because the padding token also occurs in texts.

    Raises:
        TypeError: not a string or a list of strings.
        ValueError: an empty list, a lone surrogate in a text, or another ``padding``.
        ImportError: ``clean`` is wanted and ftfy is not installed.
    """
    import torch
    from transformers import BatchEncoding

    check_clip(clip)
    if padding not in ("max_length", "longest"):
        raise ValueError(f"padding must be 'max_length' or 'longest', not {padding!r}.")
    batch = _check_texts(texts)
    if clean:
        batch = [_clean(text) for text in batch]

    room = clip.max_length
    rows = []
    for number, encoding in enumerate(_text_tokenizer(clip).encode_batch_fast(batch)):
        ids = encoding.ids
        if len(ids) > room - 2:
            log.warning(
                "prompt %d is %d tokens long, %d fit; lost: %s",
                number,
                len(ids) + 2,
                room,
                _shorten(_decode(clip, ids[room - 2 :])),
            )
        rows.append([clip.bos_token_id, *ids[: room - 2], clip.eos_token_id])

    length = room if padding == "max_length" else max(map(len, rows))
    input_ids = torch.full((len(rows), length), clip.pad_token_id, dtype=torch.long)
    attention_mask = torch.zeros((len(rows), length), dtype=torch.long)
    for number, row in enumerate(rows):
        input_ids[number, : len(row)] = torch.tensor(row)
        attention_mask[number, : len(row)] = 1
    return BatchEncoding({"input_ids": input_ids, "attention_mask": attention_mask})


def detokenize(
    clip: Clip, tokens: BatchEncoding | torch.Tensor | Sequence[int] | Sequence[Sequence[int]]
) -> list[str]:
    """Turn ids back into text: a list with one string for each row.

    Each row is read up to its first ``<|endoftext|>`` (all of it if there is none), without
    ``<|startoftext|>``. Special tokens are recognised by where they stand, not thrown out by id,
    so a ``!`` survives in Stable Diffusion 2, whose padding token it is. What tokenizing lost
    (case, runs of spaces, spaces around punctuation) does not come back; half a character
    becomes U+FFFD.

    Args:
        clip: what ``load_clip`` returned.
        tokens: what ``tokenize`` or ``embed`` returned, ids of shape (n, L) or (L,), a list of
            ids, or a list of rows (lists, or tensors of shape (L,)). No rows give no texts.

    Raises:
        TypeError: not ids, or rows and single ids in one list.
        ValueError: an id that is not in the vocabulary.
    """
    check_clip(clip)
    texts = []
    for row in _check_rows(tokens):
        for position, token in enumerate(row):
            if not 0 <= token < len(clip.tokenizer):
                raise ValueError(
                    f"id {token} is not in the vocabulary (0 to {len(clip.tokenizer) - 1})."
                )
            if token == clip.eos_token_id:
                row = row[:position]
                break
        texts.append(_decode(clip, [token for token in row if token != clip.bos_token_id]))
    return texts


# --- the tokenizer that reads special strings as text -----------------------------------------

_text_tokenizers: WeakKeyDictionary[Any, tuple[Any, Tokenizer]] = WeakKeyDictionary()


def _text_tokenizer(clip: Clip) -> Tokenizer:
    """A copy of the checkpoint's Rust tokenizer that knows no ``<|startoftext|>`` and no
    ``<|endoftext|>``, adds nothing, cuts nothing and pads nothing.

    ``split_special_tokens=True`` would do in some versions of transformers and be ignored in
    others (and would change what SD 2 makes of ``!``), so the two tokens are taken out of a copy.
    The checkpoint's own tokenizer is left as it is. Tokens that the user added stay.
    """
    backend = clip.tokenizer.backend_tokenizer
    state = {number: str(token) for number, token in backend.get_added_tokens_decoder().items()}
    kept = _text_tokenizers.get(clip.tokenizer)
    if kept is not None and kept[0] == state:
        return kept[1]

    from tokenizers import Tokenizer

    control = {clip.bos_token_id, clip.eos_token_id}
    parts = json.loads(backend.to_str())
    parts["added_tokens"] = [t for t in parts["added_tokens"] if t["id"] not in control]
    parts["post_processor"] = parts["truncation"] = parts["padding"] = None
    # transformers 5 also keeps the two strings whole when it splits a text into words
    words = json.dumps(parts["pre_tokenizer"])
    whole = json.dumps(r"<\|startoftext\|>|<\|endoftext\|>|")[1:-1]
    parts["pre_tokenizer"] = json.loads(words.replace(whole, ""))
    copy = Tokenizer.from_str(json.dumps(parts))
    _text_tokenizers[clip.tokenizer] = (state, copy)
    return copy


def _decode(clip: Clip, ids: Sequence[int]) -> str:
    """Ids of text (no start, no end) to a string."""
    from tokenizers.decoders import ByteLevel

    added = clip.tokenizer.added_tokens_decoder
    text, run = "", []  # run: byte-level pieces that wait to be decoded together
    for position, token in enumerate(ids):
        piece = clip.tokenizer.convert_ids_to_tokens(int(token))
        if token in added or token == clip.pad_token_id:
            # Such a token is plain text, not spelt in bytes, and has no end-of-word mark.
            text += ByteLevel().decode(run) + piece
            run = []
            if token != clip.pad_token_id or list(ids[position + 1 : position + 2]) != [token]:
                text += " "  # but SD 2's "!", its padding token, keeps "!!" together
        elif piece.endswith(WORD_END):
            run.append(piece.removesuffix(WORD_END) + "Ġ")  # the byte-level spelling of a space
        else:
            run.append(piece)
    return (text + ByteLevel().decode(run)).strip()


# --- checks ---------------------------------------------------------------------------------


def _check_texts(texts: Any) -> list[str]:
    if isinstance(texts, str):
        texts = [texts]
    if not isinstance(texts, list | tuple):
        hint = " (the empty prompt is '')" if texts is None else ""
        if isinstance(texts, Clip):
            hint = " (the clip comes first, then the texts)"
        raise TypeError(
            f"texts must be a string or a list of strings, not {type(texts).__name__}{hint}."
        )
    if not texts:
        raise ValueError("the list of texts is empty; pass at least one string ('' will do).")
    for number, text in enumerate(texts):
        _check_text(text, f"texts[{number}]")
    return list(texts)


def _check_text(text: Any, what: str) -> None:
    if not isinstance(text, str):
        hint = "; decode it first: text.decode('utf-8')" if isinstance(text, bytes) else ""
        raise TypeError(f"{what} must be a string, not {type(text).__name__}{hint}.")
    half = re.search("[\ud800-\udfff]", text)
    if half:
        raise ValueError(
            f"{what} holds a lone surrogate, U+{ord(half[0]):04X}, at position {half.start()}: "
            "half a character, which no encoding has; remove it or read the text again as UTF-8."
        )


def _check_rows(tokens: Any) -> list[list[int]]:
    """Whatever holds ids, as a list of lists of int."""
    tokens = getattr(tokens, "input_ids", tokens)
    no_rows = getattr(tokens, "ndim", None) == 2 and len(tokens) == 0  # (0, L) is not (0,)
    tokens = _plain(tokens)
    if not isinstance(tokens, list | tuple):
        raise TypeError(
            f"tokens must be what tokenize returned, ids (n, L) or (L,), or a list of ids, "
            f"not {type(tokens).__name__}."
        )
    rows = [_plain(row) for row in tokens]
    nested = sum(isinstance(row, list | tuple) for row in rows)
    if 0 < nested < len(rows):
        raise TypeError("tokens mixes rows of ids and single values; pass one row or only rows.")
    if not nested and not no_rows:
        rows = [rows]
    rows = [[_plain(token) for token in row] for row in rows]
    for token in (token for row in rows for token in row):
        if not isinstance(token, int) or isinstance(token, bool):
            kind = type(token).__name__
            hint = "; for an embedding pass the input_ids it came from" if kind != "str" else ""
            raise TypeError(f"ids must be whole numbers, not {kind}{hint}.")
    return rows


def _plain(values: Any) -> Any:
    """A torch tensor or numpy array as lists, or as a number if it is one; all else as it is."""
    return values.tolist() if hasattr(values, "tolist") else values


def _shorten(text: str, words: int = 12, letters: int = 60) -> str:
    """``text`` in quotes; its beginning and end only, and the number of words, if it is long."""
    parts = text.split()
    if len(parts) <= words and len(text) <= 2 * letters:
        return f"'{text}'"
    head, tail = " ".join(parts[:3])[:letters], " ".join(parts[-3:])[-letters:]
    return f"'{head} … {tail}' ({len(parts)} words)" if len(parts) > 1 else f"'{head} … {tail}'"
