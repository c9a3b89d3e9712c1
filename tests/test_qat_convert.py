"""`convert`: codes in place of weights, and not a bit of difference; memory that really shrinks."""

from __future__ import annotations

import copy
import io
import pickle
import threading
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict
from torch.nn.utils import prune

import statqat_sim as sqs
from statqat_sim import qat
from statqat_sim.qat.conversion import packed_weights
from statqat_sim.qat.dense import dense_bytes, from_dense, gathered, to_dense
from statqat_sim.qat.modules import QuantizedLinear
from statqat_sim.qat.stamps import without_stamps
from statqat_sim.testing import assert_bit_exact
from tests.qat_models import PACKED, Net, net, outputs, prepared, tokens

NUMBERS = (
    *("int2", "int3", "int4", "int5", "int8", "uint4", "ternary_b158", "nf4", "binary1_pm1"),
    *("float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn", "float8_e4m3fn", "float8_e5m2", "bfloat16", "float16"),
    *("posit8", "posit12", "takum8", "lns8", "hif8", "fp24_amd"),
)
BLOCKS = (
    *("mxfp4", "mxfp4.mse", "mxfp6_e3m2", "mxfp8_e4m3", "mxint8", "nvfp4", "nvfp4.four_over_six", "nf4_block64"),
    *("gguf_q4_0", "gguf_q4_k", "gguf_iq4_nl", "gguf_tq1_0", "mx9", "msfp12"),
)
INT4 = {"format": "int4", "quantizer": "minmax"}
INT8 = {"format": "int8", "quantizer": "minmax"}
FEW = ("int4", "float8_e4m3fn", "mxfp4", "nvfp4")


def config(name: str, per: str = "channel", **more: Any) -> qat.QATConfig:
    """Weights in a format, by the quickest quantizer."""
    keys = {"quantizer": "minmax", "per": per} if name in NUMBERS else {}
    return qat.QATConfig(weight={"format": name, **keys, **more})


CASES = [(name, per) for name in NUMBERS for per in ("tensor", "channel")] + [(name, "block") for name in BLOCKS]


@pytest.mark.parametrize(("name", "per"), CASES)
def test_prepared_converted_and_loaded_give_the_same_bits(name: str, per: str, tmp_path: Path) -> None:
    model, original = prepared(config(name, per)), net()
    expected = outputs(model)
    layouts = {layer: dict(found.weights) for layer, found in qat.layers(model)}
    assert_bit_exact(outputs(qat.convert(model)), expected)
    assert_bit_exact(outputs(qat.load(qat.save(model, tmp_path / "m.safetensors"), net(seed=5))), expected)
    format = sqs.load_format(name)
    for layer, parameter, packed in packed_weights(model):
        layout, weight = layouts[layer][parameter], getattr(original.get_submodule(layer), parameter).detach()
        scale = None
        if isinstance(format, sqs.NumberFormat):
            scale = sqs.MinMax().fit(weight, format, channel_axis=layout.channel_axis if per == "channel" else None)
        assert_bit_exact(packed(), sqs.Codec(format).fake_quantize(weight, scale=scale, axis=layout.axis))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("name", FEW)
def test_other_dtypes_stay(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = prepared(config(name), dtype)
    expected = outputs(model)
    assert expected.dtype == dtype
    assert_bit_exact(outputs(qat.convert(model)), expected)
    assert_bit_exact(outputs(qat.load(qat.save(model, tmp_path), net(dtype, seed=5))), expected)


ACTIVATIONS = {
    "static": {"input": INT8, "output": INT8},
    "dynamic": {"input": {"format": "int4", "dynamic": True, "quantizer": "minmax"}},
    "channel": {"input": {"format": "int8", "per": "channel", "quantizer": "minmax"}},
    "blocks": {"input": "mxfp4", "output": "mxfp8_e4m3"},
    "learned": {"weight": {**INT4, "gradient": "lsq"}, "input": {**INT8, "gradient": "lsq"}},
    "frozen": {"weight": {**INT4, "update_every": 0}, "grad_output": "float8_e5m2"},
    "gradient": {"weight": INT4, "grad_output": {"format": "float8_e5m2", "dynamic": False, "quantizer": "minmax"}},
    "traced": {"weight": "mxfp4", "input": "float8_e4m3fn", "exact": False},
}


@pytest.mark.parametrize("case", ACTIVATIONS)
def test_activations_keep_their_scales(case: str, tmp_path: Path) -> None:
    model = prepared(qat.QATConfig.from_dict(ACTIVATIONS[case]))
    expected = outputs(model)
    assert_bit_exact(outputs(qat.convert(model)), expected)
    loaded = qat.load(qat.save(model, tmp_path), net(seed=5))
    assert_bit_exact(outputs(loaded), expected)
    assert [name for name, _ in qat.quantizers(loaded)] == [name for name, _ in qat.quantizers(model)]


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(40, 7), (3, 40)),
    "conv1d": (lambda: nn.Conv1d(8, 6, 3, groups=2), (2, 8, 9)),
    "conv2d": (lambda: nn.Conv2d(5, 4, (3, 1), stride=2, padding_mode="circular", padding=1), (2, 5, 7, 6)),
    "conv3d": (lambda: nn.Conv3d(3, 4, 2, dilation=2, bias=False), (1, 3, 5, 5, 5)),
    "transposed1d": (lambda: nn.ConvTranspose1d(8, 6, 3, groups=2), (2, 8, 9)),
    "transposed2d": (lambda: nn.ConvTranspose2d(5, 4, 3, stride=2, output_padding=1), (2, 5, 4, 4)),
    "transposed3d": (lambda: nn.ConvTranspose3d(3, 4, 2), (1, 3, 3, 3, 3)),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", ["int4", "mxfp4"])
