"""From a repository on the Hugging Face Hub to a folder on this disk.

What is in the cache is used: a pinned commit that is there asks nobody, and a name that may move
(``org/name``, a branch, a tag) asks once and does without an answer. What is fetched here is
compared with its hash when it has arrived, or, if the process was killed just then, before it is
used; what another program put into the cache is not. What goes wrong is said by its true cause.
"""

from __future__ import annotations

import errno
import hashlib
import inspect
import json
import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

ROOM = 200_000_000  # bytes left free, so that the machine still works after a download


class CheckpointError(OSError, ValueError):
    """A checkpoint cannot be found, fetched, trusted or used; the message says what to do.

    It is both an ``OSError`` and a ``ValueError``, so either ``except`` clause catches it.

    Attributes:
        way_out: what helps in any case; the message ends with it.
    """

    way_out: str = 'load_clip("emoji") needs no download.'

    def __str__(self) -> str:
        return " ".join(map(str, (*self.args[:1], self.way_out)))


@dataclass(frozen=True)
class Remote:
    """What the Hub says about one repository.

    Attributes:
        repo: ``"org/name"``.
        revision: what was asked for: a commit, a branch, a tag, or None.
        commit: the commit that this is now, 40 hex digits.
        sizes: bytes of each file.
        hashes: of each file: SHA-256 of a large one, git's SHA-1 of a small one.
    """

    repo: str
    revision: str | None
    commit: str
    sizes: Mapping[str, int]
    hashes: Mapping[str, str]


def find(
    repo: str,
    revision: str | None,
    here: Callable[[], Path | None],
    fetch: Callable[[Remote], Path],
) -> Path:
    """The folder of a repository: the copy in the cache, or what ``fetch`` makes of the Hub's.

    Args:
        repo, revision: what is wanted; a revision of 40 hex digits is pinned and cannot move.
        here: gives the folder in the cache if it holds all that is needed, else None.
        fetch: gets what the Hub says, and downloads what it picks from it.

    Raises:
        CheckpointError: it is not in the cache, and cannot be fetched.
    """
    from huggingface_hub import constants

    _compare_the_rest(repo)
    folder = here()
    if folder is not None and _compare_the_rest(repo):  # what came from another process just now
        folder = here()
    pinned = re.fullmatch(r"[0-9a-f]{40}", revision or "")
    if folder is not None and (pinned or constants.HF_HUB_OFFLINE):
        return folder
    try:
        remote = ask(repo, revision)
        new = fetch(remote)
    except CheckpointError as error:
        if folder is None:
            raise
        log.warning("%s So the copy in the cache is used: %s.", error.args[0], folder.name)
        return folder
    if not pinned:  # now that all is there, the name leads to it, offline too
        name = new.parent.parent / "refs" / (revision or "main")
        with suppress(OSError):  # a cache that cannot be written serves nevertheless
            name.parent.mkdir(parents=True, exist_ok=True)
            name.write_text(remote.commit, encoding="utf-8")
    return new


