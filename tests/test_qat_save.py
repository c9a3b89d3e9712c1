"""Files of converted models: whole or not at all, and refused by name for whatever is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import statqat_sim as sqs
from statqat_sim import qat
from statqat_sim.qat.stamps import without_stamps
from statqat_sim.qat.wrappers import unwrapped
from statqat_sim.spec.text import format_hash, format_text
from statqat_sim.testing import assert_bit_exact
from tests.qat_matmul import DYNAMIC, E4M3, WGMMA
from tests.qat_models import Net, net, outputs, prepared

INT8 = {"format": "int8", "quantizer": "minmax"}
CONFIG = qat.QATConfig(weight="mxfp4", input=INT8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Net, Path]:
    """A converted model, and its file."""
    model = qat.convert(prepared(CONFIG))
    return model, qat.save(model, tmp_path_factory.mktemp("saved"))


def changed(file: Path, target: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Path:
    """The file with other tensors or another description."""
    with safe_open(file, framework="pt") as opened:
        description = json.loads(opened.metadata()["statqat_sim"])
    tensors = load_file(file)
    change(tensors, description)
    save_file(tensors, target, {"statqat_sim": json.dumps(description)})
    return target


# --- what is written ---------------------------------------------------------------------------------------------


def test_a_path_is_a_file_or_a_folder(saved: tuple[Net, Path], tmp_path: Path) -> None:
    model, file = saved
    assert file.name == "model.safetensors"
    assert qat.save(model, tmp_path / "new" / "folder") == tmp_path / "new" / "folder" / "model.safetensors"
    assert qat.save(model, str(tmp_path / "x.safetensors")) == tmp_path / "x.safetensors"
    for path in (file, file.parent, tmp_path / "new" / "folder", tmp_path / "x.safetensors"):
        assert_bit_exact(outputs(qat.load(path, net(seed=3))), outputs(model))


def test_the_file_has_every_tensor_once_and_the_text_of_every_format(saved: tuple[Net, Path]) -> None:
    model, file = saved
    with safe_open(file, framework="pt") as opened:
        names, description = set(opened.keys()), json.loads(opened.metadata()["statqat_sim"])
    aliases = {"head.packed_weight.codes", "head.packed_weight.scale"}
    assert set(description["aliases"]) == aliases
    assert names == without_stamps(model).keys() - aliases
    formats = [sqs.load_format(name) for name in ("mxfp4", "int8")]
    assert description["formats"] == {format_hash(format): format_text(format) for format in formats}
    assert description["layers"]["linear"] == {
        "kind": "QuantizedLinear",
        "weights": {
            "weight": {
                "format": format_hash(formats[0]),
                "shape": [24, 24],
                "axis": -1,
                "channels": [],
                "dtype": "float32",
            }
        },
        "activations": {"input": {"format": format_hash(formats[1]), "per": "tensor", "dynamic": False}},
    }


def test_the_same_model_gives_the_same_bytes(saved: tuple[Net, Path], tmp_path: Path) -> None:
    model, file = saved
    assert qat.save(qat.load(file, net()), tmp_path).read_bytes() == file.read_bytes()


def test_a_format_needs_no_catalog_to_be_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nelement: float4_e2m1fn\nscales: [{format: own, block: 8}]\n")
    (tmp_path / "own.yaml").write_text("name: own\nelement: {kind: float, exponent_bits: 5, mantissa_bits: 2}\n")
    model = qat.convert(prepared(qat.QATConfig(weight=tmp_path / "mine.yaml")))
    file = qat.save(model, tmp_path)
    for format in ("mine.yaml", "own.yaml"):
        (tmp_path / format).unlink()
    assert_bit_exact(outputs(qat.load(file, net(seed=3))), outputs(model))


def test_a_format_of_the_catalog_is_the_catalogs(saved: tuple[Net, Path]) -> None:
    packed = qat.load(saved[1], net()).linear.packed_weight
    assert packed.packing.format == sqs.load_format("mxfp4")
    assert packed.format_key == "mxfp4"


def test_models_on_the_meta_device_get_memory(saved: tuple[Net, Path]) -> None:
    model, file = saved
    with torch.device("meta"):
        shapes = Net().eval()
    loaded = qat.load(file, shapes)
    assert not any(tensor.is_meta for tensor in loaded.state_dict().values())
    assert_bit_exact(outputs(loaded), outputs(model))


def test_a_dynamic_scale_keeps_its_quantizer(tmp_path: Path) -> None:
    dynamic = {"format": "int4", "dynamic": True, "quantizer": {"percentile": {"percentile": 99.0}}}
    model = qat.convert(prepared(qat.QATConfig(weight="int4", input=dynamic)))
    loaded = qat.load(qat.save(model, tmp_path), net())
    assert loaded.linear.input_quantizer.config.quantizer == sqs.Percentile(99.0)
    assert_bit_exact(outputs(loaded), outputs(model))


def test_a_single_layer_is_a_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(8, 4), torch.randn(2, 8)
    qat.convert(qat.prepare(model, qat.QATConfig(weight="int4")))
    loaded = qat.load(qat.save(model, tmp_path), nn.Linear(8, 4))
    assert_bit_exact(loaded(x).detach(), model(x).detach())


def test_nothing_is_left_of_a_file_that_cannot_be_written(
    saved: tuple[Net, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = saved
    file = qat.save(model, tmp_path)
    before = file.read_bytes()

    def broken(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"half of it")
        raise OSError("the disk is full")

    monkeypatch.setattr("safetensors.torch.save_file", broken)
    with pytest.raises(OSError, match="the disk is full"):
        qat.save(model, tmp_path)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_only_converted_models_are_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not converted; call qat.convert\(model\) first"):
        qat.save(prepared(CONFIG), tmp_path)
    assert not list(tmp_path.iterdir())


# --- models that are wrapped -------------------------------------------------------------------------------------

WRAPPED: dict[str, Callable[[Any], nn.Module]] = {
    "compiled": lambda model: torch.compile(model, backend="eager"),  # type: ignore[dict-item]
    "data parallel": nn.DataParallel,
    "averaged": AveragedModel,
    "compiled, data parallel": lambda model: nn.DataParallel(torch.compile(model, backend="eager")),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_files_do_not_know_of_torchs_wrappers(wrapped: str, tmp_path: Path) -> None:
    wrap = WRAPPED[wrapped]
    model = prepared(CONFIG)
    file = qat.save(qat.convert(wrap(model)), tmp_path / "wrapped")
    assert file.read_bytes() == qat.save(qat.convert(prepared(CONFIG)), tmp_path / "plain").read_bytes()
    loaded = net(seed=3)
    qat.load(file, wrap(loaded) if "averaged" not in wrapped else loaded)
    assert_bit_exact(outputs(loaded), outputs(qat.convert(prepared(CONFIG))))


def with_compiled(model: Net, *parts: str) -> Net:
    """The model, some of whose parts are compiled."""
    for part in parts:
        setattr(model, part, torch.compile(getattr(model, part), backend="eager"))
    return model


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("parts", [(), ("linear", "attention", "norm", "head"), ("down", "embedding")], ids=str)
def test_files_do_not_know_of_parts_that_are_compiled(parts: tuple[str, ...], device: str, tmp_path: Path) -> None:
    model = with_compiled(prepared(CONFIG), "linear", "attention", "norm", "head")
    file = qat.save(qat.convert(model), tmp_path)
    with torch.device(device):
        loaded = with_compiled(net(seed=3).to(device), *parts)
    assert_bit_exact(outputs(qat.load(file, loaded)), outputs(model))
    assert not any(tensor.is_meta for tensor in loaded.state_dict().values())


class Twice(nn.Module):
    """One layer under two names, each of which may be that of a compiled part."""

    def __init__(self, *compiled: str, order: str = "ab", layer: nn.Module | None = None) -> None:
        super().__init__()
        layer = nn.Linear(8, 8) if layer is None else layer
        for name in order:
            setattr(self, name, layer)
        for name in compiled:
            setattr(self, name, torch.compile(getattr(self, name), backend="eager"))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x))  # type: ignore[no-any-return]


def repeated() -> nn.Module:
    return nn.Sequential(*nn.ModuleList([nn.Sequential(nn.Linear(8, 8), nn.ReLU())] * 3))


REPEATED = {
    "two names": (Twice, Twice),
    "compiled by the first": (lambda: Twice("a"), lambda: Twice("b")),
    "compiled by the second": (lambda: Twice("b"), Twice),
    "compiled by both": (Twice, lambda: Twice("a", "b")),
    "a block three times": (repeated, repeated),
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("case", REPEATED)
def test_a_module_that_is_used_twice_is_saved_under_all_of_its_names(case: str, device: str, tmp_path: Path) -> None:
    (source, target), x = REPEATED[case], torch.randn(4, 8)
    config = qat.QATConfig(weight=INT8, input={**INT8, "per": "channel"})
    with qat.calibrate(model := qat.prepare(source(), config)):
        model(x)
    file = qat.save(qat.convert(model), tmp_path)
    with torch.device(device):
        loaded = target()
    assert_bit_exact(outputs(qat.load(file, loaded), x), outputs(model, x))
    assert qat.save(loaded, tmp_path / "again").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("compiled", ["", "a", "b", "ab"])
def test_the_names_of_a_module_come_in_any_order(compiled: str, device: str, tmp_path: Path) -> None:
    config, x = qat.QATConfig(weight=INT8, input={**INT8, "per": "channel"}), torch.randn(4, 8)
    with qat.calibrate(model := qat.prepare(Twice(), config)):
        model(x)
    file = qat.save(qat.convert(model), tmp_path)
    with torch.device(device):
        loaded = qat.load(file, Twice(*compiled, order="ba"))
    assert_bit_exact(outputs(loaded, x), outputs(model, x))
    assert_bit_exact(outputs(qat.load(qat.save(loaded, tmp_path / "again"), Twice()), x), outputs(model, x))


def test_a_module_that_was_used_twice_is_not_two(tmp_path: Path) -> None:
    file, model = qat.save(qat.convert(qat.prepare(Twice(), qat.QATConfig(weight=INT8))), tmp_path), Twice()
    model.b = nn.Linear(8, 8)
    assert "b.weight: missing; the model needs float32 (8, 8)" in refused(file, model)


def test_modules_that_were_two_are_not_one(tmp_path: Path) -> None:
    two = Twice()
    two.b = nn.Linear(8, 8)
    file = qat.save(qat.convert(qat.prepare(two, qat.QATConfig(weight=INT8))), tmp_path / "layers")
    assert refused(file, Twice()) == ["b: in the model it is a; it was saved as a layer of its own"]
    two = nn.Sequential(Twice(layer=nn.LayerNorm(8)), nn.Linear(8, 8))
    two[0].b = nn.LayerNorm(8)
    nn.init.normal_(two[0].b.weight)
    file = qat.save(qat.convert(qat.prepare(two, qat.QATConfig(weight=INT8))), tmp_path / "norms")
    one = nn.Sequential(Twice(layer=nn.LayerNorm(8)), nn.Linear(8, 8))
    assert refused(file, one) == ["0.b.weight: in the model it is 0.a.weight; it was saved with other values"]


class Projecting(nn.Module):
    """An attention whose output projection is another layer, too, or none that torch would have made."""

    def __init__(self, case: str) -> None:
        super().__init__()
        attention = nn.MultiheadAttention(8, 2, batch_first=True)
        if case == "first":
            self.first = attention.out_proj
        elif case == "a linear layer":
            self.first = attention.out_proj = nn.Linear(8, 8)
        elif case == "of two":
            self.second = nn.MultiheadAttention(8, 2, batch_first=True)
            self.second.out_proj = attention.out_proj
        elif case == "replaced":
            attention.out_proj = nn.Linear(8, 8)
        elif case == "compiled":
            attention.out_proj = torch.compile(attention.out_proj, backend="eager")
        self.attention, self.last = attention, nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        for attention in (self.attention, getattr(self, "second", self.attention)):
            x = getattr(self, "first", nn.Identity())(attention(x, x, x)[0])
        return self.last(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(("role", "other"), [("input", "output"), ("output", "input")])
@pytest.mark.parametrize("case", ["first", "a linear layer", "of two", "replaced", "compiled"])
def test_output_projections_of_attentions_are_found_wherever_they_are(
    case: str, role: str, other: str, device: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    linear = {"match": "*", "type": "Linear", "weight": {**INT8, "format": "int4"}, other: INT8}
    config = qat.QATConfig([{"match": "*", "weight": INT8, role: INT8}, linear])
    with qat.calibrate(model := qat.prepare(Projecting(case), config)):
        model(x := torch.randn(2, 3, 8))
    expected = outputs(model, x)
    quantizers = (quantizer for _, quantizer in unwrapped(model.attention.out_proj).quantizers())
    found = {quantizer.role: quantizer.config.format.name for quantizer in quantizers}
    has_own_rule = case in ("a linear layer", "replaced")
    assert found == ({"weight": "int4", other: "int8"} if has_own_rule else {"weight": "int8", role: "int8"})
    file = qat.save(qat.convert(model), tmp_path)
    with torch.device(device):
        loaded = qat.load(file, Projecting(case))
    for each in (model, loaded):
        assert_bit_exact(outputs(each, x), expected)


class Mixed(nn.Module):
    """Two attentions with one output projection."""

    def __init__(self, order: str) -> None:
        super().__init__()
        attentions = {name: nn.MultiheadAttention(8, 2, batch_first=True) for name in "ab"}
        attentions["b"].out_proj = attentions["a"].out_proj
        for name in order:
            setattr(self, name, attentions[name])

    def forward(self, x: Tensor) -> Tensor:
        return self.b(*[self.a(x, x, x)[0]] * 3)[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("order", ["ab", "ba"])
@pytest.mark.parametrize(
    ("a", "b"),
    [({"input": INT8}, {}), ({}, {"input": INT8}), ({"input": INT8}, {"input": {**INT8, "format": "int4"}})],
    ids=["a", "b", "both"],
)
def test_an_output_projection_of_two_attentions_is_what_it_was(
    a: dict[str, Any], b: dict[str, Any], order: str, tmp_path: Path
) -> None:
    """It goes by the rule of the first, and comes back whichever is the first in the model that it is loaded into."""
    torch.manual_seed(0)
    rules = [{"match": "a", "weight": INT8, **a}, {"match": "b", "weight": {**INT8, "format": "int4"}, **b}]
    with qat.calibrate(model := qat.prepare(Mixed("ab"), qat.QATConfig(rules))):
        model(x := torch.randn(2, 3, 8))
    expected = outputs(model, x)
    quantizers = [quantizer for _, quantizer in model.b.out_proj.quantizers()]
    assert [(each.role, each.config.format.name) for each in quantizers] == [(role, "int8") for role in ("weight", *a)]
    loaded = qat.load(qat.save(qat.convert(model), tmp_path), Mixed(order))
    assert_bit_exact(outputs(loaded, x), expected)


def test_an_output_projection_that_was_left_alone_stays_so(tmp_path: Path) -> None:
    rules = [{"match": "*", "weight": INT8}, {"match": "attention.out_proj", "skip": True}]
    model = qat.convert(qat.prepare(Projecting("replaced"), qat.QATConfig(rules)))
    loaded, x = qat.load(qat.save(model, tmp_path), Projecting("replaced")), torch.randn(2, 3, 8)
    assert type(loaded.attention.out_proj) is nn.Linear
    assert_bit_exact(outputs(loaded, x), outputs(model, x))


def test_what_is_wrong_in_a_part_that_is_compiled_is_told_by_its_plain_name(saved: tuple[Net, Path]) -> None:
    model = net()
    model.linear = nn.Linear(24, 25)
    assert refused(saved[1], with_compiled(model, "linear")) == [
        "linear.weight: saved was float32 (24, 24); the model has float32 (25, 24)"
    ]


# --- what is refused ---------------------------------------------------------------------------------------------


def refused(file: Path, model: nn.Module | None = None) -> list[str]:
    """What is told of a file; the model stays as it was."""
    model = net() if model is None else model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=str(file)) as caught:
        qat.load(file, model)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not list(qat.layers(model))
    return [line.removeprefix(f"{file}: ") for line in str(caught.value).splitlines()]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_file_that_is_cut_off(share: float, saved: tuple[Net, Path], tmp_path: Path) -> None:
    whole = saved[1].read_bytes()
    (tmp_path / "m.safetensors").write_bytes(whole[: int(share * len(whole))])
    (told,) = refused(tmp_path / "m.safetensors")
    assert told.startswith("cut off, or no safetensors file: ")


def test_a_file_of_which_a_byte_has_changed(saved: tuple[Net, Path], tmp_path: Path) -> None:
    _, file = saved
    octets, target = bytearray(file.read_bytes()), tmp_path / "m.safetensors"
    codes = load_file(file)["linear.packed_weight.codes"].numpy().tobytes()
    octets[octets.index(codes) + 5] ^= 1
    target.write_bytes(octets)
    assert refused(target) == ["linear.packed_weight.codes: its bytes are not those that were saved"]
    changed(file, target, lambda _, description: description.update(sums=[]))
    assert refused(target)[0].startswith("its description is damaged: ")


def test_a_file_without_checksums_is_read(saved: tuple[Net, Path], tmp_path: Path) -> None:
    """Of a version that did not write them."""
    model, file = saved
    old = changed(file, tmp_path / "m.safetensors", lambda _, description: description.pop("sums"))
    assert_bit_exact(outputs(qat.load(old, net())), outputs(model))


def test_files_of_others(saved: tuple[Net, Path], tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    save_file({"a": torch.zeros(1)}, file)
    assert refused(file) == ["it was not written by qat.save: its metadata has no 'statqat_sim'"]
    save_file({"a": torch.zeros(1)}, file, {"statqat_sim": "{}"})
    assert refused(file) == ["its description is damaged: KeyError('version')"]
    save_file({"a": torch.zeros(1)}, file, {"statqat_sim": "nonsense"})
    assert refused(file)[0].startswith("its description is damaged: JSONDecodeError")
    changed(saved[1], file, lambda _, description: description.update(version=2))
    assert refused(file) == ["it is of version 2; allowed: 1; is the library too old?"]
    changed(saved[1], file, lambda _, description: description.update(exact="no"))
    assert refused(file)[0].startswith("its description is damaged: TypeError")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        qat.load(tmp_path / "nowhere", net())


def test_formats_that_are_not_what_they_were(saved: tuple[Net, Path], tmp_path: Path) -> None:
    hash, other = format_hash(sqs.load_format("mxfp4")), format_hash(sqs.load_format("int8"))

    def forged(_: Any, description: Any) -> None:
        description["formats"][hash] = description["formats"][hash].replace("rule: floor", "rule: ceil")

    def unknown(_: Any, description: Any) -> None:
        del description["formats"][hash]

    (told,) = refused(changed(saved[1], tmp_path / "m.safetensors", forged))
    assert told.startswith(f"the text of format {hash[:12]} (name: mxfp4) has another hash, ")
    (told,) = refused(changed(saved[1], tmp_path / "m.safetensors", unknown))
    what = f"the hash {hash[:12]} of its format is unknown; the file has texts of: {other[:12]}"
    assert told == f"attention.in_proj_weight: {what}"


def test_tensors_that_are_missing_or_too_many_or_others(saved: tuple[Net, Path], tmp_path: Path) -> None:
    def change(tensors: dict[str, Any], _: Any) -> None:
        tensors["linear.packed_weight.code"] = tensors.pop("linear.packed_weight.codes")
        tensors["down.packed_weight.scale"] = tensors["down.packed_weight.scale"][1:].clone()
        tensors["norm.bias"] = tensors["norm.bias"].double()

    assert refused(changed(saved[1], tmp_path / "m.safetensors", change)) == [
        "linear.packed_weight.codes: missing; the model needs uint8 (288,); did you mean 'linear.packed_weight.code'?",
        "linear.packed_weight.code: the model has no place for it; did you mean 'linear.packed_weight.codes'?",
        "down.packed_weight.scale: saved is uint8 (59,); the model needs uint8 (60,)",
        "norm.bias: saved is float64 (24,); the model needs float32 (24,)",
    ]


@pytest.mark.parametrize("weight", ["mxfp4", INT8])
def test_weights_along_other_axes(weight: Any, tmp_path: Path) -> None:
    """Of a square weight there are as many blocks along either."""
    file = qat.save(qat.convert(prepared(qat.QATConfig(weight=weight))), tmp_path)

    def change(_: Any, description: Any) -> None:
        description["layers"]["linear"]["weights"]["weight"]["axis"] = 0

    assert refused(changed(file, tmp_path / "m.safetensors", change)) == [
        "linear.weight: the file says axis 0; allowed: -1, which products add up"
    ]


def test_scales_of_other_channels(tmp_path: Path) -> None:
    channels = {"format": "int8", "quantizer": "minmax", "per": "channel"}
    config = qat.QATConfig([{"match": "down|linear|attention", "input": channels}])
    file = qat.save(qat.convert(prepared(config)), tmp_path)
    qat.load(file, net())

    def change(tensors: dict[str, Any], _: Any) -> None:
        tensors["down.input_quantizer.scale"] = torch.ones(20, 1)
        tensors["linear.input_quantizer.scale"] = torch.ones(24, 1)
        tensors["attention.input_quantizer.scale"] = torch.ones(1)

    assert refused(changed(file, tmp_path / "m.safetensors", change)) == [
        "attention.input_quantizer.scale: saved is float32 (1,); the model needs float32 (24,)",
        "down.input_quantizer.scale: saved is float32 (20, 1); the model needs float32 (24, 1)",
        "linear.input_quantizer.scale: saved is float32 (24, 1); the model needs float32 (24,)",
    ]


def test_other_models(saved: tuple[Net, Path]) -> None:
    smaller, other, renamed = net(), net(), net()
    smaller.linear = nn.Linear(24, 23)
    other.down = nn.Identity()  # type: ignore[assignment]
    renamed.lineal = renamed.linear
    del renamed.linear
    assert refused(saved[1], smaller) == ["linear.weight: saved was float32 (24, 24); the model has float32 (23, 24)"]
    assert refused(saved[1], other) == [
        "down: a module of type Identity, which does not become the saved QuantizedConv1d"
    ]
    assert refused(saved[1], renamed) == ["linear: the model has no such module; did you mean 'lineal'?"]
    (told, *_) = refused(saved[1], net(torch.bfloat16))
    assert told == "attention.in_proj_weight: saved was float32 (72, 24); the model has bfloat16 (72, 24)"


class Doubled(nn.Linear):
    """A layer with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def test_an_output_projection_of_another_class_is_not_loaded_into(saved: tuple[Net, Path]) -> None:
    model = net()
    model.attention.out_proj = Doubled(24, 24)  # type: ignore[assignment]
    assert refused(saved[1], model) == [
        "attention.out_proj: a module of type Doubled, which does not become the saved QuantizedOutputProjection"
    ]