def test_layers_of_every_kind(layer: str, name: str, tmp_path: Path) -> None:
    make, shape = LAYERS[layer]
    torch.manual_seed(0)
    x = torch.randn(shape)
    model = qat.prepare(make(), qat.QATConfig(weight=INT4 if name == "int4" else name, input="mxfp8_e4m3"))
    expected = outputs(model, x)
    assert_bit_exact(outputs(qat.convert(model), x), expected)
    assert_bit_exact(outputs(qat.load(qat.save(model, tmp_path), make()), x), expected)


def test_attention_over_other_widths(tmp_path: Path) -> None:
    torch.manual_seed(0)
    make = partial(nn.MultiheadAttention, 24, 2, kdim=20, vdim=12, add_bias_kv=True)
    model, q, k, v = make(), torch.randn(5, 3, 24), torch.randn(4, 3, 20), torch.randn(4, 3, 12)
    qat.prepare(model, qat.QATConfig(weight="mxfp4", input="mxfp8_e4m3"))
    expected, weights = (each.detach() for each in model(q, k, v))
    loaded = qat.load(qat.save(qat.convert(model), tmp_path), make())
    for other in (model, loaded):
        assert_bit_exact(other(q, k, v)[0].detach(), expected)
        assert_bit_exact(other(q, k, v)[1].detach(), weights)
    assert {parameter for _, parameter, _ in packed_weights(model)} == {
        *("q_proj_weight", "k_proj_weight", "v_proj_weight", "weight")
    }


class Doubled(nn.Linear):
    """A layer of a user's own."""

    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


class QuantizedDoubled(qat.Quantized, Doubled):  # type: ignore[misc]
    weights = QuantizedLinear.weights
    layouts = QuantizedLinear.layouts

    def forward(self, input: Tensor) -> Tensor:
        return 2 * nn.functional.linear(self.quantized_input(input), self.quantized_weight(), self.bias)


def test_layers_of_ones_own(tmp_path: Path) -> None:
    qat.register(Doubled, QuantizedDoubled)
    torch.manual_seed(0)
    model, x = nn.Sequential(Doubled(16, 8), nn.Linear(8, 8)), torch.randn(3, 16)
    qat.prepare(model, qat.QATConfig(weight="mxfp4"))
    expected = outputs(model, x)
    assert_bit_exact(outputs(qat.convert(model), x), expected)
    loaded = qat.load(qat.save(model, tmp_path), nn.Sequential(Doubled(16, 8), nn.Linear(8, 8)))
    assert_bit_exact(outputs(loaded, x), expected)


def test_trained_models_convert_in_training_and_evaluation() -> None:
    for training in (True, False):
        model = prepared(qat.QATConfig(weight=INT4, input={**INT8, "gradient": "lsq"}))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model.train()
        for _ in range(2):
            model(tokens()).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        model.train(training)
        twin = copy.deepcopy(model)
        assert_bit_exact(outputs(qat.convert(model)), outputs(twin))
        assert model.training is training


# --- memory ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*FEW, "int3", "float6_e2m3fn", "posit12", "mxfp4.mse", "gguf_q4_k", "nf4_block64"])
def test_memory_shrinks_to_the_bits_of_the_format(name: str) -> None:
    model = nn.Sequential(nn.Linear(1024, 256, bias=False))
    weight = weakref.ref(model[0].weight)
    qat.prepare(model, config(name, "tensor"))
    before = qat.summary(model).rows[0].bits_per_element
    qat.convert(model)
    format = sqs.load_format(name)
    wanted = format.bits_per_element if isinstance(format, sqs.BlockFormat) else format.bits
    held = 8 * sum(tensor.nbytes for tensor in without_stamps(model).values()) / (1024 * 256)
    assert held == pytest.approx(wanted, rel=0.01)
    assert before == held == model[0].packed_weight.bits_per_element
    assert weight() is None
    assert f"{held:.4g} bits per element; 1,048,576 bytes as floats" in str(qat.summary(model))
    assert f"{held:.4g} bits per element" in repr(model)


@pytest.mark.parametrize("bits", range(1, 33))
def test_dense_codes_are_strings_of_bits_on_every_device(bits: int) -> None:
    dtype = torch.uint8 if bits <= 8 else torch.uint16 if bits <= 16 else torch.uint32
    for count in (0, 1, 7, 8, 9, 100):
        codes = torch.randint(0, 1 << bits, (count,), generator=torch.Generator().manual_seed(count)).to(dtype)
        octets = to_dense(codes, bits)
        total = sum(code << place * bits for place, code in enumerate(codes.tolist()))
        assert bytes(octets.tolist()) == total.to_bytes(dense_bytes(count, bits), "little")
        for unpacked in (from_dense(octets, bits, (count,)), gathered(octets, bits, count)):
            assert_bit_exact(unpacked, codes)