def cached(repo: str, revision: str | None, files: Iterable[str]) -> Path | None:
    """The folder in the cache if it holds all of ``files``, else None; asks nobody."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    folder = None
    for file in files:
        try:
            path = try_to_load_from_cache(repo, file, revision=revision)
        except HFValidationError:  # no name of a repository; the Hub will be asked, and say so
            return None
        if not isinstance(path, str):
            return None
        folder = Path(path).parents[file.count("/")]
    return folder


def ask(repo: str, revision: str | None) -> Remote:
    """Ask the Hub, once, what ``repo`` holds at ``revision``.

    Raises:
        CheckpointError: it does not answer, does not know it, or does not let us see it.
    """
    from huggingface_hub import HfApi, constants

    try:
        info = HfApi().model_info(
            repo, revision=revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
        files = {file.rfilename: file for file in info.siblings or []}
        if not info.sha:
            raise TypeError("the answer names no commit")
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        raise _not_the_hub(repo) from None
    except Exception as error:
        raise _said_plainly(repo, error) from None
    return Remote(
        repo,
        revision,
        info.sha,
        sizes={name: file.size or 0 for name, file in files.items()},
        hashes={
            name: file.lfs.sha256 if file.lfs else file.blob_id or ""
            for name, file in files.items()
        },
    )


def download(remote: Remote, files: Iterable[str]) -> Path:
    """``files`` of ``remote`` in the Hugging Face cache, each fetched if missing, and compared.

    The weights come last, so a folder that has them has the rest. A bar shows what takes longer
    than two seconds.

    Raises:
        CheckpointError: no room, no right, no connection, or a file that is not what its hash says.
    """
    from huggingface_hub import hf_hub_download

    files = sorted(files, key=lambda file: file.endswith(".safetensors"))
    missing = [file for file in files if cached(remote.repo, remote.commit, [file]) is None]
    for file in missing:
        if not remote.hashes[file]:
            raise CheckpointError(
                f"{remote.repo}: what answers as the Hub names no hash for {file}, so it could not "
                "be compared and was not fetched; ask the Hub itself (unset HF_ENDPOINT)."
            )
    _check_room(remote.repo, sum(remote.sizes[file] for file in missing))
    # before huggingface_hub 1.0 there is no such argument, and its bars are on terminals only
    takes_bar = "tqdm_class" in inspect.signature(hf_hub_download).parameters
    options: dict[str, Any] = {"tqdm_class": _bar()} if takes_bar and missing else {}
    for file in missing:
        mark = _marks(remote.repo) / remote.commit / file
        try:
            _mark(remote.repo, mark, remote.hashes[file])
            path = Path(hf_hub_download(remote.repo, file, revision=remote.commit, **options))
            wrong = _is_wrong(path, remote.hashes[file], mark)
        except Exception as error:
            if type(error) is OSError and error.errno is None:  # the library's check of the size
                _forget_parts(remote, file)
            raise _said_plainly(remote.repo, error) from None
        if wrong:
            raise CheckpointError(
                f"{remote.repo}: {file} did not arrive as the Hub holds it (its hash is another "
                "one), so it was deleted; try again, and if that does not help, from another "
                "network."
            )
    whole = cached(remote.repo, remote.commit, files)
    if whole is None:
        raise CheckpointError(f"{remote.repo}: the Hugging Face cache lost files; try again.")
    return whole


def damaged(folder: Path, hashes: Mapping[str, str]) -> list[str]:
    """The files in ``folder`` that are not what ``hashes`` says.

    A file that is not there is none of them, and one that ``hashes`` does not name is not looked
    at: whoever says that all is right has to ask about all. Reading takes a second or two for each
    gigabyte, so loading does not do it: ``download`` does, once.

    Args:
        folder: any folder.
        hashes: file in ``folder`` -> its SHA-256 (64 hex digits) or git's SHA-1 of it (40), as the
            Hub gives them, ``cached_hashes`` or ``helpers.fetch.read_sums``.

    Raises:
        OSError: a file cannot be read.
    """
    wrong = []
    for name, expected in hashes.items():
        file = folder / name
        if not file.is_file():
            continue
        begun = hashlib.sha256()
        if len(expected) == 40:  # what git hashes begins with the kind and the size
            begun = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, begun.copy)
        if digest.hexdigest() != expected:
            wrong.append(name)
    return wrong


def cached_hashes(folder: Path) -> dict[str, str]:
    """File -> hash, for those files of a folder in the Hugging Face cache whose links name it.

    There a file is a link to one that is named after its hash. Where the system has no links, and
    in a plain folder, nothing is known: ``{}``.
    """
    links = [file for file in folder.rglob("*") if file.is_symlink()]
    names = {link.relative_to(folder).as_posix(): Path(os.readlink(link)).name for link in links}
    return {
        file: name
        for file, name in names.items()
        if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name)
    }


# --- a file is marked before it is fetched, until it has been compared: a process may be killed
# --- between the two. The mark is a small file that holds the hash.


def _place(repo: str) -> Path:
    """The folder of a repository in the cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE, "models--" + repo.replace("/", "--"))


def _marks(repo: str) -> Path:
    """Holds, for ``snapshots/<commit>/<file>``, the mark ``<commit>/<file>``."""
    return _place(repo) / ".not_compared"


def _mark(repo: str, mark: Path, digest: str) -> None:
    """Write a mark, whole or not at all."""
    mark.parent.mkdir(parents=True, exist_ok=True)
    part = _place(repo) / f".mark-{os.getpid()}-{threading.get_ident()}"
    part.write_text(digest, encoding="utf-8")
    part.replace(mark)


def _is_wrong(file: Path, digest: str, mark: Path) -> bool:
    """Compare a marked file and take the mark away. A wrong one is deleted."""
    wrong = bool(damaged(file.parent, {file.name: digest}))
    if wrong:
        _delete(file)
    mark.unlink(missing_ok=True)
    return wrong


def _compare_the_rest(repo: str) -> bool:
    """What another process fetched and did not compare. Whether something of it was wrong.

    Nearly always there is none.
    """
    marks, wrong = _marks(repo), False
    for mark in [mark for mark in marks.rglob("*") if mark.is_file()]:
        file = _place(repo) / "snapshots" / mark.relative_to(marks)
        if not file.is_file():  # it has not arrived, and may be on its way to another process
            continue
        try:
            wrong |= _is_wrong(file, mark.read_text(encoding="utf-8"), mark)
        except FileNotFoundError:  # another process has just compared it
            continue
        except OSError as error:
            raise _said_plainly(repo, error) from None
    return wrong


