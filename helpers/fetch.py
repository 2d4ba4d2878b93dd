"""``python -m helpers fetch``: a checkpoint beforehand, into the cache or onto a USB stick.

On the stick it is a folder of plain files, no links. ``CLIP_CHECKPOINT=FOLDER`` opens it, without a
network.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from .checkpoints import CHECKPOINTS, ENVIRONMENT_VARIABLE, Checkpoint, find_folder
from .diffusion import find_pipeline, pipeline_files
from .hub import ROOM, CheckpointError, ask, cached_hashes, damaged

SUMS = "SHA256SUMS"  # the hashes of a folder's files, in the format of the command sha256sum
ABOUT = "README.md"


def table() -> str:
    """The known checkpoints: what they are, how large, and under which licence."""
    lines = ["Names, sizes of the text side and, with --pipeline, of the rest:", ""]
    for name, known in CHECKPOINTS.items():
        size = _gigabytes(known.download_bytes) if known.id else "shipped"
        rest = f"+ {_gigabytes(known.pipeline_bytes)}" if known.pipeline_bytes else ""
        lines += [
            f"{name:8} {size:9} {rest:10} {known.licence}",
            f"         {known.about}",
        ]
    return "\n".join([*lines, "", "python -m helpers fetch sd1 --to FOLDER"])


def fetch(
    name: str,
    to: str | os.PathLike[str] | None = None,
    *,
    pipeline: bool = False,
    half: bool = False,
) -> Path:
    """Download a checkpoint of the table, compare it with its hashes, and say how to use it.

    What was interrupted goes on where it stopped. A file that is damaged is fetched once more.

    Args:
        name: ``"clip-l"``, ``"sd1"`` or ``"sd2"``.
        to: a folder to put it into, new, empty or from an earlier ``fetch`` of the same; None
            leaves it in the Hugging Face cache, where ``load_clip(name)`` looks.
        pipeline: the U-Net and what else ``load_pipeline`` needs as well.
        half: take these in half precision, half as large.

    Returns:
        The folder.

    Raises:
        CheckpointError: no such name, not to be fetched, no room, or a folder that holds other
            things.
    """
    known = CHECKPOINTS.get(name)
    if known is None:
        raise CheckpointError(f"{name!r} is none of the table: {', '.join(CHECKPOINTS)}.")
    if known.id is None:
        raise CheckpointError(f"{name} ships with the series; there is nothing to fetch.")
    rest = (known.pipeline_bytes // (1 + half)) if pipeline else 0
    if pipeline and not rest:
        raise CheckpointError(f"{name} is a CLIP alone; it has no pipeline to fetch.")
    target = None if to is None else _target(Path(to).expanduser().absolute(), known)
    print(f"{name}: {known.about}")
    print(f"  from     {known.id}, revision {str(known.revision)[:10]}")
    print(f"  licence  {known.licence}")
    beside = f" and about {_gigabytes(rest)} for its pipeline" if rest else ""
    print(f"  size     about {_gigabytes(known.download_bytes)}{beside}, less what is here already")
    print("Ctrl-C stops it; the same command goes on from there.", flush=True)

    folder, files, unknown = _whole(name, known, pipeline, half)
    if target is not None:
        _copy(folder, target, files)
        folder = target
    size = sum((folder / file).stat().st_size for file in files)
    how = "each as its hash says"
    if unknown:
        how = f"not compared, because the Hub could not be asked: {', '.join(sorted(unknown))}"
    print(f"Done: {len(files)} files, {_gigabytes(size)}, {how}, in\n  {folder}")
    print(f"Use it: {ENVIRONMENT_VARIABLE}={name if target is None else target} make notebooks")
    return folder


def read_sums(folder: Path) -> dict[str, str]:
    """What ``SHA256SUMS`` says: file -> SHA-256, for ``helpers.hub.damaged``; {} without one."""
    sums = folder / SUMS
    lines = sums.read_text(encoding="utf-8").splitlines() if sums.is_file() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines) if name}


def write_sums(folder: Path, files: Iterable[str]) -> None:
    """Write ``SHA256SUMS`` for ``files`` of ``folder``, paths with "/" on every system."""
    lines = [f"{_digest(folder / file)}  {file}\n" for file in sorted(files)]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8", newline="\n")


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"


def _whole(
    name: str, known: Checkpoint, pipeline: bool, half: bool
) -> tuple[Path, list[str], set[str]]:
    """(its folder in the cache, the files that belong to it, those of them whose hash is unknown).

    The others have been compared.
    """
    for last in (False, True):
        folder = find_folder(name)
        files = [file for file in known.files if (folder / file).is_file()]
        if pipeline:
            folder, variant = find_pipeline(name, half=half)  # of the same commit: the same folder
            files += pipeline_files(folder, variant)
        try:
            told = ask(str(known.id), known.revision).hashes
        except CheckpointError:  # without a network: the names in the cache are the hashes
            told = cached_hashes(folder)
        hashes = {file: told[file] for file in files if told.get(file)}
        wrong = damaged(folder, hashes)
        if not wrong:
            return folder, files, set(files) - set(hashes)
        if last:
            break
        print(f"Damaged, so fetched once more: {', '.join(wrong)}", flush=True)
        for file in wrong:
            (folder / file).resolve().unlink()
            (folder / file).unlink(missing_ok=True)
    raise CheckpointError(f"{name}: {wrong[0]} is damaged again; the disk may be failing.")


def _target(folder: Path, known: Checkpoint) -> Path:
    """The folder to put it into, with a word on what it is; it must not hold anything else."""
    about = folder / ABOUT
    head = f"# {known.id}, revision {known.revision}\n"
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder} is a file; name a new folder.")
    if folder.is_dir() and any(folder.iterdir()):
        if not about.is_file() or not about.read_text(encoding="utf-8").startswith(head):
            raise CheckpointError(
                f"{folder} holds something else; name a new folder, such as {folder / 'new'}."
            )
        return folder
    text = (
        f"\n{known.about}.\nLicence of the weights: {known.licence}; its terms are on the page "
        f"https://huggingface.co/{known.id}\n\nFor the series From Prompt to Embedding: "
        f"`{ENVIRONMENT_VARIABLE}=this/folder make notebooks`.\n`sha256sum --check {SUMS}` "
        "compares the files with their hashes.\n"
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        about.write_text(head + text, encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written ({error.strerror}).") from None
    return folder


def _copy(source: Path, target: Path, files: list[str]) -> None:
    """Copy real files, not links; what is there and right stays; what is written is read again."""
    from tqdm.auto import tqdm

    sizes = {file: (source / file).stat().st_size for file in files}
    size = sum(sizes[file] for file in files if not (target / file).is_file())
    free = shutil.disk_usage(target).free
    if size and free < size + ROOM:
        raise CheckpointError(
            f"{target} needs {_gigabytes(size + ROOM)} and {_gigabytes(free)} are free there."
        )
    total = sum(sizes.values())
    with tqdm(desc="copying", total=total, unit="B", unit_scale=True, delay=2, leave=False) as bar:
        for file in files:
            there = target / file
            digest = {file: _digest(source / file)}
            if there.is_file() and not damaged(target, digest):
                bar.update(sizes[file])
                continue
            there.parent.mkdir(parents=True, exist_ok=True)
            part = there.with_name(there.name + ".part")  # under its own name it is whole
            with (source / file).open("rb") as stream, part.open("wb") as out:
                while block := stream.read(4_000_000):
                    out.write(block)
                    bar.update(len(block))
                os.fsync(out.fileno())
            part.replace(there)
            if damaged(target, digest):
                there.unlink()
                raise CheckpointError(
                    f"{there} did not arrive as it was sent, so it was deleted; try again, and if "
                    "that does not help, another disk or stick."
                )
    write_sums(target, files)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
