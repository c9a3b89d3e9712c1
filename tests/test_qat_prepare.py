"""What prepare changes and what it leaves alone; everything else that people do with modules."""

from __future__ import annotations

import copy
import io
import pickle
import re
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import statqat_sim as sqs
from statqat_sim import qat
from statqat_sim.testing import assert_bit_exact

INT4 = {"format": "int4_narrow", "quantizer": "minmax"}
CONFIGS: dict[str, dict[str, Any]] = {
    "blocks": {"weight": "mxfp4", "input": "mxfp4"},
    "static": {"weight": INT4, "input": {**INT4, "format": "int8"}},
    "dynamic": {"weight": {**INT4, "update_every": 0}, "input": {**INT4, "dynamic": True}},
    "learned": {"weight": {**INT4, "gradient": "lsq"}, "input": {**INT4, "gradient": "lsq"}},
    "gradients": {"weight": "mxfp4", "grad_output": {"format": "float8_e5m2", "quantizer": "minmax"}},
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),  # torch's compiler warns of torch
    pytest.mark.filterwarnings("ignore:.*\\.grad attribute of a Tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),  # which it does itself
]


def mlp(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 48), nn.GELU(), nn.Linear(48, 16))


def x_of(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def prepared(config: str, *, exact: bool = True) -> nn.Sequential:
    model = qat.prepare(mlp(), qat.QATConfig(**CONFIGS[config], exact=exact))
    with qat.calibrate(model):
        model(x_of(8, 64))
    return model


def run(model: nn.Module, x: Tensor) -> list[Tensor]:
    """The output and all gradients."""
    x = x.clone().requires_grad_()
    y = model(x)
    gradients = torch.autograd.grad(y.square().sum(), [x, *model.parameters()])
    return [y.detach(), *gradients]


# --- in place ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS)
def test_keys_parameters_and_hooks_stay(config: str) -> None:
    model = mlp()
    keys, parameters, children = [*model.state_dict()], [*model.parameters()], [*model.children()]
    calls: list[int] = []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    assert qat.prepare(model, qat.QATConfig(**CONFIGS[config])) is model
    with qat.calibrate(model):
        model(x_of(8, 64))
    assert [*model.state_dict()] == keys
    assert all(a is b for a, b in zip(model.children(), children, strict=True))
    found = [parameter for name, parameter in model.named_parameters() if "quantizer" not in name]
    assert all(a is b for a, b in zip(found, parameters, strict=True))
    assert calls
    assert isinstance(model[0], nn.Linear)


def test_an_optimizer_that_was_there_before_goes_on() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model[0].weight.detach().clone()
    qat.prepare(model, qat.QATConfig(weight="mxfp4", input="mxfp4"))
    model(x_of(8, 64)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    optimizer.step()
    assert not torch.equal(model[0].weight, before)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_float_models_checkpoint_loads_and_goes_back(config: str) -> None:
    model, floats, others = prepared(config), mlp(seed=1), mlp(seed=2)
    floats.load_state_dict(model.state_dict())
    assert_same(floats.state_dict(), mlp().state_dict())
    model.load_state_dict(others.state_dict())
    assert_same(model.state_dict(), mlp(seed=2).state_dict())
    assert_same(weight_scales(model), weight_scales(qat.prepare(others, qat.QATConfig(**CONFIGS[config]))))
    assert len(weight_scales(model)) == (2 if config in ("dynamic", "learned") else 0)  # others are found in forward


def weight_scales(model: nn.Module) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in qat.state_dict(model).items() if key.endswith("weight_quantizer.scale")}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


def test_rules_decide() -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.Conv1d(4, 4, 1), nn.Embedding(4, 64), nn.Linear(64, 64))
    rules = [{"match": "*", "type": ["Linear", "Embedding"], "weight": "mxfp4"}, {"match": "3", "skip": True}]
    qat.prepare(model, qat.QATConfig(rules))
    assert [name for name, _ in qat.layers(model)] == ["0", "2"]
    assert type(model[3]) is nn.Linear


