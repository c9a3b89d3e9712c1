"""The trained net of the bench of layers: a small character GPT, which one core trains in less than a minute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from numpy.typing import NDArray

from bench.qat_data import even_windows, source
from bench.qat_models import CharGPT, Shape
from bench.qat_training import Schedule, batches, bits_per_character, train

SHAPE: Final = Shape(width=128, heads=4, blocks=3, context=64)
BATCH, LEARNING_RATE, WARM_UP = 12, 3e-3, 40


@dataclass(frozen=True, slots=True)
class Course:
    """How much text is used to train and to evaluate."""

    steps: int
    held_out: int
    """The number of windows to evaluate on."""
    most_files: int | None = None


FULL, QUICK = Course(600, 512), Course(2, BATCH, most_files=2)


@dataclass(frozen=True, slots=True)
class Trained:
    """The trained model and its loss."""

    steps: int
    bits: float
    """The loss in bits per character of held-out files."""
    matrices: dict[str, NDArray[Any]]


def trained(course: Course) -> Trained:
    """Train, seeded, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, text = CharGPT(SHAPE), source(course.most_files)
    schedule = Schedule(steps=course.steps, batch=BATCH, learning_rate=LEARNING_RATE, warm_up=WARM_UP)
    train(model, batches(text.train, SHAPE.context, BATCH, seed=0), schedule)
    bits = bits_per_character(model, even_windows(text.held_out, SHAPE.context, course.held_out), BATCH)
    torch.set_num_threads(threads)
    matrices = {name: tensor.detach().numpy() for name, tensor in model.named_parameters() if tensor.ndim == 2}
    return Trained(course.steps, bits, matrices)