def test_a_product_that_the_model_cannot_make_is_told_with_the_file(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv1d(4, 4, 3, padding=1))
    config = qat.QATConfig(weight=E4M3, input=DYNAMIC, matmul=WGMMA)
    file = qat.save(qat.convert(qat.prepare(model, config)), tmp_path)
    (told,) = refused(file, nn.Sequential(nn.Conv1d(4, 4, 3, padding=1, padding_mode="circular")))
    assert told.startswith("0 (Conv1d) cannot multiply by nvidia_h100/wgmma.e4m3.f32: padding_mode is 'circular'; allo")


def test_a_layer_may_refuse_its_tensors(saved: tuple[Net, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """By what no shape tells."""

    def problems(cls: type, module: nn.Module, layer: qat.LayerConfig) -> Iterator[str]:
        yield "not today"

    monkeypatch.setattr("statqat_sim.qat.modules.QuantizedEmbedding.tensor_problems", classmethod(problems))
    assert refused(saved[1]) == ["embedding (Embedding): not today"]


def test_what_no_file_has_is_not_left_on_the_meta_device(saved: tuple[Net, Path]) -> None:
    with torch.device("meta"):
        shapes = Net().eval()
        shapes.norm.register_buffer("table", torch.ones(2), persistent=False)
        shapes.register_buffer("mask", torch.ones(2), persistent=False)
    shapes.register_buffer("there", torch.ones(2), persistent=False)
    with pytest.raises(ValueError, match="on the meta device") as caught:
        qat.load(saved[1], shapes)
    told = "on the meta device, and not in the file, as it is not persistent; give it values first"
    assert str(caught.value).splitlines() == [f"{saved[1]}: {name}: {told}" for name in ("mask", "norm.table")]
    assert not list(qat.layers(shapes))
    for owner, name in ((shapes.norm, "table"), (shapes, "mask")):
        owner.register_buffer(name, torch.ones(2), persistent=False)
    assert_bit_exact(outputs(qat.load(saved[1], shapes)), outputs(saved[0]))


def test_buffers_that_are_shared_get_their_values_wherever_one_is_saved(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)
            self.register_buffer("kept", torch.arange(8.0))
            self.register_buffer("again", self.kept, persistent=False)
            self.norm.register_buffer("table", self.kept, persistent=False)

    model = qat.convert(qat.prepare(Tied(), qat.QATConfig(weight="int8")))
    with torch.device("meta"):
        shapes = Tied()
    loaded = qat.load(qat.save(model, tmp_path), shapes)
    assert loaded.kept.tolist() == list(range(8))
    assert loaded.again is loaded.kept is loaded.norm.table
    assert not {"again", "norm.table"} & loaded.state_dict().keys()


def test_a_prepared_model_is_not_loaded_into(saved: tuple[Net, Path]) -> None:
    with pytest.raises(ValueError, match="the model is prepared already; allowed: a float model"):
        qat.load(saved[1], prepared(CONFIG))
