"""What lies in a checkpoint's folder, looked at before, and a tokenizer after, a library opens it.

Loading is safe by rule: safetensors only, in the folder itself. And it is right or it is an error:
half a tokenizer or a half-filled model would work without a word of warning.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .hub import CheckpointError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerFast

# The plain weights, whole or in shards; not variants such as model.fp16.safetensors.
WEIGHTS = r"(^|/)model(-\d+-of-\d+)?\.safetensors(\.index\.json)?$"
REDIRECT = "transformers_weights"  # entry of a config.json that names another file to open

# CLIP's byte-pair vocabulary is one fixed thing (OpenAI, bpe_simple_vocab_16e6): so many words and
# merges, the SHA-256 of each list, one a line, and what becomes of a text with all that is special.
VOCABULARY_SIZE, WORDS = 49408, "7cccc44d334555d1ff3c0ac5f0246b428fab2918383e77ee745cf30d41010b78"
MERGES_SIZE, MERGES = 48894, "f61f2adf497e6f5357c347aeb4646fabe82f341e946de5bdec5d2858e41bef4a"
START, END, FILLER = 49406, 49407, 0  # the last is "!", with which SD 2 pads
CONTROL = {("<|startoftext|>", START), ("<|endoftext|>", END), ("!", FILLER)}
SAMPLE = "It's 1984?? naïve  CAFÉ ½ ﬁ"
SAMPLE_IDS = (
    *(49406, 585, 568, 272, 280, 279, 275, 2197, 1097, 35689, 563, 15304, 33613),
    *(171, 105, 479, 49407),
)


def layout(name: str, folder: Path) -> tuple[Path, Path]:
    """(folder with the weights, folder with the tokenizer) of the layouts we know."""
    if (folder / "text_encoder").is_dir():
        weights, words = folder / "text_encoder", folder / "tokenizer"
    else:
        weights, words = folder, folder
        beside = folder.parent / "tokenizer"
        if folder.name == "text_encoder" and not _has_tokenizer(words) and beside.is_dir():
            words = beside
    if not (weights / "config.json").is_file():
        raise CheckpointError(
            f"{name}: no config.json there, so this is not a model folder; pass a saved CLIPModel "
            "or CLIPTextModel, or a folder with tokenizer/ and text_encoder/."
        )
    if not _has_tokenizer(words):
        raise CheckpointError(
            f"{name}: the tokenizer is missing; put vocab.json and merges.txt (or tokenizer.json) "
            "beside the model or in tokenizer/."
        )
    if not any(re.search(WEIGHTS, file.name) for file in weights.iterdir()):
        raise CheckpointError(
            f"{name}: no model.safetensors there; other weight files (.bin, .pt, .ckpt) are not "
            "opened because they can run code, so convert them first."
        )
    return weights, words


def _has_tokenizer(folder: Path) -> bool:
    pair = (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()
    return pair or (folder / "tokenizer.json").is_file()


def is_complete(folder: Path) -> bool:
    """Whether a snapshot of unknown content has all that loading needs, every shard included.

    ``download`` fetches the weights last, so where they are the small files are, too.
    """
    try:
        weights, _ = layout("", folder)
        files = ["model.safetensors"]
        if not (weights / files[0]).is_file():
            files = check_weights("", weights)
    except CheckpointError:
        return False
    return bool(files) and all((weights / file).is_file() for file in files)


def read_json(name: str, file: Path) -> dict[str, Any]:
    """What a JSON file of the checkpoint ``name`` says.

    Raises:
        CheckpointError: it cannot be read, or is no object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError):  # the last: brackets in brackets in ...
        content = None
    if not isinstance(content, dict):
        raise CheckpointError(f"{name}: {file.name} cannot be read; fetch or save it again.")
    return content


def check_weights(name: str, folder: Path) -> list[str]:
    """See that only safetensors of this folder would be opened; the shards that an index names.

    An index may point anywhere, and so may the entry ``transformers_weights`` of a configuration.

    Raises:
        CheckpointError: to a file of another kind, or outside the folder.
    """
    files: list[Any] = []
    for index in sorted(folder.glob("*.safetensors.index*.json")):
        shards = read_json(name, index).get("weight_map")
        files += (
            sorted(set(map(str, shards.values()))) if isinstance(shards, dict) else [index.name]
        )
    config = folder / "config.json"
    redirect = read_json(name, config).get(REDIRECT) if config.is_file() else None
    for file in [*files, *([redirect] if redirect else [])]:
        if not re.fullmatch(r"[\w.-]+\.safetensors", str(file)):
            raise CheckpointError(
                f"{name}: its index or config.json points to {str(file)[:60]!r}, which is no "
                "*.safetensors in the same folder; other files can run code when they are opened."
            )
    return files


