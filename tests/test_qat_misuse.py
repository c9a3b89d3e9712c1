"""What people do by mistake: each is told what is wrong, where, and what is allowed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import statqat_sim as sqs
from statqat_sim import SpecError, qat
from statqat_sim.testing import assert_bit_exact

INT8 = {"format": "int8", "quantizer": "minmax"}
GRADIENTS = {"grad_output": "mxfp8_e4m3"}


def floats(**options: Any) -> nn.Sequential:
    return nn.Sequential(nn.Linear(16, 12, **options), nn.GELU(), nn.Linear(12, 4, **options))


def prepared(**tensors: Any) -> nn.Sequential:
    return qat.prepare(floats(), qat.QATConfig(**(tensors or {"weight": "mxfp4"})))


def converted() -> nn.Sequential:
    return qat.convert(prepared())


def entered(*arguments: Any, **options: Any) -> None:
    """`calibrate`, as a block that is empty."""
    with qat.calibrate(*arguments, **options):
        pass


def sensitivity(model: Any, *arguments: Any, **options: Any) -> qat.Sensitivity:
    return qat.sensitivity(model, *arguments, progress=False, **options)


def state_with(part: str, tensor: Any) -> dict[str, Any]:
    """A state with one part that is another."""
    state = qat.state_dict(prepared(weight={**INT8, "update_every": 0}))
    return {key: tensor if key.endswith(part) else each for key, each in state.items()}


Call = Callable[[], object]
x = torch.zeros(2, 16)

MODELS: dict[str, Callable[[Any], object]] = {
    "prepare": lambda model: qat.prepare(model, qat.QATConfig(weight="int4")),
    "calibrate": entered,
    "choose_weight_scales": qat.choose_weight_scales,
    "step": qat.step,
    "convert": qat.convert,
    "save": lambda model: qat.save(model, "x"),
    "load": lambda model: qat.load("x", model),
    "summary": qat.summary,
    "set_mode": lambda model: qat.set_mode(model, "float"),
    "layers": lambda model: list(qat.layers(model)),
    "quantizers": lambda model: list(qat.quantizers(model)),
    "state_dict": qat.state_dict,
    "load_state_dict": lambda model: qat.load_state_dict(model, {}),
    "Checkpointed": qat.Checkpointed,
    "sensitivity": sensitivity,
}


@pytest.mark.parametrize("call", MODELS)
@pytest.mark.parametrize(
    ("model", "told"),
    [(3, "3"), (None, "nothing"), (nn.Linear, "the class Linear"), (x, "of type Tensor")],
    ids=["number", "nothing", "class", "tensor"],
)
def test_what_is_no_model(call: str, model: Any, told: str) -> None:
    with pytest.raises(TypeError, match=f"^model is {told}; allowed: a torch.nn.Module$"):
        MODELS[call](model)


TYPES: dict[str, tuple[Call, str]] = {
    "assign's source": (lambda: qat.assign(3), "source is 3; allowed: what qat.sensitivity gave, or a float model"),  # type: ignore[arg-type]
    "assign's budget": (lambda: qat.assign(floats(), "4"), "budget_bits is '4'; allowed: a number of bits"),  # type: ignore[arg-type]
    "a flag as budget": (lambda: qat.assign(floats(), True), "budget_bits is true; allowed: a number of bits"),
    "one format": (lambda: sensitivity(floats(), None, "int4"), r"formats is 'int4'; allowed: .* \['int4', 'mxfp4'\]"),
    "formats that are nothing": (lambda: sensitivity(floats(), None, None), "formats is nothing; allowed: a list"),
    "one batch": (lambda: sensitivity(floats(), x), r"batches is of type Tensor; allowed: a list .* \[x\]"),
    "a number of batches": (lambda: sensitivity(floats(), 5), "batches is 5; allowed: a list of them"),
    "a loss that is none": (lambda: sensitivity(floats(), [x], ["int4"], 3), "loss is 3; allowed: a function of"),
    "a loss of vectors": (
        lambda: sensitivity(floats(), [x], ["int4"], lambda model, batch: model(batch)),
        r"the loss is a tensor of shape \(2, 4\); allowed: a number, for each batch",
    ),
    "a loss of nothing": (
        lambda: sensitivity(floats(), [x], ["int4"], lambda model, batch: None),
        "the loss is nothing; allowed: a number, for each batch",
    ),
    "register's names": (lambda: qat.register("x", "y"), "float_class is 'x'; allowed: a class of torch modules"),  # type: ignore[arg-type]
    "register's object": (lambda: qat.register(nn.Linear, nn.Linear(1, 1)), "class is of type Linear; allowed:"),  # type: ignore[arg-type]
    "calibrate's batches": (lambda: entered(prepared(), batches=5), r"'batches'; run batches in its block: `with qat"),
    "calibrate's list": (lambda: entered(prepared(), [x]), "too many positional arguments; run batches in its block"),
    "calibrate's flag": (lambda: entered(prepared(), synchronise="no"), "synchronise is 'no'; allowed: True or False"),
    "calibrate's group": (lambda: entered(prepared(), process_group=3), "process_group is 3; allowed: what torch.dis"),
    "save's path": (lambda: qat.save(converted(), 3), "path is 3; allowed: the name of a .safetensors file, or of a"),  # type: ignore[arg-type]
    "load's order": (lambda: qat.load(floats(), "x"), "path is of type Sequential; allowed: the name of a .safet"),  # type: ignore[arg-type, type-var]
    "a state's path": (lambda: qat.load_state_dict(prepared(), "x.pt"), "state is of type str; allowed: what qat.st"),  # type: ignore[arg-type]
    "a state of numbers": (
        lambda: qat.load_state_dict(prepared(weight={**INT8, "update_every": 0}), state_with("steps", 3)),
        "0.weight_quantizer.steps is of type int; allowed: tensors",
    ),
    "a configuration of a number": (lambda: qat.QATConfig(3), "rules is 3; allowed: a list of rules, or weight=..."),  # type: ignore[arg-type]
    "a rule's layer": (lambda: qat.Rule(layer="int4"), "layer is 'int4'; allowed: a LayerConfig; QATConfig takes name"),  # type: ignore[arg-type]
    "a rule's types": (lambda: qat.Rule(types=3), r"types is 3; allowed: a tuple of names of classes, \('Linear',\)"),  # type: ignore[arg-type]
    "a rule's flag": (lambda: qat.Rule(skip="yes"), "skip is 'yes'; allowed: True or False"),  # type: ignore[arg-type]
    "another object's state": (
        lambda: qat.Checkpointed(prepared()).load_state_dict({}),
        "state is a mapping, without 'bytes'; allowed: what Checkpointed.state_dict gave",
    ),
}


@pytest.mark.parametrize("mistake", TYPES)
def test_what_is_of_a_wrong_type(mistake: str) -> None:
    call, told = TYPES[mistake]
    with pytest.raises(TypeError, match=told):
        call()


VALUES: dict[str, tuple[Call, str]] = {
    "no end of bits": (lambda: qat.assign(floats(), math.inf), "budget_bits is .inf; allowed: a finite number above 0"),
    "bits that are NaN": (lambda: qat.assign(floats(), math.nan), "budget_bits is .nan; allowed: a finite number"),
    "less than no bits": (lambda: qat.assign(floats(), -1), "budget_bits is -1; allowed: a finite number above 0"),
    "no formats": (lambda: sensitivity(floats(), None, []), "formats is an empty list; allowed: one at least"),
    "a format that is nothing": (lambda: sensitivity(floats(), None, [None]), "and none that is nothing"),
    "a loss of no batches": (
        lambda: sensitivity(floats(), None, ["int4"], lambda model, batch: 0),
        "a loss, and no batches; allowed: both, or neither",
    ),
    "a step of a float model": (lambda: qat.step(floats()), "no quantized layer; allowed: what qat.prepare"),
    "a state of a float model": (lambda: qat.state_dict(floats()), "no quantizer; allowed: what qat.prepare gave"),
    "converting a float model": (lambda: qat.convert(floats()), "no quantizer; allowed: what qat.prepare gave"),
    "converting twice": (lambda: qat.convert(converted()), "the model is converted already"),
    "preparing what is converted": (
        lambda: qat.prepare(converted(), qat.QATConfig(weight="int4")),
        "the model is prepared already; allowed: a float model",
    ),
    "sensitivity of shapes": (lambda: sensitivity(floats(device="meta")), "0.weight is on the meta device, where"),
    "converting shapes": (lambda: qat.convert(prepared().to("meta")), "0.weight is on the meta device, where there"),
    "saving shapes": (lambda: qat.save(converted().to("meta"), "x"), "0.bias is on the meta device, where there are"),
    "a state for shapes": (
        lambda: qat.load_state_dict(prepared().to("meta"), qat.state_dict(prepared())),
        "0.weight is on the meta device, where there are no values; call model.to_empty, and load weights",
    ),
    "steps that are many": (
        lambda: qat.load_state_dict(
            prepared(weight={**INT8, "update_every": 0}), state_with("steps", torch.zeros(2, dtype=torch.int64))
        ),
        r"0.weight_quantizer: steps has shape \(2,\); allowed: one number",
    ),
    "bytes that are damaged": (
        lambda: qat.Checkpointed(prepared()).load_state_dict({"bytes": b"abc"}),
        "the bytes of the state are damaged: ",
    ),
    "a file of another kind": (lambda: qat.save(converted(), "model.pt"), "model.pt is no .safetensors file; allowed"),
    "a format that is a number": (lambda: qat.QATConfig(weight=3), "weight: expected the name of a format, the path"),  # type: ignore[arg-type]
    "a quantizer that is a class": (
        lambda: qat.QATConfig(weight={"format": "int4", "quantizer": sqs.MinMax}),
        "expected the name of a quantizer, or its name with options",
    ),
    "a quantizer's class of a tensor": (
        lambda: qat.TensorConfig(format=sqs.load_format("int4"), quantizer=sqs.MinMax),  # type: ignore[arg-type]
        r"quantizer: int4 needs one, such as statqat_sim.Iterative\(\), got <class",
    ),
    "an input that is no format": (
        lambda: qat.assign(floats(), 0.1, input="int44"),
        "^assign: input: no format is named",
    ),
    "a format of a table": (
        lambda: sensitivity(floats(), None, ["int4", "int44"]),
        r"^sensitivity: formats.1: no format is named 'int44'",
    ),
    "batches of a generator that has given them": (
        lambda: sensitivity(floats(), iter([]), ["int4"]),
        "batches is empty; allowed: one at least, of a generator that is not read yet; or None",
    ),
    "classes that nobody knows": (
        lambda: qat.prepare(nn.Sequential(nn.LSTM(8, 8)), qat.QATConfig(weight="int4")),
        r"the rule match: '\*' \(there are: none\)\n100 % of the elements .* classes: LSTM; allowed: qat.register",
    ),
    "a weight that is computed": (
        lambda: qat.prepare(
            nn.Sequential(torch.nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))), qat.QATConfig(weight="int4")
        ),
        r"\(there are: none\)\nnot quantized, .* 0 \(ParametrizedLinear\); allowed: .*remove_parametrizations before",
    ),
}


@pytest.mark.parametrize("mistake", VALUES)
def test_what_is_of_a_wrong_value(mistake: str) -> None:
    call, told = VALUES[mistake]
    with pytest.raises((ValueError, SpecError), match=told):
        call()


def test_a_models_own_state_is_none_of_quantizers() -> None:
    model = prepared()
    with pytest.raises(KeyError, match="0.weight: the model has no such quantizer; allowed: what qat.state_dict gave"):
        qat.load_state_dict(model, model.state_dict())


def test_damaged_statistics_change_nothing() -> None:
    model, other = prepared(input=INT8), prepared(input=INT8)
    for each, batch in ((model, x + 1), (other, x + 2)):
        with qat.calibrate(each):
            each(batch)
    before = qat.state_dict(model)
    wrong = {**qat.state_dict(other), "2.input_quantizer.statistics.facts": torch.zeros(1)}
    with pytest.raises(ValueError, match="2.input_quantizer: statistics are damaged: "):
        qat.load_state_dict(model, wrong)
    for key, tensor in qat.state_dict(model).items():
        assert_bit_exact(tensor, before[key])


# --- files -------------------------------------------------------------------------------------------------------


def test_files_that_are_not_there_say_what_is(tmp_path: Path) -> None:
    qat.save(converted(), tmp_path / "mine.safetensors")
    for path, name in ((tmp_path, "model"), (tmp_path / "mien.safetensors", "mien")):
        with pytest.raises(FileNotFoundError, match=f"{name}.safetensors: there is no such file; its folder has: mine"):
            qat.load(path, floats())
    with pytest.raises(FileNotFoundError, match=r"there is no such file; did you mean 'mine.safetensors'\?"):
        qat.load(tmp_path / "mine.safetensor", floats())
    (tmp_path / "other.dat").write_bytes(b"abc")
    for path in (tmp_path / "model.pt", tmp_path / "other.dat"):
        with pytest.raises(ValueError, match="is no .safetensors file; allowed: such a one, or a folder for model.saf"):
            qat.load(path, floats())


def test_files_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors import SafetensorError

    def refused(*_: Any) -> None:
        raise SafetensorError("I/O error: read-only file system")

    monkeypatch.setattr("safetensors.torch.save_file", refused)
    with pytest.raises(OSError, match=r"model.safetensors: it cannot be written: I/O error: read-only file system"):
        qat.save(converted(), tmp_path)


# --- gradients alone ---------------------------------------------------------------------------------------------


def test_models_of_quantized_gradients_have_nothing_to_convert(tmp_path: Path) -> None:
    """Neither function sends one to the other."""
    model = prepared(**GRADIENTS)
    told = "only gradients are quantized: there is nothing to convert, and a float model made alike takes model.state"
    for call in (lambda: qat.convert(model), lambda: qat.save(model, tmp_path)):
        with pytest.raises(ValueError, match=told):
            call()
    assert [row.tensor for row in qat.summary(model).rows] == ["grad_output", "grad_output"]
    other = floats()
    other.load_state_dict(model.state_dict())
    assert_bit_exact(other(x).detach(), model(x).detach())


def test_gradients_beside_others_are_no_obstacle(tmp_path: Path) -> None:
    model = qat.convert(prepared(weight="mxfp4", **GRADIENTS))
    assert_bit_exact(qat.load(qat.save(model, tmp_path), floats())(x).detach(), model(x).detach())


# --- models of other kinds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [INT8, {**INT8, "update_every": 0}, {**INT8, "gradient": "lsq"}, "mxfp4"], ids=str)
def test_models_of_float64_go_all_the_way(kept: Any, tmp_path: Path) -> None:
    model = qat.prepare(floats(dtype=torch.float64), qat.QATConfig(weight=kept, input=INT8))
    batch = torch.randn(2, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with qat.calibrate(model):
        model(batch)
    y = model(batch).detach()
    assert y.dtype == torch.float64
    assert len(qat.summary(model).rows) == 4
    file = qat.save(qat.convert(model), tmp_path)
    assert_bit_exact(qat.load(file, floats(dtype=torch.float64))(batch).detach(), y)


@pytest.mark.parametrize("calibrated_in", [True, False])
def test_models_that_are_prepared_in_inference_mode_train_outside_of_it(calibrated_in: bool) -> None:
    model, batch = floats(), torch.randn(5, 16)
    kept = {"weight": {**INT8, "update_every": 1 << 20}, "input": {**INT8, "per": "channel"}, "output": INT8}
    with torch.inference_mode():
        qat.prepare(model, qat.QATConfig(**kept))
    with torch.inference_mode(calibrated_in), qat.calibrate(model):
        model(batch)
    model(batch).sum().backward()
    qat.step(model)
    qat.choose_weight_scales(model)
    assert not any(one.scale.is_inference() for _, one in qat.quantizers(model) if one.scale is not None)


class Sum(nn.Module):
    """A layer of a user's without parameters."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum(-1)


