"""The study's GPT: for each seed a float32 model, and its loss with every format and method."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.qat_data import Text, even_windows, source
from bench.qat_methods import Cell
from bench.qat_models import CharGPT
from bench.qat_quantize import calibrate, quantize
from bench.qat_settings import Settings
from bench.qat_store import Store
from bench.qat_training import batches, bits_per_character, train
from statqat_sim import qat

MATCH = "blocks.*"
"""The linear layers of blocks; embeddings, norms and the head stay in float32."""

EXTRA_SEED, CALIBRATION_SEED = 1 << 16, 1 << 17
"""Offsets of the seed, so that each phase draws different batches."""


@dataclass(frozen=True)
class Seed:
    """One float32 model and its quantized variants."""

    number: int
    settings: Settings
    folder: Path
    device: str = "cpu"

    def run(self, cells: Iterable[Cell]) -> None:
        """Store a loss for each cell and phase, and those of float32."""
        store = Store(self.folder / f"gpt-{self.number}.json")
        store.once("float32, converted", lambda: self._loss(self.base))
        store.once("float32, trained", self._control)
        for cell in cells:
            self._judge(cell, store)

    def _judge(self, cell: Cell, store: Store) -> None:
        prepared = cache(lambda: self._quantized(cell))
        store.once(f"{cell.name}, converted", lambda: self._loss(prepared()))
        if cell.is_trained:
            store.once(f"{cell.name}, trained", lambda: self._trained(prepared()))

    @cached_property
    def base(self) -> CharGPT:
        """The float32 model, loaded if it was trained before."""
        path = self.folder / f"gpt-{self.number}.pt"
        torch.manual_seed(self.number)
        model = CharGPT(self.settings.shape).to(self.device)
        if path.exists():
            model.load_state_dict(torch.load(path, map_location=self.device))
        else:
            train(
                model,
                batches(self._text.train, self._context, self.settings.base.batch, self.number),
                self.settings.base,
            )
            unfinished = path.with_suffix(".unfinished")
            torch.save(model.state_dict(), unfinished)
            unfinished.replace(path)
        return model

    @cached_property
    def _text(self) -> Text:
        return source(self.settings.files)

    @property
    def _context(self) -> int:
        return self.settings.shape.context

    @cached_property
    def _held_out(self) -> Tensor:
        return even_windows(self._text.held_out, self._context, self.settings.windows)

    def _loss(self, model: nn.Module) -> float:
        return bits_per_character(model, self._held_out, self.settings.base.batch)

    def _quantized(self, cell: Cell) -> nn.Module:
        """A copy of the float32 model, prepared and calibrated."""
        model = quantize(copy.deepcopy(self.base), cell, MATCH, self.settings.refit_every)
        windows = batches(self._text.train, self._context, self.settings.base.batch, self.number + CALIBRATION_SEED)
        calibrate(model, ((w[:, :-1].to(self.device),) for w in islice(windows, self.settings.calibration)))
        return model

    def _control(self) -> float:
        """The loss after the same extra training steps in float32."""
        return self._trained(copy.deepcopy(self.base), is_float=True)

    def _trained(self, model: nn.Module, *, is_float: bool = False) -> float:
        extra = self.settings.extra
        windows = batches(self._text.train, self._context, extra.batch, self.number + EXTRA_SEED)
        train(model, windows, extra, None if is_float else qat.step, self.settings.scale_rate)
        return self._loss(model)
