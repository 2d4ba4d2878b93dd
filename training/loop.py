"""The one training loop: timed, resumable, stopped at any moment.

A training is told how many minutes it has in all, not how many steps; these minutes are the time spent in
steps, over every run. Every few minutes all that is needed to go on lies in one checkpoint, written whole or not
at all: killed, it goes on from there; asked to stop (Ctrl-C, SIGTERM), it saves first. What is special to a
training is a subclass of :class:`Trainer`, mostly its :meth:`~Trainer.loss`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from training import BUILD
from training.options import Options

SAVE_EVERY = 150.0  # seconds of training: what a sudden death costs at most
LONGEST_STEP = 10.0  # seconds: a machine that slept in between does not use up the training's time


def save(thing: object, path: Path) -> None:
    """``torch.save``, whole or not at all: whoever is killed in the middle leaves the old file."""
    path.parent.mkdir(exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        torch.save(thing, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load(name: str, command: str, folder: Path = BUILD) -> dict:
    """The checkpoint of a training, on the CPU. Without one: which command makes it."""
    path = folder / f"{name}.pt"
    if not path.exists():
        raise SystemExit(f"There is no {path.name} yet. Run `python -m {command}` first.")
    return torch.load(path, map_location="cpu")


def command_line(
    doc: str, minutes: float, muon: float, adam: float, every: float = 60.0
) -> Options:
    """What every training can be told."""
    options = Options(doc)
    options.positive("--minutes", minutes, "training time in all, over every run")
    options.number("--muon", muon, "highest learning rate of the inner matrices and kernels")
    options.number("--adam", adam, "highest learning rate of everything else")
    options.number("--every", every, "seconds of training between lines of the log")
    options.number("--seed", 0, "of all that is drawn by lot")
    return options


@contextlib.contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, so that a step is finished and saved. A second one ends at once."""
    event = threading.Event()

    def ask(number: int, frame: object) -> None:
        event.set()
        signal.signal(number, before[number])

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@cache
def fast_dtype(device: str) -> torch.dtype:
    """bfloat16 where it is faster than float32, which on a CPU depends on the CPU: measured."""
    if device == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    best = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.randn(1024, 512).to(dtype), torch.randn(512, 512).to(dtype)
        times = []
        for _ in range(4):
            began = time.perf_counter()
            a @ b
            times.append(time.perf_counter() - began)
        best[dtype] = min(times)
    return min(best, key=best.get)


