"""Random block formats on random arrays: every backend against the exact oracle, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from block_strategies import BlockCase, block_cases
from checking import COMPILED
from hypothesis import given, settings
from numpy.typing import NDArray

import statqat_sim as sqs
from statqat_sim.geometry import Geometry
from statqat_sim.plan.lower import Lowering
from statqat_sim.plan.lower_block import lower_block
from statqat_sim.reference.block_backend import ReferenceBlockKernel
from statqat_sim.reference.blocks import candidate_errors, dequantize_exactly, quantize_exactly
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.scale import Rule

Array = NDArray[Any]

NEARLY_EQUAL = 1e-9
"""Candidates whose errors differ by less may both be chosen (Definition 30)."""


def integers(array: Any) -> Array:
    """Codes, be they stored as floats or not."""
    flat = np.atleast_1d(np.asarray(array))
    return flat.view(f"u{flat.itemsize}").astype(np.uint64)


def chosen_well(format: BlockFormat, case: BlockCase, codes: Array) -> None:
    """No candidate is better than the chosen one."""
    for block, errors in candidate_errors(format, case.x, case.axis, scale=case.scale).items():
        assert errors[int(codes[block])] <= min(errors.values()) * (1 + NEARLY_EQUAL)


def compare(
    format: BlockFormat, case: BlockCase, codes: Any, scales: Any, offsets: Any, values: Array, fake: Array
) -> None:
    """What a backend found, with what is right."""
    exact = quantize_exactly(format, case.x, case.axis, scale=case.scale)
    if format.scales[-1].rule is Rule.MSE:
        chosen_well(format, case, integers(scales[-1]))
        if not np.array_equal(integers(scales[-1]), integers(exact.scales[-1])):
            return
    found = [*scales, *offsets]
    wanted = [*exact.scales, *exact.offset_scales, *([] if exact.offset is None else [exact.offset])]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(integers(one), integers(other))
    np.testing.assert_array_equal(integers(codes), integers(exact.codes))
    np.testing.assert_array_equal(values, dequantize_exactly(format, exact))
    np.testing.assert_array_equal(np.isnan(values), np.isnan(fake))
    numbers = ~np.isnan(values)
    np.testing.assert_array_equal(values.view(np.uint32)[numbers], fake.view(np.uint32)[numbers])


def check(backend: str, case: BlockCase) -> None:
    """One format on one backend: codes, scales, values, bytes."""
    format = sqs.parse_format(case.text)
    assert isinstance(format, BlockFormat)
    codec = sqs.Codec(format, backend)
    q = codec.quantize(case.x, axis=case.axis, scale=case.scale)
    offsets = [*q.offset_scales, *([] if q.offset is None else [q.offset])]
    fake = codec.fake_quantize(case.x, axis=case.axis, scale=case.scale)
    compare(format, case, q.codes, q.scales, offsets, np.asarray(codec.dequantize(q)), np.asarray(fake))
    if case.x.size:
        again = sqs.unpack(q.pack(), format, case.x.shape, axis=case.axis)
        np.testing.assert_array_equal(integers(again.codes), integers(q.codes))
        assert codec.pack(case.x, axis=case.axis, scale=case.scale) == q.pack()


@given(case=block_cases())
@settings(max_examples=120)
def test_random_block_formats(case: BlockCase) -> None:
    check("reference", case)


@pytest.mark.parametrize("backend", COMPILED)
@given(case=block_cases())
@settings(max_examples=20)  # each is compiled
def test_random_block_formats_compiled(backend: str, case: BlockCase) -> None:
    check(backend, case)


@given(case=block_cases())
@settings(max_examples=100)
def test_integer_lowering_of_random_block_formats(case: BlockCase) -> None:
    format = sqs.parse_format(case.text)
    assert isinstance(format, BlockFormat)
    if case.scale is not None:
        return
    plan, geometry = lower_block(format, Lowering.INTEGER), Geometry.of(case.x.shape, case.axis, format)
    kernel = ReferenceBlockKernel(plan)
    codes, stored = kernel.quantize(case.x, geometry)
    scales, offsets = stored[: len(plan.scales)], stored[len(plan.scales) :]
    values = kernel.dequantize(codes, stored, geometry)
    compare(format, case, codes, scales, offsets, values, kernel.fake_quantize(case.x, geometry))


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize(("shape", "axis"), [((33,), -1), ((40, 50), -1), ((3, 7, 30), 1)])
def test_the_scale_of_a_whole_array_is_chosen_for_all_of_it(backend: str, shape: tuple[int, ...], axis: int) -> None:
    """Tiles see a part of the errors each."""
    format = sqs.parse_format(
        "name: whole\nelement: {kind: int, bits: 3}\nscales: [{format: ue4m3, block: tensor, rule: mse}]\n"
    )
    random = np.random.default_rng(1)
    x = (3 * random.standard_normal(shape)).astype(np.float32)
    weights = random.random(shape[axis])
    wanted = sqs.Codec(format, "reference").quantize(x, axis=axis, weights=weights)
    found = sqs.Codec(format, backend).quantize(x, axis=axis, weights=weights)
    np.testing.assert_array_equal(found.scales[0], wanted.scales[0])
    np.testing.assert_array_equal(found.codes, wanted.codes)
