"""One block format on one backend, held to the exact oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
from block_strategies import BlockCase
from numpy.typing import NDArray

import statqat_sim as sqs
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
