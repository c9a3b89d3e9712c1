"""Training and evaluation of the study's GPT: all compared models get the same batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.qat_data import random_windows

BETAS, WEIGHT_DECAY, LONGEST_GRADIENT = (0.9, 0.95), 0.1, 1.0
LAST_SHARE = 0.05
"""The final learning rate, as a share of the peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Steps of AdamW whose learning rate warms up, then decays along half a cosine."""

    steps: int
    batch: int
    learning_rate: float
    warm_up: int

    def share(self, step: int) -> float:
        """The learning rate at a step, as a share of the peak."""
        cosine = 0.5 + 0.5 * math.cos(math.pi * step / self.steps)
        return min(1.0, (step + 1) / self.warm_up) * (LAST_SHARE + (1 - LAST_SHARE) * cosine)


def batches(text: Tensor, context: int, batch: int, seed: int) -> Iterator[Tensor]:
    """Endless random windows, determined by the seed."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield random_windows(text, context, batch, generator)


def train(
    model: nn.Module,
    windows: Iterator[Tensor],
    schedule: Schedule,
    after_step: Callable[[nn.Module], object] | None = None,
    scale_rate: float = 0.0,
) -> None:
    """Train in place; `scale_rate` is the learning rate of learned scales, relative to each scale."""
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(_groups(model, schedule.learning_rate, scale_rate), betas=BETAS)
    rates = [group["lr"] for group in optimizer.param_groups]
    for step in range(schedule.steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * schedule.share(step)
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(model, next(windows).to(device)).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), LONGEST_GRADIENT)
        optimizer.step()
        if after_step is not None:
            after_step(model)


@torch.no_grad()
def bits_per_character(model: nn.Module, windows: Tensor, batch: int) -> float:
    """The mean loss over all windows, in bits per character."""
    device = next(model.parameters()).device
    total = 0.0
    for start in range(0, len(windows), batch):
        total += float(cross_entropy(model, windows[start : start + batch].to(device), "sum"))
    return total / windows[:, 1:].numel() / math.log(2)


def cross_entropy(model: nn.Module, windows: Tensor, reduction: str = "mean") -> Tensor:
    """The cross-entropy of predicting each next character, in nats."""
    logits = model(windows[:, :-1]).flatten(0, 1)
    return functional.cross_entropy(logits.float(), windows[:, 1:].flatten(), reduction=reduction)


def _groups(model: nn.Module, learning_rate: float, scale_rate: float) -> list[dict[str, Any]]:
    """Parameter groups: matrices with weight decay, vectors without, learned scales at a rate relative to each."""
    scales = [parameter for name, parameter in model.named_parameters() if name.endswith("_quantizer.scale")]
    learned = {id(scale) for scale in scales}
    others = [parameter for parameter in model.parameters() if id(parameter) not in learned]
    matrices, vectors = ([p for p in others if (p.ndim == 2) is is_matrix] for is_matrix in (True, False))
    return [
        {"params": matrices, "lr": learning_rate, "weight_decay": WEIGHT_DECAY},
        {"params": vectors, "lr": learning_rate, "weight_decay": 0.0},
        *({"params": [s], "lr": scale_rate * float(s.detach().abs().mean()), "weight_decay": 0.0} for s in scales),
    ]