def _forget_parts(remote: Remote, file: str) -> None:
    """Delete what has come of a file: the next try must not go on from a wrong beginning."""
    for part in (_place(remote.repo) / "blobs").glob(f"{remote.hashes[file]}*.incomplete"):
        part.unlink(missing_ok=True)


def _delete(path: Path) -> None:
    """Delete a file of the cache, with all that its link leads to."""
    while path.is_symlink():
        target = path.parent / os.readlink(path)
        path.unlink()
        path = target
    path.unlink(missing_ok=True)


def _bar() -> type:
    """The library's progress bar, after two seconds, and in notebooks without ipywidgets, too.

    The library's own shows nothing where standard error is no terminal and no widget can be drawn.
    """
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            if options.get("disable", True) is None:  # "on a terminal only"
                del options["disable"]  # tqdm's default; TQDM_DISABLE is heard
            super().__init__(*arguments, **{"delay": 2} | options)

    return Bar


def _check_room(repo: str, size: int) -> None:
    from huggingface_hub import constants

    if not size:
        return
    cache = Path(constants.HF_HUB_CACHE)
    place = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if free < size + ROOM:
        raise CheckpointError(
            f"{repo} needs {(size + ROOM) / 1e9:.1f} GB on the disk of the Hugging Face cache and "
            f"{free / 1e9:.1f} GB are free; free some, or point HF_HOME to a larger disk."
        )


def _said_plainly(repo: str, error: BaseException) -> CheckpointError:
    """What went wrong on the way to or from the Hub, in one sentence with its cause."""
    from huggingface_hub import constants, errors

    while isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    status = getattr(getattr(error, "response", None), "status_code", None)
    kind = type(error).__name__
    repo = repo if len(repo) <= 100 else repo[:100] + "…"

    if isinstance(error, errors.OfflineModeIsEnabled):
        what = (
            f"{repo} is not, or not wholly, in the cache, and HF_HUB_OFFLINE forbids to ask the "
            "Hub; load it once with a connection and without that variable."
        )
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        what = f"{repo}: the disk of the Hugging Face cache is full; free some, or point HF_HOME "
        what += "to a larger disk."
    elif isinstance(error, OSError) and error.filename is not None:  # of a file, so not of the net
        what = f"{repo}: the Hugging Face cache ({constants.HF_HUB_CACHE}) cannot be written "
        what += f"({error.strerror}); point HF_HOME to a folder of yours."
    elif isinstance(error, errors.HFValidationError):
        what = f"{repo!r} is no name that a repository on the Hub can have; check it."
    elif isinstance(error, errors.RevisionNotFoundError | errors.EntryNotFoundError) and status:
        what = f"{repo} does not have that revision or file on the Hub; check it."
    elif status == 404:
        what = f"{repo} was not found on the Hub; check the name. No folder of this name is in "
        what += f"{Path.cwd()} either."
    elif status in (401, 403):
        what = (
            f"{repo}: the Hub gives no right to it ({status}): it is private, wants its terms "
            "accepted on its page, or is not there at all; check the name, accept them, and log "
            "in with 'hf auth login' (a wrong or old token must go)."
        )
    elif status == 429:
        what = f"{repo}: the Hub has had too many requests from here (429); wait some minutes and "
        what += "try again."
    elif status is not None and status >= 500:
        what = f"{repo}: the Hub itself has trouble ({status}); try again later."
    elif status is not None:
        what = f"{repo}: the Hub, or a proxy on the way, refuses to answer ({status}); check the "
        what += "name, HTTPS_PROXY and HF_ENDPOINT, and update huggingface_hub."
    elif isinstance(error, errors.FileMetadataError):
        return _not_the_hub(repo)
    elif isinstance(error, UnicodeEncodeError):
        what = f"{repo}: the token of the Hub on this machine (HF_TOKEN, or from 'hf auth login') "
        what += "is none: it holds a letter that no token has; set it again, or remove it."
    elif isinstance(error, OSError | errors.HTTPError):
        what = (
            f"{repo} was asked for, and the Hub could not be reached, or the connection broke "
            f"({kind}); check the connection and try again."
        )
    else:
        reason = (str(error).strip().splitlines() or [""])[0][:120]
        what = f"{repo} could not be fetched ({kind}: {reason}); try again."
    return CheckpointError(what)


def _not_the_hub(repo: str) -> CheckpointError:
    return CheckpointError(
        f"{repo}: something else answers in the Hub's place, such as the log-in page of a guest "
        "network or a proxy; open any page in a browser, log in, and try again."
    )
