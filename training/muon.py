"""Muon, in float32: ``torch.optim.Muon`` works in bfloat16, which a CPU does ten times slower."""

from __future__ import annotations

import torch


class Muon(torch.optim.Optimizer):
    """Momentum whose every matrix is made orthogonal by Newton-Schulz (Jordan et al., 2024).

    Learning rates mean what they mean to AdamW: updates are scaled to its usual size, 0.2 * sqrt(longest side)
    (Liu et al., *Muon is Scalable for LLM Training*, 2025). Matrices of one shape are done together.
    """

    def __init__(
        self, params, lr: float, weight_decay: float = 0.05, momentum: float = 0.95
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            shapes: dict[torch.Size, list[torch.Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in shapes.items():
                for parameter in parameters:
                    state = self.state[parameter]
                    momentum = state.setdefault("momentum", torch.zeros_like(parameter))
                    momentum.lerp_(parameter.grad, 1 - group["momentum"])
                update = torch.stack(
                    [p.grad.lerp(self.state[p]["momentum"], group["momentum"]) for p in parameters]
                )
                update = orthogonal(update) * 0.2 * max(shape) ** 0.5
                for parameter, change in zip(parameters, update, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(
                        change, alpha=-group["lr"]
                    )


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