# --- what a converted model is -----------------------------------------------------------------------------------


def converted(name: str = "mxfp4", **more: Any) -> Net:
    return qat.convert(prepared(qat.QATConfig(weight=INT4 if name == "int4" else name, **more)))


def test_the_state_is_complete_and_has_no_floats_of_weights() -> None:
    model = converted("int4", input=INT8)
    state = model.state_dict()
    assert state["linear.packed_weight.codes"].dtype == torch.uint8
    assert state["linear.packed_weight.scale"].dtype == torch.float32
    assert state["attention.packed_in_proj_weight.codes"].numel() == 3 * 24 * 24 // 2
    assert state["linear.input_quantizer.scale"].shape == (1,)
    assert not {f"{name}.weight" for name in PACKED} & state.keys()
    assert not {f"{name}.weight" for name in PACKED} & dict(model.named_parameters()).keys()
    other = qat.convert(prepared(qat.QATConfig(weight=INT4, input=INT8), torch.float32))
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    for packed in (packed for _, _, packed in packed_weights(other)):
        packed.codes.zero_()
    other.load_state_dict(state)
    assert_bit_exact(outputs(other), outputs(model))


PAIRS = [("float8_e4m3fn", "float8_e5m2"), ("int4", "float4_e2m1fn"), ("mxfp4", "mxfp4.mse")]


@pytest.mark.parametrize(("one", "other"), PAIRS)
@pytest.mark.parametrize("strict", [True, False])
def test_a_state_of_codes_of_another_format_is_refused(one: str, other: str, strict: bool) -> None:
    source, model = (qat.convert(prepared(config(name))) for name in (one, other))
    before = [packed().clone() for _, _, packed in packed_weights(model)]
    with pytest.raises(RuntimeError) as caught:
        model.load_state_dict(source.state_dict(), strict=strict)
    told = f"the state is of the format {one} (24, 24); the model has {other} (24, 24)"
    assert f"linear.packed_weight: {told}" in str(caught.value)
    for (_, _, packed), weight in zip(packed_weights(model), before, strict=True):
        assert_bit_exact(packed(), weight)


def test_a_state_of_scales_of_another_format_is_refused() -> None:
    source, model = (converted(input={**INT8, "format": name}) for name in ("int8", "int4"))
    with pytest.raises(RuntimeError, match=r"linear.input_quantizer: the state is of the format int8; the model has i"):
        model.load_state_dict(source.state_dict())


def test_a_state_of_weights_of_another_shape_is_refused() -> None:
    """Codes have no shape."""
    source, model = (nn.Linear(*sizes, bias=False) for sizes in ((8, 4), (4, 8)))
    for each in (source, model):
        qat.convert(qat.prepare(each, config("int4", "tensor")))
    with pytest.raises(RuntimeError, match=r"the format int4 \(4, 8\); the model has int4 \(8, 4\)"):
        model.load_state_dict(source.state_dict())


def test_a_state_that_names_no_formats_is_taken_with_a_warning() -> None:
    """Of a version that did not write them."""
    model, other = converted("int4", input=INT8), converted("int4", input=INT8)
    for packed in (packed for _, _, packed in packed_weights(other)):
        packed.codes.zero_()
    with pytest.warns(UserWarning, match="the state does not say which formats it is of; its codes and scales are tak"):
        other.load_state_dict(without_stamps(model))
    assert_bit_exact(outputs(other), outputs(model))


def test_a_state_that_names_no_formats_is_told_once_in_each_call() -> None:
    model = converted("int4", input=INT8)
    for _ in range(2):
        with pytest.warns(UserWarning, match="the state does not say which formats") as told:
            model.load_state_dict(without_stamps(model))
        assert len(told) == 1


@pytest.mark.parametrize("inner_calls", [1, 2, 20])
def test_a_state_that_names_no_formats_is_told_once_in_each_call_within_another(inner_calls: int) -> None:
    """A hook that loads another model."""
    model, other = (converted("int4", input=INT8) for _ in range(2))
    state = without_stamps(model)

    def load_others(*_: Any) -> None:
        for _ in range(inner_calls):
            other.load_state_dict(state)

    model.linear.register_load_state_dict_post_hook(load_others)
    with pytest.warns(UserWarning, match="the state does not say which formats") as told:
        model.load_state_dict(state)
    assert len(told) == 1 + inner_calls


