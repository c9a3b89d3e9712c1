"""What two processes do together in tests of training; `test_qat_distributed.py` starts them and reads their results.

python qat_processes.py FOLDER RANK WORLD
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

from statqat_sim import qat
from tests.examples.train_distributed import Training, network, shard, spread

CPU = torch.device("cpu")
INT8 = {"format": "int8", "quantizer": "minmax"}
SIXTEEN = {"name": "b16", "element": "float8_e4m3fn", "scales": [{"format": "float8_e8m0fnu", "block": 16}]}
"""Of rows, which each process has."""
CONFIGS: Mapping[str, Callable[[], qat.QATConfig]] = {
    "blocks": lambda: qat.QATConfig(weight="mxfp4", input={"format": "float8_e4m3fn", "quantizer": "iterative"}),
    "learned": lambda: qat.QATConfig(weight={**INT8, "gradient": "lsq"}, input={**INT8, "gradient": "lsq"}),
    "products": lambda: qat.QATConfig(weight="mxfp4", grad_input="mxfp8_e4m3", grad_weight=SIXTEEN),
    "scheduled": lambda: qat.QATConfig(weight={**INT8, "update_every": 2}, output=INT8),
}
RUNS = [(config, engine, None) for config in CONFIGS for engine in ("ddp", "fsdp2")]
RUNS += [(config, "fsdp2", torch.bfloat16) for config in ("blocks", "learned", "products")]
STEPS = 4


def exact_model() -> nn.Sequential:
    """Layers whose sums are exact in float32, in whatever order: a batch is the sum of its parts, bit for bit."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(24, 20), nn.ReLU(), nn.Linear(20, 8))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((8 * parameter).round() / 8)
    channels = {**INT8, "per": "channel"}
    return qat.prepare(model, qat.QATConfig(input=channels, output=INT8, grad_output={**INT8, "dynamic": False}))


def exact_batch() -> Tensor:
    """Integers, the greatest of them in the last row."""
    x = torch.randint(-8, 9, (8, 24), generator=torch.Generator().manual_seed(2)).float()
    x[-1] *= 4
    return x


def calibrated(x: Tensor, **options: Any) -> dict[str, Tensor]:
    """The state after calibration."""
    model = exact_model()
    with qat.calibrate(model, **options):
        if len(x):
            model(x).sum().backward()
    return qat.state_dict(model)


