"""Which scales belong to which weights and formats, whatever is loaded in whatever order."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from statqat_sim import qat
from statqat_sim.qat.stale import warn_of_stale_scales
from statqat_sim.testing import assert_bit_exact

INT8 = {"format": "int8", "quantizer": "minmax"}
KEPT: dict[str, dict[str, Any]] = {
    "once": {**INT8, "update_every": 0},
    "scheduled": {**INT8, "update_every": 3},
    "learned": {**INT8, "gradient": "lsq"},
}
CHANNELS = {**INT8, "per": "channel"}

every_kept = pytest.mark.parametrize("kept", KEPT)


def floats(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(16, 12), nn.GELU(), nn.Linear(12, 4))


def prepared(seed: int = 0, **tensors: Any) -> nn.Sequential:
    return qat.prepare(floats(seed), qat.QATConfig(**tensors))


def x_of(count: int = 8) -> Tensor:
    return torch.randn(count, 16, generator=torch.Generator().manual_seed(1))


def weight_scales(model: nn.Module) -> dict[str, Tensor]:
    found = ((name, one) for name, one in qat.quantizers(model) if one.role == "weight")
    return {name: one.scale.detach().clone() for name, one in found if one.scale is not None}


def assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert_bit_exact(tensor, other[name])


def sgd(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def fused_adam(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """It changes weights without torch's count of changes."""
    return torch.optim.AdamW(parameters, lr=0.1, fused=True)


