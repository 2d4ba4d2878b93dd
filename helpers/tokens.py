"""From text to token ids and back: ``clean``, ``tokenize``, ``detokenize``."""

from __future__ import annotations

import html
import json
import logging
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from .checkpoints import check_clip
from .checks import check_padding, check_text, check_vocabulary, prompts_as_list, rows_of_ids

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import BatchEncoding

    from .checkpoints import Clip

log = logging.getLogger(__name__)

WORD_END = "</w>"  # CLIP marks the last piece of every word with it
AT_ONCE = 1000  # prompts; the library holds about 5 kB for each until its batch is read


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
    check_text(text, "text")
    try:
        import ftfy
    except ImportError:
        raise ImportError(
            "Cleaning text needs ftfy: run 'pip install ftfy', or pass clean=False to tokenize."
        ) from None
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


_clean = clean  # tokenize has an argument of the same name


def tokenize(
    clip: Clip,
    prompts: str | Sequence[str],
    *,
    padding: str = "max_length",
    clean: bool = True,
) -> BatchEncoding:
    """Turn text into the ids a CLIP reads, one row of 77 for each string.

    Every row is ``<|startoftext|>``, at most 75 tokens of text, ``<|endoftext|>``, then padding.
    A prompt that does not fit is cut, and the lost words are logged as a warning by the logger
    ``helpers.tokens``. Strings such as ``<|endoftext|>`` inside a prompt are ordinary text here:
    the library alone would end it there. Everything else, the ``!`` of Stable Diffusion 2
    included, is as the checkpoint's own tokenizer has it.

    Args:
        clip: what ``load_clip`` returned.
        prompts: a string, or a list or tuple of strings. ``""`` is the empty prompt: 77 real rows.
        padding: ``"max_length"`` fills every row to 77, as Stable Diffusion does; ``"longest"``
            only to the longest row of the batch.
        clean: apply ``clean`` first. False gives what diffusers feeds its text encoder.

    Returns:
        BatchEncoding with ``input_ids`` and ``attention_mask``, both (n, 77) or (n, longest),
        torch.long, on the CPU. The mask is 1 up to and including the ``<|endoftext|>`` that ends
        the text: it goes by position, because the padding token also occurs in texts.

    Raises:
        TypeError: not a string or a list of strings.
        ValueError: an empty list, a lone surrogate in a prompt, or another ``padding``.
        ImportError: ``clean`` is wanted and ftfy is not installed.
    """
    import torch
    from transformers import BatchEncoding

    check_clip(clip)
    check_padding(padding)
    prompts = prompts_as_list(prompts)
    if clean:
        prompts = [_clean(prompt) for prompt in prompts]

    room = clip.max_length
    rows = []
    encode, starts = _text_tokenizer(clip).encode_batch_fast, range(0, len(prompts), AT_ONCE)
    encodings = (encode(prompts[start : start + AT_ONCE]) for start in starts)
    for number, encoding in enumerate(chain.from_iterable(encodings)):
        ids = encoding.ids
        if len(ids) > room - 2:
            log.warning(
                "prompt %d is %d tokens long, %d fit; lost: %s",
                number,
                len(ids) + 2,
                room,
                _lost(clip, ids[room - 2 :]),
            )
        rows.append([clip.bos_token_id, *ids[: room - 2], clip.eos_token_id])

    length = room if padding == "max_length" else max(map(len, rows))
    # told where and what, whatever somebody has made torch's defaults
    kind: dict[str, Any] = {"dtype": torch.long, "device": "cpu"}
    padding_ids = [clip.pad_token_id] * length
    input_ids = torch.tensor([(row + padding_ids)[:length] for row in rows], **kind)
    real = torch.tensor([[len(row)] for row in rows], **kind)
    attention_mask = (torch.arange(length, **kind) < real).long()
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
    for row in rows_of_ids(tokens):
        row = row[: row.index(clip.eos_token_id)] if clip.eos_token_id in row else row
        check_vocabulary(row, len(clip.tokenizer))
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
    state = sorted(backend.get_added_tokens_decoder())  # ids: what is added stays as it is
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
    text = ""
    run: list[str] = []  # byte-level pieces that wait to be decoded together
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


# --- the words that do not fit ----------------------------------------------------------------

WORDS, LETTERS = 12, 60  # so many words, or twice as many letters, are shown whole
EDGE = 4 * LETTERS  # ids: a letter is at most four bytes, so these hold LETTERS letters or more


def _lost(clip: Clip, ids: Sequence[int]) -> str:
    """The text of ``ids`` in quotes; if it is long, its beginning, its end and its size."""
    if len(ids) > 2 * EDGE:  # decoding a book to show six words of it would take a while
        head, tail = _decode(clip, ids[:EDGE]).split(), _decode(clip, ids[-EDGE:]).split()
        size = f" ({len(ids)} tokens)"
    else:
        text = _decode(clip, ids)
        head = tail = text.split()
        if len(head) <= WORDS and len(text) <= 2 * LETTERS:
            return f"'{text}'"
        size = f" ({len(head)} words)" if len(head) > 1 else ""
    return f"'{' '.join(head[:3])[:LETTERS]} … {' '.join(tail[-3:])[-LETTERS:]}'{size}"
