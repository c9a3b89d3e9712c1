"""How large a study is: a trial, the one whose results are committed, and one for a GPU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from bench.qat_models import Shape
from bench.qat_training import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Of a study."""

    shape: Shape
    base: Schedule
    """Of the float32 model that all cells of a seed begin with."""
    extra: Schedule
    """Of the training with quantizers, and of the float32 control's."""
    scale_rate: float
    """Learning rate of learned scales, as a share of each; 0.001 to 0.3 were tried for LSQ, on a seed of its own."""
    refit_every: int
    """Steps between two choices of the weights' scales."""
    seeds: int
    windows: int
    """Held-out windows of the text that losses are means over."""
    calibration: int
    """Batches of activations that their scales are chosen for."""
    sentences: int
    """Held-out docstrings of each seed that MiniLM embeds."""
    families: tuple[str, ...] = ("INT4", "E2M1", "E4M3", "MXFP4", "NVFP4")
    files: int | None = None
    """Of the training text; None: all."""
    methods: tuple[str, ...] = ()
    """None: all."""


FULL: Final = Settings(
    shape=Shape(width=128, heads=4, blocks=2, context=64),
    base=Schedule(steps=1000, batch=16, learning_rate=4e-3, warm_up=50),
    extra=Schedule(steps=60, batch=16, learning_rate=1e-3, warm_up=10),
    scale_rate=0.1,
    refit_every=30,
    seeds=7,
    windows=512,
    calibration=8,
    sentences=64,
)

QUICK: Final = replace(
    FULL,
    base=replace(FULL.base, steps=200),
    extra=replace(FULL.extra, steps=20),
    seeds=2,
    windows=128,
    sentences=32,
    families=("INT4", "E2M1", "MXFP4"),
    methods=("LSQ", "QuEST clip", "analytic", "iterative", "mse"),
)

GPU: Final = replace(
    FULL,
    shape=Shape(width=512, heads=8, blocks=6, context=256),
    base=Schedule(steps=600, batch=64, learning_rate=1e-3, warm_up=100),
    extra=Schedule(steps=60, batch=64, learning_rate=3e-4, warm_up=10),
    refit_every=60,
    seeds=5,
    methods=("OCTAV", "LSQ", "QuEST clip", "QuEST clip, Hadamard", "analytic", "iterative", "four over six", "mse"),
)
"""19 million parameters."""
