"""Formats are found again in what they made: values, packed bytes, codes and scales."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import statqat_sim as sqs
from statqat_sim.backends.numba_cpu.backend import NumbaBackend
from statqat_sim.identification import Candidate, identify
from statqat_sim.identification.given import FEW

NAMES = (
    "mxfp4", "mxfp4.ceil", "mxfp4.even", "mxfp6_e2m3", "mxfp8_e4m3", "nvfp4", "nvfp4.mse", "gguf_q4_0", "gguf_q4_k",
    "int4", "int8", "int8_narrow", "float8_e4m3fn", "nf4",
)  # fmt: skip
FORMATS = [sqs.load_format(name) for name in NAMES]
BLOCKS = [fmt for fmt in FORMATS if not isinstance(fmt, sqs.NumberFormat)]


def data(*shape: int) -> Any:
    return np.random.default_rng(11).standard_normal(shape).astype(np.float32)


def exact(found: list[Candidate]) -> list[str]:
    """The formats that reproduce all; they stand first."""
    names = [each.format.name for each in found if each.exact]
    assert [each.exact for each in found] == [True] * len(names) + [False] * (len(found) - len(names))
    return names


@pytest.mark.parametrize("fmt", BLOCKS, ids=lambda fmt: fmt.name)
def test_block_formats_are_found_again(fmt: Any) -> None:
    x = data(6, 512)
    codec = sqs.Codec(fmt)
    q = codec.quantize(x)
    for given in (
        {"values": codec.dequantize(q)},
        {"packed": q.pack()},
        {"packed": np.frombuffer(q.pack(), np.uint8)},
        {"codes": q.codes, "scales": q.scales},
        {"codes": q.codes},
        {"codes": q.fields()["elements"], "scales": q.scales[-1:]},
        {"codes": q.codes.astype(np.int64), "scales": q.scale_values()},
    ):
        found = identify(x, **given, formats=FORMATS)
        assert exact(found) == [fmt.name], given
        assert found[0].shares == (1.0,) * len(found[0].compared)
        assert all(each.first is None for each in found[0].compared)


def test_scales_in_either_byte_order_are_codes() -> None:
    x, fmt = data(4, 256), sqs.load_format("int8")
    scale = np.abs(x).max(axis=1, keepdims=True).astype(ml_dtypes.bfloat16)
    codes = sqs.Codec(fmt).encode(x / scale.astype(np.float32))
    words = scale.view(np.uint16)
    for scales in (words, words.astype(">u2")):
        (found, *_) = identify(x, codes=codes, scales=[scales], formats=[fmt])
        assert (found.scale, found.exact) == ("given, as bfloat16", True)


def test_the_first_difference_is_told() -> None:
    x = data(2, 64)
    q = sqs.Codec(FORMATS[0]).quantize(x)
    codes = q.codes.copy()
    codes[1, 40] ^= 8
    best, second, *_ = identify(x, codes=codes, scales=q.scales, formats=FORMATS)
    assert (best.format.name, best.exact, second.exact) == ("mxfp4", False, False)
    elements, scale = best.compared
    assert (elements.name, elements.identical, elements.total) == ("elements", 127, 128)
    assert elements.first == f"[1, 40]: {codes[1, 40]}, not {q.codes[1, 40]}"
    assert (scale.name, scale.share, scale.first) == ("scale", 1, None)
    packed = sqs.QuantizedTensor(codes, q.scales, q.format).pack()
    octets, *fields = identify(x, packed=packed, formats=FORMATS)[0].compared
    assert (octets.name, octets.identical, octets.total) == ("bytes", 67, 68)
    assert [each.name for each in fields] == ["elements", "scale"]


def test_what_does_not_fit_is_not_tried() -> None:
    x = data(4, 64)
    q = sqs.Codec(FORMATS[0]).quantize(x)
    names = {each.format.name for each in identify(x, packed=q.pack(), formats=FORMATS)}
    assert names == {"mxfp4", "mxfp4.ceil", "mxfp4.even"}
    assert identify(x, packed=q.pack()[:-1], formats=FORMATS) == []
    assert {each.format.name for each in identify(x, codes=q.codes, scales=[*q.scales] * 2, formats=FORMATS)} == set()
    assert {each.format.name for each in identify(data(300), codes=np.zeros(300, np.uint8), formats=FORMATS)} == {
        fmt.name for fmt in BLOCKS
    }
    # a block of 32 values is no block of 4 bits, but two blocks of 16
    found = identify(x, values=np.linspace(0, 1, 256, dtype=np.float32).reshape(4, 64), formats=FORMATS)
    assert {each.format.name for each in found} <= {"mxfp6_e2m3", "mxfp8_e4m3", "nvfp4", "nvfp4.mse"}


def test_ties_stay_together() -> None:
    x = np.exp2(np.arange(64).reshape(2, 32) % 3).astype(np.float32)  # all rules agree on powers of two
    y = sqs.Codec(FORMATS[0]).fake_quantize(x)
    assert {"mxfp4", "mxfp4.ceil", "mxfp4.even"} <= set(exact(identify(x, values=y, formats=FORMATS)))


@pytest.mark.parametrize("name", ["int4", "int8", "int8_narrow", "float8_e4m3fn", "nf4"])
def test_number_formats_are_found_by_their_values(name: str) -> None:
    x, fmt = data(20, 30), sqs.load_format(name)
    codec = sqs.Codec(fmt)
    scales = {
        "1": np.float32([[1]]),
        "minmax, tensor": sqs.MinMax().fit(x, fmt).value,
        "minmax, channel": sqs.MinMax().fit(x, fmt, channel_axis=0).value,
        "absmax, tensor": np.float32([[abs(x).max() / np.float32(fmt.max)]]),
        "absmax, channel": abs(x).max(axis=1, keepdims=True) / np.float32(fmt.max),
    }
    for label, scale in scales.items():
        y = codec.fake_quantize(x, scale=scale)
        found = identify(x, values=y, formats=FORMATS)
        assert (name, label) in [(each.format.name, each.scale) for each in found if each.exact]


@pytest.mark.parametrize("name", ["int4", "int8", "int8_narrow", "float8_e4m3fn", "nf4"])
def test_number_formats_are_found_by_their_codes(name: str) -> None:
    x, fmt = data(20, 31), sqs.load_format(name)
    codec = sqs.Codec(fmt)
    per_channel = sqs.MinMax().fit(x, fmt, channel_axis=0).value
    for label, scale in (("1", np.float32([[1]])), ("minmax, channel", per_channel), ("given", per_channel * 1.5)):
        codes = codec.encode(x / scale)
        signed = ((codes.astype(np.int64) ^ 1 << fmt.bits - 1) - (1 << fmt.bits - 1)).astype(np.int8)
        for given in (
            codes,
            signed,
            signed.view(np.uint8),
            codes.astype(">i4"),
            codec.encode(x / scale, packed=True),
        ):
            found = identify(x, codes=given, scales=[scale] * (label == "given"), formats=FORMATS)
            assert (name, label) in [(each.format.name, each.scale) for each in found if each.exact]
    codes = codec.encode(x)
    codes[3, 4] ^= 1
    (near,) = [each for each in identify(x, codes=codes, formats=FORMATS) if (each.format, each.scale) == (fmt, "1")]
    assert near.compared[0].first == f"[3, 4]: {codes[3, 4]}, not {codes[3, 4] ^ 1}"


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_scales_beside_codes_of_number_formats_may_be_halves_or_their_words(half: str) -> None:
    x, dtype = data(8, 256), np.dtype(getattr(ml_dtypes, half, half))
    scale = (abs(x).max(axis=1, keepdims=True) / 7).astype(dtype)
    tensor = torch.from_numpy(scale.astype(np.float32)).to(getattr(torch, half))
    codes = sqs.Codec(sqs.load_format("int4")).encode(x / scale.astype(np.float32))
    for given, label in (
        (scale, "given"),
        (tensor, "given"),
        (scale.view(np.uint16), f"given, as {half}"),
        (tensor.view(torch.int16), f"given, as {half}"),
    ):
        (best, *_) = identify(x, codes=codes, scales=[given], formats=FORMATS)
        assert (best.format.name, best.scale, best.exact) == ("int4", label, True)


def test_signed_codes_of_eight_bits_are_those_of_blocks() -> None:
    x, fmt = data(4, 64), sqs.load_format("mxint8")
    q = sqs.Codec(fmt).quantize(x)
    assert exact(identify(x, codes=q.codes.view(np.int8), scales=q.scales, formats=[fmt, *FORMATS])) == ["mxint8"]


def test_codes_of_more_bits_are_no_codes_of_fewer() -> None:
    codes = np.full((4, 64), 16 + 7, np.uint8)  # a four-bit format's last bits
    x = np.full((4, 64), 7, np.float32)
    assert "int4" in {each.format.name for each in identify(x, codes=codes & 15, formats=FORMATS)}
    assert "int4" not in {each.format.name for each in identify(x, codes=codes, formats=FORMATS)}


def test_values_of_16_bits_are_compared_as_such() -> None:
    x = data(6, 512)
    y = sqs.Codec(FORMATS[5]).fake_quantize(x)
    for values in (y.astype(np.float16), y.astype(ml_dtypes.bfloat16), torch.from_numpy(y).bfloat16(), y.astype(float)):
        assert exact(identify(x, values=values, formats=FORMATS)) == ["nvfp4"]


def test_scales_beyond_float32_are_not_tried() -> None:
    """No value of q0_7 is 1 or more."""
    x, q0_7 = data(2, 64), sqs.load_format("q0_7")
    x[0, 0] = np.finfo(np.float32).max
    found = identify(x, values=sqs.Codec(q0_7).fake_quantize(x), formats=[q0_7])
    assert [(each.scale, each.exact) for each in found] == [("1", True)]
    assert identify(x, values=np.full_like(x, np.nan), formats=[q0_7]) == []


def test_signs_of_zero_and_nan_are_equal() -> None:
    x = data(2, 64)
    x[0, 0] = np.nan
    y = sqs.Codec(FORMATS[0]).fake_quantize(x)
    assert np.isnan(y[0, :32]).all()
    assert exact(identify(x, values=np.where(y == 0, np.float32(0), y), formats=FORMATS)) == ["mxfp4"]


def test_axes_and_given_scales() -> None:
    x = data(64, 6)
    q = sqs.Codec(FORMATS[0]).quantize(x, axis=0)
    assert exact(identify(x, codes=q.codes, scales=q.scales, axis=0, formats=FORMATS)) == ["mxfp4"]
    assert exact(identify(x, codes=q.codes, scales=q.scales, formats=FORMATS)) == []
    nvfp4 = sqs.load_format("nvfp4")
    y = sqs.Codec(nvfp4).fake_quantize(x, scale=0.003)
    assert exact(identify(x, values=y, scale=0.003, formats=FORMATS)) == ["nvfp4"]
    assert exact(identify(x, values=y, formats=FORMATS)) == []


@pytest.mark.parametrize(
    ("scale", "formats", "error", "message"),
    [
        (np.ones(7, np.float32), FORMATS, ValueError, r"no format takes this scale: scale has shape \(7,\); allowed: "),
        (np.nan, FORMATS, ValueError, "no format takes this scale: scale is NaN"),
        (-1.0, BLOCKS[:1], ValueError, "no format takes this scale: .* negative; allowed for mxfp4: 0 and above"),
        (1.0, FORMATS[-5:], ValueError, r"no format takes this scale: it is for block formats"),
        (1.0, [sqs.load_format("gguf_q4_1")], ValueError, "finds its offsets together with its scales"),
        (np.ones((4, 2)), FORMATS, TypeError, "scale is float64; allowed: float32"),
        (np.full((4, 2), 127, np.uint8), FORMATS, TypeError, "scale is uint8, which may be codes of float8_e8m0fnu"),
    ],
)
def test_a_scale_that_no_format_takes(scale: Any, formats: Any, error: type[Exception], message: str) -> None:
    x = data(4, 64)
    with pytest.raises(error, match=message):
        identify(x, values=x, scale=scale, formats=formats)


def test_a_scale_that_some_formats_take() -> None:
    x, scale = data(4, 64), np.exp2(np.arange(8, dtype=np.float32)).reshape(4, 2)  # nvfp4 has one for the tensor
    y = sqs.Codec(FORMATS[0]).fake_quantize(x, scale=scale)
    assert "mxfp4" in exact(identify(x, values=y, scale=scale, formats=FORMATS))


def test_packed_integers_may_be_signed() -> None:
    x = data(2, 64)
    packed = np.frombuffer(sqs.Codec(FORMATS[0]).pack(x), np.int8)
    assert exact(identify(x, packed=packed, formats=FORMATS)) == ["mxfp4"]
    assert exact(identify(x, packed=torch.from_numpy(packed.copy()), formats=FORMATS)) == ["mxfp4"]


@pytest.mark.parametrize("shape", [(), (200,), (2, 3, 64), (1, 10000)])
def test_shapes(shape: tuple[int, ...]) -> None:
    x = data(*shape)
    for fmt in BLOCKS[:1]:
        codec = sqs.Codec(fmt)
        assert fmt.name in exact(identify(x, values=codec.fake_quantize(x), formats=FORMATS))
        assert fmt.name in exact(identify(x, packed=codec.pack(x), formats=FORMATS))


def test_what_gives_little_of_the_values_is_left_out() -> None:
    x = data(400, 512)
    found = identify(x, values=sqs.Codec(FORMATS[0]).fake_quantize(x), formats=FORMATS)
    names = [each.format.name for each in found]
    assert names[:2] == ["mxfp4", "mxfp4.even"]
    assert not {"mxfp6_e2m3", "mxfp8_e4m3", "gguf_q4_0"} & set(names)
    assert "nvfp4" in names  # its first values depend on the last ones
    assert found[1].compared[0].total == x.size


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["float8_e4m3fn", "mxfp4"])
@pytest.mark.parametrize(("count", "compiles"), [(FEW, False), (FEW + 64, True)])
def test_code_is_compiled_for_many_elements_alone(
    name: str, dtype: str, count: int, compiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, fmt, compiled = data(count // 64, 64), sqs.load_format(name), []
    for call in (each for each in vars(NumbaBackend) if each.startswith("compile")):
        made = getattr(NumbaBackend, call)
        monkeypatch.setattr(NumbaBackend, call, lambda self, *plan, to=made: compiled.append(plan) or to(self, *plan))
    values = sqs.Codec(fmt, "reference").fake_quantize(x).astype(getattr(ml_dtypes, dtype, dtype))
    assert exact(identify(x, values=values, formats=[fmt])) == [name]
    assert bool(compiled) is compiles


def test_stochastic_formats_are_left_out() -> None:
    x = data(2, 64)
    stochastic = sqs.parse_format("name: sr\nextends: mxfp4\nencode: {rounding: stochastic_b}")
    assert identify(x, values=x, formats=[stochastic]) == []


def test_formats_beyond_float32_are_tried_with_scales_of_one() -> None:
    far = sqs.parse_format("{name: far, element: {kind: float, exponent_bits: 4, mantissa_bits: 3, bias: -1000}}")
    x = data(4, 64)
    assert exact(identify(x, values=x, formats=[far, *FORMATS])) == []
    assert exact(identify(x, codes=sqs.Codec(far).encode(x), formats=[far])) == ["far"]


def test_progress() -> None:
    told: list[tuple[int, int]] = []
    identify(data(2, 32), codes=np.zeros((2, 32), int), formats=FORMATS, progress=lambda *done: told.append(done))
    assert told == [(index, len(FORMATS)) for index in range(len(FORMATS))]


def test_nothing_tells_nothing() -> None:
    with pytest.raises(ValueError, match=r"x has no elements \(shape \(0, 3\)\)"):
        identify(data(0, 3), values=data(0, 3), formats=FORMATS)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, ValueError, "nothing given; allowed: one of values, packed, and codes with scales"),
        ({"values": data(2, 3), "packed": b""}, ValueError, "values and packed given; allowed: one"),
        ({"values": data(3, 2)}, ValueError, r"values have shape \(3, 2\); allowed: that of the original, \(2, 3\)"),
        ({"values": np.array(["a"])}, TypeError, "values is <U1"),
        ({"packed": data(2)}, TypeError, "packed is float32; allowed: uint8, or bytes"),
        ({"packed": "text"}, TypeError, "packed is of type str; allowed: bytes, or a uint8 array"),
        ({"codes": data(2, 3)}, TypeError, "codes are float32; allowed: integers"),
        ({"scales": [np.array(["a"])]}, TypeError, r"scales\[0\] is <U1"),
        ({"scales": np.ones((2, 1), np.uint8)}, TypeError, "scales is of type ndarray; allowed: a list of arrays"),
    ],
)
def test_wrong_arguments(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        identify(data(2, 3), **given, formats=FORMATS)


def test_a_callers_seterr_does_not_matter() -> None:
    x, fmt = data(4, 64) * np.float32(1e-37), sqs.load_format("int4")
    y = sqs.Codec(fmt).fake_quantize(x, scale=sqs.MinMax().fit(x, fmt))
    with np.errstate(all="raise"):
        (found, *_) = identify(x, values=y, formats=FORMATS)
    assert (found.format.name, found.exact) == ("int4", True)
