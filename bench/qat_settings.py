"""Sizes of the study: a trial, the one whose results are committed, and one for a GPU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from bench.qat_models import Shape
from bench.qat_training import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The size of a study."""

    shape: Shape
    base: Schedule
    """Training of the float32 model that all cells of a seed start from."""
    extra: Schedule
    """Training with quantizers, and of the float32 control."""
    scale_rate: float
    """Learning rate of learned scales, relative to each scale; tuned for LSQ over 0.001 to 0.3 on a separate seed."""
    refit_every: int
    """Steps between refits of the weights' scales."""
    seeds: int
    windows: int
    """Held-out windows of text that losses are averaged over."""
    calibration: int
    """Calibration batches for the scales of activations."""
    sentences: int
    """Held-out docstrings per seed that MiniLM embeds."""
    families: tuple[str, ...] = ("INT4", "E2M1", "E4M3", "MXFP4", "NVFP4")
    files: int | None = None
    """The number of files of training text; None: all."""
    methods: tuple[str, ...] = ()
    """Names of the methods to run besides each family's baseline; empty: all."""


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
