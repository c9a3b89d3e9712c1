"""Scales of weights that train: chosen anew where it is worth it, and left alone where it is not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from statqat_sim import Codec, Iterative, load_format, qat
from statqat_sim.qat.updates import GAIN
from statqat_sim.spec.catalog import parse_format
from statqat_sim.spec.number import NumberFormat

ROWS, COLUMNS = 16, 256


def layer_of(format: NumberFormat, per: str = "channel", quantizer: str = "iterative") -> nn.Linear:
    """A linear layer whose weights' scale is looked at after each step."""
    torch.manual_seed(0)
    weight = {"format": format, "quantizer": quantizer, "per": per, "update_every": 2}
    model = qat.prepare(nn.Sequential(nn.Linear(COLUMNS, ROWS)), qat.QATConfig(weight=weight))
    qat.step(model)  # nothing is due
    return model[0]  # type: ignore[return-value]


def stepped(layer: nn.Linear, weight: Tensor) -> Tensor:
    """The scale when the weight has become this."""
    with torch.no_grad():
        layer.weight.copy_(weight)
    qat.step(nn.Sequential(layer))
    scale = layer.weight_quantizer.scale
    assert isinstance(scale, Tensor)
    return scale


def squared_errors(format: NumberFormat, weight: Tensor, scale: Tensor) -> Tensor:
    y = Codec(format, "reference").fake_quantize(weight.numpy(), scale=scale.numpy())
    return (weight.double() - torch.from_numpy(y).double()).square().sum(1, keepdim=True)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "int4_narrow", "float4_e2m1fn"])
def test_each_channel_keeps_a_scale_that_is_nearly_as_good(name: str) -> None:
    format = load_format(name)
    layer = layer_of(format)
    held, before = layer.weight_quantizer.scale.clone(), layer.weight.detach().clone()
    grown = torch.linspace(0.8, 1.6, ROWS)[:, None] * before + 1e-4 * torch.randn(ROWS, COLUMNS)
    chosen = torch.tensor(Iterative().fit(grown.numpy(), format, channel_axis=0).value)
    ratio = squared_errors(format, grown, chosen) / squared_errors(format, grown, held)
    assert ratio.min() < 1 - GAIN < ratio.max()  # or the test says nothing
    assert torch.equal(stepped(layer, grown), torch.where(ratio < 1 - GAIN, chosen, held))


def test_a_weight_that_moves_a_little_leaves_its_scale() -> None:
    """The best scale itself jumps: in formats with exponents many are nearly as good."""
    format = load_format("float8_e4m3fn")
    layer = layer_of(format)
    held = layer.weight_quantizer.scale.clone()
    moved = layer.weight.detach() + 1e-3 * torch.randn(ROWS, COLUMNS)
    best = torch.tensor(Iterative().fit(moved.numpy(), format, channel_axis=0).value)
    assert ((best / held - 1).abs() > 0.01).sum() > ROWS / 4
    assert torch.equal(stepped(layer, moved), held)


@pytest.mark.parametrize("per", ["tensor", "channel"])
@pytest.mark.parametrize("overflow", ["inf", "nan", "saturate"])
def test_a_scale_under_which_weights_overflow_is_left(overflow: str, per: str) -> None:
    text = f"{{name: narrow, extends: float8_e5m2, encode: {{overflow: {overflow}}}}}"
    layer = layer_of(parse_format(text), per)
    grown = 1e6 * layer.weight.detach()
    assert (stepped(layer, grown) > 1e3 * torch.finfo(torch.float32).tiny).all()
    assert torch.isfinite(layer.quantized_weight()).all()


def test_weights_of_zeros_have_nothing_to_gain() -> None:
    layer = layer_of(load_format("int4_narrow"))
    held = layer.weight_quantizer.scale.clone()
    assert torch.equal(stepped(layer, torch.zeros(ROWS, COLUMNS)), held)


def test_random_bits_of_training_are_not_used_up() -> None:
    format = parse_format("{name: drawn, extends: int4_narrow, encode: {rounding: stochastic_a, random_bits: 8}}")
    layer = layer_of(format)
    state = torch.get_rng_state()
    stepped(layer, 3 * layer.weight.detach())
    assert torch.equal(torch.get_rng_state(), state)