def test_a_rule_that_matches_nothing_changes_nothing() -> None:
    model = mlp()
    rules = [{"match": "*", "weight": "mxfp4"}, {"match": "head", "skip": True}]
    with pytest.raises(ValueError, match="no module that can be quantized is meant by the rule match: 'head'"):
        qat.prepare(model, qat.QATConfig(rules))
    assert type(model[0]) is nn.Linear
    assert not [*qat.quantizers(model)]


CONVOLUTIONS = (
    *(nn.Conv1d(16, 8, 2), nn.Conv2d(16, 8, 2), nn.Conv3d(16, 8, 2)),
    *(nn.ConvTranspose1d(16, 8, 2), nn.ConvTranspose2d(16, 8, 2), nn.ConvTranspose3d(16, 8, 2)),
)


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=lambda layer: type(layer).__name__)
def test_blocks_of_rows_and_columns_are_for_matrices(layer: nn.Module) -> None:
    """Its input channels and its outputs are not the last two axes of a convolution's weight."""
    model = nn.Sequential(nn.Linear(32, 32), layer)
    told = (
        r"^1 \(Conv\w+\): blocks of nvfp4_2d have rows and columns, .* its weight .*allowed: blocks along one axis, or"
    )
    with pytest.raises(ValueError, match=told):
        qat.prepare(model, qat.QATConfig(weight="nvfp4_2d"))
    assert type(model[0]) is nn.Linear
    rules = [{"weight": "nvfp4_2d"}, {"match": "1", "weight": "nvfp4"}]
    assert len([*qat.layers(qat.prepare(model, qat.QATConfig(rules)))]) == 2


def test_blocks_of_rows_and_columns_quantize_matrices() -> None:
    layers = nn.Linear(32, 32), nn.Embedding(20, 32), nn.MultiheadAttention(32, 2)
    model = qat.prepare(nn.ModuleList(layers), qat.QATConfig(weight="nvfp4_2d"))
    for layer, parameter in zip(model, ("weight", "weight", "in_proj_weight"), strict=True):
        weight = getattr(layer, parameter).detach()
        expected = sqs.Codec(sqs.load_format("nvfp4_2d")).fake_quantize(weight)
        assert_bit_exact(layer.quantized_weight(parameter).detach(), expected)  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"^\(model\) \(Conv2d\): blocks of nvfp4_2d .* its input are no matrix"):
        qat.prepare(nn.Conv2d(16, 8, 2), qat.QATConfig(input="nvfp4_2d"))


@pytest.mark.parametrize("exact", [True, False])
def test_scales_of_tokens_are_those_of_a_block_format(exact: bool) -> None:
    token = {"name": "int8_token", "element": "int8", "scales": [{"format": "float32", "block": "channel"}]}
    layer = qat.prepare(nn.Linear(64, 8), qat.QATConfig(input=token, exact=exact))
    x = x_of(5, 3, 64) * torch.logspace(-3, 3, 5)[:, None, None]
    scale = x.abs().amax(-1, keepdim=True) / 127
    codes = (x / scale).round().to(torch.int8)
    assert_bit_exact(layer.quantized_input(x), codes * scale)  # type: ignore[operator]


def test_an_attention_of_several_widths_has_no_kept_scales_of_channels() -> None:
    per = {"format": "int8", "quantizer": "minmax", "per": "channel"}
    told = r"^0 \(MultiheadAttention\): query, key and value have 8, 6, 8 channels, .* allowed: per: tensor, or dynamic"
    for keys in (per, {**per, "gradient": "lsq"}):
        with pytest.raises(ValueError, match=told):
            qat.prepare(nn.Sequential(nn.MultiheadAttention(8, 2, kdim=6)), qat.QATConfig(input=keys))
    narrow = qat.prepare(nn.MultiheadAttention(8, 2, kdim=6), qat.QATConfig(input={**per, "dynamic": True}))
    query, key = x_of(5, 3, 8), x_of(4, 3, 6)
    value = x_of(4, 3, 8)
    assert narrow(query, key, value)[0].shape == (5, 3, 8)
    usual = qat.prepare(nn.MultiheadAttention(8, 2), qat.QATConfig(input=per))
    with qat.calibrate(usual):
        usual(query, value, value)
    assert usual(query, value, value)[0].shape == (5, 3, 8)


