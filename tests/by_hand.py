"""Small, slow and independent: byte-pair encoding and the text encoder written out.

The tests compare the library and the helpers with these. Nothing here calls either.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

import torch

CONTRACTIONS = ("'re", "'ve", "'ll", "'s", "'t", "'m", "'d")


def byte_letters() -> dict[int, str]:
    """The printable letter that stands for each of the 256 bytes (OpenAI, GPT-2 and CLIP)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        if byte not in letters:
            letters[byte] = chr(256 + len(letters) - len(printable))
    return letters


class BytePairs:
    """CLIP's byte-pair encoding from merges.txt alone, vocabulary included."""

    def __init__(self, merges_file: Path) -> None:
        lines = merges_file.read_text(encoding="utf-8").splitlines()
        pairs = [tuple(line.split(" ")) for line in lines[1:] if line]
        letters = byte_letters()
        # in the order in which OpenAI lists the bytes: printable ones first
        singles = sorted(letters.values(), key=ord)
        tokens = [*singles, *(s + "</w>" for s in singles), *("".join(p) for p in pairs)]
        self.ids = {token: number for number, token in enumerate(tokens)}
        self.ranks = {pair: rank for rank, pair in enumerate(pairs)}
        self.letters = letters

    def encode(self, text: str) -> list[int]:
        """Ids of a text that ``clean`` has seen; no start, no end."""
        text = unicodedata.normalize("NFC", text).lower()
        return [self.ids[token] for word in split(text) for token in self.merge(word)]

    def merge(self, word: str) -> list[str]:
        parts = [self.letters[byte] for byte in word.encode("utf-8")]
        parts[-1] += "</w>"
        while len(parts) > 1:
            pairs = list(zip(parts, parts[1:], strict=False))
            best = min(pairs, key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if best not in self.ranks:
                break
            merged, position = [], 0
            while position < len(parts):
                if tuple(parts[position : position + 2]) == best:
                    merged.append("".join(best))
                    position += 2
                else:
                    merged.append(parts[position])
                    position += 1
            parts = merged
        return parts


def split(text: str) -> list[str]:
    """Contractions, runs of letters, single digits, runs of anything else but space."""
    words, position = [], 0
    while position < len(text):
        found = next((c for c in CONTRACTIONS if text.startswith(c, position)), None)
        if found:
            words.append(found)
            position += len(found)
            continue
        kind = kind_of(text[position])
        end = position + 1
        if kind in "LO":
            while end < len(text) and kind_of(text[end]) == kind:
                end += 1
        if kind != " ":
            words.append(text[position:end])
        position = end
    return words


def kind_of(letter: str) -> str:
    """ "L" letter, "N" number, " " space, "O" other."""
    if letter.isspace():
        return " "
    category = unicodedata.category(letter)[0]
    return category if category in "LN" else "O"


def encode_text(inner: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """last_hidden_state (n, L, d) from the weights of ``Clip.inner``, with plain matrix algebra.

    Token plus position, then in each layer causal attention and a two-layer network, each added
    to what came in, at last the final layer norm. Radford et al. 2021, section 2.4.
    """
    config = inner.config
    heads, width = config.num_attention_heads, config.hidden_size
    n, length = ids.shape
    table = inner.embeddings
    x = table.token_embedding.weight[ids] + table.position_embedding.weight[:length]
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    for layer in inner.encoder.layers:
        attention = layer.self_attn
        h = norm(layer.layer_norm1, x)
        q, k, v = (
            (h @ p.weight.T + p.bias).view(n, length, heads, width // heads).transpose(1, 2)
            for p in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        scores = q @ k.transpose(-1, -2) / (width // heads) ** 0.5
        mixed = scores.masked_fill(future, -torch.inf).softmax(-1) @ v
        mixed = mixed.transpose(1, 2).reshape(n, length, width)
        x = x + mixed @ attention.out_proj.weight.T + attention.out_proj.bias
        h = norm(layer.layer_norm2, x) @ layer.mlp.fc1.weight.T + layer.mlp.fc1.bias
        if config.hidden_act == "quick_gelu":
            h = h * torch.sigmoid(1.702 * h)
        else:
            h = h * 0.5 * (1 + torch.erf(h / 2**0.5))
        x = x + h @ layer.mlp.fc2.weight.T + layer.mlp.fc2.bias
    return norm(inner.final_layer_norm, x)


def norm(layer: torch.nn.LayerNorm, x: torch.Tensor) -> torch.Tensor:
    mean = x.mean(-1, keepdim=True)
    spread = (x - mean).pow(2).mean(-1, keepdim=True).add(layer.eps).sqrt()
    return (x - mean) / spread * layer.weight + layer.bias