class QuantizedSum(qat.Quantized, Sum):
    layouts = {"input": qat.Layout(axis=-1, channel_axis=-1)}

    def forward(self, x: Tensor) -> Tensor:
        return self.quantized_input(x).sum(-1)


def test_layers_without_parameters_are_quantized() -> None:
    qat.register(Sum, QuantizedSum)
    model = qat.prepare(nn.Sequential(Sum()), qat.QATConfig(input=INT8))
    with qat.calibrate(model):
        model(x + 1)
    torch.testing.assert_close(model(x + 1), (x + 1).sum(-1))


class Unquantized(qat.Quantized, Sum):
    """Does not say what of it is to be quantized."""


def test_classes_that_quantize_nothing_are_not_registered() -> None:
    told = "Unquantized has neither weights nor layouts; allowed: weights = "
    with pytest.raises(TypeError, match=re.escape(told)):
        qat.register(Sum, Unquantized)


def test_lazy_modules_want_a_batch_first() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.LazyLinear(8))
    with pytest.raises(ValueError, match=re.escape("1 (LazyLinear): lazy modules have no weights yet; run a batch")):
        qat.prepare(model, qat.QATConfig(weight="mxfp4"))
    with pytest.raises(ValueError, match=r"\(model\) \(LazyLinear\): lazy modules have no weights yet"):
        qat.prepare(nn.LazyLinear(8), qat.QATConfig(weight="mxfp4"))
    skipped = qat.QATConfig([{"match": "1", "skip": True}], weight="mxfp4")
    assert qat.summary(qat.prepare(model, skipped)).left == ("1",)
    model = nn.Sequential(nn.LazyLinear(8))
    model(x)
    assert [name for name, _ in qat.layers(qat.prepare(model, qat.QATConfig(weight="mxfp4")))] == ["0"]