def test_a_model_is_prepared_once() -> None:
    model = prepared("blocks")
    with pytest.raises(ValueError, match="the model is prepared already; allowed: a float model"):
        qat.prepare(model, qat.QATConfig(weight="mxfp4"))


class Scaled(nn.Linear):
    """A subclass with a forward of its own."""

    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


class QuantizedScaled(qat.Quantized, Scaled):
    weights = {"weight": qat.Layout(axis=-1, channel_axis=0)}
    layouts = {"input": qat.Layout(axis=-1, channel_axis=-1)}

    def forward(self, input: Tensor) -> Tensor:
        return 2 * F.linear(self.quantized_input(input), self.quantized_weight(), self.bias)


def parametrized() -> nn.Module:
    return nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8))


def test_subclasses_that_a_rule_is_about_are_told_of() -> None:
    model = nn.Sequential(nn.Linear(8, 8), Scaled(8, 8), parametrized(), nn.MultiheadAttention(8, 2))
    told = r"only a subclass of what qat.prepare knows: 1 \(Scaled\), 2 \(ParametrizedLinear\); allowed: qat.register, "
    with pytest.warns(UserWarning, match=told) as caught:
        qat.prepare(model, qat.QATConfig(weight="mxfp4"))
    assert [warning.filename for warning in caught] == [__file__]
    assert [name for name, _ in qat.layers(model)] == ["0", "3", "3.out_proj"]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([{"weight": "mxfp4"}], {"attention", "attention.out_proj"}),
        ([{"weight": "mxfp4"}, {"match": "*.out_proj", "skip": True}], {"attention"}),
        ([{"weight": "mxfp4"}, {"type": "Linear", "skip": True}], {"attention"}),
        ([{"weight": "mxfp4"}, {"match": "attention", "skip": True}], {"attention.out_proj"}),
        ([{"type": "MultiheadAttention", "weight": "mxfp4"}], {"attention", "attention.out_proj"}),
    ],
    ids=["one for all", "skipped by name", "skipped by class", "not skipped", "none of its own"],
)
def test_an_output_projection_that_is_a_layer_goes_by_its_own_rule(
    rules: list[dict[str, Any]], expected: set[str]
) -> None:
    attention = nn.MultiheadAttention(32, 2)
    attention.out_proj = nn.Linear(32, 32)
    model = qat.prepare(nn.ModuleDict({"attention": attention}), qat.QATConfig(rules))
    assert {name for name, _ in qat.layers(model)} == expected


