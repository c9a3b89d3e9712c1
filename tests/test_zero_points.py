"""Codecs with zero-points: against ONNX's reference, torch's operations, and the rule itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from statqat_sim import Codec, Scale, load_format, parse_format
from statqat_sim.codec import SHIFTED
from statqat_sim.errors import UnsupportedError
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.number import NumberFormat

NAMES = ("int2", "int3", "int4", "uint4", "int4_narrow", "int8", "uint8", "int16", "uint16")
SPECIAL = np.float32([0.0, -0.0, np.inf, -np.inf, 1e-45, 3e38, -3e38])


def integers(format: NumberFormat) -> IntElement:
    assert isinstance(format.element, IntElement)
    return format.element


def data(rows: int, scales: Any) -> Any:
    """Rows on both sides of the range's ends, ties and special numbers among them."""
    random = np.random.default_rng(rows)
    x = (random.standard_normal((rows, 300)) * random.choice([1, 10, 300], (rows, 300))).astype(np.float32)
    x[:, :50] = np.rint(x[:, :50]) + 0.5
    x[:, 50:57] = SPECIAL
    with np.errstate(over="ignore"):
        return x * scales


def within(x: Any, scale: Scale) -> Any:
    """What the integers of other libraries hold; zeros in place of the rest."""
    with np.errstate(over="ignore"):
        return np.where(np.abs(x / scale) < 2**20, x, np.float32(0))


def some(format: NumberFormat, rows: int, *, powers: bool = False) -> Scale:
    """A scale and a zero-point for each row."""
    random, (low, high) = np.random.default_rng(1), integers(format).range
    scales = np.exp2(random.integers(-9, 9, (rows, 1))) if powers else np.exp(random.normal(0, 5, (rows, 1)))
    points = random.integers(low, high, (rows, 1), endpoint=True)
    points[:3, 0] = low, high, 0
    return Scale(scales, points)


@pytest.mark.parametrize("name", NAMES)
def test_the_rule(name: str) -> None:
    """q = saturate(round(x / scale) + zero_point), and (q - zero_point) · scale, each operation in float32."""
    fmt = load_format(name)
    scale, (low, high) = some(fmt, 9), integers(fmt).range
    x, points = data(9, scale.value), scale.zero_point
    assert points is not None
    with np.errstate(over="ignore"):
        q = np.clip(np.rint((x / scale).astype(np.float64)) + points, low, high)
        y = (q - points).astype(np.float32) * scale.value
    np.testing.assert_array_equal(Codec(fmt).fake_quantize(x, scale=scale), y)
    for row in range(9):
        alone = Scale(scale.value[row], points[row])
        np.testing.assert_array_equal(Codec(fmt).fake_quantize(x[row], scale=alone), y[row])
        with np.errstate(over="ignore"):
            codes = Codec(alone.format_of(fmt)).encode(x[row] / alone)
        np.testing.assert_array_equal(codes.astype(np.int64) + integers(fmt).full_range[0], q[row])


@pytest.mark.parametrize(("name", "kind"), [("int8", TensorProto.INT8), ("uint8", TensorProto.UINT8)])
def test_onnx_gives_the_same_codes_and_values(name: str, kind: int) -> None:
    fmt = load_format(name)
    scale = some(fmt, 7)
    x, points = within(data(7, scale.value), scale), scale.zero_point
    assert points is not None
    node = helper.make_node("QuantizeLinear", ["x", "scale", "point"], ["q"], axis=0)
    back = helper.make_node("DequantizeLinear", ["q", "scale", "point"], ["y"], axis=0)
    wanted = [helper.make_tensor_value_info("q", kind, None), helper.make_tensor_value_info("y", 1, None)]
    given = [("x", TensorProto.FLOAT), ("scale", TensorProto.FLOAT), ("point", kind)]
    graph = helper.make_graph([node, back], "g", [helper.make_tensor_value_info(*each, None) for each in given], wanted)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    inputs = {"x": x, "scale": scale.value[:, 0], "point": points[:, 0].astype(name)}
    q, y = ReferenceEvaluator(model).run(None, inputs)
    np.testing.assert_array_equal(Codec(fmt).fake_quantize(x, scale=scale), y)
    for row in range(7):
        codes = Codec(Scale(scale.value[row], points[row]).format_of(fmt)).encode(x[row] / scale.value[row])
        ours = codes if name == "uint8" else (codes ^ 0x80).view(np.int8)  # two's complement of the top bit's flip
        np.testing.assert_array_equal(ours, q[row])


@pytest.mark.parametrize("name", ["int4", "uint4", "int8", "uint8"])
def test_torch_gives_the_same_values(name: str) -> None:
    """It multiplies by the reciprocal: the scales here are powers of two."""
    fmt = load_format(name)
    scale, (low, high) = some(fmt, 9, powers=True), integers(fmt).range
    assert scale.zero_point is not None
    x = torch.from_numpy(within(data(9, scale.value), scale))
    value, points = (torch.from_numpy(each[:, 0].copy()) for each in (scale.value, scale.zero_point))
    y = torch.fake_quantize_per_channel_affine(x, value, points.int(), 0, low, high)
    ours = Codec(fmt).fake_quantize(x, scale=scale)
    assert isinstance(ours, torch.Tensor)
    assert torch.equal(ours, y)
    for row in range(9):
        alone, each = Scale(scale.value[row], scale.zero_point[row]), (float(value[row]), int(points[row]))
        y = torch.fake_quantize_per_tensor_affine(x[row], *each, low, high)
        assert torch.equal(Codec(fmt).fake_quantize(x[row], scale=alone), y)
        assert torch.equal(Codec(fmt, backend="torch").fake_quantize(x[row], scale=alone), y)


