"""Measure what formats of forward and backward cost a GPT in training: `python -m bench.pretraining --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

if not __package__:  # run as a file: python put this folder on its path, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

import statqat_sim as sqs
from bench.accumulator_report import FLOAT, Loss
from bench.pairs import Machine
from bench.pretraining_report import PretrainingReport, markdown
from bench.qat_data import Text, even_windows, source
from bench.qat_models import CharGPT, Shape
from bench.qat_training import Schedule, batches, bits_per_character, train
from statqat_sim import qat

SHAPE: Final = Shape(width=128, heads=4, blocks=2, context=64)
BASE: Final = Schedule(steps=300, batch=16, learning_rate=4e-3, warm_up=50)
QUICK_SHAPE, QUICK_BASE = replace(SHAPE, width=64, blocks=1, context=8), replace(BASE, steps=1, warm_up=1)
MATCH = "blocks.*"
"""The linear layers of blocks; embeddings and the head stay float32."""

WINDOWS, SEEDS = 96, 3


def recipes() -> dict[str, Mapping[str, Any] | None]:
    """Rules by name; None: floats."""
    found: dict[str, Mapping[str, Any] | None] = {FLOAT: None}
    for name in ("mxfp8_e4m3", "mxfp4", "nvfp4"):
        found[f"{name}, forward alone"] = {"weight": name, "input": name}
        found[name] = _rule(name, name)
    for name in ("mxfp4", "nvfp4"):
        found[f"{name}, gradients drawn"] = _rule(name, _drawn(name))
        found[f"{name}, drawn, Hadamard 16"] = _rule(name, _drawn(name), hadamard=16)
    squares = _rule("nvfp4", _drawn("nvfp4"), weight="nvfp4_2d", hadamard=16)
    found["nvfp4, drawn, Hadamard 16, weights in squares"] = squares
    return found


def _rule(name: str, gradient: str | sqs.Format, weight: str = "", hadamard: int = 0) -> dict[str, Any]:
    """All three products in a format; the transform is that of the weight's gradient."""
    weight = weight or name
    return {
        "weight": weight,
        "input": name,
        "grad_input": {"grad_output": gradient, "weight": weight},
        "grad_weight": {"grad_output": gradient, "input": name, "hadamard": hadamard},
    }


def _drawn(name: str) -> sqs.Format:
    """A block format whose elements are rounded at random."""
    return sqs.parse_format(f"{{name: {name}_drawn, extends: {name}, encode: {{rounding: stochastic_a}}}}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, print the table, and write JSON if asked to."""
    parser = argparse.ArgumentParser(prog="bench.pretraining", description=__doc__.split(":")[0])
    parser.add_argument("--quick", action="store_true", help="a trial run, in seconds: its figures mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to a file")
    options = parser.parse_args(arguments)
    report = run(quick=options.quick)
    print(markdown(report))
    if options.json:
        report.write(options.json)


def run(*, quick: bool) -> PretrainingReport:
    """Train everything on one thread: with matrices this small, threads only wait for each other."""
    torch.set_num_threads(1)
    shape, schedule = (QUICK_SHAPE, QUICK_BASE) if quick else (SHAPE, BASE)
    text = source(10 if quick else None)
    losses = tuple(
        Loss(
            seed=seed,
            bits_per_character={name: _loss(seed, rule, text, shape, schedule) for name, rule in recipes().items()},
        )
        for seed in range(1 if quick else SEEDS)
    )
    net = f"GPT: width {shape.width}, {shape.blocks} blocks, {schedule.steps} steps"
    return PretrainingReport(machine=Machine.here(), quick=quick, net=net, losses=losses)


def _loss(seed: int, rule: Mapping[str, Any] | None, text: Text, shape: Shape, schedule: Schedule) -> float:
    """On held-out text, of a model that was trained from the start by a rule and is judged by it."""
    torch.manual_seed(seed)
    model = CharGPT(shape)
    if rule is not None:
        qat.prepare(model, qat.QATConfig([{"match": MATCH, **rule}]))
    train(model, batches(text.train, shape.context, schedule.batch, seed), schedule)
    return bits_per_character(model, even_windows(text.held_out, shape.context, WINDOWS), schedule.batch)


if __name__ == "__main__":
    main()