class Wrapped(nn.Module):
    """A layer whose output is changed, as adapters do it."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer, self.weight, self.bias = layer, layer.weight, layer.bias

    def forward(self, input: Tensor) -> Tensor:
        return 2 * self.layer(input)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "change",
    [nn.utils.parametrizations.weight_norm, lambda _: Scaled(32, 32), Wrapped, nn.Sequential, lambda _: nn.Identity()],
    ids=["parametrized", "subclass", "wrapper", "sequence", "nothing"],
)
def test_an_output_projection_of_another_class_is_left_alone(change: Any) -> None:
    """Its forward may be another; that is told, unless it has no weights."""
    attention = nn.MultiheadAttention(32, 2)
    attention.out_proj = change(attention.out_proj)
    before, x = type(attention.out_proj), torch.randn(4, 32)
    model = nn.ModuleDict({"attention": attention})
    y = attention.out_proj(x)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        qat.prepare(model, qat.QATConfig([{"match": "attention", "weight": "mxfp4"}]))
    name = f"attention.out_proj ({before.__name__})"
    told = f"not quantized, as the rule of an attention is about an out_proj of torch's class alone: {name}; allowed: "
    assert [str(each.message).startswith(told) for each in caught] == [True] * (before is not nn.Identity)
    assert {each.filename for each in caught} <= {__file__}
    assert [name for name, _ in qat.layers(model)] == ["attention"]
    assert type(attention.out_proj) is before
    assert torch.equal(attention.out_proj(x), y)
    attention(*[x[:, None]] * 3)


class Projecting(nn.Module):
    """An attention whose out_proj is of a class that torch does not have, around a layer."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(32, 2)
        self.attention.out_proj = Wrapped(inner)  # type: ignore[assignment, arg-type]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([{"weight": "mxfp4"}], ["attention", "attention.out_proj.layer"]),
        ([{"match": "attention", "weight": "mxfp4"}, {"match": "*.out_proj", "skip": True}], ["attention"]),
        ([{"match": "attention", "weight": "mxfp4"}, {"type": "Wrapped", "skip": True}], ["attention"]),
    ],
    ids=["quantized inside", "skipped by name", "skipped by class"],
)
def test_an_output_projection_with_a_rule_is_not_told_of(rules: list[dict[str, Any]], expected: list[str]) -> None:
    model = qat.prepare(Projecting(nn.Linear(32, 32)), qat.QATConfig(rules))  # a warning would be an error here
    assert [name for name, _ in qat.layers(model)] == expected


def test_a_wrapped_projection_is_told_of_where_one_rule_is_for_all() -> None:
    model = Projecting(nn.MultiheadAttention(32, 2).out_proj)
    with pytest.warns(UserWarning, match=r"out_proj of torch's class alone: attention.out_proj \(Wrapped\); allowed"):
        qat.prepare(model, qat.QATConfig(weight="mxfp4"))


def test_a_projection_that_is_a_subclass_is_told_of_once() -> None:
    model = nn.MultiheadAttention(32, 2)
    model.out_proj = Scaled(32, 32)  # type: ignore[assignment]
    with pytest.warns(UserWarning, match=r"only a subclass of what qat.prepare knows: out_proj \(Scaled\)") as caught:
        qat.prepare(model, qat.QATConfig(weight="mxfp4"))
    assert len(caught) == 1


@pytest.mark.parametrize("whole", [False, True], ids=["in part", "in whole"])
def test_rules_need_not_know_what_was_compiled(whole: bool) -> None:
    model = nn.ModuleDict({"body": nn.Linear(32, 32), "head": nn.Sequential(nn.Linear(32, 32))})
    model["head"] = torch.compile(model["head"], backend="eager")  # type: ignore[assignment]
    config = qat.QATConfig([{"match": "head.0", "weight": "mxfp4"}])
    prepared = qat.prepare(torch.compile(model, backend="eager") if whole else model, config)
    before = "_orig_mod." * whole
    assert [name for name, _ in qat.layers(prepared)] == [f"{before}head._orig_mod.0"]
    for match in ("head.*", "head._orig_mod.0", "*_orig_mod.0"):
        qat.set_mode(prepared, "float", match=before + match)
    with pytest.raises(ValueError, match="no quantized layer matches 'body'"):
        qat.set_mode(prepared, "float", match="body")


@pytest.mark.parametrize(
    "rules",
    [
        [{"weight": "mxfp4"}, {"match": "1|2", "skip": True}],
        [{"weight": "mxfp4"}, {"type": ["Scaled", "ParametrizedLinear"], "skip": True}],
        [{"match": "0", "weight": "mxfp4"}],
        [{"type": "Embedding", "weight": "mxfp4"}],
    ],
    ids=["skipped by name", "skipped by class", "not meant by name", "not meant by class"],
)
def test_subclasses_that_no_rule_is_about_are_not(rules: list[dict[str, Any]]) -> None:
    model = nn.Sequential(nn.Linear(8, 8), Scaled(8, 8), parametrized(), nn.Embedding(8, 8))
    qat.prepare(model, qat.QATConfig(rules))  # a warning would be an error here
    assert type(model[1]) is Scaled


