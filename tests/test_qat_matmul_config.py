"""Accelerators in configurations: written as they are read; what is refused, and where it is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import statqat_sim as sqs
from statqat_sim import qat
from statqat_sim.qat.matmul_keys import matmul_hash, matmul_key, matmul_of, matmul_text
from statqat_sim.qat.registry import _classes
from statqat_sim.spec.accelerator_catalog import load_spec
from tests.qat_matmul import E4M3, IDEAL, MXFP8, PROMOTED, WGMMA, batch, matmul_config, net, prepared

# --- configurations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelled", [WGMMA, PROMOTED, {**PROMOTED, "split_k": 2, "reduce_order": "pairwise"}])
def test_a_configuration_is_written_as_it_is_read(spelled: Any, tmp_path: Path) -> None:
    config = qat.QATConfig(weight=E4M3, input=E4M3, matmul=spelled)
    assert config.to_dict()["rules"][0]["matmul"] == spelled
    assert qat.QATConfig.from_dict(config.to_dict()) == config
    (tmp_path / "qat.yaml").write_text(config.to_yaml())
    assert qat.QATConfig.from_yaml(tmp_path / "qat.yaml") == config
    matmul = config.rules[0].layer.matmul
    assert matmul is not None
    assert matmul_of(matmul_key(matmul)) == matmul_of(matmul_text(matmul)) == matmul


def test_aliases_lead_to_the_same() -> None:
    short = qat.QATConfig(weight=E4M3, input=E4M3, matmul="h100/wgmma.e4m3.f32")
    assert short == qat.QATConfig(weight=E4M3, input=E4M3, matmul=WGMMA)


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """A file of an accelerator with 3 fraction bits, beside a configuration that names it."""
    text = """name: made_up
evidence: {status: guess}
instructions:
  dot.e4m3.f32:
    operands: {a: float8_e4m3fn, b: float8_e4m3fn, c: float32, d: float32}
    dot: {step: 16, sum: aligned, aligned: {fraction_bits: 3}, c: term}
