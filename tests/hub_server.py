"""A small Hugging Face Hub on this machine's loopback, and the ways in which a real one fails.

It speaks what ``huggingface_hub`` asks for: what a repository holds (``/api/models/...``, with
hashes, and its tree), and the files (``/resolve/...``: ETag, X-Repo-Commit, ranges). As on the
Hub, a large file is named by its SHA-256 and lies behind a redirect, a small one by git's SHA-1.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = 500_000  # bytes from which on a file lies behind a redirect
PORTAL = b"<html><body>Welcome to the guest network. Please log in.</body></html>"


def name_of(content: bytes) -> str:
    """The hash that the Hub names a file after."""
    if len(content) >= LARGE:
        return hashlib.sha256(content).hexdigest()
    return git_name(content)


def git_name(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class HubServer(ThreadingHTTPServer):
    """Holds repositories, {id: {file: content}}, each at one commit; remembers what was asked.

    Attributes:
        repos, commits: what there is.
        asked: (method, path) of every request, in order.
        fault: what goes wrong, or ""; see ``Handler.answer``.
        place: where it goes wrong: a part of the path ("" is everywhere).
        at: the byte at which it goes wrong.
        reached: set when a download has come to that byte.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, dict[str, bytes]] = {}
        self.commits: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []
        self.fault, self.place, self.at = "", "", 0
        self.reached, self.released = threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def hold(self, repo: str, files: Mapping[str, bytes], commit: str = "") -> str:
        self.repos[repo] = dict(files)
        self.commits[repo] = commit or hashlib.sha1(repr(sorted(files)).encode()).hexdigest()
        return self.commits[repo]

    def fail(self, fault: str, place: str = "", at: int = 0) -> None:
        """Go wrong from now on; ``fail("")`` is well again."""
        self.released.set()  # whoever is held is let go
        self.reached, self.released = threading.Event(), threading.Event()
        self.fault, self.place, self.at = fault, place, at

    def fetched(self) -> set[str]:
        """The files that somebody began to download."""
        gets = [path for method, path in self.asked if method == "GET"]
        found = [re.fullmatch(r"/(?:cdn/)?[^/]+/[^/]+/(?:resolve/[^/]+/)?(.+)", p) for p in gets]
        return {one[1] for one in found if one and not one[0].startswith("/api/")}

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is no news."""


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:  # noqa: N802 - the library's name
        self.answer()

    def do_GET(self) -> None:  # noqa: N802
        self.answer()

    def answer(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        hub = self.server
        if path == "/api/agent-harnesses":  # the library's own statistics
            return self.send(404, b"")
        hub.asked.append((self.command, path))
        fault = hub.fault if hub.place in f"{self.command} {path}" else ""
        if fault == "portal":
            return self.send(200, PORTAL, {"Content-Type": "text/html"})
        if fault == "hang":
            hub.reached.set()
            hub.released.wait(30)
            return self.close()
        if fault == "drop":
            return self.close()
        if fault.isdigit():
            return self.send(int(fault), b"")
        if fault.startswith(("[", "{")):  # a web service, but another one
            return self.send(200, fault.encode(), {"Content-Type": "application/json"})
        if fault == "gated":
            return self.send(403, b"", {"X-Error-Code": "GatedRepo"})
        if fault == "token":
            words = {"X-Error-Message": "Invalid credentials in Authorization header"}
            return self.send(401, b"", words)

        if found := re.fullmatch(r"/cdn/([^/]+/[^/]+)/(.+)", path):
            return self.send_file(hub.repos[found[1]][found[2]], fault)
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(?:revision|tree)/([^/]+))?", path)
        found = found or re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if not found or found[1] not in hub.repos:
            return self.send(404, b"", {"X-Error-Code": "RepoNotFound"})
        repo, revision = found[1], found[2]
        commit = hub.commits[repo]
        if revision not in (None, "main", "v1", commit):
            return self.send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if path.startswith("/api"):
            kind = tree if "/tree/" in path else info
            content = json.dumps(kind(repo, commit, hub.repos[repo])).encode()
            return self.send(200, content, {"Content-Type": "application/json"})
        headers = {"X-Repo-Commit": commit}
        file = found[3]
        if file not in hub.repos[repo]:
            return self.send(404, b"", headers | {"X-Error-Code": "EntryNotFound"})
        content = hub.repos[repo][file]
        headers["ETag"] = f'"{name_of(content)}"'
        if len(content) < LARGE:
            return self.send_file(content, fault, headers)
        headers |= {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(len(content))}
        return self.send(
            302,
            b"",
            headers | {"Location": f"http://localhost:{hub.server_port}/cdn/{repo}/{file}"},
        )

    def send_file(self, content: bytes, fault: str, headers: Mapping[str, str] = {}) -> None:  # noqa: B006
        hub, status, start = self.server, 200, 0
        if wanted := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start, status = int(wanted[1]), 206
            last = len(content) - 1
            headers = {**headers, "Content-Range": f"bytes {start}-{last}/{last + 1}"}
        if fault == "flip":
            content = content[: hub.at] + bytes([content[hub.at] ^ 1]) + content[hub.at + 1 :]
        if fault == "short" and self.command == "GET":  # and its length says so
            content = content[: hub.at]
        if self.command == "HEAD" or fault not in ("cut", "cut once", "stall"):
            return self.send(status, content[start:], headers)
        if fault == "cut once":
            hub.fault = ""
        self.send(status, content[start:], headers, only=max(0, hub.at - start))
        hub.reached.set()
        if fault == "stall":
            hub.released.wait(30)
        return self.close()

    def send(
        self,
        status: int,
        content: bytes,
        headers: Mapping[str, str] = {},  # noqa: B006
        only: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | dict(headers)).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[:only])
            self.wfile.flush()

    def close(self) -> None:
        self.close_connection = True


def info(repo: str, commit: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    siblings = []
    for file, content in files.items():
        one = {"rfilename": file, "size": len(content), "blobId": git_name(content)}
        if len(content) >= LARGE:
            one["lfs"] = {"sha256": name_of(content), "size": len(content), "pointerSize": 134}
        siblings.append(one)
    return {"id": repo, "modelId": repo, "sha": commit, "siblings": siblings, "tags": []}


def tree(repo: str, commit: str, files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    entries = []
    for file, content in files.items():
        one = {"type": "file", "path": file, "size": len(content), "oid": git_name(content)}
        if len(content) >= LARGE:
            one["lfs"] = {"oid": name_of(content), "size": len(content), "pointerSize": 134}
        entries.append(one)
    return entries


@contextmanager
def serving() -> Iterator[HubServer]:
    hub = HubServer()
    thread = threading.Thread(target=hub.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.fail("")
        hub.shutdown()
        hub.server_close()
