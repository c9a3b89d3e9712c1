"""`qat.summary`: formats, scales, errors and bits of every tensor."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from torch import nn

import statqat_sim as sqs
from statqat_sim import qat
from tests.qat_models import net, prepared, tokens

INT8 = {"format": "int8", "quantizer": "minmax"}


def test_weights_are_measured_as_they_are() -> None:
    config = qat.QATConfig([{"match": "linear", "weight": {"format": "int4", "quantizer": "minmax"}}])
    weight = net().linear.weight.detach()
    (row,) = qat.summary(prepared(config)).rows
    scale = sqs.MinMax().fit(weight, sqs.load_format("int4"), channel_axis=0)
    quantized = sqs.Codec(sqs.load_format("int4")).fake_quantize(weight, scale=scale)
    assert (row.layer, row.tensor, row.role, row.format, row.quantizer) == (
        "linear",
        "weight",
        "weight",
        "int4",
        "MinMax()",
    )
    assert row.scale == (scale.value.min(), scale.value.max())
    assert row.sqnr_db == pytest.approx(sqs.sqnr_db(weight, quantized))
    assert row.clipped == 0
    assert (row.elements, row.float_nbytes, row.nbytes) == (24 * 24, 4 * 24 * 24, 24 * 24 // 2 + 4 * 24)
    assert row.bits_per_element == 4 + 32 / 24


def test_formats_that_round_at_random_are_measured_without_torchs_generator() -> None:
    format = sqs.parse_format("{name: sr, extends: int4_narrow, encode: {rounding: stochastic_a, random_bits: 8}}")
    model = qat.prepare(nn.Linear(8, 4), qat.QATConfig(weight={"format": format, "quantizer": "minmax"}))
    before = torch.get_rng_state()
    assert qat.summary(model) == qat.summary(model)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_clipped_is_told() -> None:
    model = nn.Linear(100, 1)
    with torch.no_grad():
        model.weight.copy_(torch.arange(100) - 50.0)
    qat.prepare(model, qat.QATConfig(weight={"format": "int8", "update_every": 0, "quantizer": "minmax"}))
    model.weight_quantizer.keep(torch.tensor([[20 / 127]]))  # what is beyond ±20 is clipped, or beyond -128/127 · 20
    (row,) = qat.summary(model).rows
    assert row.clipped == pytest.approx((29 + 30) / 100)


def test_activations_are_told_from_what_calibration_saw() -> None:
    config = qat.QATConfig([{"match": "linear", "input": INT8, "output": "mxfp4", "grad_output": "float8_e5m2"}])
    uncalibrated = qat.summary(qat.prepare(net(), config)).rows[0]
    assert (uncalibrated.scale, uncalibrated.sqnr_db, uncalibrated.clipped) == (None, None, None)
    model, seen = prepared(config), []
    model.linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    qat.set_mode(model, "float")
    with torch.no_grad():
        model(tokens())
    rows = {row.tensor: row for row in qat.summary(model).rows}
    scale = model.linear.input_quantizer.scale
    quantized = sqs.Codec(sqs.load_format("int8")).fake_quantize(seen[0], scale=scale)
    assert rows["input"].scale == (scale.item(), scale.item())
    assert rows["input"].sqnr_db == pytest.approx(sqs.sqnr_db(seen[0], quantized), abs=0.1)
    assert rows["input"].clipped == 0
    assert rows["input"].bits_per_element is None
    assert rows["output"].quantizer is rows["output"].scale is None
    assert rows["grad_output"].quantizer == "Iterative(), dynamic"


def test_a_model_of_several_formats_has_a_mean() -> None:
    config = qat.QATConfig([{"match": "down", "weight": "mxfp8_e4m3"}], weight="mxfp4")
    found = qat.summary(prepared(config))
    by_hand = 8 * sum(row.nbytes for row in found.rows) / sum(row.elements for row in found.rows if row.layer != "head")
    assert found.bits_per_element == by_hand
    assert not found.converted
    converted = qat.summary(qat.convert(prepared(config)))
    assert converted.converted
    assert converted.nbytes == found.nbytes
    assert converted.float_nbytes == found.float_nbytes


def test_the_table_has_all_of_it() -> None:
    model = prepared(qat.QATConfig([{"match": "down|up", "skip": True}], weight="nvfp4", input=INT8))
    text = str(qat.summary(model))
    lines = text.splitlines()
    assert [line.split()[:4] for line in lines if line.startswith("linear")] == [
        ["linear", "weight", "nvfp4", "-"],
        ["linear", "input", "int8", "MinMax()"],
    ]
    assert next(line for line in lines if line.startswith("head")).endswith("shared")
    assert lines[-2].startswith("weights, after qat.convert: ")
    assert lines[-1] == "not quantized: down, up"
    assert all(len(line) <= 120 for line in lines)


def test_a_weight_without_a_scale_is_told_without_errors() -> None:
    with torch.device("meta"):
        model = nn.Linear(8, 4)
    qat.prepare(model, qat.QATConfig(weight={"format": "int4", "update_every": 0, "quantizer": "minmax"}))
    (row,) = qat.summary(model).rows
    assert (row.scale, row.sqnr_db, row.clipped) == (None, None, None)
    assert row.bits_per_element == 4 + 32 / 8


def test_what_passes_as_it_is_is_told() -> None:
    model = prepared(qat.QATConfig([{"match": "linear", "weight": INT8, "input": INT8}]))
    before = {row.tensor: row for row in qat.summary(model).rows}
    qat.set_mode(model, "float", roles=("input",))
    after = {row.tensor: row for row in qat.summary(model).rows}
    assert after == {**before, "input": replace(before["input"], mode="float")}
    lines = str(qat.summary(model)).splitlines()
    assert next(line for line in lines if " input " in line).split()[:4] == ["linear", "input", "int8", "(float)"]
    assert "(float): passes as it is, see qat.set_mode" in lines
    qat.set_mode(model, "float")
    assert qat.summary(model).rows == tuple(replace(row, mode="float") for row in before.values())
    qat.set_mode(model, "quantize")
    assert "(float)" not in str(qat.summary(model))


def test_a_float_model_has_none() -> None:
    with pytest.raises(ValueError, match="no quantized layer; allowed: what qat.prepare or qat.convert gave"):
        qat.summary(net())


def test_subclasses_that_are_left_alone_are_named() -> None:
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))
    with pytest.warns(UserWarning, match=r"only a subclass of what qat.prepare knows: 0 \(ParametrizedLinear\)"):
        model = qat.prepare(nn.Sequential(normed, nn.Linear(8, 8)), qat.QATConfig(weight="int8"))
    assert qat.summary(model).left == ("0",)
    assert "not quantized: 0" in str(qat.summary(model))


def test_matrices_of_unknown_modules_are_named() -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.zeros(4, 8))

    class Broadcast(nn.Sequential):
        """Its parameters are for every element of a batch, as positions and class tokens are."""

        def __init__(self, parts: OrderedDict[str, nn.Module]) -> None:
            super().__init__(parts)
            self.pos, self.token = (nn.Parameter(torch.zeros(1, count, 8)) for count in (4, 1))

    parts = OrderedDict(linear=nn.Linear(8, 8), norm=nn.LayerNorm(8), cell=nn.LSTM(8, 8), places=Positions())
    config = qat.QATConfig([{"weight": {**INT8, "per": "channel"}}])
    share = f"{100 * (512 + 32) / (64 + 512 + 32):.3g} % of the elements of the model's matrices stay float"
    with pytest.warns(
        UserWarning, match=f"{share}, .* their classes: LSTM, Positions; allowed: qat.register"
    ) as caught:
        model = qat.prepare(Broadcast(parts), config)
    assert [warning.filename for warning in caught] == [__file__]
    assert qat.summary(model).unknown == {"cell": "LSTM", "places": "Positions"}
    assert qat.summary(model).quantized_share == 64 / (64 + 512 + 32)
    assert "quantized: 10.5 % of the elements of the model's matrices" in str(qat.summary(model)).splitlines()
    told = "not quantized, of classes that qat.register has not told of: cell (LSTM), places (Positions)"
    assert told in str(qat.summary(model)).splitlines()


@pytest.mark.filterwarnings("error")
def test_unknown_modules_that_matter_little_or_are_skipped_are_not_warned_of() -> None:
    few = nn.Sequential(nn.Linear(64, 64), nn.Bilinear(2, 2, 2))
    assert qat.summary(qat.prepare(few, qat.QATConfig(weight="mxfp4"))).unknown == {"1": "Bilinear"}
    many = nn.Sequential(nn.Linear(64, 64), nn.LSTM(64, 64))
    skipping = qat.QATConfig([{"type": "LSTM", "skip": True}], weight="mxfp4")
    assert qat.summary(qat.prepare(many, skipping)).unknown == {"1": "LSTM"}
    named = nn.Sequential(nn.Linear(64, 64), nn.LSTM(64, 64))
    qat.prepare(named, qat.QATConfig([{"type": "Linear", "weight": "mxfp4"}]))


def test_the_share_that_is_quantized_stays_with_convert() -> None:
    model = prepared(qat.QATConfig([{"match": "down|up", "skip": True}], weight="mxfp4"))
    share = qat.summary(model).quantized_share
    assert 0 < share < 1
    assert qat.summary(qat.convert(model)).quantized_share == share


def test_weights_that_are_computed_are_quantized_whole() -> None:
    model = qat.prepare(nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64)), qat.QATConfig(weight="mxfp4"))
    torch.nn.utils.parametrizations.weight_norm(model[0])
    torch.nn.utils.prune.l1_unstructured(model[1], "weight", amount=0.5)
    assert qat.summary(model).quantized_share == 1
