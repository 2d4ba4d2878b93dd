"""Write CLIP's genuine tokenizer files from the MIT-licensed BPE file that ``open_clip_torch`` carries."""

from __future__ import annotations

import gzip
import json
from importlib.util import find_spec
from pathlib import Path

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
MERGES = 49_152 - 256 - 2  # OpenAI's simple_tokenizer.py reads this many of the file's lines


def byte_alphabet() -> list[str]:
    """The 256 characters that stand for the 256 bytes, in OpenAI's order (GPT-2's ``bytes_to_unicode``)."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]


def write_tokenizer(folder: Path) -> None:
    """``vocab.json``, ``merges.txt`` and ``tokenizer_config.json``: 49,408 tokens, four special roles."""
    spec = find_spec("open_clip")  # only found, not imported: its other needs are not ours
    if spec is None:
        raise SystemExit(
            "open_clip_torch is missing. Run `pip install --no-deps open_clip_torch==3.3.0`."
        )
    lines = gzip.decompress(
        (Path(spec.origin).parent / "bpe_simple_vocab_16e6.txt.gz").read_bytes()
    )
    merges = lines.decode("utf-8").split("\n")[1 : MERGES + 1]
    letters = byte_alphabet()
    tokens = letters + [letter + "</w>" for letter in letters]
    tokens += ["".join(merge.split()) for merge in merges] + [BOS, EOS]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    if len(vocabulary) != 49_408 or vocabulary[EOS] != 49_407:
        raise ValueError(f"The BPE file is not CLIP's: {len(vocabulary)} tokens instead of 49,408.")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(
        json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")), encoding="utf-8"
    )
    (folder / "merges.txt").write_text(
        "#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8"
    )
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "do_lower_case": True,
        "errors": "replace",
        "bos_token": BOS,
        "eos_token": EOS,
        "unk_token": EOS,
        "pad_token": EOS,
    }
    (folder / "tokenizer_config.json").write_text(
        json.dumps(settings, indent=2) + "\n", encoding="utf-8"
    )
