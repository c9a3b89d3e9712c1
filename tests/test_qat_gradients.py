"""Gradients against their formulas, written out here element by element."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import statqat_sim as sqs
from statqat_sim import qat
from statqat_sim.qat.keys import format_key
from statqat_sim.qat.ops import fake_quantize
from statqat_sim.testing import assert_bit_exact

FORMATS = ("int4_narrow", "int4", "uint8", "float8_e4m3fn", "nf4")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, np.float32))


def gradients(x: Tensor, scale: Tensor, incoming: Tensor, **options: str) -> tuple[Tensor | None, Tensor | None]:
    x, scale = x.clone().requires_grad_(), scale.clone().requires_grad_()
    fake_quantize(x, scale, **options).backward(incoming)  # type: ignore[arg-type]
    return x.grad, scale.grad


def cases(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Values inside, outside, and at the ends of the format's range; one scale for each row."""
    format = sqs.load_format(name)
    x, scale = 3 * normal(4, 50), torch.tensor([[0.5], [0.25], [1.0], [2.0]])
    for row, step in enumerate(scale[:, 0].tolist()):
        x[row, :2] = torch.tensor([format.max, format.min]) * step
        x[row, 2:4] = 1.5 * x[row, :2] + torch.tensor([1, -1])
    x[0, 4] = math.nan
    return x, scale, normal(4, 50, seed=1)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", FORMATS)
def test_clipped_gradients_are_zero_beyond_the_range(name: str, exact: bool) -> None:
    x, scale, incoming = cases(name)
    of_x, of_scale = gradients(x, scale, incoming, format=name, exact=exact)  # type: ignore[arg-type]
    format = sqs.load_format(name)
    assert of_x is not None
    for row, column in np.ndindex(4, 50):
        quotient = (x[row, column] / scale[row, 0]).item()
        passes = format.min <= quotient <= format.max
        assert of_x[row, column] == (incoming[row, column] if passes else 0)
    assert of_x[:, 2:4].abs().sum() == 0 < of_x[:, 0].abs().sum()
    assert of_scale is None or not of_scale.any()


@pytest.mark.parametrize("name", [*FORMATS, "mxfp4"])
def test_straight_through_gradients_pass_everywhere(name: str) -> None:
    x, scale, incoming = cases("int4" if name == "mxfp4" else name)
    x = torch.nan_to_num(x)
    gradient = "clipped" if name == "mxfp4" else "ste"
    x.requires_grad_()
    fake_quantize(x, None if name == "mxfp4" else scale, format=name, gradient=gradient).backward(incoming)
    assert x.grad is not None
    assert_bit_exact(x.grad, incoming)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("per", ["tensor", "channel"])
def test_learned_scales_have_the_gradient_of_lsq(name: str, per: str, exact: bool) -> None:
    x, scale, incoming = cases(name)
    x, format = torch.nan_to_num(x), sqs.load_format(name)
    scale = scale if per == "channel" else scale[:1, 0]
    of_x, of_scale = gradients(x, scale, incoming, format=name, gradient="lsq", exact=exact)  # type: ignore[arg-type]
    clipped, _ = gradients(x, scale, incoming, format=name)
    assert of_x is not None
    assert clipped is not None
    assert_bit_exact(of_x, clipped)

    steps = scale.expand(4, 1) if per == "channel" else scale.expand(4, 4)[:, :1]
    quotient = x.double() / steps.double()
    codes = sqs.Codec(format).fake_quantize(x, scale=steps.contiguous()).double() / steps.double()
    inside = (quotient >= format.min) & (quotient <= format.max)
    slopes = incoming.double() * torch.where(inside, codes - quotient, codes)
    count = x.numel() / scale.numel()
    positive = {"int4_narrow": 7, "int4": 7, "uint8": 255, "float8_e4m3fn": 448, "nf4": 1}[name]  # Q_P of the paper
    wanted = (slopes.sum(1, keepdim=True) if per == "channel" else slopes.sum().reshape(1)) / math.sqrt(
        count * positive
    )
    assert of_scale is not None
    torch.testing.assert_close(of_scale.double(), wanted, rtol=1e-4, atol=1e-4)


def test_a_learned_scale_of_no_positive_values_has_the_least_for_the_greatest() -> None:
    format = sqs.parse_format("name: below\nelement: {kind: codebook, bits: 2, values: [-4, -2, -1, 0]}")
    x, scale, incoming = -normal(4, 50).abs(), torch.tensor([0.5]), normal(4, 50, seed=1)
    _, found = gradients(x, scale, incoming, format=format_key(format), gradient="lsq")
    quotient = x / scale
    codes = torch.tensor(sqs.Codec(format).fake_quantize(quotient.numpy()))
    slopes = incoming * torch.where(quotient >= -4, codes - quotient, codes)
    assert found is not None
    torch.testing.assert_close(found, slopes.sum().reshape(1) / math.sqrt(200 * 4))


