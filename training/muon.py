"""Muon for any kernel, in a dtype that is fast here.

``torch.optim.Muon`` takes matrices only, and works in bfloat16, which many CPUs do ten times slower.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import nn


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal by Newton-Schulz (Jordan et al., 2024).

    A convolution's kernel is a matrix too: (outputs, inputs x height x width). Learning rates mean what they
    mean to AdamW: updates are scaled to its usual size, 0.2 * sqrt(longest side) (Liu et al., *Muon is Scalable
    for LLM Training*, 2025). Kernels that flatten to one shape are done together.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0, momentum: float = 0.95,
        steps: int = 5, dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.steps, self.dtype = steps, dtype

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            shapes = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    state = self.state[parameter]
                    momentum = state.setdefault("momentum", torch.zeros_like(parameter))
                    momentum.lerp_(parameter.grad, 1 - group["momentum"])
                    update = parameter.grad.lerp(momentum, group["momentum"]).flatten(1)
                    shapes[update.shape].append((parameter, update))
            for shape, pairs in shapes.items():
                updates = torch.stack([update for _, update in pairs]).to(self.dtype)
                updates = orthogonal(updates, self.steps).float() * (0.2 * max(shape) ** 0.5)
                for (parameter, _), change in zip(pairs, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(change.view_as(parameter), alpha=-group["lr"])


def orthogonal(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """The nearest (half-)orthogonal matrices, roughly: singular values end between about 0.7 and 1.2."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
