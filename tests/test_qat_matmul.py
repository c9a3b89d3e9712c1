"""Layers whose product an accelerator makes: its bits, through training, conversion and files."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import statqat_sim as sqs
from statqat_sim import qat
from statqat_sim.qat.matmul_keys import matmul_key
from tests.examples.accumulator_error import table
from tests.qat_matmul import DYNAMIC, E4M3, IDEAL, MXFP8, NVFP4, PROMOTED, WGMMA, batch, matmul_config, net, prepared

# --- bits --------------------------------------------------------------------------------------------------------

CASES: dict[str, tuple[Any, Any]] = {
    "wgmma": (WGMMA, E4M3),
    "promoted": (PROMOTED, E4M3),
    "e5m2": ("nvidia_h100/wgmma.e5m2.f32", "float8_e5m2"),
    "recipe": ("nvidia_h100/mma.e4m3.f32", E4M3),
    "f16": ("nvidia_h100/wgmma.f16.f32", "float16"),
    "s8": ("nvidia_h100/mma.s8.s32", "int8"),
    "fnuz": ("amd_mi300x/mfma.fp8.f32", "float8_e4m3fnuz"),
    "mxfp8": (MXFP8, "mxfp8_e4m3"),
    "nvfp4": (NVFP4, "nvfp4"),
}


def expected(layer: Any, x: Tensor, matmul: Any) -> Tensor:
    """Of a Linear: the product of codes, times the scales, plus the bias, each step in float32."""
    both = ("accelerator", "instruction")
    keys = matmul if isinstance(matmul, dict) else dict(zip(both, matmul.split("/"), strict=True))
    plan = {key: value for key, value in keys.items() if key not in both} or None
    unit, options = sqs.load_accelerator(keys["accelerator"]), {"instruction": keys["instruction"], "plan": plan}
    a, b = layer.input_quantizer, layer.weight_quantizer
    rows, weight = x.reshape(-1, x.shape[-1]).numpy(), layer.weight.detach().numpy()
    codecs = [sqs.Codec(each.config.format) for each in (a, b)]
    if not a.has_scale:
        d = unit.matmul(codecs[0].quantize(rows), codecs[1].quantize(np.ascontiguousarray(weight.T), axis=0), **options)
    else:
        scales = [each.scale_for(tensor).detach().numpy() for each, tensor in ((a, x), (b, layer.weight))]
        codes = codecs[0].encode(rows / scales[0].reshape(1, 1)), codecs[1].encode(weight / scales[1]).T
        names = {"a_format": a.config.format.name, "b_format": b.config.format.name}
        d = unit.matmul(*codes, **options, **names).astype(np.float32)
        d = d * (scales[0].reshape(1) * scales[1].reshape(-1))
    y = d if layer.bias is None else d + layer.bias.detach().numpy()
    return torch.from_numpy(y).reshape(*x.shape[:-1], -1)


def sized(format: str) -> Any:
    """The quickest scale; blocks find theirs."""
    return format if format in ("mxfp8_e4m3", "nvfp4") else {"format": format, "quantizer": "minmax"}


@pytest.mark.parametrize("case", CASES)
def test_the_bits_are_the_accelerators_whatever_becomes_of_the_model(case: str, tmp_path: Path) -> None:
    matmul, format = CASES[case]
    model, x = net(), batch(2, 5, 96)
    with torch.no_grad():
        with qat.calibrate(prepared(model, matmul, *[sized(format)] * 2)):
            model(x)
        hidden = model[0](x)
        y = model(x)
        assert torch.equal(hidden, expected(model[0], x, matmul))
        assert torch.equal(y, expected(model[2], F.gelu(hidden), matmul))
    assert torch.equal(model(x), y)  # with gradients
    assert torch.equal(qat.convert(model)(x), y)
    with torch.no_grad():
        assert torch.equal(model(x), y)
    qat.save(model, tmp_path / "model.safetensors")
    assert torch.equal(qat.load(tmp_path / "model.safetensors", net())(x), y)


def test_an_accelerator_makes_a_difference() -> None:
    x = batch(4, 96)
    y = {name: prepared(net(), matmul)(x) for name, matmul in (("torch", None), ("13", WGMMA), ("ideal", IDEAL))}
    assert torch.allclose(y["torch"], y["ideal"], atol=1e-6)
    assert not torch.allclose(y["13"], y["ideal"], atol=1e-5)
    assert torch.allclose(y["13"], y["ideal"], atol=1e-2)


CONVOLUTIONS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "1d": (lambda: nn.Conv1d(6, 8, 3, padding=1), (2, 6, 9)),
    "2d": (lambda: nn.Conv2d(6, 8, (3, 2), stride=2, dilation=(1, 2), padding=2, groups=2), (2, 6, 7, 8)),
    "3d": (lambda: nn.Conv3d(4, 4, 2, groups=4, bias=False), (1, 4, 3, 4, 5)),
    "no batch": (lambda: nn.Conv2d(3, 5, 3, padding="same"), (3, 5, 6)),
    "empty": (lambda: nn.Conv2d(3, 5, 1), (0, 3, 2, 2)),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_a_convolution_is_the_rounded_exact_one(case: str) -> None:
    """The `ideal` accelerator rounds exact sums once, which float64 holds."""
    make, shape = CONVOLUTIONS[case]
    torch.manual_seed(0)
    weight, input = {"format": E4M3, "quantizer": "minmax"}, {**DYNAMIC, "dynamic": False}
    layer, x = prepared(make(), IDEAL, weight, input), batch(*shape)
    layer.input_quantizer.keep(torch.tensor([2.0**-7]))
    with torch.no_grad():
        y = layer(x)
        scale = layer.weight_quantizer.scale_for(layer.weight)
        codec = sqs.Codec(sqs.load_format(E4M3))
        codes = codec.fake_quantize(x * 2.0**7).double(), codec.fake_quantize(layer.weight / scale).double()
        plain = make().double()
        plain.weight.copy_(codes[1])
        plain.bias = None
        exact = plain(codes[0]).float() * (2.0**-7 * scale.reshape(-1, *[1] * len(layer.kernel_size)))
        bias = 0.0 if layer.bias is None else layer.bias.reshape(-1, *[1] * len(layer.kernel_size))
        assert torch.equal(y, exact + bias)
    assert torch.equal(layer(x), y)


def test_sums_of_a_convolution_run_over_the_kernel_and_within_over_channels() -> None:
    torch.manual_seed(0)
    layer, x = prepared(nn.Conv2d(20, 4, 2, bias=False)), batch(1, 20, 2, 2)
    with torch.no_grad():
        scales = layer.input_quantizer.scale_for(x), layer.weight_quantizer.scale_for(layer.weight)
        codec = sqs.Codec(sqs.load_format(E4M3))
        a, b = codec.encode(x / scales[0]).numpy(), codec.encode(layer.weight / scales[1]).numpy()
        ordered = a.transpose(0, 2, 3, 1).reshape(1, -1), b.transpose(0, 2, 3, 1).reshape(4, -1).T
        names = {"a_format": E4M3, "b_format": E4M3}
        d = sqs.load_accelerator("nvidia_h100").matmul(*ordered, instruction="wgmma.e4m3.f32", **names)
        assert torch.equal(layer(x).reshape(1, 4), torch.from_numpy(d) * (scales[0].reshape(1) * scales[1].reshape(-1)))


@pytest.mark.parametrize("sizes", [(16, 16), (8, 12)])
def test_projections_of_attention(sizes: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = prepared(nn.MultiheadAttention(16, 2, batch_first=True, kdim=sizes[0], vdim=sizes[1]), IDEAL)
    x, key, value = batch(2, 3, 16), batch(2, 5, sizes[0]), batch(2, 5, sizes[1])
    floats = prepared(nn.MultiheadAttention(16, 2, batch_first=True, kdim=sizes[0], vdim=sizes[1]), None)
    floats.load_state_dict(model.state_dict())
    inputs = [(x, key, value)] + ([(x, x, x)] if sizes == (16, 16) else [])
    for given in inputs:
        y = model(*given)[0]
        assert torch.allclose(y, floats(*given)[0], atol=1e-6)
        with torch.no_grad():
            assert torch.equal(model(*given)[0], y)
    model.matmul_key = model.out_proj.matmul_key = matmul_key(matmul_config(WGMMA))
    assert not torch.allclose(model(x, key, value)[0], floats(x, key, value)[0], atol=1e-6)


# --- training ----------------------------------------------------------------------------------------------------


def test_gradients_are_those_of_the_usual_product() -> None:
    x = batch(4, 96)
    ours, usual = prepared(nn.Linear(96, 8)), prepared(nn.Linear(96, 8), None)
    usual.load_state_dict(ours.state_dict())
    grads = []
    for layer in (ours, usual):
        given = x.clone().requires_grad_()
        (layer(given) * batch(4, 8)).sum().backward()
        grads.append([given.grad, *(each.grad for each in layer.parameters())])
    for one, other in zip(*grads, strict=True):
        assert torch.equal(one, other)


def test_floats_are_multiplied_by_torch() -> None:
    model, x = prepared(net(), input=E4M3), batch(3, 96)
    plain = net()
    with qat.calibrate(model):
        assert torch.equal(model(x), plain(x))
    y = model(x)
    qat.set_mode(model, "float")
    assert torch.equal(model(x), plain(x))
    qat.set_mode(model, "quantize", roles=["weight"])
    usual = copy.deepcopy(model)
    usual[0].matmul_key = usual[2].matmul_key = None
    assert torch.equal(model(x), usual(x))
    assert not torch.equal(model(x), plain(x))
    qat.set_mode(model, "quantize")
    assert torch.equal(model(x), y)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_other_dtypes_are_cast_to_at_last(dtype: torch.dtype) -> None:
    layer, x = prepared(nn.Linear(96, 8)), batch(4, 96)
    wide = layer(x)
    with torch.autocast("cpu", dtype):
        y = layer(x)
        assert torch.equal(y, wide.to(dtype))
        with torch.no_grad():
            assert torch.equal(layer(x), y)
    narrow = layer.to(dtype)(x.to(dtype))
    assert narrow.dtype == dtype
    narrow.sum().backward()


def test_a_compiled_model_gives_the_same() -> None:
    model, x = prepared(net()), batch(4, 96)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    y = compiled(x)
    assert torch.equal(y, model(x))
    y.sum().backward()
    with torch.no_grad():
        assert torch.equal(compiled(x), y)
    qat.convert(model)
    torch.compiler.reset()
    assert torch.equal(torch.compile(model, fullgraph=True, backend="aot_eager")(x), y)


TRANSFORMED: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "linear": (lambda: prepared(nn.Linear(16, 4)), (3, 2, 16)),
    "blocks": (lambda: prepared(nn.Linear(32, 4), NVFP4, weight="nvfp4", input="nvfp4"), (3, 2, 32)),
    "convolution": (lambda: prepared(nn.Conv1d(4, 6, 3, padding=1, groups=2)), (3, 2, 4, 5)),
    "converted": (lambda: qat.convert(prepared(nn.Sequential(nn.Linear(16, 4)))), (3, 2, 16)),
}


@pytest.mark.parametrize("case", TRANSFORMED)
def test_functional_transforms_give_the_same(case: str) -> None:
    make, shape = TRANSFORMED[case]
    model, x = make(), batch(*shape)
    assert torch.equal(torch.vmap(model)(x), torch.stack([model(each) for each in x]))
    given = x[0].clone().requires_grad_()
    model(given).square().sum().backward()
    assert torch.equal(torch.func.grad(lambda each: model(each).square().sum())(x[0]), given.grad)


def test_gradients_of_each_sample() -> None:
    model, x = prepared(net()), batch(3, 96)

    def loss(parameters: dict[str, Tensor], each: Tensor) -> Tensor:
        return torch.func.functional_call(model, parameters, (each,)).square().sum()

    found = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(dict(model.named_parameters()), x)
    for index, each in enumerate(x):
        model.zero_grad()
        model(each).square().sum().backward()
        for name, parameter in model.named_parameters():
            assert torch.allclose(found[name][index], parameter.grad, rtol=1e-5, atol=1e-6)


def calls() -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Arguments of the operations, of number formats and of blocks."""
    for format, matmul in ((E4M3, WGMMA), ("nvfp4", NVFP4)):
        layer: Any = prepared(nn.Linear(32, 8), matmul, weight=format, input=DYNAMIC if format == E4M3 else format)
        x = batch(3, 32)
        with torch.no_grad():
            a, b = layer.input_factor(x), layer.weight_factor()
        usual = torch.zeros(3, 8, requires_grad=True)
        names = a.format, b.format, layer.matmul_key
        scales = a.scale, b.scale, layer.bias.detach()
        yield torch.ops.statqat.multiply.default, (usual, list(a.codes), list(b.codes), *scales, *names)
        yield torch.ops.statqat.encode.default, (x, a.scale, None, a.format, -1)
        packed = qat.convert(layer).packed_weight
        codes, *rest = (getattr(packed, name) for name in packed.packing.names)
        yield torch.ops.statqat.unpack_weight.default, (codes, rest, packed.format_key, packed.packing.shape, 1)


def test_torch_finds_the_operations_sound() -> None:
    for operation, arguments in calls():
        torch.library.opcheck(operation, arguments)


def test_the_example_shows_what_accumulators_cost() -> None:
    short, long = table([128, 1024]).values()
    assert 75 < short["13 bits"] < 80
    assert 62 < long["13 bits"] < 68
    assert abs(long["13, promoted"] - short["13 bits"]) < 1
    assert min(long["25 bits"], long["25, promoted"], long["ideal"]) > 130
