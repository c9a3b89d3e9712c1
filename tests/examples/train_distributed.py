"""Train with formats in one process or many, on one machine or many, go on from a checkpoint, and export.

python train_distributed.py
torchrun --nproc-per-node 2 train_distributed.py --engine fsdp2 --checkpoint runs/1
torchrun --nnodes 4 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 train_distributed.py --engine ddp
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, distributed, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from statqat_sim import qat

FEATURES, CLASSES, BATCH = 64, 10, 32
CONFIG = qat.QATConfig(weight="mxfp4", input={"format": "float8_e4m3fn", "quantizer": "iterative"})


def network() -> nn.Sequential:
    """The same values in every process."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(FEATURES, 128), nn.ReLU(), nn.Linear(128, 96), nn.ReLU(), nn.Linear(96, CLASSES))


def shard(step: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """This process's part of a batch."""
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(BATCH, FEATURES, generator=generator)
    y = x[:, :CLASSES].argmax(1)
    rank, world = (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
    part = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
    return x[part].to(device), y[part].to(device)


def spread(model: nn.Sequential, policy: MixedPrecisionPolicy) -> nn.Module:
    """FSDP2, which may cast parameters; but learned scales stay float32."""
    for _, quantizer in qat.quantizers(model):
        if quantizer.is_learned:
            fully_shard(quantizer)
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mp_policy=policy)
    return fully_shard(model, mp_policy=policy)


class Training:
    """A model in training: prepared, calibrated with what all processes see, then given to an engine."""

    def __init__(self, config: qat.QATConfig, engine: str, device: torch.device, dtype: torch.dtype | None = None):
        self.config, self.device, self.steps = config, device, 0
        self.model = qat.prepare(network().to(device), config)
        with qat.calibrate(self.model), torch.no_grad():
            for step in range(4):
                self.model(shard(-1 - step, device)[0])
        self.engine: nn.Module = self.model
        if engine == "ddp":
            self.engine = DistributedDataParallel(self.model)
        elif engine == "fsdp2":
            spread(self.model, MixedPrecisionPolicy(param_dtype=dtype, output_dtype=torch.float32))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)

    def step(self) -> float:
        """One step; the loss of the whole batch."""
        x, y = shard(self.steps, self.device)
        loss = cross_entropy(self.engine(x), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        qat.step(self.model)
        self.steps += 1
        total = loss.detach().clone()
        if distributed.is_initialized():
            distributed.all_reduce(total)
            total /= distributed.get_world_size()
        return total.item()

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        model, optimizer = get_state_dict(self.model, self.optimizer)
        return {"model": model, "optimizer": optimizer, "qat": qat.Checkpointed(self.model), "steps": self.steps}

    def save(self, path: Path) -> None:
        """Every process writes its part."""
        dcp.save(self.state(), checkpoint_id=path)

    def load(self, path: Path) -> None:
        """Go on from there, with another number of processes if need be."""
        state = self.state()
        dcp.load(state, checkpoint_id=path)
        parts = {"model_state_dict": state["model"], "optim_state_dict": state["optimizer"]}
        set_state_dict(self.model, self.optimizer, **parts)
        self.steps = state["steps"]

    def export(self, path: Path) -> None:
        """Convert the whole model in one process, and save it."""
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        weights, scales = get_model_state_dict(self.model, options=options), qat.state_dict(self.model)
        if not distributed.is_initialized() or distributed.get_rank() == 0:
            model = qat.prepare(network(), self.config)
            model.load_state_dict(weights)
            qat.load_state_dict(model, scales)
            qat.save(qat.convert(model), path)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["ddp", "fsdp2"], default="ddp")
    parser.add_argument("--bfloat16", action="store_true", help="parameters as FSDP2 hands them out")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--checkpoint", type=Path, help="folder: go on from what it holds, and write what comes out")
    parser.add_argument("--export", type=Path, help="folder for the converted model")
    return parser.parse_args(words)


@contextmanager
def process_group(is_alone: bool) -> Iterator[torch.device]:
    """This process's device, while it is one of those that torchrun started."""
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    if not is_alone:
        distributed.init_process_group()
    try:
        yield device
    finally:
        if not is_alone:
            distributed.destroy_process_group()


def newest(folder: Path) -> Path | None:
    """The checkpoint with the most steps."""
    return max((file.parent for file in folder.glob("*/.metadata")), key=lambda path: int(path.name), default=None)


def main(words: Sequence[str] | None = None) -> None:
    """Every process calls it."""
    asked, is_alone = arguments(words), "RANK" not in os.environ
    with process_group(is_alone) as device:
        dtype = torch.bfloat16 if asked.bfloat16 else None
        training = Training(CONFIG, "none" if is_alone else asked.engine, device, dtype)
        found = None if asked.checkpoint is None else newest(asked.checkpoint)
        if found is not None:
            training.load(found)
        while training.steps < asked.steps:
            loss = training.step()
            if is_alone or distributed.get_rank() == 0:
                print(f"step {training.steps}: loss {loss:.6f}", flush=True)
        if asked.checkpoint is not None:
            training.save(asked.checkpoint / str(training.steps))
        if asked.export is not None:
            training.export(asked.export)


if __name__ == "__main__":
    main()