def check_finite(name: str, what: str, model: nn.Module) -> None:
    """See that every weight is a number, while the model still lies on the CPU.

    Raises:
        CheckpointError: some are NaN or infinite, and so would be all that is computed.
    """
    for key, weight in model.named_parameters():
        # NaN goes through to both ends; looking at every number by itself takes ten times longer
        if not all(bool(end.isfinite()) for end in weight.aminmax()):
            raise CheckpointError(
                f"{name}: {what} hold NaN or infinity, in {key}, so nothing could be computed; "
                "fetch or save them again."
            )


def check_tokenizer(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    """See that texts become CLIP's ids; tokens that somebody added behind them are welcome.

    Asked is the tokenizer as it was loaded, because a folder that lacks a file, or holds a damaged
    one, gives another tokenizer without a word of warning.

    Raises:
        CheckpointError: its vocabulary, its merges or its way to take a text apart is not CLIP's.
    """

    def digest(lines: list[str]) -> str:
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    state = json.loads(tokenizer.backend_tokenizer.to_str())
    model = state["model"]
    vocabulary, merges = model.get("vocab"), model.get("merges")
    wrong = ""
    if not isinstance(vocabulary, dict) or not isinstance(merges, list):
        wrong = "it is of another kind"
    else:
        words = sorted(vocabulary, key=vocabulary.__getitem__)[:VOCABULARY_SIZE]
        added = [(t["content"], t["id"]) for t in state["added_tokens"]]
        if len(words) < VOCABULARY_SIZE:
            wrong = f"it has {len(words):,} tokens of {VOCABULARY_SIZE:,}"
        elif vocabulary[words[-1]] != VOCABULARY_SIZE - 1 or digest(words) != WORDS:
            wrong = "its vocabulary has other tokens or ids"
        elif any(i < VOCABULARY_SIZE and (word, i) not in CONTROL for word, i in added):
            wrong = "an added token takes the place of one of its own"
        elif tokenizer.pad_token_id not in (END, FILLER) and not (
            (tokenizer.pad_token_id or 0) >= VOCABULARY_SIZE
        ):
            wrong = f"it pads with {tokenizer.pad_token!r}"
        elif digest([m if isinstance(m, str) else " ".join(m) for m in merges]) != MERGES:
            wrong = (
                f"its {len(merges):,} merges are not CLIP's {MERGES_SIZE:,}, or in another order"
            )
        elif model.get("dropout") or tuple(tokenizer(SAMPLE)["input_ids"]) != SAMPLE_IDS:
            wrong = "it takes a text apart in another way"
    if wrong:
        raise CheckpointError(
            f"{name}: its tokenizer is not CLIP's: {wrong}. Texts would become wrong ids; a file "
            "may be cut short or changed, so fetch the tokenizer's files again."
        )


_one_at_a_time = threading.RLock()


@contextmanager
def quiet(library: str) -> Iterator[None]:
    """Keep a library's progress bars, notices and load reports off stderr while it loads.

    Its settings belong to the whole process, and so does torch's default dtype, which it changes
    for a moment: so threads load one after the other. Nothing is hidden that matters: whoever
    loads a model reads the load report itself.

    Args:
        library: ``"transformers"`` or ``"diffusers"``.
    """
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars

    settings = import_module(f"{library}.utils.logging")
    with _one_at_a_time:
        verbosity, bars = settings.get_verbosity(), settings.is_progress_bar_enabled()
        no_bars_of_the_hub = are_progress_bars_disabled()  # transformers switches these as well
        # diffusers also logs, as errors, what it then raises
        settings.set_verbosity(logging.ERROR if library == "transformers" else logging.CRITICAL)
        settings.disable_progress_bar()
        try:
            yield
        finally:
            settings.set_verbosity(verbosity)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that HF_HUB_DISABLE_PROGRESS_BARS is set
                if bars:
                    settings.enable_progress_bar()
            if no_bars_of_the_hub:
                disable_progress_bars()
