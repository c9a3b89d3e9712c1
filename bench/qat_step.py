"""Measure a training step of a prepared GPT beside the float32 one: `python -m bench.qat_step --help`."""

from __future__ import annotations

import argparse
import copy
import importlib
import random
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

if not __package__:  # run as a file: python put this folder on its path, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from torch import nn
from torch.nn import functional

from bench.pairs import Machine, Spread, seconds
from bench.qat_data import CHARACTERS
from bench.qat_models import CharGPT, Shape
from bench.report import write_json
from bench.table import promise
from statqat_sim import qat

FULL, QUICK = (
    Shape(width=512, heads=8, blocks=4, context=128),
    Shape(width=64, heads=2, blocks=1, context=32),
)
BATCH: Final = 8
TARGET, SHARE_TARGET = 1.35, 0.05
"""The most that a prepared step may take relative to a float32 one, and our overhead relative to the peer's."""

PEER: Final = "microxcaling"
PEER_SPECS: Final = {
    "w_elem_format": "fp4_e2m1",
    "a_elem_format": "fp4_e2m1",
    "block_size": 32,
    "scale_bits": 8,
    "bfloat": 0,
    "custom_cuda": False,
}
"""MXFP4 weights and inputs, all else in float32, as ours; with `quantize_backprop` the backward pass, too."""

RESAMPLES: Final = 2000
"""Bootstrap resamples of rounds, for a confidence interval."""