def test_a_state_that_names_no_formats_is_told_once_in_each_call_though_others_load(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, other = (converted("int4", input=INT8) for _ in range(2))
    state, told = without_stamps(model), list[str]()

    def warn_while_another_loads(message: str, *_: Any, **__: Any) -> None:
        told.append(message)
        if len(told) == 1:
            thread = threading.Thread(target=other.load_state_dict, args=[state])
            thread.start()
            thread.join()

    monkeypatch.setattr("statqat_sim.qat.stamps.warnings.warn", warn_while_another_loads)
    model.load_state_dict(state)
    assert len(told) == 2


@pytest.mark.filterwarnings("error")
def test_a_warning_that_is_an_error_comes_when_all_is_loaded() -> None:
    model, other = converted("int4", input=INT8), converted("int4", input=INT8)
    for tensor in without_stamps(other).values():
        tensor.zero_()
    with pytest.raises(RuntimeError, match="the state does not say which formats") as caught:
        other.load_state_dict(without_stamps(model))
    assert str(caught.value).count("the state does not say") == 1
    assert_bit_exact(outputs(other), outputs(model))


def test_converted_states_go_through_files(tmp_path: Path) -> None:
    """safetensors, torch.distributed.checkpoint, and a model without memory."""
    model, wanted = converted("int4", input=INT8), outputs(converted("int4", input=INT8))
    save_model(model, str(tmp_path / "m.safetensors"))
    first = converted("int4", input=INT8)
    first.linear.packed_weight.codes.zero_()
    load_model(first, str(tmp_path / "m.safetensors"))
    second = converted("int4", input=INT8).to("meta").to_empty(device="cpu")
    second.load_state_dict(model.state_dict())
    for loaded in (first, second):
        assert_bit_exact(outputs(loaded), wanted)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")  # so it is meant
def test_distributed_checkpoints_of_converted_models_know_their_formats(tmp_path: Path) -> None:
    source, same, wrong = (qat.convert(prepared(config(name))) for name in ("int4", "int4", "float4_e2m1fn"))
    same.linear.packed_weight.codes.zero_()
    dcp.save({"model": get_model_state_dict(source)}, checkpoint_id=tmp_path)
    state = {"model": get_model_state_dict(same)}
    dcp.load(state, checkpoint_id=tmp_path)
    set_model_state_dict(same, state["model"])
    assert_bit_exact(outputs(same), outputs(source))
    with pytest.raises(RuntimeError, match=r"the state is of the format int4 \(24, 24\); the model has float4_e2m1fn"):
        set_model_state_dict(wrong, get_model_state_dict(source))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("again", [lambda model: model, copy.deepcopy], ids=["itself", "copied"])
def test_weights_can_be_read_as_tensors(again: Any, dtype: torch.dtype) -> None:
    """As models of others do: for a dtype, or to multiply with the embedding's."""
    model = prepared(qat.QATConfig(weight=INT4), dtype)
    wanted = {name: layer.quantized_weight().detach() for name, layer in qat.layers(model) if name != "attention"}
    wanted["attention"] = model.attention.quantized_weight("in_proj_weight").detach()
    model = again(qat.convert(model))
    for name, weight in wanted.items():
        own = getattr(model.get_submodule(name), "in_proj_weight" if name == "attention" else "weight")
        assert_bit_exact(own, weight)
        assert own.dtype == dtype
        assert not own.requires_grad
    assert model.attention.q_proj_weight is None
    x = torch.randn(3, 24, dtype=dtype)
    assert_bit_exact(nn.functional.linear(x, model.embedding.weight), model.head(x))
    assert model.to("meta").linear.weight.device.type == "meta"


class Borrowed(nn.Module):
    """A head that multiplies with the embedding's weight, in its dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 8)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.embedding.weight
        return nn.functional.linear(self.embedding(x).to(weight.dtype), weight)


def test_weights_that_are_read_are_compiled_and_exported() -> None:
    model, x = qat.convert(qat.prepare(Borrowed(), config("int4"))), torch.tensor([1, 5])
    wanted = model(x)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    exported = torch.export.export(model, (x,)).module()
    for each in (compiled, exported):
        assert_bit_exact(each(x), wanted)


@pytest.mark.parametrize("value", [nn.Parameter(torch.ones(24, 24)), torch.ones(24, 24), None], ids=type)
def test_weights_that_are_codes_are_not_written(value: Any) -> None:
    model = converted()
    before = model.linear.weight
    with pytest.raises(AttributeError, match="weight: codes of mxfp4 stand for it; allowed: to read it"):
        model.linear.weight = value
    assert_bit_exact(model.linear.weight, before)
    model.linear.bias = nn.Parameter(torch.ones(24))


def test_weights_that_layers_share_stay_shared(tmp_path: Path) -> None:
    model = converted()
    assert model.head.packed_weight is model.embedding.packed_weight
    rows = {row.layer: row for row in qat.summary(model).rows}
    assert (rows["head"].nbytes, rows["embedding"].nbytes) == (0, model.embedding.packed_weight.nbytes)
    loaded = qat.load(qat.save(model, tmp_path), net())
    assert loaded.head.packed_weight is loaded.embedding.packed_weight


def test_shared_weights_that_are_quantized_in_two_ways_are_not_shared() -> None:
    model = prepared(qat.QATConfig([{"match": "head", "weight": INT8}], weight=INT4))
    expected = outputs(model)
    assert_bit_exact(outputs(qat.convert(model)), expected)
    assert model.head.packed_weight.packing.format.name == "int8"
    assert model.embedding.packed_weight.packing.format.name == "int4"


def test_what_has_no_format_stays_float() -> None:
    model = prepared(
        qat.QATConfig([{"match": "head|linear", "skip": True}, {"match": "up", "input": INT8}], weight=INT4)
    )
    expected = outputs(model)
    qat.convert(model)
    assert_bit_exact(outputs(model), expected)
    assert isinstance(model.up.weight, nn.Parameter)
    assert type(model.linear) is nn.Linear
    assert isinstance(model.head.weight, nn.Parameter)


def _pickled(model: Net) -> Net:
    return pickle.loads(pickle.dumps(model))  # type: ignore[no-any-return]


def _saved(model: Net) -> Net:
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=False)  # type: ignore[no-any-return]


@pytest.mark.parametrize("again", [copy.deepcopy, _pickled, _saved], ids=lambda again: again.__name__)
def test_copies_give_the_same_bits(again: Any) -> None:
    model = converted("nvfp4", input=INT8)
    copied = again(model)
    assert_bit_exact(outputs(copied), outputs(model))
    assert copied.head.packed_weight is copied.embedding.packed_weight
    assert copied.linear.packed_weight.codes is not model.linear.packed_weight.codes


@pytest.mark.parametrize("name", FEW)
def test_compiled_in_one_graph(name: str) -> None:
    model = converted(name, input="mxfp4")
    layer, x = model.linear, torch.randn(3, 24)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert_bit_exact(compiled(x), layer(x))


def test_exported() -> None:
    model = converted("nvfp4")
    exported = torch.export.export(model.linear, (torch.randn(3, 24),))
    x = torch.randn(3, 24)
    assert_bit_exact(exported.module()(x).detach(), model.linear(x).detach())


@pytest.mark.parametrize("name", FEW)
def test_decoding_passes_the_checks_of_operations(name: str) -> None:
    packed = converted(name).linear.packed_weight
    codes, *scales = packed.arrays()
    packing = packed.packing
    arguments = codes, scales, packed.format_key, list(packing.shape), packing.axis, torch.bfloat16
    torch.library.opcheck(torch.ops.statqat.decode_weight.default, arguments)


def test_moves_leave_codes_and_scales_alone() -> None:
    model = converted("int4", input=INT8)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weight = model.linear.packed_weight()
    for move in (lambda: model.to(torch.bfloat16), model.half, model.double, model.float):
        moved = move()
        assert moved.linear.packed_weight().dtype == moved.norm.weight.dtype
        for name, tensor in moved.state_dict().items():
            if "packed" in name or "quantizer" in name:
                assert_bit_exact(tensor, before[name])
        assert outputs(moved).dtype == moved.norm.weight.dtype
    assert_bit_exact(model.linear.packed_weight(), weight)
    model.to("meta")
    assert model.linear.packed_weight.codes.is_meta


def test_gradients_still_reach_what_enters() -> None:
    layer = converted().linear
    x = torch.randn(3, 24, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    assert_bit_exact(x.grad, layer.packed_weight().sum(0).expand(3, 24).contiguous())


def test_rounding_at_random_is_done_once() -> None:
    format = sqs.parse_format("name: r\nelement: {kind: int, bits: 4}\nencode: {rounding: stochastic_a}")
    model = qat.prepare(net(), qat.QATConfig(weight={"format": format, "quantizer": "minmax"}))
    qat.convert(model)
    assert_bit_exact(outputs(model), outputs(model))


@pytest.mark.parametrize("is_shared", [True, False])
def test_a_weight_is_rounded_at_random_once_for_all_that_share_it(is_shared: bool) -> None:
    format = sqs.parse_format("name: r\nelement: {kind: int, bits: 4}\nencode: {rounding: stochastic_a}")
    model = net()
    if not is_shared:
        model.head.weight = nn.Parameter(model.head.weight.detach().clone())
    qat.convert(qat.prepare(model, qat.QATConfig(weight={"format": format, "quantizer": "minmax"})))
    assert (model.head.packed_weight is model.embedding.packed_weight) is is_shared
    assert torch.equal(model.head.weight, model.embedding.weight) is is_shared


@pytest.mark.parametrize(("drawn", "other"), [("embedding", "head"), ("head", "embedding")])
def test_a_shared_weight_may_be_rounded_at_random_in_one_layer_alone(drawn: str, other: str) -> None:
    rule = {"match": drawn, "weight": {**INT4, "format": sqs.parse_format(DRAWN)}}
    model = qat.prepare(net(), qat.QATConfig([rule], weight=INT4))
    expected, found = model.get_submodule(other).quantized_weight().detach(), []
    for seed in (0, 0, 1):
        converted = copy.deepcopy(model)
        torch.manual_seed(seed)
        qat.convert(converted)
        assert_bit_exact(converted.get_submodule(other).weight, expected)
        found.append(converted.get_submodule(drawn).weight)
    assert_bit_exact(found[0], found[1])
    assert not torch.equal(found[1], found[2])


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("name", ["int4", "mxfp4"])
def test_weights_without_elements(name: str) -> None:
    model = nn.Sequential(nn.Linear(0, 3)) if name == "int4" else nn.Sequential(nn.Linear(3, 0))
    qat.convert(qat.prepare(model, config(name, "tensor")))
    assert model[0].packed_weight().shape == (model[0].out_features, model[0].in_features)


@pytest.mark.parametrize("name", ["int4", "mxfp4"])
def test_rows_that_a_lookup_would_shrink_are_shrunk(name: str) -> None:
    torch.manual_seed(0)
    model, rows = qat.prepare(nn.Embedding(9, 8, max_norm=1.0), config(name)), torch.arange(9)
    converted = qat.convert(copy.deepcopy(model))
    assert_bit_exact(converted(rows), model(rows).detach())
    assert (model.weight.norm(dim=1) < 1.001).all()


class Tied(nn.Module):
    """Tokens -> scores, by an embedding that shrinks its rows; the head's weight is the embedding's."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 32, max_norm=3.0)
        self.head = nn.Linear(32, 9, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embedding(tokens))  # type: ignore[no-any-return]


def alone() -> nn.Module:
    return nn.Sequential(nn.Embedding(9, 32, max_norm=3.0))


def unshrunk(model: nn.Module, spelled: object, match: str = "*") -> nn.Module:
    torch.manual_seed(1)
    nn.init.normal_(next(model.parameters()), std=5)
    return qat.prepare(model, qat.QATConfig([{"match": match, "weight": spelled}]))


SHRINKING: dict[str, tuple[Callable[[], nn.Module], object, str, str]] = {
    "two layers": (Tied, INT4, "*", "other layers share the weight"),
    "a layer of floats": (Tied, "mxfp4", "embedding", "other layers share the weight"),
    "one scale": (alone, {**INT4, "per": "tensor"}, "*", "rows have a scale of int4 in common"),
    "a scale of all scales": (alone, "nvfp4", "*", "rows have a scale of nvfp4 in common"),
    "blocks of rows and columns": (alone, "nvfp4_2d", "*", "rows have a scale of nvfp4_2d in common"),
}


@pytest.mark.parametrize("case", SHRINKING)
def test_rows_that_others_depend_on_are_shrunk_before(case: str) -> None:
    make, spelled, match, why = SHRINKING[case]
    model, rows = unshrunk(make(), spelled, match), torch.arange(9)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(
        ValueError, match=rf"^(embedding|0)\.weight: lookups would still shrink rows .*, and {why}; "
    ) as no:
        qat.convert(model)
    how = "shrink all first: repeat `layer(torch.arange(9, device='cpu'))`, as each time rounds, until convert takes it"
    assert str(no.value).endswith(how)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    for _ in range(5):
        model.get_submodule("embedding" if make is Tied else "0")(rows)
    expected = outputs(model, rows[:2])
    assert_bit_exact(outputs(qat.convert(model), rows[:2]), expected)


def test_rows_whose_common_scale_stays_are_shrunk() -> None:
    model, rows = unshrunk(alone(), {**INT4, "per": "tensor", "update_every": 0}), torch.arange(9)
    converted = qat.convert(copy.deepcopy(model))
    assert_bit_exact(outputs(converted, rows[:2]), outputs(model, rows[:2]))


def test_rows_are_alone_once_all_that_shared_them_is_converted() -> None:
    model, rows = unshrunk(Tied(), INT4), torch.arange(9)
    with pytest.raises(ValueError, match="other layers share the weight"):
        qat.convert(model.embedding)
    qat.convert(model.head)
    expected = outputs(copy.deepcopy(model), rows[:2])
    assert_bit_exact(outputs(qat.convert(model), rows[:2]), expected)


def test_rows_are_not_alone_while_a_layer_of_floats_outside_of_the_part_has_them() -> None:
    model = unshrunk(Tied(), INT4, "embedding")
    for one in (model, copy.deepcopy(model)):
        with pytest.raises(ValueError, match="other layers share the weight"):
            qat.convert(one.embedding)
    untied = Tied()
    untied.head.weight = nn.Parameter(untied.head.weight.detach().clone())
    assert isinstance(qat.convert(unshrunk(untied, INT4, "embedding").embedding).weight, Tensor)


def test_rows_are_alone_once_nothing_else_holds_them() -> None:
    def untied(model: nn.Module) -> None:
        model.head.weight = nn.Parameter(model.embedding.weight.detach().clone())

    def replaced(model: nn.Module) -> None:
        model.head = nn.Linear(32, 9, bias=False)

    for match in ("*", "embedding"):
        for change in (untied, replaced):
            for part in ("", "embedding"):
                model = unshrunk(Tied(), INT4, match)
                with pytest.raises(ValueError, match="other layers share the weight"):
                    qat.convert(model.get_submodule(part))
                change(model)
                qat.convert(model.get_submodule(part))
                rows = torch.arange(9)
                assert_bit_exact(model.embedding(rows), nn.functional.embedding(rows, model.embedding.weight))
                assert (model.embedding.weight.norm(dim=1) < 3.3).all()


@pytest.mark.parametrize("match", ["*", "embedding"])
def test_rows_are_not_alone_once_they_are_tied_again(match: str) -> None:
    model, held = unshrunk(Tied(), INT4, match), nn.Linear(32, 9, bias=False)
    model.head.weight = nn.Parameter(model.embedding.weight.detach().clone())
    model.head.weight = model.embedding.weight
    untied = Tied()
    untied.head.weight = nn.Parameter(untied.head.weight.detach().clone())
    other = unshrunk(untied, INT4, match)
    held.weight = other.embedding.weight
    other.add_module("new", held)
    for part in (model.embedding, model, other):
        with pytest.raises(ValueError, match="other layers share the weight"):
            qat.convert(part)


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"]
)
def test_who_holds_a_weight_is_known_of_copies_and_keeps_nothing_alive(again: Callable[[Any], Any]) -> None:
    model = again(unshrunk(Tied(), INT4))
    with pytest.raises(ValueError, match="other layers share the weight"):
        qat.convert(model.embedding)
    weight = weakref.ref(model.embedding.weight)
    del model
    assert weight() is None