def told(call: Callable[[], object]) -> str:
    """What the error of a call says."""
    try:
        call()
    except (TypeError, ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def statistics(rank: int, world: int) -> dict[str, Any]:
    part = exact_batch().chunk(world)[rank]
    alone = distributed.new_group([0]), distributed.new_group([1])
    return {
        "all": calibrated(part),
        "one": calibrated(part if rank == 0 else part[:0]),
        "apart": calibrated(part, synchronise=False),
        "group": calibrated(part, process_group=alone[rank]),
        "names": told(lambda: _calibrate(nn.ReLU() if rank else None)),
        "channels": told(lambda: _calibrate(nn.Sequential(), features=rank + 2)),
    }


def _calibrate(last: nn.Module | None, features: int = 2) -> None:
    """Models that differ between processes."""
    layers = [nn.Linear(features, 2)] if last is not None else [nn.ReLU(), nn.Linear(features, 2)]
    model = qat.prepare(nn.Sequential(*layers), qat.QATConfig(input={**INT8, "per": "channel"}))
    with qat.calibrate(model):
        model(torch.ones(1, features))


def trained(folder: Path, config: str, engine: str, dtype: torch.dtype | None) -> dict[str, Any]:
    """Losses, and whether training that goes on from a checkpoint gives the same bits."""
    training, place = Training(CONFIGS[config](), engine, CPU, dtype), folder / f"{config} {engine} {dtype}"
    first = qat.state_dict(training.model)
    losses = [training.step() for _ in range(STEPS // 2)]
    training.save(place)
    losses += [training.step() for _ in range(STEPS // 2)]
    resumed = Training(CONFIGS[config](), engine, CPU, dtype)
    resumed.step()
    resumed.load(place)
    again = [resumed.step() for _ in range(STEPS // 2)]
    export = folder / f"{config} {engine} {dtype}.safetensors"
    training.export(export)
    return {
        "losses": losses,
        "again": again,
        "states": [gathered(one) for one in (training, resumed)],
        "first": first,
        "last": qat.state_dict(training.model),
        "convert": told(lambda: qat.convert(training.model)) if engine == "fsdp2" else "",
    }


def gathered(training: Training) -> dict[str, Tensor]:
    """Parameters, momenta and scales, of sharded ones this process's part."""
    tensors = dict(training.model.named_parameters())
    tensors |= {f"momentum of {name}": training.optimizer.state[p]["momentum_buffer"] for name, p in tensors.items()}
    local = {name: getattr(tensor, "_local_tensor", tensor).detach().clone() for name, tensor in tensors.items()}
    return local | qat.state_dict(training.model)


def born_in_parts(config: str) -> dict[str, Tensor]:
    """A model that no process ever has the whole of: prepared as shapes, spread, filled, then calibrated."""
    with torch.device("meta"):
        model = qat.prepare(network(), CONFIGS[config]())
    spread(model, MixedPrecisionPolicy())
    model.to_empty(device=CPU)
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    weights = network().state_dict() if distributed.get_rank() == 0 else {}
    set_model_state_dict(model, weights, options=options)
    with qat.calibrate(model), torch.no_grad():
        for step in range(4):
            model(shard(-1 - step, CPU)[0])
    return qat.state_dict(model)


def loaded_in_parts(config: str) -> dict[str, Any]:
    """Weights that come without scales when a model is spread: it says so, until all processes choose them."""
    model = qat.prepare(network(), CONFIGS[config]())
    wanted = qat.state_dict(model)
    with torch.no_grad():
        model[0].weight.mul_(2)
    with qat.calibrate(model), torch.no_grad():
        model(shard(-1, CPU)[0])
    spread(model, MixedPrecisionPolicy())
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(model, network().state_dict() if distributed.get_rank() == 0 else {}, options=options)
    before = told(lambda: model(shard(-1, CPU)[0]))
    qat.choose_weight_scales(model)
    scales = {name: tensor for name, tensor in qat.state_dict(model).items() if name.endswith("weight_quantizer.scale")}
    return {"before": before, "scales": scales, "wanted": {name: wanted[name] for name in scales}}


def outdated_in_parts() -> str:
    """What a spread model says when scales were loaded, then it was trained, then weights came without scales."""
    model, (x, _) = qat.prepare(network(), CONFIGS["scheduled"]()), shard(-1, CPU)
    with qat.calibrate(model), torch.no_grad():
        model(x)
    spread(model, MixedPrecisionPolicy())
    qat.load_state_dict(model, qat.state_dict(model))
    model(x).sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(model, network().state_dict() if distributed.get_rank() == 0 else {}, options=options)
    return told(lambda: model(x))


def shared_in_parts() -> list[bool]:
    """Whether the scales of a spread weight of two layers stay, when they are loaded before it."""
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model[1].weight = model[0].weight
    fully_shard(qat.prepare(model, CONFIGS["scheduled"]()))
    weights = copy.deepcopy(model.state_dict())
    qat.load_state_dict(model, qat.state_dict(model))
    model.load_state_dict(weights)
    return [one.is_ready for _, one in qat.quantizers(model) if one.role == "weight"]


def tensor_parallel() -> dict[str, Any]:
    """Layers that were not prepared may be split; the others say that they may not."""
    mesh, x = init_device_mesh("cpu", (distributed.get_world_size(),)), torch.ones(2, 64)
    model = qat.prepare(network(), qat.QATConfig([{"weight": "mxfp4"}, {"match": "0", "skip": True}]))
    wanted = model(x).detach()
    parallelize_module(model[0], mesh, ColwiseParallel())
    got = model[4](model[3](model[2](model[1](full(model[0](x))))))
    parallelize_module(model[2], mesh, ColwiseParallel())
    return {"wanted": wanted, "got": got.detach(), "prepared": told(lambda: model[2](torch.ones(2, 128)))}


def full(x: Tensor) -> Tensor:
    """What is split over two processes by columns."""
    parts = [torch.empty_like(x) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, x.contiguous())
    return torch.cat(parts, -1)


def cast_scales() -> str:
    """Learned scales belong to no group that casts."""
    model = qat.prepare(nn.Sequential(nn.Linear(8, 8)), CONFIGS["learned"]())
    with qat.calibrate(model):
        model(torch.ones(1, 8))
    fully_shard(model, mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16))
    return told(lambda: model(torch.ones(1, 8)))


def main(folder: Path, rank: int, world: int) -> None:
    place = f"file://{folder / 'meeting'}"
    distributed.init_process_group("gloo", init_method=place, rank=rank, world_size=world)
    try:
        results = {"statistics": statistics(rank, world), "cast": cast_scales(), "split": tensor_parallel()}
        results |= {"born": {config: born_in_parts(config) for config in CONFIGS}}
        results |= {"loaded": {config: loaded_in_parts(config) for config in ("learned", "scheduled")}}
        results |= {"outdated": outdated_in_parts(), "shared": shared_in_parts()}
        results |= {"runs": {run: trained(folder, *run) for run in RUNS}}
        torch.save(results, folder / f"{rank}.pt")
    finally:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
