"""Every quantized layer against the codec and torch's own layer; attention against torch's in all its forms."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import statqat_sim as sqs
from statqat_sim import qat
from statqat_sim.testing import assert_bit_exact

Options = dict[str, Any]

INT4 = {"format": "int4_narrow", "quantizer": "minmax"}
DYNAMIC = {**INT4, "dynamic": True}


def layer_cases() -> dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int, int]]:
    """A layer, its input's shape, the axes of weight and input along which blocks run."""
    cases: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int, int]] = {
        "linear": (lambda: nn.Linear(70, 12), (2, 3, 70), -1, -1),
        "linear without bias": (lambda: nn.Linear(64, 8, bias=False), (64,), -1, -1),
    }
    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d), (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    for rank in (1, 2, 3):
        shape = (2, 36, *[5] * rank)
        plain, transposed = (family[rank - 1] for family in convolutions)
        options: Options = {"stride": 2, "padding": 1, "groups": 2}
        cases |= {
            f"conv{rank}d": (lambda c=plain, o=options: c(36, 8, 3, **o), shape, 1, 1),
            f"conv{rank}d, circular": (lambda c=plain: c(36, 8, 3, padding=1, padding_mode="circular"), shape, 1, 1),
            f"conv_transpose{rank}d": (lambda c=transposed, o=options: c(36, 8, 3, **o), shape, 0, 1),
        }
    return cases


LAYERS = layer_cases()


def codec(name: str) -> sqs.Codec:
    return sqs.Codec(sqs.load_format(name))


@pytest.mark.parametrize("case", LAYERS)
def test_blocks_run_along_the_contraction(case: str) -> None:
    make, shape, weight_axis, input_axis = LAYERS[case]
    torch.manual_seed(0)
    layer, x = make(), torch.randn(shape)
    wanted = copy.deepcopy(layer)
    wanted.weight.data = codec("mxfp4").fake_quantize(wanted.weight.detach(), axis=weight_axis)
    y = wanted(codec("nvfp4").fake_quantize(x, axis=input_axis))
    qat.prepare(layer, qat.QATConfig(weight="mxfp4", input="nvfp4"))
    assert_bit_exact(layer(x).detach(), y.detach())
    qat.set_mode(layer, "float")
    torch.testing.assert_close(layer(x), make_float(layer)(x))


def make_float(layer: nn.Module) -> nn.Module:
    """The float layer with the same parameters."""
    result = copy.deepcopy(layer)
    result.__class__ = next(base for base in type(layer).__mro__ if base.__module__.startswith("torch.nn.modules."))
    return result


@pytest.mark.parametrize("case", LAYERS)
def test_channels_have_scales_of_their_own(case: str) -> None:
    make, shape, weight_axis, _ = LAYERS[case]
    layer, x, format = make(), torch.randn(shape), sqs.load_format("int4_narrow")
    channel = 1 if weight_axis == 0 else 0
    wanted = copy.deepcopy(layer)
    scale = sqs.MinMax().fit(wanted.weight, format, channel_axis=channel)
    wanted.weight.data = sqs.Codec(format).fake_quantize(wanted.weight.detach(), scale=torch.tensor(scale.value))
    y = wanted(sqs.Codec(format).fake_quantize(x, scale=torch.tensor(sqs.MinMax().fit(x, format).value)))
    qat.prepare(layer, qat.QATConfig(weight=INT4, input=DYNAMIC))
    assert_bit_exact(layer(x).detach(), y.detach())


@pytest.mark.parametrize("case", LAYERS)
def test_outputs_are_quantized(case: str) -> None:
    make, shape, _, axis = LAYERS[case]
    layer, x = make(), torch.randn(shape)
    y = layer(x).detach()
    qat.prepare(layer, qat.QATConfig(output="mxfp4"))
    assert_bit_exact(layer(x).detach(), codec("mxfp4").fake_quantize(y, axis=axis))


def test_transposed_convolutions_take_an_output_size() -> None:
    layer, x = nn.ConvTranspose2d(4, 2, 3, stride=2), torch.randn(1, 4, 5, 5)
    wanted = layer(x, output_size=[12, 12])
    qat.set_mode(qat.prepare(layer, qat.QATConfig(weight="mxfp4")), "float")
    assert_bit_exact(layer(x, output_size=[12, 12]).detach(), wanted.detach())


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own tracing does it
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("spelled", ["mxfp4", DYNAMIC, {**DYNAMIC, "per": "channel"}], ids=str)
@pytest.mark.parametrize("rank", [2, 3])
def test_channels_that_come_last_stay_there(rank: int, spelled: Any, exact: bool) -> None:
    """Eager, compiled, and the same bits as of tensors that lie otherwise."""
    torch.compiler.reset()
    layer, form = ((nn.Conv2d, torch.channels_last), (nn.Conv3d, torch.channels_last_3d))[rank - 2]
    model = qat.prepare(layer(6, 4, 3), qat.QATConfig(weight="mxfp4", input=spelled, exact=exact))
    plain = torch.randn(2, 6, *[5] * rank)
    x = plain.to(memory_format=form).requires_grad_()
    quantizer = model.input_quantizer
    compiled = torch.compile(quantizer, backend="aot_eager", fullgraph=True)
    for result in (quantizer(x), compiled(x)):
        assert result.is_contiguous(memory_format=form)
        assert_bit_exact(result.detach().contiguous(), quantizer(plain))
    assert quantizer(plain).is_contiguous()
    quantizer(x).sum().backward()
    assert x.grad is not None
    assert x.grad.is_contiguous(memory_format=form)


# --- embeddings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelled", ["mxfp4", INT4])
def test_rows_of_embeddings(spelled: Any) -> None:
    layer, indices = nn.Embedding(20, 64, padding_idx=3), torch.tensor([[1, 3], [19, 0]])
    weight, format = layer.weight.detach().clone(), sqs.load_format("mxfp4" if spelled == "mxfp4" else "int4_narrow")
    scale = None if spelled == "mxfp4" else torch.tensor(sqs.MinMax().fit(weight, format, channel_axis=0).value)
    qat.prepare(layer, qat.QATConfig(weight=spelled, input="mxfp4"))
    y = layer(indices)
    assert_bit_exact(y.detach(), sqs.Codec(format).fake_quantize(weight, scale=scale)[indices])
    y.sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad[[1, 19, 0]].all()
    assert not layer.weight.grad[3].any()


def test_embeddings_are_renormalised_as_floats() -> None:
    torch.manual_seed(0)
    layer = nn.Embedding(20, 64, max_norm=1.0)
    wanted, indices = copy.deepcopy(layer), torch.tensor([1, 5])
    wanted(indices)
    qat.prepare(layer, qat.QATConfig(weight="mxfp4"))
    layer(indices)
    assert_bit_exact(layer.weight.detach(), wanted.weight.detach())
    assert layer.weight[1].norm() <= 1.0001 < layer.weight[2].norm()


# --- attention ---------------------------------------------------------------------------------------------------

FORMS: dict[str, Options] = {
    "plain": {},
    "batch first": {"batch_first": True},
    "other widths": {"kdim": 24, "vdim": 20, "batch_first": True},
    "further places": {"add_bias_kv": True, "add_zero_attn": True},
    "without bias": {"bias": False, "batch_first": True},
}


def attention(form: str) -> tuple[nn.MultiheadAttention, nn.MultiheadAttention]:
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(32, 4, **FORMS[form])
    for parameter in layer.parameters():  # biases begin as zeros
        nn.init.normal_(parameter, std=0.2)
    ours = qat.prepare(copy.deepcopy(layer), qat.QATConfig(weight="mxfp4", input="mxfp4"))
    qat.set_mode(ours, "float")
    return layer, ours


def sequences(form: str, *, is_self: bool, is_batched: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    options = FORMS[form]
    places = (6, 6, 6) if is_self else (6, 7, 7)
    widths = 32, options.get("kdim", 32), options.get("vdim", 32)
    shapes = [(count, 3, width) if is_batched else (count, width) for count, width in zip(places, widths, strict=True)]
    if options.get("batch_first") and is_batched:
        shapes = [(shape[1], shape[0], shape[2]) for shape in shapes]
    x = [torch.randn(shape) for shape in shapes]
    return (x[0], x[0], x[0]) if is_self and len(set(shapes)) == 1 else tuple(x)  # type: ignore[return-value]


def masks(count: int, keys: int) -> dict[str, Options]:
    padding = torch.zeros(3, keys, dtype=torch.bool)
    padding[1, -2:] = True
    causal = torch.triu(torch.ones(count, keys, dtype=torch.bool), 1)
    return {
        "no mask": {},
        "padding": {"key_padding_mask": padding},
        "places": {"attn_mask": causal},
        "numbers": {"attn_mask": torch.randn(12, count, keys), "key_padding_mask": torch.randn(3, keys)},
        "causal": {"attn_mask": causal, "is_causal": True},
        "causal and padding": {"attn_mask": causal, "is_causal": True, "key_padding_mask": padding},
    }


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("is_self", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_attention_of_floats_is_torchs(form: str, is_self: bool, need_weights: bool) -> None:
    layer, ours = attention(form)
    x = sequences(form, is_self=is_self)
    axis = 1 if FORMS[form].get("batch_first") else 0
    for name, mask in masks(x[0].shape[axis], x[1].shape[axis]).items():
        options = {**mask, "need_weights": need_weights, "average_attn_weights": is_self}
        for each in (layer, ours):
            each.train()
        wanted, wanted_weights = layer(*x, **options)
        result, weights = ours(*x, **options)
        torch.testing.assert_close(result, wanted, msg=lambda text, name=name: f"{name}: {text}")
        assert (weights is None) == (wanted_weights is None)
        if weights is not None:
            torch.testing.assert_close(weights, wanted_weights)


@pytest.mark.parametrize("form", FORMS)
def test_attention_without_a_batch(form: str) -> None:
    layer, ours = attention(form)
    x = sequences(form, is_self=False, is_batched=False)
    for one, other in zip(ours(*x), layer(*x), strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_of_attention_are_torchs() -> None:
    layer, ours = attention("plain")
    x = sequences("plain", is_self=True)
    for each in (layer, ours):
        each(*x)[0].square().sum().backward()
    for (name, one), other in zip(ours.named_parameters(), layer.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4, msg=lambda t, n=name: f"{n}: {t}")


def test_attention_drops_out_as_torchs_does() -> None:
    layer = nn.MultiheadAttention(32, 4, dropout=0.5)
    ours = qat.prepare(copy.deepcopy(layer), qat.QATConfig(weight="mxfp4"))
    qat.set_mode(ours, "float")
    x = torch.randn(6, 3, 32)
    weights = ours(x, x, x)[1]
    assert (weights == 0).any()
    assert not (ours.eval()(x, x, x)[1] == 0).any()


@pytest.mark.parametrize("form", FORMS)
def test_projections_of_attention_are_quantized(form: str) -> None:
    layer, ours = attention(form)
    qat.set_mode(ours, "quantize")
    options = codec("mxfp4").fake_quantize
    for name, parameter in layer.named_parameters():
        if "weight" in name:
            parameter.data = options(parameter.detach())
    x = sequences(form, is_self=False)
    heads: list[Tensor] = []
    hook = ours.out_proj.register_forward_pre_hook(lambda _, arguments: heads.append(arguments[0]))
    result, _ = ours(*x)
    hook.remove()
    weight, bias = layer.out_proj.weight, layer.out_proj.bias
    torch.testing.assert_close(result, F.linear(options(heads[0].detach()), weight, bias))
    layer.out_proj.weight.data, layer.out_proj.bias = torch.eye(32), None
    torch.testing.assert_close(heads[0], layer(*(options(each) for each in x))[0], rtol=1e-4, atol=1e-4)


def test_shared_inputs_of_attention_are_quantized_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _, ours = attention("plain")
    qat.set_mode(ours, "quantize")
    seen: list[tuple[int, ...]] = []
    forward = qat.TensorQuantizer.forward

    def counted(self: qat.TensorQuantizer, x: Tensor) -> Tensor:
        seen.extend([tuple(x.shape)] * (self.name == "input"))
        return forward(self, x)

    monkeypatch.setattr(qat.TensorQuantizer, "forward", counted)
    x, y = torch.randn(6, 3, 32), torch.randn(5, 3, 32)
    ours(x, x, x)
    assert seen == [(6, 3, 32)]
    ours(x, y, y)
    assert seen[1:] == [(6, 3, 32), (5, 3, 32)]


def test_a_hint_needs_its_mask() -> None:
    _, ours = attention("plain")
    x = torch.randn(6, 3, 32)
    with pytest.raises(ValueError, match="is_causal is a hint"):
        ours(x, x, x, is_causal=True)


# --- encoders ----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("padding", [False, True])
def test_encoders_compute_with_quantized_weights_in_evaluation(padding: bool) -> None:
    """torch's fused path would take the float weights of the layers."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    x = torch.randn(3, 6, 32)
    mask = torch.zeros(3, 6, dtype=torch.bool)
    mask[1, -2:] = True
    options = {"src_key_padding_mask": mask} if padding else {}
    with torch.no_grad():
        floats = model(x, **options)
        qat.prepare(model, qat.QATConfig(weight="mxfp4", input="mxfp4"))
        result = model(x, **options)
        kept = ~mask if padding else torch.ones_like(mask)
        assert 5 < sqs.sqnr_db(floats[kept], result[kept]) < 30
        qat.set_mode(model, "float")
        torch.testing.assert_close(model(x, **options)[kept], floats[kept])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_layers_of_halves(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8)).to(dtype)
    x = torch.randn(4, 64, dtype=dtype)
    weight = codec("mxfp4").fake_quantize(model[0].weight.detach()).to(dtype)
    wanted = F.linear(codec("mxfp4").fake_quantize(x).to(dtype), weight, model[0].bias)
    qat.prepare(model, qat.QATConfig(weight="mxfp4", input="mxfp4"))
    assert_bit_exact(model[0](x).detach(), wanted.detach())
    assert model(x).dtype == dtype