DRAWN = "{name: drawn, extends: int4_narrow, encode: {rounding: stochastic_a, random_bits: 16}}\n"


def test_a_layer_that_is_refused_leaves_the_ones_before_it_and_the_generator_alone() -> None:
    model = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 32), nn.Embedding(9, 32, max_norm=0.1))
    learned, drawn = {**INT4, "gradient": "lsq"}, {**INT4, "format": sqs.parse_format(DRAWN)}
    weights = {"0": learned, "1": drawn, "2": {**INT4, "per": "tensor"}}
    rules = [{"match": name, "weight": weight} for name, weight in weights.items()]
    lost = qat.prepare(model, qat.QATConfig(rules))[0].weight_quantizer
    lost.is_lost, before = True, torch.get_rng_state()
    with pytest.raises(ValueError, match="lookups would still shrink rows"):
        qat.convert(model)
    assert lost.is_lost  # it will be told of when its scale is used
    assert torch.equal(torch.get_rng_state(), before)


STRICT = "{name: strict, extends: int4_narrow, encode: {nan_input: error}}\n"


@pytest.mark.filterwarnings("ignore:weights were loaded without the scales")  # each time, as nothing was changed
@pytest.mark.parametrize("weight", [{}, {"update_every": 0}, {"update_every": 3}, {"quantizer": "none"}], ids=str)
def test_a_format_that_refuses_nan_leaves_the_model_and_the_generator_alone(weight: dict[str, Any]) -> None:
    model = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 32), nn.MultiheadAttention(32, 2))
    learned, drawn = {**INT4, "gradient": "lsq"}, {**INT4, "format": sqs.parse_format(DRAWN)}
    weights = {"0": learned, "1": drawn, "2": {**INT4, "format": sqs.parse_format(STRICT), **weight}}
    lost = qat.prepare(model, qat.QATConfig([{"match": name, "weight": each} for name, each in weights.items()]))[0]
    with torch.no_grad():
        model[2].in_proj_weight[3, 5] = torch.nan
    lost.weight_quantizer.is_lost, before = True, torch.get_rng_state()
    state = copy.deepcopy(model.state_dict())
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^2\.in_proj_weight: .*\[3, 5\] is NaN, which strict refuses"):
            qat.convert(model)
        assert lost.weight_quantizer.is_lost
        assert torch.equal(torch.get_rng_state(), before)
        assert not list(packed_weights(model))
        assert all(torch.equal(each.nan_to_num(), state[key].nan_to_num()) for key, each in model.state_dict().items())


