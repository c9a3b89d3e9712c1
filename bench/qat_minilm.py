"""The study's MiniLM: how close its embeddings stay to float32's, on held-out docstrings."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from tokenizers import Tokenizer
from torch import Tensor, nn

from bench.minilm import folder
from bench.qat_data import sentences
from bench.qat_methods import Cell
from bench.qat_models import MiniLM, minilm
from bench.qat_quantize import calibrate, quantize
from bench.qat_settings import Settings
from bench.qat_store import Store
from statqat_sim import qat

MATCH = "encoder.*"
FROZEN = 0
"""The refit interval: weights do not change here, so their scales are chosen once."""

MOST_TOKENS, BATCH, CALIBRATION_SENTENCES = 64, 16, 32
NEIGHBOURS = 10


@dataclass(frozen=True)
class Fidelity:
    """The fidelity of all cells; a seed is a disjoint set of sentences, for calibration and for evaluation."""

    settings: Settings
    folder: Path
    device: str = "cpu"

    def run(self, cell: Cell) -> None:
        """Store the values of a cell for each seed."""
        store = Store(self.folder / f"minilm-{cell.name}.json")
        keys = [str(seed) for seed in range(self.settings.seeds)]
        if {*keys, "weights"} <= store.read().keys():
            return
        model = quantize(minilm().to(self.device), cell, MATCH, FROZEN)
        store.once("weights", lambda: weight_sqnr_db(model))
        for seed, key in enumerate(keys):
            store.once(key, lambda seed=seed: self._judged(copy.deepcopy(model), seed))  # type: ignore[misc]

    def _judged(self, model: nn.Module, seed: int) -> dict[str, float]:
        calibrate(model, self._sentences(seed, CALIBRATION_SENTENCES, held_out=False))
        held_out = self._sentences(seed, self.settings.sentences, held_out=True)
        expected, both = embeddings(_float32(self.device), held_out), embeddings(model, held_out)
        qat.set_mode(model, "float", roles=("input",))
        return {**_fidelity(expected, both, ""), **_fidelity(expected, embeddings(model, held_out), ", weights alone")}

    def _sentences(self, seed: int, count: int, *, held_out: bool) -> list[tuple[Tensor, Tensor]]:
        """The sentences of a seed, disjoint from those of other seeds.

        Raises:
            RuntimeError: if there are too few sentences for all seeds.
        """
        found = sentences(held_out=held_out, most_files=self.settings.files)[seed * count : (seed + 1) * count]
        if len(found) < count:
            raise RuntimeError(f"seed {seed} finds {len(found)} sentences that no other seed has; needed: {count}")
        return tokenized(found, self.device)


def weight_sqnr_db(model: nn.Module) -> float:
    """The SQNR of all quantized weights together."""
    signal = noise = 0.0
    for _, layer in qat.layers(model):
        weight, quantized = layer.get_parameter("weight").detach().double(), layer.quantized_weight().detach()
        signal += float(weight.square().sum())
        noise += float((weight - quantized).square().sum())
    return 10 * float(np.log10(signal / noise))


@torch.no_grad()
def embeddings(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> np.ndarray[Any, Any]:
    """The embeddings of all sentences, unit vectors."""
    return torch.cat([model(*batch) for batch in batches]).cpu().numpy()


def tokenized(texts: Sequence[str], device: str) -> list[tuple[Tensor, Tensor]]:
    """Tokens and their masks, in batches of sentences of similar lengths."""
    encoded = sorted(_tokenizer().encode_batch(list(texts)), key=lambda each: len(each.ids))
    return [_padded(encoded[start : start + BATCH], device) for start in range(0, len(encoded), BATCH)]


def _padded(encoded: Sequence[Any], device: str) -> tuple[Tensor, Tensor]:
    longest = max(len(each.ids) for each in encoded)
    rows = [each.ids + [0] * (longest - len(each.ids)) for each in encoded]
    counts = [[True] * len(each.ids) + [False] * (longest - len(each.ids)) for each in encoded]
    return torch.tensor(rows, device=device), torch.tensor(counts, device=device)


@cache
def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(folder() / "tokenizer.json"))
    tokenizer.enable_truncation(MOST_TOKENS)
    tokenizer.no_padding()
    return tokenizer


@cache
def _float32(device: str) -> MiniLM:
    return minilm().to(device)


def _fidelity(expected: Any, found: Any, of: str) -> dict[str, float]:
    """Mean cosine with float32's embedding, rank correlation of all pairs' similarities, share of neighbours kept."""
    pairs = np.triu_indices(len(expected), 1)
    before, after = expected @ expected.T, found @ found.T
    return {
        f"cosine{of}": float((expected * found).sum(1).mean()),
        f"rank correlation{of}": float(spearmanr(before[pairs], after[pairs]).statistic),
        f"neighbours{of}": float(np.mean([len(a & b) for a, b in zip(_nearest(before), _nearest(after), strict=True)]))
        / NEIGHBOURS,
    }


def _nearest(similarity: Any) -> Iterator[set[int]]:
    others = similarity - 4 * np.eye(len(similarity))
    return (set(row.tolist()) for row in np.argsort(-others, axis=1)[:, :NEIGHBOURS])
