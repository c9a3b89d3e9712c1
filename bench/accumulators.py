"""Measure what accumulators of FP8 products cost: `python -m bench.accumulators --help`."""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

if not __package__:  # run as a file: python put this folder on its path, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
from torch import nn

import statqat_sim as sqs
from bench.accumulator_report import FLOAT, IDEAL, TORCH, AccumulatorReport, Error, Loss, markdown
from bench.pairs import Machine
from bench.qat_data import even_windows, source
from bench.qat_models import CharGPT, Shape
from bench.qat_training import Schedule, batches, bits_per_character, train
from statqat_sim import qat

FORMAT, WIDTH = "float8_e4m3fn", 64
PROMOTED: Final = {"promote_every": 128}
ACCUMULATORS: Final[Mapping[str, tuple[str, str, Mapping[str, Any] | None]]] = {
    "13 bits": ("nvidia_h100", "wgmma.e4m3.f32", None),
    "13 bits, promoted": ("nvidia_h100", "wgmma.e4m3.f32", PROMOTED),
    "25 bits": ("nvidia_b200", "f8f6f4.e4m3.f32", None),
    "25 bits, promoted": ("nvidia_b200", "f8f6f4.e4m3.f32", PROMOTED),
    IDEAL: ("ideal", "dot.e4m3.f32", None),
}
"""Accelerator, instruction and plan, named by bits kept below the largest product; promoted: every 128 products."""

SHAPE: Final = Shape(width=128, heads=4, blocks=2, context=64)
BASE: Final = Schedule(steps=300, batch=16, learning_rate=4e-3, warm_up=50)
QUICK_SHAPE, QUICK_BASE = replace(SHAPE, width=64, blocks=1, context=8), replace(BASE, steps=1, warm_up=1)
MATCH = "blocks.*"
"""The linear layers of blocks, with dot products of 128 and 512 elements."""

WINDOWS, CALIBRATION, SEEDS, CALIBRATION_SEED = 96, 4, 3, 1 << 17


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure errors and losses, print their tables, and write JSON if asked to."""
    parser = argparse.ArgumentParser(prog="bench.accumulators", description=__doc__.split(":")[0])
    parser.add_argument("--quick", action="store_true", help="a trial run, in seconds: its figures mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to a file")
    options = parser.parse_args(arguments)
    report = run(quick=options.quick)
    print(markdown(report))
    if options.json:
        report.write(options.json)


def run(*, quick: bool) -> AccumulatorReport:
    """Measure everything on one thread: with matrices this small, threads only wait for each other."""
    torch.set_num_threads(1)
    machine = Machine.here()
    sizes, seeds = (2**power for power in range(7, 9 if quick else 15)), range(1 if quick else SEEDS)
    errors = tuple(_error(k) for k in sizes)
    shape = QUICK_SHAPE if quick else SHAPE
    steps = QUICK_BASE.steps if quick else BASE.steps
    net = f"GPT: width {shape.width}, {shape.blocks} blocks in E4M3, {steps} steps of training"
    losses = tuple(_loss(seed, quick=quick) for seed in seeds)
    return AccumulatorReport(machine=machine, quick=quick, net=net, errors=errors, losses=losses)


# --- errors ------------------------------------------------------------------------------------------------------


def _error(k: int) -> Error:
    """The error of 64 × 64 dot products of length k; operands are scaled per tensor to fill the format."""
    rng, format = np.random.default_rng(k), sqs.load_format(FORMAT)
    codec = sqs.Codec(format)
    a, b = (_filled(codec, rng.standard_normal(shape, np.float32)) for shape in ((WIDTH, k), (k, WIDTH)))
    exact = codec.decode(a, dtype="float64") @ codec.decode(b, dtype="float64")
    found = {}
    for name, (device, instruction, plan) in ACCUMULATORS.items():
        unit = sqs.load_accelerator(device)
        d = unit.matmul(a, b, instruction=instruction, a_format=FORMAT, b_format=FORMAT, plan=plan)
        found[name] = sqs.sqnr_db(exact, d)
    return Error(k=k, sqnr_db=found)


def _filled(codec: sqs.Codec, x: Any) -> Any:
    return codec.encode(x / sqs.MinMax().fit(x, codec.format))


# --- losses ------------------------------------------------------------------------------------------------------


def _loss(seed: int, *, quick: bool) -> Loss:
    """The losses of one float model, and of its E4M3 version with each accumulator, at the same codes and scales."""
    text, shape, schedule = (
        source(10 if quick else None),
        QUICK_SHAPE if quick else SHAPE,
        QUICK_BASE if quick else BASE,
    )
    torch.manual_seed(seed)
    model = CharGPT(shape)
    train(model, batches(text.train, shape.context, schedule.batch, seed), schedule)
    seen = [*islice(batches(text.train, shape.context, schedule.batch, seed + CALIBRATION_SEED), CALIBRATION)]
    held_out = even_windows(text.held_out, shape.context, 8 if quick else WINDOWS)

    def judged(net: nn.Module) -> float:
        return bits_per_character(net, held_out, schedule.batch)

    found = {FLOAT: judged(model), TORCH: judged(_prepared(model, seen, None))}
    for name, (device, instruction, plan) in ACCUMULATORS.items():
        matmul = {"accelerator": device, "instruction": instruction, **(plan or {})}
        found[name] = judged(_prepared(model, seen, matmul))
    return Loss(seed=seed, bits_per_character=found)


def _prepared(model: nn.Module, seen: Sequence[torch.Tensor], matmul: Mapping[str, Any] | None) -> nn.Module:
    """A copy of the model, prepared and calibrated in E4M3."""
    rule = {"match": MATCH, "weight": FORMAT, "input": FORMAT, "matmul": matmul}
    net = qat.prepare(copy.deepcopy(model), qat.QATConfig([rule]))
    with qat.calibrate(net), torch.no_grad():
        for windows in seen:
            net(windows[:, :-1])
    return net


if __name__ == "__main__":
    main()