# --- parts of models ---------------------------------------------------------------------------------------------


def test_what_is_converted_in_part_is_converted_to_the_end(tmp_path: Path) -> None:
    model = prepared(qat.QATConfig(weight=INT4, input=INT8))
    expected = outputs(model)
    first = qat.convert(model.linear).packed_weight
    assert_bit_exact(outputs(model), expected)
    with pytest.raises(ValueError, match="embedding, attention, attention.out_proj, down, up, image, head: not conv"):
        qat.save(model, tmp_path)
    assert not list(tmp_path.iterdir())
    assert_bit_exact(outputs(qat.convert(model)), expected)
    assert model.linear.packed_weight is first
    assert_bit_exact(outputs(qat.load(qat.save(model, tmp_path), net(seed=5))), expected)
    with pytest.raises(ValueError, match="the model is converted already"):
        qat.convert(model)


@pytest.mark.parametrize("again", [copy.deepcopy, _pickled, _saved], ids=lambda again: again.__name__)
def test_a_copy_of_a_model_that_is_converted_in_part_shares_what_the_model_shares(again: Any) -> None:
    model = prepared(qat.QATConfig(weight=INT4))
    qat.convert(model.embedding)
    copied = qat.convert(again(model))
    assert copied.head.packed_weight is copied.embedding.packed_weight
    assert isinstance(model.head.weight, nn.Parameter)


