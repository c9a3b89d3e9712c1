"""Layer by layer, format by format; and the best assignment of formats within a budget."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import statqat_sim as sqs
from statqat_sim import qat
from statqat_sim.qat.knapsack import Choice, cheapest
from statqat_sim.qat.ops import choose_scale
from tests.qat_models import TOKENS, net, tokens

INT4 = {"format": "int4", "quantizer": "minmax"}
INT2 = {"format": "int2", "quantizer": "minmax"}


def cross_entropy(model: nn.Module, batch: Any) -> Any:
    return F.cross_entropy(model(batch).reshape(-1, TOKENS), batch.reshape(-1))


@pytest.fixture(scope="module")
def table() -> qat.Sensitivity:
    return qat.sensitivity(net(), [tokens(1), tokens(2)], [INT2, INT4, "mxfp4", "mxfp8_e4m3"], cross_entropy)


# --- the table ---------------------------------------------------------------------------------------------------


def test_a_row_is_what_a_prepared_model_does(table: qat.Sensitivity) -> None:
    assert table.layers == ("embedding|head", "attention", "down", "up", "image", "linear")
    assert table.formats == ("int2", "int4", "mxfp4", "mxfp8_e4m3")
    for layer, format, spelled in (("attention", "int4", INT4), ("embedding|head", "mxfp4", "mxfp4")):
        model = qat.prepare(net(), qat.QATConfig([{"match": layer, "weight": spelled}]))
        with torch.no_grad():
            mean = sum(float(cross_entropy(model, batch)) for batch in (tokens(1), tokens(2))) / 2
        found, summary = table.row(layer, format), qat.summary(model)
        assert table.loss is not None
        assert found.loss_change == pytest.approx(mean - table.loss, abs=1e-5)
        assert found.bits == 8 * summary.nbytes
        assert found.bits_per_element == summary.bits_per_element
        if layer != "attention":  # whose weights are told together
            assert found.sqnr_db == pytest.approx(summary.rows[0].sqnr_db)


def test_the_model_stays_what_it_was() -> None:
    model = net().train()
    model.norm.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    qat.sensitivity(model, [tokens()], ["mxfp4"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training
    assert not model.norm.training
    assert all(parameter.grad is None for parameter in model.parameters())

    def broken(model: nn.Module, batch: Any) -> float:
        if not torch.equal(model.linear.weight, before["linear.weight"]):  # type: ignore[arg-type]
            raise RuntimeError("in the middle of it")
        return 0.0

    with pytest.raises(RuntimeError, match="in the middle of it"):
        qat.sensitivity(model, [tokens()], ["mxfp4"], broken)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training


def test_measuring_draws_nothing_and_chooses_each_scale_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = sqs.parse_format("{name: drawn, extends: int4_narrow, encode: {rounding: stochastic_a, random_bits: 8}}")
    shapes: list[tuple[int, ...]] = []

    def counted(x: torch.Tensor, **options: Any) -> torch.Tensor:
        shapes.append(tuple(x.shape))
        return choose_scale(x, **options)

    monkeypatch.setattr("statqat_sim.qat.tensor_quantizer.choose_scale", counted)
    model, generator = nn.Linear(16, 4), torch.get_rng_state()
    once, again = (qat.sensitivity(model, formats=[{"format": drawn, "quantizer": "minmax"}]) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), generator)
    assert once.rows == again.rows
    assert shapes == [(4, 16)] * 2


def test_without_a_loss_it_is_how_far_outputs_move() -> None:
    model, x = nn.Linear(16, 4), torch.randn(5, 16)
    table = qat.sensitivity(model, [(x,)], ["mxfp4"])
    assert (table.loss, table.layers) == (0.0, ("",))
    y, weight = model(x).detach(), sqs.Codec(sqs.load_format("mxfp4")).fake_quantize(model.weight.detach())
    moved = F.linear(x, weight, model.bias.detach())
    assert table.row("", "mxfp4").loss_change == pytest.approx(float(((moved - y) ** 2).sum() / (y**2).sum()), rel=1e-4)
    assert "(model)" in str(table)


def test_without_batches_there_are_no_losses() -> None:
    table = qat.sensitivity(net(), formats=["mxfp4", INT4, {**INT4, "per": "tensor", "quantizer": "search"}])
    assert table.loss is None
    assert all(row.loss_change is None for row in table.rows)
    assert table.formats == ("mxfp4", "int4 MinMax()", "int4 Search() per tensor")
    assert "loss" not in str(table)


def test_the_table_and_the_picture(table: qat.Sensitivity, tmp_path: Path) -> None:
    lines = str(table).splitlines()
    assert lines[0].split() == ["int2", "int4", "mxfp4", "mxfp8_e4m3"]
    assert (
        next(line for line in lines if line.startswith("linear")).split()[1]
        == f"{table.row('linear', 'int2').sqnr_db:.2f}"
    )
    assert lines[-1] == f"loss with no layer quantized: {table.loss:.6g}; below `loss`, its change"
    table.plot(tmp_path / "heat.png")
    table.plot(str(tmp_path / "heat.svg"))
    assert (tmp_path / "heat.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="not a picture's name; allowed: .png"):
        table.plot(tmp_path / "heat.txt")


def test_batches_with_labels_need_a_loss() -> None:
    pairs = DataLoader(TensorDataset(torch.randn(6, 48), torch.zeros(6)), batch_size=2)
    model = nn.Sequential(nn.Linear(48, 7))
    told = r"forward of Sequential does not take what is in batches: too many positional .* loss=lambda model, batch: "
    with pytest.raises(TypeError, match=told):
        qat.sensitivity(model, pairs, ["int4"])
    with pytest.raises(TypeError, match="does not take what is in batches: got an unexpected keyword argument 'y'"):
        qat.sensitivity(model, [{"input": torch.randn(2, 48), "y": 0}], ["int4"])
    assert (
        qat.sensitivity(model, pairs, ["int4"], lambda model, batch: model(batch[0]).square().mean()).loss is not None
    )
    assert qat.sensitivity(model, [{"input": torch.randn(2, 48)}, (torch.randn(2, 48),)], ["int4"]).loss == 0


def test_errors_within_a_model_are_its_own() -> None:
    class Broken(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            raise TypeError("of its own")

    with pytest.raises(TypeError, match="^of its own$"):
        qat.sensitivity(nn.Sequential(nn.Linear(4, 4), Broken(4, 4)), [torch.zeros(4)], ["int4"])


def test_blocks_of_rows_and_columns_are_refused_by_layer() -> None:
    told = "^down: blocks of nvfp4_2d have rows and columns, .*\nup: .*\nimage: blocks of nvfp4_2d .*one axis.*$"
    with pytest.raises(ValueError, match=told):
        qat.sensitivity(net(), None, ["int4", "nvfp4_2d"])


def test_what_is_refused(table: qat.Sensitivity) -> None:
    with pytest.raises(ValueError, match="prepared already; allowed: a float model"):
        qat.sensitivity(qat.prepare(net(), qat.QATConfig(weight="mxfp4")), [])
    with pytest.raises(ValueError, match="no layer whose weights can be quantized"):
        qat.sensitivity(nn.ReLU(), [])
    with pytest.raises(sqs.SpecError, match="did you mean 'mxfp4'"):
        qat.sensitivity(net(), [], ["mxfp44"])
    with pytest.raises(LookupError, match="no row of 'liner' in 'int4'; did you mean 'linear'?"):
        table.row("liner", "int4")
    with pytest.raises(TypeError, match="the output of the model is of type dict; allowed without a loss: a tensor"):
        qat.sensitivity(_Dict(), [torch.zeros(1, 2)], ["mxfp4"])


class _Dict(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> Any:
        return {"y": self.linear(x)}


# --- the assignment ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [3.0, 3.7, 4.6, 6.0, 9.0])
def test_an_assignment_is_the_best_within_its_budget(budget: float, table: qat.Sensitivity) -> None:
    config = qat.assign(table, budget)
    model = qat.prepare(net(), config)
    summary = qat.summary(model)
    assert summary.bits_per_element <= budget
    assert qat.summary(qat.convert(model)).bits_per_element <= budget
    rows = [[table.row(layer, format) for format in table.formats] for layer in table.layers]
    room = budget * sum(each[0].elements for each in rows)
    fitting = [chosen for chosen in itertools.product(*rows) if sum(row.bits for row in chosen) <= room]
    best = min(sum(row.loss_change or 0.0 for row in chosen) for chosen in fitting)
    formats = [rule.layer.weight.format.name for rule in config.rules if rule.layer.weight]
    found = [table.row(*pair).loss_change or 0.0 for pair in zip(table.layers, formats, strict=True)]
    assert sum(found) == pytest.approx(best, abs=1e-12)


def test_more_bits_never_cost_more(table: qat.Sensitivity) -> None:
    def cost(budget: float) -> float:
        formats = [rule.layer.weight.format.name for rule in qat.assign(table, budget).rules if rule.layer.weight]
        return sum(table.row(*pair).loss_change or 0.0 for pair in zip(table.layers, formats, strict=True))

    costs = [cost(budget) for budget in (3, 4, 5, 6, 7, 8, 9)]
    assert costs == sorted(costs, reverse=True)


def test_an_assignment_can_be_written_and_can_quantize_inputs(table: qat.Sensitivity, tmp_path: Path) -> None:
    config = qat.assign(table, 5.0, input="mxfp8_e4m3")
    (tmp_path / "qat.yaml").write_text(config.to_yaml())
    assert qat.QATConfig.from_yaml(tmp_path / "qat.yaml") == config
    model = qat.prepare(net(), config)
    assert model.linear.input_quantizer.config.format.name == "mxfp8_e4m3"
    assert model.head.weight_quantizer.config == model.embedding.weight_quantizer.config


def test_a_model_alone_is_assigned_by_the_errors_of_its_weights() -> None:
    model = nn.Sequential(nn.Linear(256, 64, bias=False), nn.Linear(64, 64, bias=False))
    config = qat.assign(model, 4.6)
    assert qat.summary(qat.prepare(model, config)).bits_per_element <= 4.6


def test_a_budget_that_is_too_small_is_told_the_least(table: qat.Sensitivity) -> None:
    least = sum(table.row(layer, "int2").bits for layer in table.layers)
    least_bits = least / sum(table.row(layer, "int2").elements for layer in table.layers)
    with pytest.raises(ValueError, match=f"budget_bits is 1; allowed with these formats: at least {least_bits:.5g}"):
        qat.assign(table, 1)


def test_a_format_that_breaks_the_loss_is_not_chosen() -> None:
    def fragile(model: nn.Module, batch: Any) -> float:
        return math.nan if model.weight[0].unique().numel() < 6 else 0.0  # type: ignore[index]

    model = nn.Linear(32, 8)
    table = qat.sensitivity(model, [0], [INT2, INT4], fragile)
    assert qat.assign(table, 9).rules[0].layer.weight == table.configs["int4"]
    with pytest.raises(ValueError, match="allowed with these formats: at least 5"):
        qat.assign(table, 4)


CHOICES = st.builds(Choice, st.integers(0, 40), st.floats(-5, 5) | st.integers(-3, 3).map(float))


@given(st.lists(st.lists(CHOICES, min_size=1, max_size=4), min_size=1, max_size=5), st.integers(0, 150))
@settings(max_examples=200, deadline=None)
def test_the_cheapest_choices_are_those_of_brute_force(lists: list[list[Choice]], room: int) -> None:
    fitting = [chosen for chosen in itertools.product(*lists) if sum(choice.size for choice in chosen) <= room]
    found = cheapest(lists, room)
    if not fitting:
        assert found is None
        return
    assert found is not None
    chosen = [choices[index] for choices, index in zip(lists, found, strict=True)]
    assert sum(choice.size for choice in chosen) <= room
    least = min(sum(choice.cost for choice in each) for each in fitting)
    assert sum(choice.cost for choice in chosen) == pytest.approx(least, abs=1e-6)


def test_many_layers_are_no_trouble() -> None:
    """As many as a large model has, of sizes that have nothing in common."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.randint(10_000, 1_000_000, (200,), generator=generator).tolist()
    noise = torch.rand(200, generator=generator).tolist()
    lists = [
        [Choice(bits * size, each * 4.0**-bits) for bits in (3, 4, 5, 6, 8)]
        for size, each in zip(sizes, noise, strict=True)
    ]
    found = cheapest(lists, int(4.5 * sum(sizes)))
    assert found is not None
    assert sum(choices[index].size for choices, index in zip(lists, found, strict=True)) <= 4.5 * sum(sizes)


def test_one_format_with_scales_of_its_own_or_not_is_two_columns() -> None:
    table = qat.sensitivity(nn.Linear(8, 8), None, [INT4, {**INT4, "per": "tensor"}], progress=False)
    assert table.formats == ("int4 MinMax()", "int4 MinMax() per tensor")


def test_the_assignment_of_a_model_that_is_one_layer_can_be_written(tmp_path: Path) -> None:
    config = qat.assign(nn.Linear(64, 64))
    (tmp_path / "qat.yaml").write_text(config.to_yaml())
    assert qat.QATConfig.from_yaml(tmp_path / "qat.yaml") == config
