"""Two processes give what one gives for all their batches; checkpoints and exports of what they share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from statqat_sim import qat
from tests.examples.train_distributed import network
from tests.qat_processes import CONFIGS, CPU, RUNS, STEPS, Training, calibrated, exact_batch

ROOT = Path(__file__).parents[1]
RUN = "import os, runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__'); os._exit(0)"
"""A script as Python runs it, but for the end of the interpreter: one before 3.14 aborts there where a thread of gloo
is late to give a tensor back, since it cannot have Python's lock any more."""

WORLD, PATIENCE = 2, 300
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
RUN_IDS = [f"{config}-{engine}-{'float32' if dtype is None else 'bfloat16'}" for config, engine, dtype in RUNS]
every_run = pytest.mark.parametrize("run", RUNS, ids=RUN_IDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes left what they did."""
    folder = tmp_path_factory.mktemp("processes")
    script = [sys.executable, "-c", RUN, str(ROOT / "tests" / "qat_processes.py"), str(folder)]
    logs = [(folder / f"{rank}.log").open("w+") for rank in range(WORLD)]
    options: dict[str, Any] = {"env": ENVIRONMENT, "cwd": ROOT, "stderr": subprocess.STDOUT}
    started = [
        subprocess.Popen([*script, str(rank), str(WORLD)], stdout=log, **options) for rank, log in enumerate(logs)
    ]
    try:
        codes = [process.wait(PATIENCE) for process in started]
    finally:
        for process, log in zip(started, logs, strict=True):
            process.kill()
            log.close()
    assert codes == [0] * WORLD, "\n".join((folder / f"{rank}.log").read_text() for rank in range(WORLD))
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> list[Mapping[str, Any]]:
    """What each process found."""
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(WORLD)]


@cache
def alone(config: str) -> tuple[Mapping[str, Tensor], tuple[float, ...], Mapping[str, Tensor]]:
    """One process: the first state, the losses, and the last state."""
    training = Training(CONFIGS[config](), "none", CPU)
    first = qat.state_dict(training.model)
    return first, tuple(training.step() for _ in range(STEPS)), qat.state_dict(training.model)


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# --- statistics --------------------------------------------------------------------------------------------------


def test_statistics_are_those_of_one_process_bit_for_bit(results: list[Mapping[str, Any]]) -> None:
    """Of inputs by channel, of outputs, and of gradients."""
    whole = calibrated(exact_batch())
    assert {name.split(".")[1] for name in whole if "statistics" in name} == {
        "input_quantizer",
        "output_quantizer",
        "grad_output_quantizer",
    }
    for found in results:
        assert same(found["statistics"]["all"], whole)


def test_a_process_that_saw_nothing_gets_what_the_others_saw(results: list[Mapping[str, Any]]) -> None:
    half = calibrated(exact_batch().chunk(WORLD)[0])
    for found in results:
        assert same(found["statistics"]["one"], half)


@pytest.mark.parametrize("kind", ["apart", "group"])
def test_processes_may_keep_to_themselves(results: list[Mapping[str, Any]], kind: str) -> None:
    for part, found in zip(exact_batch().chunk(WORLD), results, strict=True):
        assert same(found["statistics"][kind], calibrated(part))


def test_processes_that_do_not_fit_all_say_so(results: list[Mapping[str, Any]]) -> None:
    told = "ValueError: processes calibrate models with different quantizers; allowed: one model in a process group"
    assert [found["statistics"]["names"] for found in results] == [told] * WORLD
    told = "ValueError: '0.input_quantizer' has 2 channels in a process, and 3 in another; allowed: one number"
    assert [found["statistics"]["channels"] for found in results] == [told] * WORLD


# --- training ----------------------------------------------------------------------------------------------------


@every_run
def test_losses_are_those_of_one_process(results: list[Mapping[str, Any]], run: Any) -> None:
    config, _, dtype = run
    first, losses, last = alone(config)
    tolerance = 1e-4 if dtype is None else 0.02
    for found in (each["runs"][run] for each in results):
        assert found["losses"] == pytest.approx(losses, rel=tolerance)
        weights = {name: tensor for name, tensor in first.items() if "weight_quantizer" in name}
        assert same({name: found["first"][name] for name in weights}, weights)
        for name in (name for name in first if name.endswith("scale")):
            torch.testing.assert_close(found["first"][name], first[name])
            if dtype is None:
                torch.testing.assert_close(found["last"][name], last[name], rtol=1e-3, atol=1e-6)
    assert losses[-1] != losses[0]


@every_run
def test_training_goes_on_from_a_checkpoint_to_the_same_bits(results: list[Mapping[str, Any]], run: Any) -> None:
    for found in (each["runs"][run] for each in results):
        assert found["again"] == found["losses"][STEPS // 2 :]
        uninterrupted, resumed = found["states"]
        assert same(resumed, uninterrupted)
        assert any(name.startswith("momentum") for name in resumed)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")  # so it is meant
def test_a_checkpoint_of_two_processes_is_one_of_one(folder: Path, results: list[Mapping[str, Any]]) -> None:
    run = ("learned", "fsdp2", None)
    training = Training(CONFIGS["learned"](), "none", CPU)
    training.load(folder / "learned fsdp2 None")
    losses = [training.step() for _ in range(STEPS // 2)]
    assert losses == pytest.approx(results[0]["runs"][run]["again"], rel=1e-4)


# --- what is spread over processes -------------------------------------------------------------------------------


@every_run
def test_exports_give_what_the_trained_model_gives(folder: Path, results: list[Mapping[str, Any]], run: Any) -> None:
    config, engine, dtype = run
    loaded = qat.load(folder / f"{config} {engine} {dtype}.safetensors", network())
    x = torch.randn(16, 64, generator=torch.Generator().manual_seed(9))
    model = qat.prepare(network(), CONFIGS[config]())
    states = [each["runs"][run]["states"][0] for each in results]
    parts = {name: torch.cat([state[name] for state in states]) for name in model.state_dict()}
    model.load_state_dict(parts if engine == "fsdp2" else {name: states[0][name] for name in parts})
    qat.load_state_dict(model, results[0]["runs"][run]["last"])
    assert torch.equal(loaded(x), model(x))


@pytest.mark.parametrize("config", CONFIGS)
def test_models_that_are_spread_first_get_the_same_scales(results: list[Mapping[str, Any]], config: str) -> None:
    for found in results:
        assert same(found["born"][config], found["runs"][config, "ddp", None]["first"])


@pytest.mark.parametrize("config", ["learned", "scheduled"])
def test_weights_that_come_to_spread_models_wait_for_all_processes(
    results: list[Mapping[str, Any]], config: str
) -> None:
    for found in (each["loaded"][config] for each in results):
        assert found["before"].startswith("RuntimeError: 0: int8 has no scale yet; call qat.load_state_dict, qat.cal")
        assert len(found["scales"]) == 3
        assert same(found["scales"], found["wanted"])


def test_spread_models_do_not_keep_scales_that_were_loaded_long_ago(results: list[Mapping[str, Any]]) -> None:
    assert all(found["outdated"].startswith("RuntimeError: 0: int8 has no scale yet; call") for found in results)


def test_scales_of_shared_weights_stay_in_spread_models(results: list[Mapping[str, Any]]) -> None:
    assert all(found["shared"] == [True, True] for found in results)


def test_converting_a_part_says_how_to_gather_the_whole(results: list[Mapping[str, Any]]) -> None:
    told = results[0]["runs"]["blocks", "fsdp2", None]["convert"]
    assert told.startswith("ValueError: '0.weight' is spread over processes; load what get_model_state_dict(model, ")


def test_learned_scales_that_are_cast_say_what_to_do(results: list[Mapping[str, Any]]) -> None:
    told = results[0]["cast"]
    assert told.startswith("TypeError: 0, input: the learned scale is torch.bfloat16; allowed: torch.float32; call ")


def test_tensor_parallel_layers_are_left_alone(results: list[Mapping[str, Any]]) -> None:
    for found in (each["split"] for each in results):
        torch.testing.assert_close(found["got"], found["wanted"])
        assert found["prepared"].startswith("TypeError: 2: a tensor split over processes (a DTensor); allowed: plain")


# --- the example -------------------------------------------------------------------------------------------------


def test_the_example_runs_under_torchrun(tmp_path: Path) -> None:
    script = ROOT / "tests" / "examples" / "train_distributed.py"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(WORLD)]
    torchrun += ["--no-python", sys.executable, "-c", RUN]
    options = ["--engine", "fsdp2", "--steps", "3", "--checkpoint", str(tmp_path / "c"), "--export", str(tmp_path)]
    done = subprocess.run(
        [*torchrun, str(script), *options], env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    _, losses, _ = alone("blocks")
    told = [line.split("loss ") for line in done.stdout.splitlines() if "loss" in line]
    assert [word for word, _ in told] == ["step 1: ", "step 2: ", "step 3: "]
    assert [float(number) for _, number in told] == pytest.approx(losses[:3], rel=1e-4)
    assert (tmp_path / "c" / "3" / ".metadata").is_file()
    assert qat.load(tmp_path, network())(torch.zeros(1, 64)).shape == (1, 10)