@pytest.mark.parametrize("parts", [("untie", ""), ("untie", "head", "embedding"), ("head", "untie", "embedding")])
def test_weights_that_were_untied_share_no_codes_though_they_are_alike(parts: tuple[str, ...]) -> None:
    """Another state may bring other codes for each of them."""
    model = prepared(qat.QATConfig(weight=INT4))
    for part in parts:
        if part == "untie":
            model.embedding.weight = nn.Parameter(model.embedding.weight.detach().clone())
        else:
            qat.convert(model.get_submodule(part))
    assert_bit_exact(model.head.weight, model.embedding.weight)
    assert model.head.packed_weight is not model.embedding.packed_weight


@pytest.mark.parametrize("is_trained", [False, True])
def test_a_shared_weight_that_was_converted_in_one_layer_is_shared_if_it_is_the_same(is_trained: bool) -> None:
    model = prepared(qat.QATConfig(weight=INT4))
    qat.convert(model.embedding)
    if is_trained:
        with torch.no_grad():
            model.head.weight.neg_()
    expected = outputs(model)
    qat.convert(model.head)
    assert (model.head.packed_weight is model.embedding.packed_weight) is not is_trained
    assert_bit_exact(outputs(qat.convert(model)), expected)


# --- inference mode ----------------------------------------------------------------------------------------------