TIED = {"wte.weight", "head.weight"}


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wte, self.head = nn.Embedding(10, 16), nn.Linear(16, 10, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.wte(x))  # type: ignore[no-any-return]


@pytest.mark.parametrize("order", ["weights first", "scales first", "weights alone", "wte.weight", "head.weight"])
def test_tied_weights_keep_their_scales(order: str) -> None:
    """Of weights alone new ones, even where a state has the weight by one name only."""
    torch.manual_seed(0)
    config = qat.QATConfig(weight={**INT8, "gradient": "lsq"})
    source, model = qat.prepare(Tied(), config), qat.prepare(Tied(), config)
    for _, quantizer in qat.quantizers(source):
        quantizer.keep(2 * quantizer.scale)  # type: ignore[operator]
    scales = qat.state_dict(source)
    if order == "scales first":
        qat.load_state_dict(model, scales)
    weights = {name: tensor for name, tensor in source.state_dict().items() if order not in TIED - {name}}
    for _ in range(2 - (order == "scales first")):
        model.load_state_dict(weights, strict=False)
    if order == "weights first":
        qat.load_state_dict(model, scales)
    factor = 2 if order.endswith("first") else 1
    found = dict(qat.quantizers(model))
    for name, quantizer in qat.quantizers(source):
        assert torch.equal(2 * found[name].scale, factor * quantizer.scale)  # type: ignore[operator]
