"""Scales of activations, of weights by schedule, and the state that holds them."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import statqat_sim as sqs
from statqat_sim import qat
from statqat_sim.testing import assert_bit_exact

INT8 = {"format": "int8", "quantizer": "iterative"}
FORMAT = sqs.load_format("int8")


def prepared(**tensors: Any) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 48), nn.GELU(), nn.Linear(48, 16))
    return qat.prepare(model, qat.QATConfig(**tensors))


def batch(seed: int, count: int = 8) -> Tensor:
    return torch.randn(count, 64, generator=torch.Generator().manual_seed(seed))


def calibrated(model: nn.Module, *batches: Tensor) -> nn.Module:
    with qat.calibrate(model), torch.no_grad():
        for x in batches:
            model(x)
    return model


def scales(model: nn.Module) -> dict[str, Tensor]:
    return {name: one.scale.detach().clone() for name, one in qat.quantizers(model) if one.scale is not None}


def test_scales_are_chosen_for_all_that_came_by() -> None:
    model, x = prepared(input=INT8), [batch(seed) for seed in range(3)]
    calibrated(model, *x)
    entered = torch.cat(x)
    wanted = sqs.Iterative().choose(sqs.Histogram.of(entered), FORMAT).value
    assert_bit_exact(scales(model)["0.input_quantizer"], torch.tensor(wanted))
    inner = model[1](nn.functional.linear(entered, model[0].weight, model[0].bias)).detach()
    statistics = model[2].input_quantizer.statistics
    assert statistics.elements == inner.numel()
    assert statistics.high[0] == pytest.approx(inner.max().item(), rel=1e-5)


def test_the_order_of_batches_does_not_matter() -> None:
    x = [batch(seed) for seed in range(4)]
    one, other = prepared(input=INT8), prepared(input=INT8)
    calibrated(one, *x)
    calibrated(other, *reversed(x))
    assert scales(one) == scales(other)
    assert one[0].input_quantizer.statistics == other[0].input_quantizer.statistics


def test_channels_of_inputs() -> None:
    model, x = prepared(input={**INT8, "quantizer": "minmax", "per": "channel"}), batch(0)
    calibrated(model, x)
    scale = scales(model)["0.input_quantizer"]
    assert scale.shape == (64,)
    wanted = sqs.MinMax().fit(x, FORMAT, channel_axis=1).value.reshape(-1)
    torch.testing.assert_close(scale, torch.tensor(wanted))
    assert model(batch(1).reshape(2, 4, 64)).shape == (2, 4, 16)


def test_floats_pass_meanwhile() -> None:
    model, floats = prepared(weight="mxfp4", input=INT8), nn.Sequential(nn.Linear(64, 48), nn.GELU(), nn.Linear(48, 16))
    floats.load_state_dict(model.state_dict())
    with qat.calibrate(model):
        assert_bit_exact(model(batch(0)).detach(), floats(batch(0)).detach())
    assert not torch.equal(model(batch(0)), floats(batch(0)))


def test_what_was_never_run_says_what_to_do() -> None:
    model = prepared(input=INT8)
    told = r"0, input: int8 has no scale yet; run batches under `with qat.calibrate\(model\):`, or configure `dynamic"
    with pytest.raises(RuntimeError, match=told):
        model(batch(0))
    calibrated(model[0], batch(0))
    with pytest.raises(RuntimeError, match="2, input: int8 has no scale yet"):
        model(batch(0))


def test_an_error_on_the_way_leaves_everything_as_it_was() -> None:
    model = calibrated(prepared(input=INT8), batch(0))
    before, seen = scales(model), model[2].input_quantizer.statistics

    def broken_off() -> None:
        with qat.calibrate(model):
            model(10 * batch(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken_off()
    assert {name: one.mode for name, one in qat.quantizers(model)} == dict.fromkeys(before, "quantize")
    assert model[2].input_quantizer.statistics == seen
    assert scales(model) == before


def test_calibrating_again_begins_anew_and_keeps_modes() -> None:
    model = calibrated(prepared(input=INT8), 100 * batch(0))
    qat.set_mode(model, "float", match="0")
    calibrated(model, batch(0))
    once = calibrated(prepared(input=INT8), batch(0))
    assert scales(model) == scales(once)
    assert model[0].input_quantizer.mode == "float"


def test_a_float_model_cannot_be_calibrated() -> None:
    with pytest.raises(ValueError, match="the model has no quantized layer"), qat.calibrate(nn.Linear(2, 2)):
        pass


def test_a_converted_model_cannot_be_calibrated() -> None:
    """Its scales of activations are kept as they are."""
    model = qat.convert(calibrated(prepared(input=INT8), batch(0)))
    before = scales(model)
    with pytest.raises(ValueError, match="the model is converted, and its scales are kept; allowed: what qat.prepare"):
        calibrated(model, 10 * batch(0))
    assert scales(model) == before


# --- weights by schedule -----------------------------------------------------------------------------------------


def test_weights_follow_their_schedule() -> None:
    rule = {"format": "int4_narrow", "quantizer": "minmax"}
    rules = [{"match": str(place), "weight": {**rule, "update_every": n}} for place, n in ((0, 0), (1, 1), (2, 3))]
    model = qat.prepare(nn.Sequential(*(nn.Linear(8, 8) for _ in range(3))), qat.QATConfig(rules))
    first = [layer.weight_quantizer.scale_for(layer.weight).clone() for layer in model]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)

    def grown() -> list[bool]:
        pairs = zip(model, first, strict=True)
        return [torch.equal(layer.weight_quantizer.scale_for(layer.weight), 2 * before) for layer, before in pairs]

    assert grown() == [False, True, False]
    for due in (False, False, True):
        place = model[2].weight_quantizer.scale.data_ptr()
        qat.step(model)
        assert grown() == [False, True, due]
        assert model[2].weight_quantizer.scale.data_ptr() == place  # as captured graphs want it


# --- state -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gradient", ["clipped", "lsq"])
def test_state_goes_from_one_model_to_another(gradient: str) -> None:
    tensors = {"weight": {**INT8, "update_every": 0, "gradient": gradient}, "input": {**INT8, "gradient": gradient}}
    model, other = calibrated(prepared(**tensors), batch(0)), prepared(**tensors)
    qat.step(model)
    state = qat.state_dict(model)
    assert all(isinstance(tensor, Tensor) for tensor in state.values())
    qat.load_state_dict(other, copy.deepcopy(state))
    assert_bit_exact(other(batch(1)).detach(), model(batch(1)).detach())
    assert qat.state_dict(other).keys() == state.keys()
    assert other[0].input_quantizer.statistics == model[0].input_quantizer.statistics
    assert other[0].input_quantizer.steps == 1


def test_a_state_of_another_model_is_refused_by_name() -> None:
    model = prepared(input=INT8)
    state = qat.state_dict(model)
    wrong = {name.replace("0.input_quantizer", "0.input_quantiser"): tensor for name, tensor in state.items()}
    with pytest.raises(KeyError, match=r"0.input_quantiser.steps: .* did you mean '0.input_quantizer'"):
        qat.load_state_dict(model, wrong)
    del state["2.input_quantizer.steps"]
    with pytest.raises(KeyError, match="2.input_quantizer: the state has nothing of this quantizer"):
        qat.load_state_dict(model, state)
    state["2.input_quantizer.steps"], state["2.input_quantizer.scale"] = torch.tensor(0), torch.ones(3)
    with pytest.raises(ValueError, match=r"2.input_quantizer: scale has shape \(3,\); allowed: \(1,\)"):
        qat.load_state_dict(model, state)


def test_what_never_came_by_has_no_scale() -> None:
    """An expert that no token was sent to."""
    model = calibrated(prepared(input=INT8), batch(0, count=0))
    with pytest.raises(RuntimeError, match="0, input: int8 has no scale yet"):
        model(batch(1))


@pytest.mark.parametrize("nothing", [math.nan, math.inf, -math.inf])
def test_data_without_a_number_are_refused_by_layer(nothing: float) -> None:
    model = calibrated(prepared(input=INT8), batch(0))
    before, state = scales(model), qat.state_dict(model)
    told = "0, input: all that calibration saw is NaN or infinite; allowed: batches with numbers\n2, input: all that"
    with pytest.raises(ValueError, match=told):
        calibrated(model, torch.full((8, 64), nothing))
    assert scales(model) == before
    assert qat.state_dict(model).keys() == state.keys()
    calibrated(model, torch.full((8, 64), nothing), batch(0))
    assert scales(model)["0.input_quantizer"] == before["0.input_quantizer"]


def test_channels_without_a_number_are_named() -> None:
    model, x = prepared(input={**INT8, "quantizer": "minmax", "per": "channel"}), batch(0)
    x[:, 3] = x[0, 5] = math.nan
    with pytest.raises(ValueError, match="^0, input: all of channels 3 that calibration saw is NaN or infinite"):
        calibrated(model[0], x)
    calibrated(model[0], x, batch(1))


def test_activation_checkpointing_counts_nothing_twice() -> None:
    model, x = prepared(input=INT8, grad_output={**INT8, "dynamic": False}), batch(0)
    with qat.calibrate(model):
        checkpoint(model, x, use_reentrant=False).sum().backward()
    counts = [int(one.statistics.counts.sum()) for _, one in qat.quantizers(model) if one.statistics]
    assert counts == [8 * 64, 8 * 48, 8 * 48, 8 * 16]


def test_gradients_that_come_later_are_not_counted() -> None:
    model = prepared(grad_output={**INT8, "dynamic": False})
    with qat.calibrate(model):
        loss = model(batch(0)).sum()
        loss.backward(retain_graph=True)
    before = qat.state_dict(model)
    loss.backward()
    for key, tensor in qat.state_dict(model).items():
        assert_bit_exact(tensor, before[key])


def test_gradients_without_a_backward_pass_say_what_is_missing() -> None:
    model = calibrated(prepared(grad_output={**INT8, "dynamic": False}), batch(0))
    with pytest.raises(RuntimeError, match="0, grad_output: int8 has no scale yet; run batches, backward too, under"):
        model(batch(0))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler warns of torch
def test_compiled_models_are_calibrated() -> None:
    model, x = prepared(input=INT8), batch(0)
    compiled = torch.compile(model, backend="eager")
    with qat.calibrate(compiled):
        compiled(x)
    assert_bit_exact(compiled(x), calibrated(prepared(input=INT8), x)(x))


def test_a_state_from_before_calibration_takes_scales_away() -> None:
    model = prepared(input=INT8)
    state = qat.state_dict(model)
    qat.load_state_dict(calibrated(model, batch(0)), state)
    with pytest.raises(RuntimeError, match="0, input: int8 has no scale yet"):
        model(batch(0))


def test_damaged_states_are_refused_and_change_nothing() -> None:
    model = calibrated(prepared(input=INT8), batch(0))
    state, held = qat.state_dict(model), scales(model)
    name = "2.input_quantizer"
    no_number = {**state, f"{name}.scale": torch.tensor([math.nan])}
    incomplete = {key: value for key, value in state.items() if key != f"{name}.statistics.keys"}
    for wrong, error, message in (
        ({**state, f"{name}.scael": torch.ones(1)}, KeyError, "no such part; did you mean 'scale'"),
        (no_number, ValueError, f"{name}: a scale is no finite number"),
        (incomplete, KeyError, f"{name}: the state has no statistics.keys"),
    ):
        with pytest.raises(error, match=message):
            qat.load_state_dict(model, wrong)
    assert all(torch.equal(scale, held[key]) for key, scale in scales(model).items())
