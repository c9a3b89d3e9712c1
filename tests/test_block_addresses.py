"""Block formats on tensors whose addresses are all that a kernel needs: the bits, and what goes another way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import statqat_sim as sqs
from statqat_sim.arrays import addresses
from statqat_sim.block_codec import BlockCodec
from statqat_sim.testing import assert_bit_exact

SHAPES = [((70,), 0), ((6, 70), 1), ((6, 70), 0), ((3, 40, 5), -2), ((1,), -1), ((600, 512), -1)]
"""With an axis each; the last one is done in pieces."""

DRAWN = "{name: drawn, extends: mxfp4, encode: {rounding: stochastic_a, random_bits: 16}}\n"


def normal(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def wanted(name: str, x: Tensor, axis: int = -1) -> Tensor:
    return torch.from_numpy(sqs.Codec(sqs.load_format(name)).fake_quantize(x.numpy(), axis=axis))


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that look at more than addresses fail."""

    def fail(*_: Any) -> None:
        raise AssertionError("the tensors were seen as arrays")

    monkeypatch.setattr(BlockCodec, "_job", fail)


@pytest.mark.parametrize("name", ["mxfp4", "mxint8", "nvfp4", "mx6"])
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_bits_are_those_of_arrays(name: str, shape: tuple[int, ...], axis: int) -> None:
    x, codec = normal(*shape), sqs.Codec(sqs.load_format(name))
    for _ in range(2):
        out = torch.full_like(x, torch.nan)
        assert codec.fake_quantize(x, axis=axis, out=out) is out
        assert_bit_exact(out, wanted(name, x, axis))
    assert codec.fake_quantize(x, axis=axis, out=x) is x
    assert_bit_exact(x, out)


@pytest.mark.usefixtures("refused")
def test_no_more_than_addresses_is_looked_at() -> None:
    x = normal(6, 64)
    codec = sqs.Codec(sqs.load_format("mxfp4"))
    codec.fake_quantize(x, out=torch.empty_like(x))
    with pytest.raises(AssertionError, match="seen as arrays"):
        codec.fake_quantize(x.T, out=torch.empty(64, 6))


@pytest.mark.parametrize("shift", [1, 8, -1, -8])
def test_results_that_overlap_the_elements(shift: int) -> None:
    memory = normal(400)
    x, out = memory[8:-8], memory[8 + shift : len(memory) - 8 + shift]
    expected = wanted("mxfp4", x.clone())
    assert_bit_exact(sqs.Codec(sqs.load_format("mxfp4")).fake_quantize(x, out=out), expected)


def test_other_tensors_have_no_addresses() -> None:
    x = normal(4, 8)
    others = [x.T, x.double(), x.half(), torch.empty(4, 0), x.to("meta"), x.to_sparse(), torch.empty(4, 8).int()]
    assert addresses(x, x) == (x.data_ptr(), x.data_ptr())
    assert addresses(torch.nn.Parameter(x), torch.empty_like(x)) is not None
    assert addresses(x, x[:2]) is None
    assert addresses(x.numpy(), x.numpy()) is None
    for other in others:
        assert addresses(other, other) is None
    assert torch.vmap(lambda row: torch.tensor(addresses(row, row) is None) * row.new_ones(()))(x).all()


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize(("axis", "error"), [(2, ValueError), (1.0, TypeError), (True, TypeError)])
def test_wrong_axes_are_told(axis: Any, error: type[Exception]) -> None:
    x = normal(4, 8)
    with pytest.raises(error, match=r"axis is .*; allowed: -2 to 1 for shape \(4, 8\)"):
        sqs.Codec(sqs.load_format("mxfp4")).fake_quantize(x, axis=axis, out=torch.empty_like(x))


def test_random_bits_and_given_scales_still_count() -> None:
    x, drawn = normal(6, 64), sqs.Codec(sqs.parse_format(DRAWN))
    results = [drawn.fake_quantize(x, out=torch.empty_like(x), seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    given = sqs.Codec(sqs.load_format("mxfp4"))
    results = [given.fake_quantize(x, scale=scale, out=torch.empty_like(x)) for scale in (None, 0.125)]
    assert not torch.equal(*results)
