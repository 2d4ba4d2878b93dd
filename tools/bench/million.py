"""A million captions through ``python -m helpers.bulk``: killed, gone on, by two, and compared.

Four runs on the shipped model: ten thousand captions, for their memory; all in one go; all, killed
at three random moments and started again each time; all by two processes of accelerate.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import psutil
from pyarrow import parquet
from tqdm import tqdm

from helpers import embed, load_clip

from .prompts import ROOT, captions

ALONE = [sys.executable, "-m"]
TWO = [*ALONE, "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"]  # on CPUs, too
TWO += ["--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no", "-m"]
KILLS = 3
THREADS = int(os.environ.get("OMP_NUM_THREADS") or 1)  # of each process, for the products


def million(folder: Path, n: int, shard: int, pause: float = 5) -> dict[str, Any]:
    """Figures of the four runs. What they wrote is compared, and deleted.

    A kill comes after some shards and up to ``pause`` seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    few, all_of_them = folder / "few.txt", folder / "all.txt"
    write(few, min(n, 10_000))
    write(all_of_them, n)
    shards = -(-n // shard)

    _, few_bytes, _ = Run(few, folder / "few", shard).to_the_end()
    seconds, all_bytes, tenth_bytes = Run(all_of_them, folder / "straight", shard).to_the_end()
    loads = [psutil.getloadavg()[0]]
    kills, random = [], Random(time.time_ns())
    for moment in sorted(random.uniform(0, 0.9) for _ in range(KILLS)):
        run = Run(all_of_them, folder / "killed", shard)
        kills.append(run.killed(int(moment * shards), random.uniform(0, pause)))
    Run(all_of_them, folder / "killed", shard).to_the_end()
    two_seconds, *_ = Run(all_of_them, folder / "two", shard, TWO).to_the_end()
    loads.append(psutil.getloadavg()[0])
    if "by 2 processes" not in (folder / "two.log").read_text():
        raise RuntimeError("accelerate did not start two processes.")

    straight = digests(folder / "straight")
    found = {
        "captions": n,
        "shards": shards,
        "seconds": seconds,
        "two_seconds": two_seconds,
        "threads": THREADS,
        "load": max(loads),
        "few_bytes": few_bytes,
        "tenth_bytes": tenth_bytes,
        "all_bytes": all_bytes,
        "killed_with_shards": [kill for kill in kills if kill is not None],
        "files": len(straight),
        "complete": complete(folder / "killed", all_of_them, shards),
        "killed_same": digests(folder / "killed") == straight,
        "two_same": digests(folder / "two") == straight,
        "difference": difference(folder / "killed", all_of_them, shards),
    }
    shutil.rmtree(folder)
    return found


def write(path: Path, n: int) -> None:
    """A file of captions."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{caption}\n" for caption in islice(captions(seed=3), n))


class Run:
    """A run of the program in a process group of its own."""

    def __init__(self, path: Path, out: Path, shard: int, how: list[str] = ALONE) -> None:
        """Start it; what it says goes to a file beside what it writes."""
        self.vectors, self.log = out / "text_emb", out.with_suffix(".log")
        with self.log.open("a") as log:
            command = [*how, "helpers.bulk", str(path), str(out), "--shard", str(shard)]
            env = os.environ | {"OMP_NUM_THREADS": str(THREADS), "CUDA_VISIBLE_DEVICES": ""}
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True, env=env
            )
        self.started = time.perf_counter()
        self.of = -(-sum(1 for _ in path.open("rb")) // shard)

    def shards(self) -> int:
        """How many are there."""
        return len(list(self.vectors.glob("*.npy")))

    def show(self, bar: Any) -> None:
        """Wait a moment and say how far it is."""
        time.sleep(0.05)
        if more := self.shards() - bar.n:
            bar.update(more)

    def to_the_end(self) -> tuple[float, int, int]:
        """(seconds, the most memory that was seen in bytes, that of the first tenth)."""
        most, tenth, watched = 0, 0, psutil.Process(self.process.pid)
        with tqdm(total=self.of, desc=self.log.stem, unit="shard", delay=2) as bar:
            while self.process.poll() is None:
                try:
                    most = max(most, watched.memory_info().rss)
                except psutil.Error:  # it has just ended
                    break
                self.show(bar)
                tenth = most if bar.n <= self.of / 10 else tenth
        if self.process.wait():
            raise RuntimeError(self.log.read_text()[-2000:])
        return time.perf_counter() - self.started, most, tenth

    def killed(self, shards: int, pause: float) -> int | None:
        """Kill it after so many shards and a pause; how many were there. None: it had ended."""
        with tqdm(total=self.of, desc=self.log.stem, unit="shard", delay=2) as bar:
            while self.shards() < shards and self.process.poll() is None:
                self.show(bar)
        time.sleep(pause)
        if self.process.poll() is not None:
            return None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return self.shards()


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by its name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def complete(folder: Path, path: Path, shards: int) -> bool:
    """Whether every caption of the file has its place, in order, none twice, with a vector."""
    with path.open(encoding="utf-8") as file:
        number = count(1)
        for shard in range(shards):
            table = parquet.read_table(folder / f"metadata/metadata_{shard}.parquet")
            vectors = np.load(folder / f"text_emb/text_emb_{shard}.npy")
            texts = [line.rstrip("\n") for line in islice(file, len(table))]
            lines = list(islice(number, len(table)))
            if table["caption"].to_pylist() != texts or table["line"].to_pylist() != lines:
                return False
            if len(vectors) != len(table) or not np.isfinite(vectors).all():
                return False
        return next(file, None) is None


def difference(folder: Path, path: Path, shards: int) -> float:
    """The largest difference to the usual call beside the largest value, over some captions."""
    table = parquet.read_table(folder / f"metadata/metadata_{shards - 1}.parquet")
    vectors = np.load(folder / f"text_emb/text_emb_{shards - 1}.npy")
    texts = table["caption"].to_pylist()[:500]
    usual = embed(load_clip("emoji", device="cpu"), texts).text_embeds.numpy()
    return float(np.abs(vectors[:500] - usual).max() / np.abs(usual).max())