def test_many_subclasses_are_told_of_in_few_words() -> None:
    model = nn.Sequential(nn.Linear(8, 8), *(Scaled(8, 8) for _ in range(20)))
    with pytest.warns(UserWarning, match=r"1 \(Scaled\), .*8 \(Scaled\) and 12 more; allowed"):
        qat.prepare(model, qat.QATConfig(weight="mxfp4"))


def test_subclasses_are_touched_where_they_are_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    from statqat_sim.qat import registry

    monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    layer, x = Scaled(64, 8), x_of(2, 64)
    with pytest.raises(ValueError, match="no module that can be quantized"):
        qat.prepare(layer, qat.QATConfig(weight="mxfp4"))
    monkeypatch.undo()
    qat.register(Scaled, QuantizedScaled)
    qat.prepare(layer, qat.QATConfig(weight="mxfp4", input="mxfp4"))
    codec = sqs.Codec(sqs.load_format("mxfp4"))
    weight = codec.fake_quantize(layer.weight.detach())
    assert_bit_exact(layer(x).detach(), 2 * F.linear(codec.fake_quantize(x), weight, layer.bias).detach())
    with pytest.raises(TypeError, match="QuantizedScaled is no subclass of Conv1d; allowed: class QuantizedScaled"):
        qat.register(nn.Conv1d, QuantizedScaled)


def test_tied_weights_stay_tied() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wte, self.lm_head = nn.Embedding(10, 64), nn.Linear(64, 10, bias=False)
            self.lm_head.weight = self.wte.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.lm_head(self.wte(x))

    model = qat.prepare(Tied(), qat.QATConfig(weight="mxfp4"))
    assert model.lm_head.weight is model.wte.weight
    indices = torch.arange(4)
    weight = sqs.Codec(sqs.load_format("mxfp4")).fake_quantize(model.wte.weight.detach()).requires_grad_()
    wanted = F.linear(F.embedding(indices, weight), weight)
    result = model(indices)
    assert_bit_exact(result.detach(), wanted.detach())
    result.square().sum().backward()
    wanted.square().sum().backward()
    assert model.wte.weight.grad is not None
    assert weight.grad is not None
    torch.testing.assert_close(model.wte.weight.grad, weight.grad)


def test_modes_by_layer_and_role() -> None:
    model, x = prepared("blocks"), x_of(8, 64)
    floats = mlp()(x)
    quantized = model(x)
    qat.set_mode(model, "float")
    assert_bit_exact(model(x).detach(), floats.detach())
    qat.set_mode(model, "quantize", match="0|nothing", roles=("weight",))
    modes = [(name, quantizer.mode) for name, quantizer in qat.quantizers(model)]
    assert modes[0] == ("0.weight_quantizer", "quantize")
    assert {mode for _, mode in modes[1:]} == {"float"}
    qat.set_mode(model, "quantize")
    assert_bit_exact(model(x).detach(), quantized.detach())
    for wrong, told in (
        ({"mode": "floats"}, "there is no mode 'floats'; did you mean 'float'"),
        ({"mode": "float", "match": "9"}, "'9'"),
        ({"mode": "float", "roles": ("weight", "output")}, "'output': no layer .* there are: weight, input"),
        ({"mode": "float", "roles": ("weigth",)}, "there is no role 'weigth'; did you mean 'weight'"),
        ({"mode": 3}, r"there is no mode 3 \(allowed: float, quantize\)"),
    ):
        with pytest.raises(ValueError, match=told):
            qat.set_mode(model, **wrong)  # type: ignore[arg-type]
    for mistaken, told in (({"match": 0}, "match is 0; allowed: globs"), ({"roles": "weight"}, "roles is 'weight'")):
        with pytest.raises(TypeError, match=told):
            qat.set_mode(model, "float", **mistaken)  # type: ignore[arg-type]


