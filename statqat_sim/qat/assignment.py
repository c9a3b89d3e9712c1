"""A format for each layer, under a budget of bits."""

from __future__ import annotations

import math
from numbers import Real

from torch import nn

from statqat_sim.errors import shown
from statqat_sim.qat.config import QATConfig
from statqat_sim.qat.config_reader import tensor_config
from statqat_sim.qat.knapsack import Choice, cheapest
from statqat_sim.qat.require import told_value
from statqat_sim.qat.rules import LayerConfig, Rule, Spelled
from statqat_sim.qat.sensitivity import sensitivity
from statqat_sim.qat.sensitivity_table import Sensitivity, SensitivityRow

FORMATS = ("int3", "int4", "nvfp4.mse", "mxfp6_e2m3.mse", "mxfp8_e4m3.mse")
"""What is chosen from where no table is given."""


def assign(source: Sensitivity | nn.Module, budget_bits: float = 4.5, *, input: Spelled = None) -> QATConfig:
    """The format of each layer's weights that costs least, with no more bits per weight than a budget.

    What is least is the sum over layers of `loss_change`, each measured with that layer alone quantized: as if their
    effects added up. Where there are no losses, it is the sum of `noise`, the error of each layer's weights relative to
    their power, times its elements. Of all assignments within the budget the best one is found, exactly.

    Args:
        source: a table that `sensitivity` gave; or a float model, whose weights alone then decide, in `FORMATS`.
        budget_bits: of all weights together, per element: codes and scales, with padding.
        input: what enters every layer, as `QATConfig` takes it.

    Raises:
        TypeError: if the source is neither, or the budget no number.
        ValueError: if the budget is too small for any assignment, where the least possible is told, or not finite.
        SpecError: if `input` is wrong.
    """
    _require_budget(budget_bits)
    activations = None if input is None else tensor_config("input", input, "assign", "input")
    if not isinstance(source, Sensitivity | nn.Module):
        raise TypeError(f"source is {told_value(source)}; allowed: what qat.sensitivity gave, or a float model")
    table = source if isinstance(source, Sensitivity) else sensitivity(source, formats=FORMATS, progress=False)
    lists = [_candidates(table, layer) for layer in table.layers]
    elements = sum(rows[0].elements for rows in lists)
    chosen = cheapest([[_choice(row) for row in rows] for rows in lists], math.floor(budget_bits * elements))
    if chosen is None:
        least = sum(min(row.bits for row in rows) for rows in lists) / elements
        raise ValueError(f"budget_bits is {budget_bits:g}; allowed with these formats: at least {least:.5g}")
    rows = [rows[index] for rows, index in zip(lists, chosen, strict=True)]
    layers = [LayerConfig(weight=table.configs[row.format], input=activations) for row in rows]
    return QATConfig(
        [Rule(match=table.patterns[row.layer], layer=layer) for row, layer in zip(rows, layers, strict=True)]
    )


def _require_budget(bits: object) -> None:
    if isinstance(bits, bool) or not isinstance(bits, Real):
        raise TypeError(f"budget_bits is {shown(bits)}; allowed: a number of bits per weight, such as 4.5")
    if not math.isfinite(bits) or bits <= 0:
        raise ValueError(f"budget_bits is {shown(bits)}; allowed: a finite number above 0, of bits per weight")


def _candidates(table: Sensitivity, layer: str) -> list[SensitivityRow]:
    """The formats that a layer bears: a loss that is Inf or NaN is none."""
    rows = [table.row(layer, format) for format in table.formats]
    finite = [row for row in rows if math.isfinite(_choice(row).cost)]
    if not finite:
        raise ValueError(f"{layer}: no format has a finite loss; allowed: a table with one at least")
    return finite


def _choice(row: SensitivityRow) -> Choice:
    cost = row.noise * row.elements if row.loss_change is None else row.loss_change
    return Choice(row.bits, cost)
