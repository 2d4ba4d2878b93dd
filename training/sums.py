"""The hashes of a shipped model's files: ``python -m training.sums`` writes them anew.

The exports do. ``python -m helpers doctor`` compares a reader's copy with them.
"""

from pathlib import Path

from helpers.fetch import write_sums
from training import SHIPPED


def sums(folder: Path) -> None:
    """Write ``SHA256SUMS`` for what loading reads: weights, configurations, vocabulary and merges."""
    files = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    read = (".safetensors", ".json", ".txt")
    write_sums(folder, [f for f in files if f.endswith(read) and f != "results.json"])


if __name__ == "__main__":
    for model in sorted((SHIPPED / "models").iterdir()):
        if model.is_dir():
            sums(model)
