"""All rows of a text, which the exercises on pictures and on arithmetic compute with."""

from __future__ import annotations

from typing import Any

from ..embeddings import embed


def rows_of(clip: Any, *texts: str) -> Any:
    """``last_hidden_state`` of one text, (77, d), or of several, (n, 77, d), in float32."""
    rows = embed(clip, list(texts)).last_hidden_state.float()
    return rows[0] if len(texts) == 1 else rows
