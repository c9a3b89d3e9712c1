"""Tables of a model's quantized layers, as text."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from statqat_sim.report.table import NOTHING, number_text, plain_table

if TYPE_CHECKING:
    from statqat_sim.qat.sensitivity_table import Sensitivity
    from statqat_sim.qat.summary import Summary, SummaryRow

WIDTH = 120


def summary_text(summary: Summary) -> str:
    """One row for each tensor, and the total size of the weights."""
    table = plain_table()
    for name in ("layer", "tensor", "format", "quantizer"):
        table.add_column(name, overflow="fold")
    for name in ("scale", "SQNR\n(dB)", "clipped\n(%)", "bits per\nelement"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in summary.rows:
        table.add_row(*_texts(row))
    return text_of(table) + "\n".join(_footer(summary))


def sensitivity_text(found: Sensitivity) -> str:
    """One row for each layer: its SQNR in each format and, if batches were given, the change of the loss."""
    table = plain_table()
    table.add_column("layer", overflow="fold")
    for name in found.formats:
        table.add_column(f"{name}\n(dB)", justify="right")
        if found.loss is not None:
            table.add_column("loss", justify="right")
    for layer in found.layers:
        table.add_row(layer or "(model)", *_sensitivities(found, layer))
    loss = "" if found.loss is None else f"loss with no layer quantized: {found.loss:.6g}; below `loss`, its change\n"
    return text_of(table) + loss


def _sensitivities(found: Sensitivity, layer: str) -> Iterator[str]:
    for name in found.formats:
        row = found.row(layer, name)
        yield decibels_text(row.sqnr_db)
        if row.loss_change is not None:
            yield f"{row.loss_change:+.3g}"


def text_of(table: Table) -> str:
    """A table as text without colours, at most `WIDTH` characters wide."""
    stream = StringIO()
    Console(file=stream, width=WIDTH, color_system=None, markup=False, highlight=False, emoji=False).print(table)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def decibels_text(ratio: float | None) -> str:
    """A ratio in dB with two decimals."""
    return number_text(ratio, ".2f")


def _texts(row: SummaryRow) -> Iterator[str]:
    yield row.layer or "(model)"
    yield row.tensor
    yield row.format if row.mode == "quantize" else f"{row.format} ({row.mode})"
    yield row.quantizer or NOTHING
    yield _scale(row.scale)
    yield decibels_text(row.sqnr_db)
    yield NOTHING if row.clipped is None else f"{100 * row.clipped:.3g}"
    shared = row.elements and not row.nbytes
    yield "shared" if shared else NOTHING if row.bits_per_element is None else f"{row.bits_per_element:.4g}"


def _scale(scale: tuple[float, float] | None) -> str:
    if scale is None:
        return NOTHING
    low, high = scale
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def _footer(summary: Summary) -> Iterator[str]:
    if summary.nbytes:
        state = "weights" if summary.converted else "weights, after qat.convert"
        sizes = f"{summary.nbytes:,} bytes, {summary.bits_per_element:.4g} bits per element"
        share = summary.float_nbytes / summary.nbytes
        yield f"quantized: {100 * summary.quantized_share:.3g} % of the elements of the model's matrices"
        yield f"{state}: {sizes}; {summary.float_nbytes:,} bytes as floats, {share:.3g} times as many"
    if any(row.mode == "float" for row in summary.rows):
        yield "(float): passes as it is, see qat.set_mode"
    for matmul in dict.fromkeys(summary.matmuls.values()):
        found = ", ".join(name or "(model)" for name, each in summary.matmuls.items() if each == matmul)
        yield f"matmul {matmul} ({matmul.unit.evidence}): {found}"
    if summary.left:
        yield f"not quantized: {', '.join(summary.left)}"
    if summary.unknown:
        found = ", ".join(f"{name or '(model)'} ({kind})" for name, kind in summary.unknown.items())
        yield f"not quantized, of classes that qat.register has not told of: {found}"
