"""Matrix instructions on a GPU. Skipped where there is none, with the reason; see `test_backend_cuda_mma`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mma_cases import FAMILIES, assert_same, bits_of
from mma_compare import DISTINCT, arguments, chosen, families
from mma_random import Operands, accelerators, parsed
from mma_ways import WAYS, normal

import statqat_sim as sqs
from statqat_sim.backends.cupy_gpu.backend import CupyBackend
from statqat_sim.errors import UnsupportedError
from statqat_sim.testing import assert_bit_exact

REASON = CupyBackend().available()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"backend 'cupy': {REASON}")

if REASON is None:
    import cupy

SHAPE = 70, 130
"""Several tiles of D."""


def on_gpu(given: dict[str, Any], library: str = "cupy") -> dict[str, Any]:
    """Arguments with copies of arrays on the GPU."""
    move = cupy.asarray if library == "cupy" else lambda array: torch.from_numpy(array).cuda()
    return {name: move(each) if isinstance(each, np.ndarray) else each for name, each in given.items()}


def back(result: Any) -> Any:
    return result.cpu().numpy() if isinstance(result, torch.Tensor) else cupy.asnumpy(result)


@pytest.mark.parametrize("case", DISTINCT, ids="-".join)
def test_an_instruction_is_what_numba_says(case: tuple[str, ...]) -> None:
    accelerator = chosen(case)[0]
    for family in families(case, 8):
        operands = arguments(case, family, SHAPE)
        d = accelerator.matmul(**on_gpu(operands))
        assert_same(bits_of(back(d)), bits_of(accelerator.matmul(**operands)), f"{case}, {family}")


@pytest.mark.parametrize("library", ["cupy", "torch"])
@pytest.mark.parametrize("way", WAYS)
def test_arrays_are_computed_on_where_they_lie(way: str, library: str) -> None:
    device, operands = WAYS[way]
    accelerator, there = sqs.load_accelerator(device), on_gpu(operands, library)
    d = accelerator.matmul(**there)
    assert type(d) is type(there["a"])
    assert_bit_exact(back(d), accelerator.matmul(**operands))


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_nothing_waits_for_the_device() -> None:
    h100, there = sqs.load_accelerator("nvidia_h100"), on_gpu(WAYS["codes"][1], "torch")
    h100.matmul(**there)
    torch.cuda.set_sync_debug_mode("error")
    try:
        h100.matmul(**there)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(accelerators(), st.sampled_from(FAMILIES), st.integers(0, 1 << 32))
def test_a_random_accelerator_is_what_the_oracle_says(text: str, family: str, seed: int) -> None:
    try:
        accelerator, instruction = parsed(text)
    except UnsupportedError:
        assume(False)
    operands = Operands.drawn(instruction, family, seed)
    d = accelerator.matmul(**on_gpu(operands.given(instruction)))
    assert_same(bits_of(back(d)), operands.expected(instruction), f"{family}\n{text}")


def test_a_long_k_and_many_columns() -> None:
    h100 = sqs.load_accelerator("nvidia_h100")
    operands = {"a": normal(3, 1 << 15), "b": normal(1 << 15, 200, seed=1), "instruction": "wgmma.e4m3.f32"}
    assert_bit_exact(back(h100.matmul(**on_gpu(operands))), h100.matmul(**operands))
