"""Muon for convolutions too: a kernel is a matrix, (outputs, inputs x height x width)."""

from __future__ import annotations

import time
from collections.abc import Iterable

import torch
from torch import nn

from training.muon import Muon, orthogonal

STEPS = 4  # of Newton-Schulz: one less than usual, because they are a third of a step's work here


class KernelMuon(Muon):
    """:class:`muon.Muon` on flattened kernels, its Newton-Schulz steps in the dtype that is fast here.

    Kernels that flatten to the same shape are done together, as in the parent class.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, dtype: torch.dtype) -> None:
        super().__init__(params, lr, weight_decay=0.0)
        self.dtype = dtype

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            shapes: dict[torch.Size, list[tuple[torch.Tensor, torch.Tensor]]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    momentum = self.state[parameter].setdefault(
                        "momentum", torch.zeros_like(parameter)
                    )
                    momentum.lerp_(parameter.grad, 1 - group["momentum"])
                    update = parameter.grad.lerp(momentum, group["momentum"]).flatten(1)
                    shapes.setdefault(update.shape, []).append((parameter, update))
            for shape, pairs in shapes.items():
                updates = torch.stack([update for _, update in pairs]).to(self.dtype)
                updates = orthogonal(updates, STEPS).float() * (0.2 * max(shape) ** 0.5)
                for (parameter, _), change in zip(pairs, updates, strict=True):
                    parameter.add_(change.view_as(parameter), alpha=-group["lr"])


def optimisers(
    model: nn.Module, matrices: float, rest: float, dtype: torch.dtype
) -> list[torch.optim.Optimizer]:
    """Muon for what lies inside the blocks, AdamW for the first and last layer, norms and biases.

    ``matrices`` and ``rest`` are their highest learning rates, kept in each group as ``top``.
    """
    inner, outer = [], []
    for name, parameter in model.named_parameters():
        ends = any(part in name for part in ("conv_in", "conv_out", "quant_conv", "time_embedding"))
        (outer if parameter.ndim < 2 or ends else inner).append(parameter)
    result = [
        KernelMuon(inner, 1.0, dtype),
        torch.optim.AdamW(outer, lr=1.0, betas=(0.9, 0.99), weight_decay=0.0, fused=True),
    ]
    for optimiser, top in zip(result, (matrices, rest), strict=True):
        for group in optimiser.param_groups:
            group["top"] = top
    return result


def rate(step: int, done: float, warm_up: int = 100, fall: float = 0.3) -> float:
    """Share of the highest learning rate: a short rise, a plateau, and a straight fall at the end.

    The plateau does not depend on how long the training is meant to take, so a longer one can go
    on from any checkpoint. ``done`` is the share of the time that is over.
    """
    return min(1.0, (step + 1) / warm_up) * min(1.0, max(0.0, (1 - done) / fall)) + 1e-4


def since(began: float, longest: float = 10.0) -> float:
    """Seconds of this step. A machine that slept in between does not use up the training's time."""
    return min(time.time() - began, longest)


def fast_dtype(device: str) -> torch.dtype:
    """bfloat16 where it is faster than float32, which on a CPU depends on the CPU: measured."""
    if device == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    best = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.randn(1024, 512).to(dtype), torch.randn(512, 512).to(dtype)
        times = []
        for _ in range(12):
            began = time.perf_counter()
            a @ b
            times.append(time.perf_counter() - began)
        best[dtype] = min(times)
    return min(best, key=best.get)