"""
    (tmp_path / "made_up.yaml").write_text(text)
    rule = "{weight: float8_e4m3fn, input: {format: float8_e4m3fn, dynamic: true}, matmul: made_up.yaml/dot.e4m3.f32}"
    (tmp_path / "qat.yaml").write_text(f"rules: [{rule}]")
    return tmp_path


def test_an_accelerator_that_no_kernel_computes_is_refused_where_it_is_named(made_up: Path) -> None:
    file = made_up / "made_up.yaml"
    scaled = "c: term}\n    scale: {format: float8_e8m0fnu, block: 16}"
    file.write_text(file.read_text().replace("c: term}", scaled).replace("fraction_bits: 3", "fraction_bits: 60"))
    told = r"dot\.e4m3\.f32 .*: terms of 60 fraction bits"
    with pytest.raises(sqs.SpecError, match=rf"rules\.0\.matmul\S*: .*made_up\.yaml: {told}"):
        qat.QATConfig.from_yaml(made_up / "qat.yaml")
    by_object = {"accelerator": load_spec(file), "instruction": "dot.e4m3.f32"}
    with pytest.raises(sqs.SpecError, match=rf"matmul\S*: {told}"):
        qat.QATConfig(weight=E4M3, input=E4M3, matmul=by_object)


def test_an_accelerator_may_come_from_a_file(made_up: Path) -> None:
    config = qat.QATConfig.from_yaml(made_up / "qat.yaml")
    model, x = qat.prepare(net(), config), batch(3, 96)
    y = model(x)
    assert not torch.allclose(y, prepared(net(), IDEAL, input={"format": E4M3, "dynamic": True})(x), atol=1e-2)
    (made_up / "written.yaml").write_text(config.to_yaml())
    qat.save(qat.convert(model), made_up / "model.safetensors")
    (made_up / "made_up.yaml").unlink()  # both files have all of it
    again = qat.QATConfig.from_yaml(made_up / "written.yaml")
    assert again == config
    assert torch.equal(qat.prepare(net(), again)(x), y)
    assert torch.equal(qat.load(made_up / "model.safetensors", net())(x), y)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "accelerator": ({"matmul": "nvidia_h10/x"}, "no accelerator is named 'nvidia_h10'; did you mean 'nvidia_h100'?"),
    "instruction": ({"matmul": "h100/wgmma.e4m3.f23"}, "no instruction 'wgmma.e4m3.f23'; did you mean"),
    "text": ({"matmul": "h100"}, "matmul: expected ACCELERATOR/INSTRUCTION, such as"),
    "type": ({"matmul": 7}, "matmul: expected ACCELERATOR/INSTRUCTION, .* got 7"),
    "key": ({"matmul": {"accelerator": "h100", "instrution": "x"}}, "instrution: unknown key; did you mean 'instruc"),
    "missing": ({"matmul": {"instruction": "x"}}, "matmul: required key 'accelerator' is missing"),
    "plan": ({"matmul": {**PROMOTED, "promote_every": 0}}, "promote_every: expected an integer from 1"),
    "format": (
        {"weight": "int8"},
        "does not take weight: its format is int8 \\(allowed: float8_e4m3fn, float8_e5",
    ),
    "near": ({"weight": "float8_e4m3"}, "its format is float8_e4m3; did you mean 'float8_e4m3fn'? \\(allowed"),
    "none": ({"input": None}, "multiplies codes, and input has no format; allowed: float8_e4m3fn, float8_e5m2"),
    "blocks": ({"input": "mxfp8_e4m3"}, "mxfp8_e4m3 has block scales, which wgmma.e4m3.f32 has no place for"),
    "other blocks": (
        {"weight": "nvfp4", "input": "nvfp4", "matmul": "b200/mxf4.e2m1.f32"},
        "blocks of nvfp4 are none of its; allowed: float4_e2m1fn, and blocks of 32 of these with scales of float8_e8m0",
    ),
    "float64": (
        {"matmul": "h100/mma.f64.f64"},
        "mma.f64.f64 multiplies float64, to which no tensor is quantized; allow",
    ),
    "channels": ({"input": {"format": E4M3, "per": "channel"}}, "sums over the input's channels"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_go_together_is_told(case: str) -> None:
    keys, message = BAD[case]
    with pytest.raises(sqs.SpecError, match=message.replace("?", r"\?")):
        qat.QATConfig(**{"weight": E4M3, "input": E4M3, "matmul": WGMMA, **keys})


def test_objects_are_checked_too() -> None:
    layer = qat.QATConfig(weight=E4M3, input=E4M3, matmul=WGMMA).rules[0].layer
    with pytest.raises(ValueError, match="has no format"):
        qat.LayerConfig(weight=layer.weight, matmul=layer.matmul)
    with pytest.raises(TypeError, match="allowed: a MatmulConfig"):
        qat.LayerConfig(matmul=WGMMA)  # type: ignore[arg-type]


OBJECTS: dict[str, tuple[dict[str, Any], str]] = {
    "accelerator": (
        {"accelerator": "nvidia_h100"},
        "accelerator is 'nvidia_h100'; allowed: an AcceleratorSpec, such as load_accelerator(...).spec",
    ),
    "instruction": ({"instruction": ["x"]}, "instruction is .*; allowed: the name of one of the accelerator's"),
    "plan": ({"plan": {"promote_every": 128}}, "plan is .*; allowed: a GemmPlan"),
}


@pytest.mark.parametrize("case", OBJECTS)
def test_parts_of_a_matmul_config_are_objects(case: str) -> None:
    keys, message = OBJECTS[case]
    spec = sqs.load_accelerator("nvidia_h100").spec
    with pytest.raises(TypeError, match=message.replace("(", r"\(").replace(")", r"\)")):
        qat.MatmulConfig(**{"accelerator": spec, "instruction": "wgmma.e4m3.f32", **keys})


# --- refusals ----------------------------------------------------------------------------------------------------


class Doubled(nn.Linear):
    """A layer that a user has registered."""


class QuantizedDoubled(qat.Quantized, Doubled):
    """Its product is its own."""

    weights = {"weight": qat.Layout(axis=-1, channel_axis=0)}


@pytest.fixture
def registered() -> Iterator[None]:
    qat.register(Doubled, QuantizedDoubled)
    yield
    del _classes[Doubled]


REFUSED: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], str]] = {
    "transposed": (lambda: nn.ConvTranspose1d(2, 2, 2), {}, r"0 \(ConvTranspose1d\) .*: its product is torch's own"),
    "custom": (lambda: Doubled(2, 2), {}, r"0 \(Doubled\) cannot multiply by nvidia_h100/wgmma.e4m3.f32: its product"),
    "padding": (
        lambda: nn.Conv1d(2, 2, 2, padding_mode="circular"),
        {},
        "padding_mode is 'circular'; allowed: 'zeros'",
    ),
    "named": (lambda: nn.Embedding(3, 2), {"match": "0"}, r"0 \(Embedding\) cannot .*: it has no product; allowed: to"),
    "typed": (lambda: nn.Embedding(3, 2), {"type": "Embedding"}, "it has no product"),
    "blocks": (
        lambda: nn.Conv1d(32, 2, 2),
        {"weight": "mxfp8_e4m3", "input": "mxfp8_e4m3", "matmul": MXFP8},
        r"weight is in blocks \(mxfp8_e4m3\), which it does not multiply; allowed: number formats",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_layers_that_cannot_are_refused_by_name(case: str, registered: None) -> None:
    make, keys, message = REFUSED[case]
    model = nn.Sequential(make(), nn.Linear(32, 32))
    rule = {"weight": E4M3, "input": E4M3, "matmul": WGMMA, **keys}
    with pytest.raises(ValueError, match=message):
        qat.prepare(model, qat.QATConfig([rule]))
    assert not list(qat.layers(model))


def test_what_has_no_product_is_left_aside_by_a_glob() -> None:
    model: Any = prepared(nn.Sequential(nn.Embedding(4, 32), nn.Linear(32, 2)))
    assert model[0].matmul_key is None
    assert model[1].matmul_key is not None
    assert model(torch.tensor([1, 2])).shape == (2, 2)


# --- reports and files -------------------------------------------------------------------------------------------


def test_the_summary_tells_what_multiplies() -> None:
    found = qat.summary(prepared(net(), PROMOTED))
    assert [str(each) for each in found.matmuls.values()] == ["nvidia_h100/wgmma.e4m3.f32, promote_every 32"] * 2
    assert "matmul nvidia_h100/wgmma.e4m3.f32, promote_every 32 (evidence: reference_model, " in str(found)


def test_a_file_whose_accelerator_was_changed_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from statqat_sim.qat.description import KEY, Description
    from statqat_sim.qat.loading import _read

    path = qat.save(qat.convert(prepared(net())), tmp_path / "model.safetensors")
    keys = json.loads(_read(path)[0].to_json())
    matmul = matmul_config(WGMMA)
    assert keys["matmuls"] == {matmul_hash(matmul): matmul_text(matmul)}
    hash, text = matmul_hash(matmul), matmul_text(matmul)
    other = text.replace('fraction_bits": 13', 'fraction_bits": 14')
    assert other != text
    for matmuls, message in (
        ({hash: other}, f"what multiplies, {hash[:12]}, has another hash, .*: it was changed"),
        ({hash: "null"}, f"what multiplies, {hash[:12]}, has another hash, .*: it was changed"),
        ({}, f"0: the hash {hash[:12]} of what multiplies is unknown; the file has texts of: none"),
    ):
        save_file(load_file(path), path, {KEY: json.dumps({**keys, "matmuls": matmuls})})
        with pytest.raises(ValueError, match=message):
            qat.load(path, net())
    assert Description.from_json(json.dumps(keys)).layers["0"].matmul == matmul


def test_a_layer_that_an_accelerator_cannot_compute_is_not_loaded(tmp_path: Path) -> None:
    model, other = (nn.Sequential(nn.Conv2d(4, 8, 3, padding=1, padding_mode=mode)) for mode in ("zeros", "reflect"))
    file = qat.save(qat.convert(prepared(model)), tmp_path)
    with pytest.raises(
        ValueError, match=r"0 \(Conv2d\) cannot multiply by .*: padding_mode is 'reflect'; allowed: 'zeros'"
    ):
        qat.load(file, other)
    assert type(other[0]) is nn.Conv2d