def test_the_size_of_a_batch_does_not_matter_to_learned_scales() -> None:
    """The gradients of its parts add up, so that parts may be computed by several processes."""
    rule = {"format": "int4_narrow", "quantizer": "minmax", "gradient": "lsq"}
    layer, x = qat.prepare(nn.Linear(16, 4), qat.QATConfig(input=rule)), normal(12, 3, 16)
    with qat.calibrate(layer):
        layer(x)

    def gradient(*parts: Tensor) -> Tensor:
        layer.zero_grad()
        for part in parts:
            layer(part).square().sum().backward()
        return layer.input_quantizer.scale.grad.clone()  # type: ignore[no-any-return]

    torch.testing.assert_close(gradient(*x.chunk(3)), gradient(x))
    x.requires_grad_()
    scale = layer.input_quantizer.scale
    codes = fake_quantize(x, scale.detach(), format="int4_narrow", gradient="ste") / scale
    slopes = (2 * layer(x) @ layer.weight).detach() * (codes - x / scale)  # nothing is clipped
    torch.testing.assert_close(gradient(x), slopes.sum().detach().reshape(1) / math.sqrt(16 * 7))


def test_learned_scales_go_down_to_less_error() -> None:
    """The scale that LSQ finds for a fixed weight leaves about the error of the best one."""
    layer = nn.Linear(256, 1, bias=False)
    layer.weight.data = normal(1, 256)
    target = layer.weight.detach().clone()
    rule = {"format": "int4_narrow", "quantizer": "minmax", "gradient": "lsq", "per": "tensor"}
    qat.prepare(layer, qat.QATConfig(weight=rule))
    (scale,) = [p for name, p in layer.named_parameters() if name == "weight_quantizer.scale"]

    def error() -> Tensor:
        return (layer(torch.eye(256)).T - target).square().mean()

    before = error().item()
    optimizer = torch.optim.Adam([scale], lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        error().backward()
        optimizer.step()
    best = sqs.Search().fit(target, sqs.load_format("int4_narrow"))
    least = sqs.mse(target, sqs.Codec(sqs.load_format("int4_narrow")).fake_quantize(target, scale=best))
    assert error().item() < 1.05 * least < before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_gradients_of_halves_are_halves(dtype: torch.dtype) -> None:
    x = normal(4, 50).to(dtype).requires_grad_()
    scale = torch.full((4, 1), 0.25).requires_grad_()
    fake_quantize(x, scale, format="int4_narrow", gradient="lsq").backward(torch.ones_like(x))
    assert x.grad is not None
    assert scale.grad is not None
    assert (x.grad.dtype, scale.grad.dtype) == (dtype, torch.float32)


# --- gradients that are quantized on their way back --------------------------------------------------------------


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("spelled", ["mxfp4", {"format": "float8_e5m2", "quantizer": "minmax"}])
def test_gradients_of_outputs_are_quantized(spelled: str | dict[str, str], exact: bool) -> None:
    layer = nn.Linear(64, 96)
    weight, x, incoming = layer.weight.detach().clone(), normal(8, 64), normal(8, 96, seed=1)
    qat.prepare(layer, qat.QATConfig(grad_output=spelled, exact=exact))
    x.requires_grad_()
    y = layer(x)
    y.backward(incoming)
    format = sqs.load_format(spelled if isinstance(spelled, str) else spelled["format"])
    scale = None if isinstance(spelled, str) else torch.tensor(sqs.MinMax().fit(incoming, format).value)
    rounded = sqs.Codec(format).fake_quantize(incoming, scale=scale)
    assert x.grad is not None
    assert layer.weight.grad is not None
    torch.testing.assert_close(x.grad, rounded @ weight)
    torch.testing.assert_close(layer.weight.grad, rounded.T @ x.detach())
    assert_bit_exact(y.detach(), nn.functional.linear(x, weight, layer.bias).detach())


def test_scales_of_gradients_can_be_calibrated() -> None:
    layer = nn.Linear(8, 8)
    rule = {"format": "float8_e5m2", "quantizer": "minmax", "dynamic": False}
    qat.prepare(layer, qat.QATConfig(grad_output=rule))
    incoming = normal(4, 8)
    with qat.calibrate(layer):
        layer(normal(4, 8).requires_grad_()).backward(incoming)
    ((_, quantizer),) = qat.quantizers(layer)
    assert quantizer.scale is not None
    wanted = sqs.MinMax().fit(incoming, sqs.load_format("float8_e5m2")).value
    assert quantizer.scale.item() == pytest.approx(wanted.item(), rel=1e-6)
    x = normal(4, 8).requires_grad_()
    layer(x).backward(incoming)
    assert x.grad is not None


OF_OVERFLOWS = {
    "MinMax": {"format": "float8_e5m2", "quantizer": "minmax"},
    "Iterative": "float8_e4m3fn",
    "without NaN": "int8",
    "unscaled": {"format": "float8_e4m3fn", "quantizer": "none"},
    "a block that is NaN": "mxfp8_e4m3",
    "a block that saturates": "msfp12",
}


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan], ids=str)
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("spelled", OF_OVERFLOWS.values(), ids=OF_OVERFLOWS.keys())
def test_a_gradient_that_overflows_is_seen_by_gradscaler(spelled: object, exact: bool, bad: float) -> None:
    """In a format it would be a finite number: the step would be taken, and the scale of the loss not be halved."""
    layer = qat.prepare(nn.Linear(64, 32), qat.QATConfig(grad_output=spelled, exact=exact))  # type: ignore[arg-type]
    before, incoming = layer.weight.detach().clone(), normal(4, 32, seed=1)
    optimizer, scaler = torch.optim.SGD(layer.parameters()), torch.amp.GradScaler("cpu", init_scale=4.0)
    incoming[1, 7] = bad
    scaler.scale(layer(normal(4, 64))).backward(incoming)
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2
    assert_bit_exact(layer.weight.detach(), before)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", ["int8", "float8_e5m2", "msfp12"])
