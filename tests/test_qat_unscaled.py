"""`quantizer: none`: a number format without a scale is a cast, trained, converted and loaded."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import statqat_sim as sqs
from statqat_sim import qat
from statqat_sim.testing import assert_bit_exact
from tests.qat_models import net, outputs, prepared

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float8_e5m2": torch.float8_e5m2}


def cast(name: str) -> dict[str, Any]:
    return {"format": name, "quantizer": "none"}


def layer_and_weight(dtype: torch.dtype = torch.float32) -> tuple[nn.Linear, Tensor]:
    torch.manual_seed(0)
    layer = nn.Linear(40, 24, dtype=dtype)
    with torch.no_grad():
        layer.weight *= torch.logspace(-6, 3, 40, dtype=dtype)  # the scales of channels would be anything but 1
    return layer, layer.weight.detach().clone()


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", DTYPES)
def test_a_weight_without_a_scale_is_torchs_cast(name: str, dtype: torch.dtype, exact: bool) -> None:
    layer, weight = layer_and_weight(dtype)
    qat.prepare(layer, qat.QATConfig(weight=cast(name), exact=exact))
    expected = weight.to(DTYPES[name]).to(dtype)
    assert_bit_exact(layer.quantized_weight().detach(), expected)  # type: ignore[operator]
    qat.convert(layer)
    assert_bit_exact(layer.packed_weight(), expected)  # type: ignore[operator]


@pytest.mark.parametrize("update_every", [0, 1, 3])
def test_nothing_is_kept_calibrated_or_scheduled(update_every: int) -> None:
    layer, weight = layer_and_weight()
    tensors: dict[str, Any] = {role: cast("bfloat16") for role in ("input", "output", "grad_output")}
    qat.prepare(layer, qat.QATConfig(weight={**cast("bfloat16"), "update_every": update_every}, **tensors))
    x = torch.randn(3, 40, requires_grad=True)
    y = layer(x)
    wanted = nn.functional.linear(x.bfloat16().float(), weight.bfloat16().float(), layer.bias).bfloat16().float()
    assert_bit_exact(y.detach(), wanted.detach())
    incoming = torch.randn(3, 24)
    y.backward(incoming)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, incoming.bfloat16().float() @ weight.bfloat16().float())
    qat.step(layer)
    with qat.calibrate(layer):
        layer(x)
    assert not [key for key in qat.state_dict(layer) if "scale" in key or "statistics" in key]


@pytest.mark.parametrize("role", ["weight", "input"])
def test_gradients_end_where_the_format_does(role: str) -> None:
    layer = qat.prepare(nn.Linear(2, 1, bias=False), qat.QATConfig.from_dict({role: cast("float8_e4m3fn")}))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 500.0]]))
    x = torch.tensor([[1.0, 500.0]], requires_grad=True)
    layer(x).backward()
    found = x.grad if role == "input" else layer.weight.grad
    assert found is not None
    assert [each != 0 for each in found[0].tolist()] == [True, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_files_keep_it(dtype: torch.dtype, tmp_path: Path) -> None:
    config = qat.QATConfig(weight=cast("float8_e4m3fn"), input=cast("bfloat16"), output=cast("tf32"))
    (tmp_path / "qat.yaml").write_text(config.to_yaml())
    assert qat.QATConfig.from_yaml(tmp_path / "qat.yaml") == config
    model = prepared(config, dtype)
    expected = outputs(model)
    assert_bit_exact(outputs(qat.convert(model)), expected)
    loaded = qat.load(qat.save(model, tmp_path), net(dtype, seed=5))
    assert_bit_exact(outputs(loaded), expected)
    assert {repr(each.config.quantizer) for _, each in qat.quantizers(loaded)} == {"Unscaled()"}


def test_summary_and_sensitivity_take_it() -> None:
    layer, weight = layer_and_weight()
    (row,) = qat.summary(qat.prepare(layer, qat.QATConfig(weight=cast("bfloat16")))).rows
    assert (row.quantizer, row.scale) == ("Unscaled()", None)
    expected = sqs.sqnr_db(weight, weight.bfloat16().float())
    assert row.sqnr_db == pytest.approx(expected, abs=1e-3)
    (found,) = qat.sensitivity(layer_and_weight()[0], formats=[cast("bfloat16")], progress=False).rows
    assert found.sqnr_db == row.sqnr_db


def test_the_summary_of_codes_tells_it_as_that_of_weights_does(tmp_path: Path) -> None:
    layer, _ = layer_and_weight()
    (before,) = qat.summary(qat.prepare(layer, qat.QATConfig(weight=cast("bfloat16")))).rows
    loaded = qat.load(qat.save(qat.convert(layer), tmp_path), nn.Linear(40, 24))
    for (row,) in (qat.summary(layer).rows, qat.summary(loaded).rows):
        assert row == replace(before, sqnr_db=None)


def test_codes_come_without_a_scale_that_a_state_could_change() -> None:
    layer = qat.convert(qat.prepare(layer_and_weight()[0], qat.QATConfig(weight=cast("bfloat16"))))
    expected, state = layer.packed_weight().clone(), layer.state_dict()
    assert not [name for name in state if "scale" in name]
    before = {**state, "packed_weight.scale": torch.ones(1)}  # of a version that had one
    layer.load_state_dict(before)
    for scale in (torch.full((1,), 2.0), torch.ones(24, 1)):
        with pytest.raises(RuntimeError, match=r"packed_weight.scale: the model's weight has no scale, .*; allowed: 1"):
            layer.load_state_dict({**state, "packed_weight.scale": scale}, strict=False)
    assert_bit_exact(layer.packed_weight(), expected)


def test_files_that_have_a_scale_of_one_are_read(tmp_path: Path) -> None:
    """Of a version that stored it."""
    layer = qat.convert(qat.prepare(layer_and_weight()[0], qat.QATConfig(weight=cast("bfloat16"))))
    file, key = qat.save(layer, tmp_path), "packed_weight.scale"
    with safe_open(file, framework="pt") as opened:
        tensors, metadata = load_file(file), opened.metadata()
    save_file({**tensors, key: torch.ones(1)}, file, metadata)
    assert_bit_exact(qat.load(file, nn.Linear(40, 24)).packed_weight(), layer.packed_weight())
    save_file({**tensors, key: torch.full((1,), 2.0)}, file, metadata)
    with pytest.raises(ValueError, match=f"{key}: the model has no place for it"):
        qat.load(file, nn.Linear(40, 24))


def test_models_that_were_pickled_with_a_scale_of_one_take_states_without() -> None:
    """By a version that stored it."""
    layer = qat.convert(qat.prepare(layer_and_weight()[0], qat.QATConfig(weight=cast("bfloat16"))))
    old, state = copy.deepcopy(layer), layer.state_dict()
    old.packed_weight.register_buffer("scale", torch.ones(1))
    old.packed_weight.packing = replace(layer.packed_weight.packing, channels=(1,))
    found = pickle.loads(pickle.dumps(old))
    found.packed_weight.codes.zero_()
    found.load_state_dict(state)
    assert found.packed_weight.packing == layer.packed_weight.packing
    assert_bit_exact(found.packed_weight(), layer.packed_weight())


def test_accelerators_multiply_it() -> None:
    options = {"input": cast("float8_e4m3fn"), "weight": cast("float8_e4m3fn")}
    layer, x = nn.Linear(64, 8, bias=False), torch.randn(4, 64)
    names = {"a_format": "float8_e4m3fn", "b_format": "float8_e4m3fn"}
    a, b = (sqs.Codec(sqs.load_format("float8_e4m3fn")).encode(each) for each in (x, layer.weight.detach()))
    wanted = sqs.load_accelerator("nvidia_h100").matmul(a, b.T, instruction="wgmma.e4m3.f32", **names)
    qat.prepare(layer, qat.QATConfig(**options, matmul="nvidia_h100/wgmma.e4m3.f32"))
    assert_bit_exact(layer(x).detach(), wanted)
    assert_bit_exact(qat.convert(layer)(x).detach(), wanted)


def test_its_scale_is_one_whatever_the_data() -> None:
    x, format = np.float32([[3.0, np.nan], [np.inf, 1e30]]), sqs.load_format("bfloat16")
    for axis, shape in ((None, (1, 1)), (0, (2, 1)), (-1, (1, 2))):
        assert_bit_exact(sqs.Unscaled().fit(x, format, channel_axis=axis).value, np.ones(shape, np.float32))
    assert_bit_exact(sqs.Unscaled().choose(sqs.Histogram.of(x, channel_axis=0), format).value, np.ones(2, np.float32))
    with pytest.raises(TypeError, match="mxfp4 is a block format"):
        sqs.Unscaled().fit(x, sqs.load_format("mxfp4"))  # type: ignore[arg-type]


def test_measure_takes_its_name() -> None:
    x = np.random.default_rng(0).standard_normal(999).astype(np.float32)
    (found,), (wanted,) = (sqs.measure(x, "bfloat16", **how) for how in ({"quantizers": ["none"]}, {"scale": 1}))
    assert found == {**wanted, "quantizer": "none"}