# --- what people do with modules ---------------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS)
def test_copies_and_pickles_compute_the_same(config: str) -> None:
    model, x = prepared(config), x_of(8, 64)
    wanted = run(model, x)
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(stream, weights_only=False)):
        for one, another in zip(run(other, x), wanted, strict=True):
            assert_bit_exact(one, another)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("config", CONFIGS)
def test_scales_stay_float32_when_models_are_converted(config: str, dtype: torch.dtype) -> None:
    model = prepared(config).to(dtype)
    scales = [quantizer.scale for _, quantizer in qat.quantizers(model) if quantizer.scale is not None]
    assert {scale.dtype for scale in scales} <= {torch.float32}
    y = model(x_of(8, 64).to(dtype))
    y.sum().backward()
    assert y.dtype == dtype
    assert model[0].weight.dtype == model[0].weight.grad.dtype == dtype


@pytest.mark.parametrize("config", CONFIGS)
def test_models_on_meta_are_prepared_and_filled_later(config: str) -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(64, 48), nn.GELU(), nn.Linear(48, 16))
    qat.prepare(model, qat.QATConfig(**CONFIGS[config]))
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"meta"}
    model.to_empty(device="cpu")
    model.load_state_dict(mlp().state_dict())
    if config in ("static", "learned"):  # weights have theirs since they came
        with pytest.raises(RuntimeError, match="has no scale yet; "):
            model(x_of(8, 64))
    with qat.calibrate(model):
        model(x_of(8, 64))
    assert_bit_exact(model(x_of(8, 64)).detach(), prepared(config)(x_of(8, 64)).detach())


@pytest.mark.parametrize("config", CONFIGS)
def test_nothing_depends_on_whether_gradients_are_wanted(config: str) -> None:
    model, x = prepared(config), x_of(8, 64)
    wanted = model(x).detach()
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            assert_bit_exact(model.eval()(x).clone(), wanted)
    model.requires_grad_(False)
    assert not model(x).requires_grad
    assert model(torch.empty(0, 64)).shape == (0, 16)


