"""Products of matrices with scales of blocks: those of quantized tensors, codes, numbers, and wrong ones."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import torch
from mma_ways import normal

import statqat_sim as sqs
from statqat_sim.testing import assert_bit_exact

B200 = sqs.load_accelerator("nvidia_b200")


@pytest.mark.parametrize(("format", "instruction"), [("mxfp4", "mxf4.e2m1.f32"), ("mxfp8_e4m3", "mxf8f6f4.e4m3.f32")])
def test_quantized_tensors_bring_their_scales(format: str, instruction: str) -> None:
    codec = sqs.Codec(sqs.load_format(format))
    a, b = codec.quantize(normal(6, 128)), codec.quantize(normal(128, 5, seed=1), axis=0)
    d = B200.matmul(a, b, instruction=instruction)
    ours = codec.dequantize(a).astype(np.float64) @ codec.dequantize(b).astype(np.float64)
    np.testing.assert_allclose(d, ours, rtol=1e-5, atol=1e-5)
    element = sqs.load_format(format).element.name  # type: ignore[union-attr]
    codes = {"a_format": element, "b_format": element, "a_scale": a.scales[0], "b_scale": b.scales[0]}
    assert_bit_exact(B200.matmul(a.codes, b.codes, instruction=instruction, **codes), d)


def test_the_outer_scale_of_nvfp4_multiplies_d() -> None:
    codec = sqs.Codec(sqs.load_format("nvfp4"))
    a, b = codec.quantize(normal(6, 128)), codec.quantize(normal(128, 5, seed=1), axis=0)
    d = B200.matmul(a, b, instruction="mxf4nvf4.e2m1.f32")
    ours = codec.dequantize(a).astype(np.float64) @ codec.dequantize(b).astype(np.float64)
    np.testing.assert_allclose(d, ours, rtol=1e-5, atol=1e-5)
    with pytest.raises(sqs.UnsupportedError, match="whole tensors"):
        B200.matmul(a, b, np.zeros(5, np.float32), instruction="mxf4nvf4.e2m1.f32")


def test_blocks_of_two_axes_share_their_scales_across_rows_too() -> None:
    """Weights of NVFP4 training: 16 × 16 elements have one scale, which the instruction sees 16 times."""
    square, plain = sqs.Codec(sqs.load_format("nvfp4_2d")), sqs.Codec(sqs.load_format("nvfp4"))
    a, b = plain.quantize(normal(5, 72)), square.quantize(normal(72, 20, seed=1))
    rows = tuple(np.repeat(each, 16, axis=1)[:, :20] if each.size > 1 else each for each in b.scales)
    expected = B200.matmul(a, sqs.QuantizedTensor(b.codes, rows, plain.format, axis=0), instruction="mxf4nvf4.e2m1.f32")
    assert_bit_exact(B200.matmul(a, b, instruction="mxf4nvf4.e2m1.f32"), expected)
    a = square.quantize(normal(20, 72, seed=2))
    rows = tuple(np.repeat(each, 16, axis=0)[:20] if each.size > 1 else each for each in a.scales)
    expected = B200.matmul(sqs.QuantizedTensor(a.codes, rows, plain.format), b, instruction="mxf4nvf4.e2m1.f32")
    assert_bit_exact(B200.matmul(a, b, instruction="mxf4nvf4.e2m1.f32"), expected)


def test_scales_without_a_sign_are_not_negative() -> None:
    level = "{format: float8_e4m3fn, block: 16, rule: signed_absmax}"
    signed = sqs.Codec(sqs.parse_format(f"name: signed\nelement: float4_e2m1fn\nscales: [{level}]\n"))
    a, b, instruction = normal(2, 64), normal(64, 3, seed=1), "mxf4nvf4.e2m1.f32"
    with pytest.raises(sqs.UnsupportedError, match=r"scales of a \(signed\) may be negative \(rule: signed_absmax\)"):
        B200.matmul(signed.quantize(a), b, instruction=instruction)
    scale = np.ones((2, 4), np.float32)
    scale[1, 2] = -1
    with pytest.raises(ValueError, match=r"a_scale\[1, 2\] is negative; ue4m3 has no sign; allowed: 0 and above"):
        B200.matmul(a, b, instruction=instruction, a_scale=scale)


def test_wrong_scales_are_told() -> None:
    codec = sqs.Codec(sqs.load_format("mxfp4"))
    a, b = codec.quantize(normal(6, 64)), codec.quantize(normal(64, 5, seed=1))
    with pytest.raises(ValueError, match="blocks of b run along axis 1; allowed: 0"):
        B200.matmul(a, b, instruction="mxf4.e2m1.f32")
    with pytest.raises(ValueError, match="takes no block scales"):
        B200.matmul(a, normal(64, 5), instruction="f8f6f4.e2m1.f32")
    with pytest.raises(LookupError, match="scales of a are float8_e8m0fnu; allowed: ue4m3"):
        B200.matmul(a, normal(64, 5), instruction="mxf4nvf4.e2m1.f32")
    with pytest.raises(ValueError, match="a_scale has shape"):
        B200.matmul(normal(6, 64), normal(64, 5), instruction="mxf4.e2m1.f32", a_scale=np.ones((6, 3), np.uint8))


ONES = {"mxf8f6f4.e4m3.f32": 127, "mxf4nvf4.e2m1.f32": 0x38}
"""Instructions, and the code of a scale of 1."""


@pytest.mark.parametrize("instruction", ONES)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float16", "float8_e8m0fnu", "float8_e4m3fn"])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_scales_are_codes_or_numbers(instruction: str, dtype: str, library: str) -> None:
    """Of a float8 dtype only those that mean what the instruction's scales do: all others would be taken for them."""
    a, b, code = normal(2, 64), normal(64, 3, seed=1), ONES[instruction]
    shape = 2, 64 // B200.instructions[instruction].scale.block  # type: ignore[union-attr]
    scale = np.full(shape, code, np.uint8) if dtype == "uint8" else np.ones(shape, getattr(ml_dtypes, dtype, dtype))
    if library == "torch":
        words = scale.view(f"int{8 * scale.itemsize}")
        scale = torch.from_numpy(words).view(getattr(torch, dtype))  # type: ignore[assignment]
    if dtype.startswith("float8") and (dtype == "float8_e4m3fn") != (code == 0x38):
        with pytest.raises(TypeError, match=f"a_scale is {dtype}; allowed: floats, or codes of .* as uint8"):
            B200.matmul(a, b, instruction=instruction, a_scale=scale)
        return
    expected = B200.matmul(a, b, instruction=instruction)
    assert_bit_exact(B200.matmul(a, b, instruction=instruction, a_scale=scale), expected)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "int64", "bool", "complex64"])
def test_scales_of_other_dtypes_are_refused(dtype: str) -> None:
    scale = np.ones((2, 2), dtype)
    with pytest.raises(TypeError, match=f"a_scale is {dtype}; allowed: floats, or codes of float8_e8m0fnu as uint8"):
        B200.matmul(normal(2, 64), normal(64, 3), instruction="mxf8f6f4.e4m3.f32", a_scale=scale)