Step: TypeAlias = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Share:
    """Our overhead as a share of the peer's, with its 95 % bootstrap interval over rounds."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_times(self.estimate)} ({_times(self.high)} to {_times(self.low)}) times what ours adds"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """Seconds of a step of each model, and its overhead over the float32 step of the same round."""

    machine: Machine
    shape: Shape
    tokens: int
    parameters: int
    rounds: int
    quick: bool
    backward: bool
    """Whether the products of the backward pass are in MXFP4, too."""
    seconds: Mapping[str, Spread]
    ratios: Mapping[str, Spread]
    """Seconds relative to the float32 step."""
    added: Mapping[str, Spread]
    """Seconds beyond the float32 step."""
    share: Share | None
    kept_bytes: Mapping[str, int]
    """Memory that the forward pass saves for the backward pass, without parameters."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every model in turn, print their times, and write JSON if asked to."""
    parser = argparse.ArgumentParser(prog="bench.qat_step", description="Measure a training step with MXFP4 layers.")
    parser.add_argument("--rounds", type=int, default=30, help="measured rounds, one step of each model (default: 30)")
    parser.add_argument("--peer", metavar=f"{PEER}=FOLDER", help="measure its modules too, from its repository's clone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    parser.add_argument("--backward", action="store_true", help="the products of the backward pass in MXFP4, too")
    parser.add_argument("--quick", action="store_true", help="a small model, 2 rounds: a trial run")
    options = parser.parse_args(arguments)
    name, _, folder = (options.peer or "").partition("=")
    if options.rounds < 1 or (options.peer and (name != PEER or not Path(folder).is_dir())):
        parser.error(f"allowed: --rounds of at least 1, --peer {PEER}=FOLDER, where its clone lies")
    rounds, peer = 2 if options.quick else options.rounds, Path(folder) if folder else None
    report = run(rounds, peer, quick=options.quick, backward=options.backward)
    if options.json:
        write_json(asdict(report), options.json)


def run(rounds: int, peer: Path | None, *, quick: bool, backward: bool = False) -> StepReport:
    """Measure all models."""
    machine, shape = Machine.told(), QUICK if quick else FULL
    torch.manual_seed(0)
    model = CharGPT(shape)
    codes = torch.randint(CHARACTERS, (BATCH, shape.context + 1))
    models = {"float32": model, "prepared": prepared(copy.deepcopy(model), backward=backward)}
    if peer is not None:
        models[PEER] = with_peer(copy.deepcopy(model), peer, backward=backward)
    kept = {name: kept_bytes(each, codes) for name, each in models.items()}
    taken = measured({name: step_of(each, codes) for name, each in models.items()}, rounds)
    report = StepReport(
        machine=machine,
        shape=shape,
        tokens=BATCH * shape.context,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        rounds=rounds,
        quick=quick,
        backward=backward,
        seconds={name: Spread.of(each) for name, each in taken.items()},
        ratios={name: Spread.of(ratios(taken, name)) for name in taken if name != "float32"},
        added={name: Spread.of(added(taken, name)) for name in taken if name != "float32"},
        share=share(taken) if peer is not None else None,
        kept_bytes=kept,
    )
    show(report)
    return report


def prepared(model: nn.Module, *, backward: bool = False) -> nn.Module:
    """Prepare all matrix products of the blocks in MXFP4: weights and inputs, and what the backward pass multiplies."""
    rule = {"match": "blocks.*", "type": "Linear", "weight": "mxfp4", "input": "mxfp4"}
    products = {"grad_input": "mxfp4", "grad_weight": "mxfp4"} if backward else {}
    return qat.prepare(model, qat.QATConfig([{**rule, **products}]))


def with_peer(model: nn.Module, folder: Path, *, backward: bool) -> nn.Module:
    """The same with the peer's modules."""
    sys.path.append(str(folder))
    mx: Any = importlib.import_module("mx")
    specs = mx.finalize_mx_specs({**PEER_SPECS, "quantize_backprop": backward})
    for parent in [module for name, module in model.named_modules() if name.startswith("blocks.")]:
        for name, child in [*parent.named_children()]:
            if isinstance(child, nn.Linear):
                ours = mx.Linear(child.in_features, child.out_features, mx_specs=specs)
                ours.load_state_dict(child.state_dict())
                setattr(parent, name, ours)
    return model


def step_of(model: nn.Module, codes: torch.Tensor) -> Step:
    """A call that runs forward, backward, and the optimizer."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    x, y = codes[:, :-1], codes[:, 1:].reshape(-1)

    def step() -> None:
        loss = functional.cross_entropy(model(x).flatten(0, 1), y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def kept_bytes(model: nn.Module, codes: torch.Tensor) -> int:
    """The bytes that autograd saves in a forward pass for the backward pass, each storage once, without parameters."""
    known = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    found: dict[int, torch.UntypedStorage] = {}  # keeps storages alive, so that no address is reused

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            found[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(codes[:, :-1]).square().sum()
    del loss
    return sum(storage.nbytes() for storage in found.values())


def measured(steps: Mapping[str, Step], rounds: int) -> dict[str, list[float]]:
    """Seconds of every step, run in alternating order, so that slowdowns of the machine affect all alike."""
    for step in steps.values():
        step()  # compiles, and allocates lasting memory
    taken: dict[str, list[float]] = {name: [] for name in steps}
    order = [*steps]
    for _ in range(rounds):
        for name in order:
            taken[name].append(seconds(steps[name]))
        order.reverse()
    return taken


def ratios(taken: Mapping[str, Sequence[float]], name: str) -> list[float]:
    """Seconds relative to the float32 steps of the same rounds."""
    return [each / base for each, base in zip(taken[name], taken["float32"], strict=True)]


def added(taken: Mapping[str, Sequence[float]], name: str) -> list[float]:
    """Seconds beyond the float32 steps of the same rounds."""
    return [each - base for each, base in zip(taken[name], taken["float32"], strict=True)]


def share(taken: Mapping[str, Sequence[float]]) -> Share:
    """The quotient of the median overheads; the quotient of one round would divide by noise."""
    ours, peer = added(taken, "prepared"), added(taken, PEER)
    rounds, draw = range(len(ours)), random.Random(0)

    def quotient(chosen: Sequence[int]) -> float:
        return statistics.median(ours[i] for i in chosen) / statistics.median(peer[i] for i in chosen)

    drawn = sorted(quotient(draw.choices(rounds, k=len(rounds))) for _ in range(RESAMPLES))
    return Share(quotient(rounds), drawn[RESAMPLES // 40], drawn[-RESAMPLES // 40 - 1])


def _times(share: float) -> str:
    """The inverse of a share, as text, unless noise makes the share zero or less."""
    return f"{1 / share:.0f}" if share > 0 else "any number"


def show(report: StepReport) -> None:
    """Print the results."""
    for name, spread in report.seconds.items():
        kept = f"{spread.median * 1e3:.0f} ms a step, {report.kept_bytes[name] / 1e6:.0f} MB for the backward pass"
        print(f"{name}: {kept}{_beside_float32(report, name)}")
    if report.share is not None:
        told = promise(f"≥ {_times(SHARE_TARGET)}", report.share.estimate <= SHARE_TARGET)
        print(f"{PEER} adds {report.share}{'' if report.backward else f', promised {told}'}")


def _beside_float32(report: StepReport, name: str) -> str:
    if name not in report.ratios:
        return ""
    ratio, more = report.ratios[name], report.added[name].median * 1e3
    is_promised = name == "prepared" and not report.backward
    promised = f", promised {promise(f'≤ {TARGET}', ratio.median <= TARGET)}" if is_promised else ""
    return f", {ratio.median:.3f} x float32 ({ratio.least:.2f} to {ratio.greatest:.2f}), {more:.1f} ms more{promised}"


if __name__ == "__main__":
    main()