def trained(model: nn.Module, steps: int = 2, optimizer_of: Callable[..., torch.optim.Optimizer] = sgd) -> nn.Module:
    optimizer = optimizer_of(model.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        model(x_of()).square().sum().backward()
        optimizer.step()
        qat.step(model)
    return model


# --- weights that come after their quantizers --------------------------------------------------------------------


@every_kept
def test_weights_that_are_loaded_without_scales_get_them(kept: str) -> None:
    model, other = prepared(0, weight=KEPT[kept]), prepared(1, weight=KEPT[kept])
    model.load_state_dict(floats(1).state_dict())
    assert_same(weight_scales(model), weight_scales(other))
    trained(model)
    model.load_state_dict(floats(1).state_dict())
    assert_same(weight_scales(model), weight_scales(other))


@every_kept
@pytest.mark.parametrize("order", ["weights first", "scales first"])
def test_scales_that_are_loaded_with_weights_stay(kept: str, order: str) -> None:
    """Lightning and torch.distributed.checkpoint load the weights last."""
    source, model = trained(prepared(0, weight=KEPT[kept])), trained(prepared(1, weight=KEPT[kept]))
    weights, scales = copy.deepcopy(source.state_dict()), copy.deepcopy(qat.state_dict(source))
    if order == "scales first":
        qat.load_state_dict(model, scales)
    model.load_state_dict(weights)
    if order == "weights first":
        qat.load_state_dict(model, scales)
    assert_same(weight_scales(model), weight_scales(source))
    assert_bit_exact(model(x_of()).detach(), source(x_of()).detach())


@pytest.mark.parametrize("optimizer_of", [sgd, fused_adam])
def test_scales_that_were_loaded_long_ago_do_not_stay(optimizer_of: Callable[..., torch.optim.Optimizer]) -> None:
    model, other = prepared(0, weight=KEPT["once"]), prepared(1, weight=KEPT["once"])
    qat.load_state_dict(model, qat.state_dict(model))
    trained(model, optimizer_of=optimizer_of)
    model.load_state_dict(floats(1).state_dict())
    assert_same(weight_scales(model), weight_scales(other))


def test_copies_do_not_keep_scales_that_were_loaded_long_ago() -> None:
    model, other = prepared(0, weight=KEPT["once"]), prepared(1, weight=KEPT["once"])
    qat.load_state_dict(model, qat.state_dict(model))
    model = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.data.add_(1)
    model.load_state_dict(floats(1).state_dict())
    assert_same(weight_scales(model), weight_scales(other))


def take_state(model: nn.Module, source: nn.Module, order: str, *, assign: bool) -> None:
    """Load the source's weights and scales, in either order."""
    weights, scales = copy.deepcopy(source.state_dict()), qat.state_dict(source)
    if order == "scales first":
        qat.load_state_dict(model, scales)
    model.load_state_dict(weights, assign=assign)
    if order == "weights first":
        qat.load_state_dict(model, scales)


class Tied(nn.Module):
    """An embedding and a head that share their weight."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding, self.head = nn.Embedding(16, 8), nn.Linear(8, 16, bias=False)
        self.head.weight = self.embedding.weight


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("order", ["weights first", "scales first"])
@pytest.mark.parametrize("kept", ["once", "learned"])
def test_scales_of_shared_weights_stay(kept: str, order: str, assign: bool) -> None:
    source, model = (qat.prepare(Tied(seed), qat.QATConfig(weight=KEPT[kept])) for seed in (0, 1))
    for _, one in qat.quantizers(source):
        one.keep(1.5 * one.scale.detach())
    take_state(model, source, order, assign=assign)
    assert_same(weight_scales(model), weight_scales(source))


class Twice(nn.Module):
    """One layer under two names."""

    def __init__(self, seed: int, order: str = "ab") -> None:
        super().__init__()
        torch.manual_seed(seed)
        layer = nn.Linear(16, 16)
        for name in order:
            setattr(self, name, layer)


@pytest.mark.parametrize("own", ["ab", "ba"])
@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("order", ["weights first", "scales first"])
@every_kept
def test_scales_of_shared_modules_stay(kept: str, order: str, assign: bool, own: str) -> None:
    config = qat.QATConfig(weight=KEPT[kept])
    source, model = (qat.prepare(made, config) for made in (Twice(0), Twice(1, own)))
    quantizer = source.a.weight_quantizer
    quantizer.keep(1.5 * quantizer.scale.detach())
    take_state(model, source, order, assign=assign)
    assert_bit_exact(model.a.weight_quantizer.scale.detach(), quantizer.scale.detach())
    with torch.no_grad():
        model.a.weight.neg_()  # so that scales are those of weights that were
    model.load_state_dict(Twice(2).state_dict())
    wanted = qat.prepare(Twice(2), config).a.weight_quantizer.scale
    assert_bit_exact(model.a.weight_quantizer.scale.detach(), wanted.detach())


def test_a_state_of_two_modules_is_none_of_one() -> None:
    config, two = qat.QATConfig(weight=KEPT["once"]), Twice(0)
    two.b = nn.Linear(16, 16)
    model = qat.prepare(Twice(1), config)
    before = weight_scales(model)
    with pytest.raises(KeyError, match=r"b.weight_quantizer.steps: in the model it is a.weight_quantizer.steps; the s"):
        qat.load_state_dict(model, qat.state_dict(qat.prepare(two, config)))
    assert_same(weight_scales(model), before)


def test_a_weight_that_comes_by_one_name_alone_gives_all_that_share_it_scales() -> None:
    for name in ("embedding.weight", "head.weight"):
        model, other = (qat.prepare(Tied(seed), qat.QATConfig(weight=KEPT["once"])) for seed in (0, 1))
        for _ in range(2):  # a second time as the first
            for _, one in qat.quantizers(model):
                one.keep(2 * one.scale)
            model.load_state_dict({name: other.embedding.weight.detach()}, strict=False)
            assert_same(weight_scales(model), weight_scales(other))


def test_scales_of_weights_that_are_shared_no_more_stay_where_another_comes() -> None:
    model = qat.prepare(Tied(0), qat.QATConfig(weight=KEPT["once"]))
    model.head.weight = nn.Parameter(model.head.weight.detach().clone())
    before = weight_scales(model)["head.weight_quantizer"]
    model.load_state_dict({"embedding.weight": 3 * model.embedding.weight.detach()}, strict=False)
    assert_bit_exact(weight_scales(model)["head.weight_quantizer"], before)


def test_scales_of_weights_that_are_shared_no_more_stay_where_one_is_replaced() -> None:
    """A state's tensor becomes the parameter of the layer that it names, and of no other."""
    model, other = (qat.prepare(Tied(seed), qat.QATConfig(weight=KEPT["once"])) for seed in (0, 1))
    before = weight_scales(model)["head.weight_quantizer"]
    model.load_state_dict({"embedding.weight": other.embedding.weight.detach()}, strict=False, assign=True)
    after = weight_scales(model)
    assert_bit_exact(after["head.weight_quantizer"], before)
    assert_bit_exact(after["embedding.weight_quantizer"], weight_scales(other)["embedding.weight_quantizer"])


class Outer(nn.Module):
    """A module of floats that holds the weight of a layer, and takes it from a state before the layer does."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        inner = floats(seed)
        self.weight, self.inner = inner[0].weight, inner


@pytest.mark.parametrize("assign", [False, True])
@every_kept
def test_scales_stay_where_a_module_of_floats_takes_the_weight_first(kept: str, assign: bool) -> None:
    config = qat.QATConfig(weight=KEPT[kept])
    source, model = (qat.prepare(Outer(seed), config) for seed in (0, 1))
    for _, one in qat.quantizers(source):
        one.keep(1.5 * one.scale.detach())
    qat.load_state_dict(model, qat.state_dict(source))
    model.load_state_dict(copy.deepcopy(source.state_dict()), assign=assign)
    assert_same(weight_scales(model), weight_scales(source))
    model.load_state_dict(Outer(2).state_dict())
    assert_same(weight_scales(model), weight_scales(qat.prepare(Outer(2), config)))


@every_kept
def test_scales_stay_where_torch_refuses_the_weight(kept: str) -> None:
    model = prepared(weight=KEPT[kept])
    for _, one in qat.quantizers(model):
        one.keep(1.5 * one.scale.detach())
    before = weight_scales(model)
    with pytest.raises(RuntimeError, match=r"size mismatch for 0\.weight"):
        model.load_state_dict({"0.weight": torch.ones(3, 16)}, strict=False)
    for none in (None, [1.0]):
        with pytest.raises(RuntimeError, match=r'parameter named "0\.weight", expected torch.Tensor'):
            model.load_state_dict({"0.weight": none}, strict=False)
    assert_same(weight_scales(model), before)


def test_a_module_may_be_called_as_a_part_of_the_state_is() -> None:
    model = nn.Module()
    model.net = nn.Module()
    model.net.statistics = nn.Linear(8, 8)
    qat.prepare(model, qat.QATConfig(weight=KEPT["learned"]))
    state = {key: 2 * each if key.endswith("scale") else each for key, each in qat.state_dict(model).items()}
    qat.load_state_dict(model, state)
    assert_same(qat.state_dict(model), state)


def test_only_weights_that_came_get_other_scales() -> None:
    model = trained(prepared(0, weight=KEPT["learned"]))
    before, other = weight_scales(model), weight_scales(prepared(1, weight=KEPT["learned"]))
    part = {name: tensor for name, tensor in floats(1).state_dict().items() if name != "2.weight"}
    model.load_state_dict(part, strict=False)
    after = weight_scales(model)
    assert_bit_exact(after["0.weight_quantizer"], other["0.weight_quantizer"])
    assert_bit_exact(after["2.weight_quantizer"], before["2.weight_quantizer"])


def test_weights_that_replace_parameters_get_scales() -> None:
    with torch.device("meta"):
        model = qat.prepare(floats(), qat.QATConfig(weight=KEPT["once"]))
    model.load_state_dict(floats(1).state_dict(), assign=True)
    assert_bit_exact(model(x_of()).detach(), prepared(1, weight=KEPT["once"])(x_of()).detach())


@every_kept
def test_weights_that_are_copied_by_hand(kept: str) -> None:
    model, other = prepared(0, weight=KEPT[kept]), prepared(1, weight=KEPT[kept])
    held = [one.scale for _, one in qat.quantizers(model)]
    with torch.no_grad():
        for parameter, value in zip((model[0].weight, model[2].weight), (other[0], other[2]), strict=True):
            parameter.copy_(value.weight)
    qat.choose_weight_scales(model)
    assert_same(weight_scales(model), weight_scales(other))
    assert all(one.scale is scale for (_, one), scale in zip(qat.quantizers(model), held, strict=True))


def test_converted_weights_are_loaded_as_they_are() -> None:
    model, other = (qat.convert(prepared(seed, weight=KEPT["once"])) for seed in (0, 1))
    model.load_state_dict(other.state_dict())
    assert_bit_exact(model(x_of()).detach(), other(x_of()).detach())


def test_scales_that_were_on_meta_are_no_scales() -> None:
    model = prepared(weight=KEPT["once"], input=INT8)
    with qat.calibrate(model):
        model(x_of())
    model.to("meta").to_empty(device="cpu")
    model.load_state_dict(floats(1).state_dict())
    with pytest.raises(RuntimeError, match="0, input: int8 has no scale yet"):
        model(x_of())


# --- scales that would be lost in silence ------------------------------------------------------------------------

LOST = "weights were loaded without the scales that were learned with them, and others were chosen in their place"


def test_learned_scales_that_a_models_own_state_lacks_are_told_once_when_they_are_used() -> None:
    model = trained(prepared(weight=KEPT["learned"]))
    model.load_state_dict(copy.deepcopy(model.state_dict()))
    with pytest.warns(UserWarning, match=LOST) as told:
        model(x_of())
    assert {str(each.message) for each in told} == {f"{LOST}; load what qat.state_dict gave, too"}
    model(x_of())


def test_learned_scales_that_another_models_own_state_lacks_are_told_of(tmp_path: Path) -> None:
    source, model = trained(prepared(weight=KEPT["learned"])), prepared(seed=1, weight=KEPT["learned"])
    torch.save(source.state_dict(), tmp_path / "model.pt")
    assert source.state_dict().keys() == floats(0).state_dict().keys()
    model.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    with pytest.warns(UserWarning, match=LOST):
        model(x_of())
    model.load_state_dict(source.state_dict())
    qat.load_state_dict(model, qat.state_dict(source))
    assert_bit_exact(model(x_of()), source(x_of()))
    other = prepared(seed=1, weight=KEPT["learned"])
    qat.load_state_dict(other, qat.state_dict(source))
    other.load_state_dict(source.state_dict())
    assert_bit_exact(other(x_of()), source(x_of()))


def test_states_without_trained_scales_lose_none() -> None:
    for source in (floats(2), prepared(seed=2, weight=KEPT["learned"]), prepared(seed=2, weight=KEPT["once"])):
        model = prepared(weight=KEPT["learned"])
        model.load_state_dict(source.state_dict())
        model(x_of())


def test_learned_scales_that_come_after_their_weights_are_not_lost() -> None:
    model = trained(prepared(weight=KEPT["learned"]))
    weights, scales, y = copy.deepcopy(model.state_dict()), qat.state_dict(model), model(x_of()).detach()
    trained(model)
    model.load_state_dict(weights)
    qat.load_state_dict(model, scales)
    assert_bit_exact(model(x_of()).detach(), y)


def test_learned_scales_that_are_chosen_anew_on_purpose_are_not_lost() -> None:
    model = trained(prepared(weight=KEPT["learned"]))
    model.load_state_dict(floats(1).state_dict())
    qat.choose_weight_scales(model)
    model(x_of())


def test_scales_that_nobody_trained_are_not_lost() -> None:
    """Of another model that was only prepared: they came with its weights, and go with them."""
    model, other = prepared(weight=KEPT["learned"]), prepared(seed=1, weight=KEPT["learned"])
    qat.load_state_dict(model, qat.state_dict(other))
    model.load_state_dict(other.state_dict())
    model.load_state_dict(floats(2).state_dict())
    model(x_of())


def test_scales_that_came_with_their_weights_are_lost_if_they_were_trained() -> None:
    model, other = prepared(weight=KEPT["learned"]), trained(prepared(seed=1, weight=KEPT["learned"]))
    qat.load_state_dict(model, qat.state_dict(other))
    model.load_state_dict(other.state_dict())
    model.load_state_dict(floats(2).state_dict())
    with pytest.warns(UserWarning, match=LOST):
        model(x_of())


STALE = "0.weight_quantizer, 2.weight_quantizer: the scales are those of other weights, and qat.step was never called"


def test_a_schedule_without_steps_is_told_where_its_scales_are_used() -> None:
    for use in (qat.summary, qat.convert):
        model = prepared(weight=KEPT["scheduled"])
        optimizer = fused_adam(model.parameters())
        model(x_of()).square().sum().backward()
        optimizer.step()
        with pytest.warns(UserWarning, match=STALE):
            use(model)


def test_each_scale_of_a_stale_weight_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tried, quantized = prepared(weight=KEPT["scheduled"]), [], qat.TensorQuantizer.quantized
    with torch.no_grad():
        model[0].weight.add_(1)

    def counted(self: qat.TensorQuantizer, x: Tensor, scale: Tensor | None, seed: Tensor | None) -> Tensor:
        tried.append(scale)
        return quantized(self, x, scale, seed)

    monkeypatch.setattr(qat.TensorQuantizer, "quantized", counted)
    with pytest.warns(UserWarning, match="0.weight_quantizer: the scales are those of other weights"):
        warn_of_stale_scales(model)
    assert len(tried) == 2


@pytest.mark.parametrize("kept", ["once", "scheduled"])
def test_a_schedule_that_is_followed_is_not_told(kept: str) -> None:
    untouched, model, averaged = prepared(weight=KEPT[kept]), prepared(weight=KEPT[kept]), prepared(weight=KEPT[kept])
    average = AveragedModel(averaged)
    for _ in range(3):
        average.update_parameters(trained(averaged))
    by_hand = prepared(weight=KEPT[kept])
    with torch.no_grad():
        by_hand[0].weight.neg_().add_(1)
    qat.choose_weight_scales(by_hand)
    cast = prepared(weight=KEPT[kept]).to(torch.bfloat16)
    for each in (untouched, trained(model), copy.deepcopy(model), average.module, by_hand, cast):
        qat.summary(each)
        qat.convert(each)


# --- models that are wrapped -------------------------------------------------------------------------------------

WRAPPED: dict[str, Callable[[Any], Any]] = {
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "data parallel": nn.DataParallel,
}


@pytest.mark.parametrize("wrapped", WRAPPED)
@pytest.mark.parametrize("is_source", [True, False])
def test_states_do_not_know_of_torchs_wrappers(wrapped: str, is_source: bool) -> None:
    source, model = trained(prepared(weight=KEPT["learned"])), prepared(1, weight=KEPT["learned"])
    wrap = WRAPPED[wrapped]
    state = qat.state_dict(wrap(source) if is_source else source)
    assert_same(state, qat.state_dict(source))
    qat.load_state_dict(model if is_source else wrap(model), state)
    assert_same(weight_scales(model), weight_scales(source))


# --- formats -----------------------------------------------------------------------------------------------------


def test_a_state_of_another_format_is_refused() -> None:
    state = qat.state_dict(prepared(weight=KEPT["once"], input="mxfp4"))
    model = prepared(weight={**KEPT["once"], "format": "int4"}, input="nvfp4")
    before = weight_scales(model)
    with pytest.raises(ValueError, match="0.weight_quantizer") as caught:
        qat.load_state_dict(model, state)
    told = "the state is of the format int8; the model has int4"
    assert str(caught.value).splitlines()[0] == f"0.weight_quantizer: {told}"
    assert "0.input_quantizer: the state is of the format mxfp4; the model has nvfp4" in str(caught.value)
    assert_same(weight_scales(model), before)


def test_a_format_of_the_same_name_is_another_one(tmp_path: Path) -> None:
    text = "name: mine\nelement: {{kind: int, bits: {bits}}}\n"
    models = []
    for bits in (4, 5):
        (tmp_path / "mine.yaml").write_text(text.format(bits=bits))
        models.append(prepared(weight={"format": tmp_path / "mine.yaml", "quantizer": "minmax"}))
    with pytest.raises(ValueError, match=r"of the format mine \(\w{12}\); the model has mine \(\w{12}\)"):
        qat.load_state_dict(models[0], qat.state_dict(models[1]))


def test_a_state_without_formats_is_taken_with_a_warning() -> None:
    """Of a version that did not write them."""
    model = trained(prepared(weight=KEPT["learned"]))
    old = {key: tensor for key, tensor in qat.state_dict(model).items() if not key.endswith(".format")}
    other = prepared(weight=KEPT["learned"])
    with pytest.warns(UserWarning, match="the state does not say which formats it is of; its scales are taken"):
        qat.load_state_dict(other, old)
    assert_same(weight_scales(other), weight_scales(model))


def test_a_damaged_format_is_refused() -> None:
    model = prepared(weight=KEPT["once"])
    state = {**qat.state_dict(model), "0.weight_quantizer.format": torch.zeros(3)}
    with pytest.raises(ValueError, match="0.weight_quantizer: format is no hash and name; allowed: what state_dict"):
        qat.load_state_dict(model, state)


def test_states_go_through_files(tmp_path: Path) -> None:
    """torch's with tensors alone, safetensors, torch.distributed.checkpoint."""
    tensors = {"weight": KEPT["learned"], "input": {**CHANNELS, "gradient": "lsq"}}
    model = prepared(**tensors)
    with qat.calibrate(model):
        model(x_of())
    wanted, stream = qat.state_dict(model), io.BytesIO()
    torch.save(wanted, stream)
    stream.seek(0)
    save_file(wanted, tmp_path / "state.safetensors")
    found = [torch.load(stream, weights_only=True), load_file(tmp_path / "state.safetensors")]
    for state in found:
        other = prepared(1, **tensors)
        qat.load_state_dict(other, state)
        assert_same(qat.state_dict(other), wanted)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")  # so it is meant
def test_distributed_checkpoints_refuse_other_formats(tmp_path: Path) -> None:
    source = prepared(weight=KEPT["once"])
    dcp.save({"qat": qat.Checkpointed(source)}, checkpoint_id=tmp_path)
    other = prepared(1, weight=KEPT["once"])
    dcp.load({"qat": qat.Checkpointed(other)}, checkpoint_id=tmp_path)
    assert_same(weight_scales(other), weight_scales(source))
    wrong = prepared(weight={**KEPT["once"], "format": "int4"})
    with pytest.raises(ValueError, match="0.weight_quantizer: the state is of the format int8; the model has int4"):
        qat.Checkpointed(wrong).load_state_dict(qat.Checkpointed(source).state_dict())


# --- channels ----------------------------------------------------------------------------------------------------

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...], dict[str, tuple[int, ...]]]] = {
    "linear": (nn.Linear(6, 4), (2, 6), {"input": (6,), "output": (4,), "grad_output": (4,)}),
    "conv1d": (nn.Conv1d(6, 4, 3), (2, 6, 5), {"input": (6, 1), "output": (4, 1), "grad_output": (4, 1)}),
    "conv2d": (nn.Conv2d(6, 4, 1), (2, 6, 5, 5), {"input": (6, 1, 1), "output": (4, 1, 1)}),
    "transposed": (nn.ConvTranspose1d(6, 4, 3), (2, 6, 5), {"input": (6, 1), "output": (4, 1)}),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_there_is_room_for_the_scales_of_channels(layer: str) -> None:
    module, shape, wanted = LAYERS[layer]
    roles = {role: {**CHANNELS, "dynamic": False} for role in wanted}
    model = qat.prepare(copy.deepcopy(module), qat.QATConfig(**roles))
    found = {one.role: one.scale for _, one in qat.quantizers(model)}
    assert {role: tuple(scale.shape) for role, scale in found.items()} == wanted
    with qat.calibrate(model):
        model(torch.randn(shape)).sum().backward()
    assert all(one.scale is found[one.role] and one.is_ready for _, one in qat.quantizers(model))
    state = qat.state_dict(model)
    wrong = {key: torch.ones(3, *tensor.shape[1:]) if "scale" in key else tensor for key, tensor in state.items()}
    with pytest.raises(ValueError, match=r"input_quantizer: scale has shape \(3,.*; allowed: \(6,"):
        qat.load_state_dict(model, wrong)


def test_an_optimizer_made_before_calibration_learns_scales() -> None:
    lsq = {**CHANNELS, "gradient": "lsq"}
    model = prepared(input=lsq)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with qat.calibrate(model):
        model(x_of())
    before = model[0].input_quantizer.scale.detach().clone()
    model(x_of()).square().sum().backward()
    optimizer.step()
    assert not torch.equal(model[0].input_quantizer.scale, before)


class Features(nn.Linear):
    """A class of a user's, of whose channels nothing is known before data come."""


class QuantizedFeatures(qat.Quantized, Features):
    layouts = {"input": qat.Layout(axis=-1, channel_axis=-1)}

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(self.quantized_input(input), self.weight, self.bias)


def test_parameters_of_unknown_shape_stay_the_same_objects() -> None:
    qat.register(Features, QuantizedFeatures)
    model = qat.prepare(nn.Sequential(Features(6, 4)), qat.QATConfig(input={**CHANNELS, "gradient": "lsq"}))
    held = model[0].input_quantizer.scale
    assert held.shape == (0,)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    with qat.calibrate(model):
        model(torch.randn(5, 6))
    assert model[0].input_quantizer.scale is held
    before = held.detach().clone()
    model(torch.randn(5, 6)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(held, before)
    assert held.shape == (6,)


def test_a_state_of_an_earlier_version_has_no_formats() -> None:
    """Nor has it anything of quantizers that keep no scale."""

    def converted() -> nn.Module:
        return qat.convert(qat.prepare(nn.Sequential(nn.Linear(32, 32)), qat.QATConfig(weight="mxfp4", input="mxfp4")))

    old = {name: tensor for name, tensor in converted().state_dict().items() if not name.endswith(".format")}
    model = converted()
    with pytest.warns(UserWarning, match="does not say which formats it is of"):
        assert model.load_state_dict(old).missing_keys == []