@settings(max_examples=25)
@given(
    st.sampled_from(["nearest_even", "nearest_up", "toward_zero", "toward_positive", "to_odd", "stochastic_b"]),
    st.sampled_from(["max", "zero"]),
    st.integers(2, 9),
    st.integers(0, 2**32),
)
def test_many_zero_points_give_what_one_gives(rounding: str, nan_input: str, bits: int, seed: int) -> None:
    """A wider format that is held between ends, against the shifted format, bit for bit."""
    policy = f"{{rounding: {rounding}, nan_input: {nan_input}}}"
    fmt = parse_format(f"name: integers\nelement: {{kind: int, bits: {bits}}}\nencode: {policy}")
    random, scale = np.random.default_rng(seed), some(fmt, 5)
    x = (random.standard_normal((5, 40)) * random.choice([0.1, 1, 2.0**bits], (5, 40))).astype(np.float32) * scale.value
    x[:, 0] = np.nan
    y = Codec(fmt).fake_quantize(x, scale=scale, seed=seed)
    assert scale.zero_point is not None
    for row in range(5):
        alone = Scale(scale.value[row], scale.zero_point[row])
        expected = Codec(fmt).fake_quantize(x[row], scale=alone, seed=seed, offset=row * 40)
        np.testing.assert_array_equal(y[row].view(np.uint32), expected.view(np.uint32))


def test_codecs_of_a_few_zero_points_are_kept() -> None:
    codec, x = Codec(load_format("uint8")), np.linspace(-1, 1, 9, dtype=np.float32)
    for point in range(256):
        codec.fake_quantize(x, scale=Scale(np.array(0.1), np.array(point)))
        kept = codec._codec_with(0)
    assert codec._codec_with(0) is kept  # used each time
    assert len(codec._shifted) == SHIFTED


def test_results_where_they_are_asked_for() -> None:
    fmt = load_format("uint4")
    scale = some(fmt, 4)
    x = data(4, scale.value)
    expected = Codec(fmt).fake_quantize(x, scale=scale)
    out = np.empty((300, 4), np.float32).T
    assert Codec(fmt).fake_quantize(x, scale=scale, out=out) is out
    np.testing.assert_array_equal(out, expected)
    same = x.copy()
    np.testing.assert_array_equal(Codec(fmt).fake_quantize(same, scale=scale, out=same), expected)
    tensor = torch.empty(4, 300)
    assert Codec(fmt).fake_quantize(torch.from_numpy(x), scale=scale, out=tensor) is tensor
    np.testing.assert_array_equal(tensor.numpy(), expected)
    wide = Codec(fmt).fake_quantize(x.astype(np.float64), scale=scale)
    assert wide.dtype == np.float64
    np.testing.assert_array_equal(wide, expected)
    np.testing.assert_array_equal(Codec(fmt, backend="reference").fake_quantize(x, scale=scale), expected)


# --- what is refused ---------------------------------------------------------------------------------------------


def test_zero_points_are_integers_in_the_shape_of_the_scales() -> None:
    points = Scale(np.ones((3, 1)), np.array(-2)).zero_point
    assert points is not None
    assert points.tolist() == [[-2], [-2], [-2]]
    assert not points.flags.writeable
    with pytest.raises(TypeError, match="zero_point is float64; allowed: integers"):
        Scale(np.ones(1), np.zeros(1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"zero_point has shape \(3,\); allowed: \(3, 1\), as the scales"):
        Scale(np.ones((3, 1)), np.arange(3))


def test_a_zero_point_is_one_of_the_integers() -> None:
    x, message = np.ones((2, 2), np.float32), "zero_point is 16; allowed in uint4: 0 to 15"
    for scale in (Scale(np.ones(1), np.array([16])), Scale(np.ones((2, 1)), np.array([[15], [16]]))):
        with pytest.raises(ValueError, match=message):
            Codec(load_format("uint4")).fake_quantize(x, scale=scale)
    with pytest.raises(ValueError, match=message):
        Scale(np.ones(1), np.array([16])).format_of(load_format("uint4"))


def test_what_takes_no_zero_points() -> None:
    x, scale = np.ones(32, np.float32), Scale(np.ones(1), np.zeros(1, np.int64))
    with pytest.raises(UnsupportedError, match="nf4 takes no zero-point: kind is codebook; allowed: kind int"):
        Codec(load_format("nf4")).fake_quantize(x, scale=scale)
    codec = Codec(load_format("mxfp4"))
    for method in (codec.fake_quantize, codec.quantize, codec.pack):
        with pytest.raises(ValueError, match="scale has zero-points, and mxfp4 is a block format; allowed: scales wi"):
            method(x, scale=scale)


def test_several_zero_points_are_for_arrays_in_the_cpu_s_memory() -> None:
    x, codec = torch.randn(3, 5), Codec(load_format("int8"), "torch")
    one, three = (Scale(np.full((size, 1), 0.5, np.float32), np.arange(1, size + 1)[:, None]) for size in (1, 3))
    assert torch.equal(codec.fake_quantize(x, scale=one), Codec(load_format("int8")).fake_quantize(x, scale=one))
    with pytest.raises(UnsupportedError, match="3 zero-points are taken by arrays in the CPU's memory, on"):
        codec.fake_quantize(x, scale=three)


def test_codes_have_one_zero_point() -> None:
    fmt = load_format("int4")
    assert Scale(np.ones(3)).format_of(fmt) is fmt
    assert Scale(np.ones(3), np.array(2)).format_of(fmt).min == -10
    with pytest.raises(ValueError, match="there are 3 zero-points: -1, 0, 1; allowed: one, as of a single channel"):
        Scale(np.ones(3), np.array([0, 1, -1])).format_of(fmt)