class Trainer:
    """A model, its optimisers and the loop.

    A subclass names itself, sets :attr:`model`, :attr:`optimisers` (a group's ``lr`` is its highest) and perhaps
    :attr:`kept`, and gives :meth:`loss`; the other methods may stay as they are. The checkpoint is
    ``<name>.pt`` in the folder, and ``<name>_log.jsonl`` tells meanwhile how it goes.
    """

    name: str
    early: tuple[int, ...] = (20,)  # steps with a line in the log of their own, to see that it goes
    fall = 0.3  # share of the time in which the learning rate falls
    longest_gradient: float | None = None  # norm to which the model's is clipped

    def __init__(self, arguments: argparse.Namespace, folder: Path = BUILD) -> None:
        self.arguments, self.folder = arguments, folder
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.dtype = fast_dtype(self.device)
        self.model: nn.Module
        self.optimisers: list[torch.optim.Optimizer]
        self.kept: dict[str, Any] = {}  # what has a state besides these
        self.step, self.seconds = 0, 0.0
        self.lines: list[dict] = []  # the log, which is kept in the checkpoint too
        self.losses: list[torch.Tensor] = []  # not looked at yet
        self.checkpoint = folder / f"{self.name}.pt"
        self.log = folder / f"{self.name}_log.jsonl"
        self.draw_lots()

    def draw_lots(self) -> None:
        """Every run of a training has its own chance, the same for the same run."""
        random.seed(self.arguments.seed + self.step)
        torch.manual_seed(self.arguments.seed + self.step)

    # --- what is special to a training ---

    def loss(self) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """One batch: what is to fall, and what the log is to tell of it, numbers or short vectors."""
        raise NotImplementedError

    def rate(self) -> float:
        """Share of the highest learning rate: a short rise, a plateau, and a straight fall at the end.

        The plateau does not depend on how long the training is meant to take, so a longer one can
        go on from any checkpoint.
        """
        return min(1.0, (self.step + 1) / 100) * min(1.0, (1 - self.done) / self.fall) + 1e-4

    def after_step(self) -> None:
        """Counts as training time."""

    def measure(self, last: bool) -> dict:
        """More for a line of the log; does not count as training time."""
        return {}

    # --- what is not ---

    @property
    def done(self) -> float:
        """How much of the time is over, 0 to 1."""
        return min(1.0, self.seconds / (60 * self.arguments.minutes))

    def groups(self) -> list[dict]:
        """Of all optimisers."""
        return [group for optimiser in self.optimisers for group in optimiser.param_groups]

    def autocast(self) -> torch.autocast:
        """bfloat16 where that is faster."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def run(self) -> None:
        """Train until the minutes are used up, or until asked to stop."""
        highest = [group["lr"] for group in self.groups()]
        self.resume()
        count = sum(p.numel() for p in self.model.parameters())
        print(
            f"{self.name}: {count:,} parameters on {self.device}, fast in {self.dtype}, from step {self.step}",
            flush=True,
        )
        first = self.step
        saved = noted = self.seconds
        self.seen: dict[str, list[torch.Tensor]] = defaultdict(list)
        bar = tqdm(total=60 * self.arguments.minutes, initial=self.seconds, unit="s", disable=None)
        with bar, asked_to_stop() as stop:
            while self.done < 1 and not stop.is_set():
                began = time.monotonic()
                share = self.rate()
                for group, most in zip(self.groups(), highest, strict=True):
                    group["lr"] = most * share
                self.one_step()
                spent = min(time.monotonic() - began, LONGEST_STEP)
                self.seconds += spent
                bar.update(spent)
                self.seen["ms_a_step"].append(torch.tensor(1000 * spent))
                if self.step in self.early or self.seconds - noted > self.arguments.every:
                    self.note()
                    noted = self.seconds
                if self.seconds - saved > SAVE_EVERY:
                    self.save()
                    saved = self.seconds
            if self.done == 1 and self.step > first:
                self.note(last=True)
            if self.step > first:
                self.save()
        how = "is trained" if self.done == 1 else "stopped; the same command goes on from here"
        print(f"{self.name} {how}: step {self.step}, {self.seconds / 60:.1f} minutes", flush=True)

    def one_step(self) -> None:
        """Loss, gradients, optimisers.

        The loss is looked at one step later: a GPU is given the next step before it has done this one.
        """
        loss, shown = self.loss()
        self.check()
        self.losses.append(loss.detach())
        loss.backward()
        if self.longest_gradient:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.longest_gradient)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self.after_step()
        for key, value in shown.items():
            self.seen[key].append(value.detach().float())

    def check(self) -> None:
        """End here if a loss that was not looked at yet is not a number."""
        while self.losses:
            if not math.isfinite(loss := self.losses.pop().item()):
                raise SystemExit(
                    f"The loss of step {self.step - 1} is {loss}; nothing was saved since the last checkpoint. "
                    "Start again from there with lower --muon and --adam."
                )

    def note(self, last: bool = False) -> None:
        """One line of the log: means since the line before, and what is measured."""
        line = {"step": self.step, "minutes": round(self.seconds / 60, 2)}
        for key, values in self.seen.items():
            mean = torch.stack(values).mean(0).tolist()
            line[key] = [round(x, 4) for x in mean] if isinstance(mean, list) else round(mean, 4)
        self.seen.clear()
        line |= self.measure(last)
        self.lines.append(line)
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        tqdm.write(json.dumps(line))
        sys.stdout.flush()

    def save(self) -> None:
        """The checkpoint."""
        self.check()
        state = {key: part.state_dict() for key, part in {"model": self.model, **self.kept}.items()}
        optimisers = [optimiser.state_dict() for optimiser in self.optimisers]
        state |= {"optimisers": optimisers, "step": self.step, "seconds": self.seconds}
        save({**state, "log": self.lines}, self.checkpoint)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one; the log loses the lines that came after it."""
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint, map_location=self.device)
            try:
                for key, part in {"model": self.model, **self.kept}.items():
                    part.load_state_dict(state[key])
                for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
                    optimiser.load_state_dict(saved)
                self.step, self.seconds, self.lines = (state[k] for k in ("step", "seconds", "log"))
            except (KeyError, RuntimeError, ValueError) as error:
                raise SystemExit(
                    f"{self.checkpoint} is of another model than the code's: move it away to begin anew."
                ) from error
            self.draw_lots()
        self.log.parent.mkdir(exist_ok=True)
        self.log.write_text("".join(json.dumps(line) + "\n" for line in self.lines))