def test_what_is_converted_in_inference_mode_has_gradients() -> None:
    model = prepared(qat.QATConfig(weight={**INT4, "gradient": "lsq"}, input={**INT8, "gradient": "lsq"}))
    with torch.inference_mode():
        qat.convert(model)
    assert not any(tensor.is_inference() for tensor in model.state_dict().values())
    model(tokens()).sum().backward()
    assert model.norm.weight.grad is not None


# --- what is refused ---------------------------------------------------------------------------------------------


def test_missing_scales_are_all_named_and_nothing_changes() -> None:
    model = qat.prepare(net(), qat.QATConfig([{"match": "head|linear", "input": INT8}], weight=INT4))
    with pytest.raises(RuntimeError) as caught:
        qat.convert(model)
    what = "there is no scale yet; run batches under `with qat.calibrate(model):`, or configure `dynamic: true`"
    assert str(caught.value).splitlines() == [f"linear.input_quantizer: {what}", f"head.input_quantizer: {what}"]
    assert not list(packed_weights(model))
    assert isinstance(model.down.weight, nn.Parameter)


def test_float_modes_are_told() -> None:
    model = prepared(qat.QATConfig(weight=INT4))
    qat.set_mode(model, "float", match="linear")
    with pytest.raises(ValueError, match=r"'linear.weight_quantizer': not in mode \"quantize\"; call qat.set_mode"):
        qat.convert(model)


def test_models_that_are_spread_over_processes_are_gathered_first(monkeypatch: pytest.MonkeyPatch) -> None:
    model = prepared(qat.QATConfig(weight="mxfp4"))
    monkeypatch.setattr("statqat_sim.qat.conversion.DTensor", nn.Parameter)
    with pytest.raises(ValueError, match="'embedding.weight' is spread over processes; load what"):
        qat.convert(model)


def test_codes_that_would_differ_stop_the_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    """The promise is checked where it is made."""
    model = prepared(qat.QATConfig(weight=INT4))
    to_codes = sqs.Codec.encode

    def wrong(self: sqs.Codec, x: Tensor, **options: Any) -> Any:
        return to_codes(self, x, **options) ^ 1

    monkeypatch.setattr(sqs.Codec, "encode", wrong)
    with pytest.raises(RuntimeError, match="embedding.weight: codes of int4 do not give the quantized weight's bits"):
        qat.convert(model)
    assert not list(packed_weights(model))


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_weights_that_hooks_compute_are_refused_before_anything_changes() -> None:
    model = nn.Sequential(nn.Embedding(8, 32, max_norm=0.5), nn.utils.weight_norm(nn.Linear(32, 32)))
    qat.prepare(model, config("int8"))
    expected, before = outputs(model, torch.arange(4)), copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"1\.weight is no parameter: a hook, such as weight_norm's, computes it"):
        qat.convert(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert_bit_exact(outputs(model, torch.arange(4)), expected)


def test_weights_that_parametrizations_compute_are_refused_with_what_removes_them() -> None:
    model, x = nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 32)), torch.ones(2, 64)
    nn.utils.parametrizations.weight_norm(qat.prepare(model, config("int8"))[1])
    y = model(x)
    with pytest.raises(ValueError, match=r"1\.weight is no parameter: a parametrization computes it") as caught:
        qat.convert(model)
    assert str(caught.value).endswith("call torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight') first")
    nn.utils.parametrize.remove_parametrizations(model[1], "weight")
    assert_bit_exact(qat.convert(model)(x), y)


def test_pruned_weights_are_refused_with_what_makes_them_parameters() -> None:
    model, x = nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 32)), torch.ones(2, 64)
    prune.l1_unstructured(qat.prepare(model, config("int8"))[1], "weight", 0.5)
    y = model(x)
    with pytest.raises(ValueError, match=r"1\.weight is no parameter: pruning computes it") as caught:
        qat.convert(model)
    assert str(caught.value).endswith("call torch.nn.utils.prune.remove(layer, 'weight') first")
    prune.remove(model[1], "weight")
    assert_bit_exact(qat.convert(model)(x), y)