def test_images_with_channels_last() -> None:
    model = nn.Sequential(nn.Conv2d(32, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    qat.prepare(model, qat.QATConfig(weight="mxfp4", input="mxfp4"))
    x = x_of(2, 32, 8, 8)
    wanted = model(x)
    result = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(result, wanted)


# --- compilers ---------------------------------------------------------------------------------------------------


SLOW = [pytest.param(config, False, marks=pytest.mark.long) for config in CONFIGS if config != "learned"]


@pytest.mark.parametrize(("config", "exact"), [*((config, True) for config in CONFIGS), ("learned", False), *SLOW])
def test_compiled_models_compute_the_same(config: str, exact: bool) -> None:
    """Without a break; the graph that torch captures is run as it is, which takes a fraction of compiling it."""
    model, x = prepared(config, exact=exact), x_of(8, 64)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for one, other in zip(run(compiled, x), run(model, x), strict=True):
        torch.testing.assert_close(one, other)
    assert_bit_exact(compiled(x).detach(), model(x).detach())


def test_the_compilers_own_code_computes_the_same() -> None:
    model = nn.Sequential(nn.Conv1d(64, 32, 1), nn.Flatten(1), nn.Linear(64, 16))
    rules = [{"weight": "mxfp4", "input": "mxfp4"}, {"match": "2", "weight": INT4, "input": {**INT4, "dynamic": True}}]
    qat.prepare(model, qat.QATConfig(rules))
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, dynamic=True)
    for count in (3, 5):
        x = x_of(count, 64, 2)
        for one, other in zip(run(compiled, x), run(model, x), strict=True):
            torch.testing.assert_close(one, other)


def test_compiled_attention_and_transposed_convolutions() -> None:
    torch.compiler.reset()
    layer = nn.MultiheadAttention(64, 4, batch_first=True)
    other = nn.ConvTranspose2d(32, 4, 3, stride=2)
    embedding = nn.Embedding(10, 64)
    for model in (layer, other, embedding):
        qat.prepare(model, qat.QATConfig(weight="mxfp4", output="mxfp4"))
    x, image, indices = x_of(2, 5, 64), x_of(2, 32, 4, 4), torch.arange(6)

    def together() -> tuple[Tensor, ...]:
        return (*layer(x, x, x), other(image), embedding(indices))

    for one, another in zip(torch.compile(together, fullgraph=True, backend="aot_eager")(), together(), strict=True):
        torch.testing.assert_close(one, another)


@pytest.mark.parametrize("exact", [True, False])
def test_exported_models_compute_the_same(exact: bool) -> None:
    model, x = prepared("static", exact=exact), x_of(8, 64)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    stream = io.BytesIO()
    torch.export.save(program, stream)
    stream.seek(0)
    for each in (program, torch.export.load(stream)):
        assert_bit_exact(each.module()(x[:5]).detach(), model(x[:5]).detach())
    assert_bit_exact(model(x), model(x))  # the exporter has left no fakes behind


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("config", ["blocks", "learned"])
def test_gradients_of_single_samples(config: str, exact: bool) -> None:
    model, x = prepared(config, exact=exact), x_of(4, 64)
    parameters = dict(model.named_parameters())

    def loss(parameters: dict[str, Tensor], row: Tensor) -> Tensor:
        return torch.func.functional_call(model, parameters, (row,)).square().sum()

    each = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    wanted = torch.autograd.grad(model(x[2]).square().sum(), [*parameters.values()])
    for (name, gradients), gradient in zip(each.items(), wanted, strict=True):
        torch.testing.assert_close(gradients[2], gradient, rtol=1e-4, atol=1e-4, msg=lambda t, n=name: f"{n}: {t}")
    torch.testing.assert_close(torch.vmap(model)(x), torch.stack([model(row) for row in x]))


@pytest.mark.parametrize("config", [{"weight": "mxfp4"}, "mxfp4", None])
def test_what_is_no_configuration_is_refused(config: Any) -> None:
    with pytest.raises(TypeError, match=r"config is of type \w+; allowed: .*such as QATConfig\(weight='mxfp4'\)"):
        qat.prepare(mlp(), config)


@pytest.mark.parametrize("rules", [[], [{"skip": True}]])
def test_a_configuration_that_quantizes_nothing_is_refused(rules: Any) -> None:
    with pytest.raises(ValueError, match="the configuration quantizes no module; allowed: a rule that does not skip"):
        qat.prepare(mlp(), qat.QATConfig(rules))


def test_tensors_that_no_layer_has_are_refused() -> None:
    told = "quantizes input, which no layer that it is about has; allowed for these: weight, output, grad_output"
    model = nn.Sequential(nn.Embedding(4, 8))
    with pytest.raises(ValueError, match=told):
        qat.prepare(model, qat.QATConfig(input="mxfp4"))
    assert type(model[0]) is nn.Embedding


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.complex64])
def test_weights_that_are_no_plain_floats_are_refused(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model[1].weight = nn.Parameter(model[1].weight.detach().to(dtype), requires_grad=False)
    name = str(dtype).removeprefix("torch.")
    told = f"1 (Linear): weight is {name}; allowed: float16, bfloat16, float32, float64, such as weight.float()"
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        qat.prepare(model, qat.QATConfig(weight=INT4))
    assert all(type(layer) is nn.Linear for layer in model)
    qat.prepare(model, qat.QATConfig(input={**INT4, "dynamic": True}))  # which is not about weights


def test_integers_are_refused() -> None:
    model = qat.prepare(mlp(), qat.QATConfig(input={**INT4, "dynamic": True}))
    with pytest.raises(TypeError, match="x is torch.int64; allowed: floats"):
        model(torch.ones(2, 64, dtype=torch.int64))