def test_only_what_is_not_finite_stays_beside_a_quantized_gradient(name: str, exact: bool) -> None:
    layer = qat.prepare(nn.Linear(8, 32), qat.QATConfig(grad_output=name, exact=exact))
    incoming = normal(4, 32)
    incoming[0, :3] = torch.tensor([math.inf, -math.inf, math.nan])
    format, finite = sqs.load_format(name), incoming.isfinite()
    scale = torch.tensor(sqs.Iterative().fit(incoming, format).value) if name != "msfp12" else None
    rounded = sqs.Codec(format).fake_quantize(incoming, scale=scale)
    layer(normal(4, 8)).backward(incoming)
    assert layer.bias.grad is not None
    wanted = torch.where(finite, rounded, incoming).sum(0)
    torch.testing.assert_close(layer.bias.grad, wanted, equal_nan=True)
    assert layer.bias.grad[0] == math.inf == -layer.bias.grad[1]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("dynamic", [True, False])
@pytest.mark.parametrize("name", ["int8", "float8_e4m3fn"])
def test_a_format_that_refuses_nan_takes_gradients_with_it(name: str, dynamic: bool, exact: bool) -> None:
    format = sqs.parse_format(f"name: refusing\nextends: {name}\nencode: {{nan_input: error}}\n")
    config = qat.QATConfig(grad_output={"format": format, "dynamic": dynamic}, exact=exact)
    layer, incoming = qat.prepare(nn.Linear(8, 32), config), normal(1, 32)
    with qat.calibrate(layer):
        layer(normal(1, 8)).backward(incoming)
    layer.zero_grad()
    incoming[0, 3] = math.nan
    layer(normal(1, 8)).backward(incoming)
    assert layer.bias.grad is not None
    assert layer.bias.grad.isnan().nonzero().tolist() == [[3]]


@pytest.mark.parametrize("exact", [True, False])
def test_what_is_not_finite_in_a_gradient_leaves_the_rest_of_its_block_alone(exact: bool) -> None:
    layer = qat.prepare(nn.Linear(8, 32), qat.QATConfig(grad_output="mxfp8_e4m3", exact=exact))
    incoming = normal(1, 32)
    incoming[0, 3] = 0
    rounded = sqs.Codec(sqs.load_format("mxfp8_e4m3")).fake_quantize(incoming)
    rounded[0, 3] = incoming[0, 3] = math.inf
    layer(normal(1, 8)).backward(incoming)
    assert layer.bias.grad is not None
    assert_bit_exact(layer.bias.grad, rounded[0])


@pytest.mark.parametrize("config", [{"format": "float8_e5m2", "quantizer": "minmax"}, "mxfp8_e4m3"])
def test_what_follows_a_quantized_gradient_may_work_in_place(config: object) -> None:
    found = []
    for inplace in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(inplace), nn.Linear(64, 8))
        qat.prepare(model, qat.QATConfig(grad_output=config))  # type: ignore[arg-type]
        model(normal(4, 64)).square().sum().backward()
        found.append([parameter.grad for parameter in model.parameters()])
    for one, other in zip(*found, strict=True):
        assert_bit_exact(one, other)


@pytest.mark.parametrize("role", ["weight", "input"])
def test_learned_scales_come_back_from_beyond_zero(role: str) -> None:
    """Steps as long as the scale are common: Adam's do not depend on the gradient's size."""
    rule = {"format": "uint8" if role == "input" else "int4_narrow", "gradient": "lsq", "per": "tensor"}
    layer = qat.prepare(nn.Linear(8, 8), qat.QATConfig.from_dict({"rules": [{"match": "*", role: rule}]}))
    x = normal(16, 8).abs()
    with qat.calibrate(layer):
        layer(x)
    expected = layer(x)
    quantizer = getattr(layer, f"{role}_quantizer")
    with torch.no_grad():
        quantizer.scale.neg_()
    assert_bit_exact(layer(x).detach(), expected.detach())
    layer(x).square().sum().backward()
    assert quantizer.scale.grad.any()
    with torch.no_grad():
        quantizer.scale.zero_()
    quantizer.scale.grad = None
    layer(x).square().sum().backward()
    assert quantizer.scale.grad.isfinite().all()
    with torch.no_grad():
        quantizer.scale.fill_(-0.01)
    y = layer(x)
    qat.convert(layer)
    assert_bit_exact(layer(x).detach(), y.detach())
