"""`statqat-sim encode`: numbers to codes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from statqat_sim.cli.console import json_text, note, show_table, write_json, write_text
from statqat_sim.cli.options import Format, Json, Output, Search, Unscaled

if TYPE_CHECKING:
    from statqat_sim.cli.tensors import Tensor
    from statqat_sim.codec import Codec

COLUMNS = ("input", "code", "binary", "value", "error", "relative")

Numbers: TypeAlias = Annotated[
    list[str] | None, typer.Argument(metavar="VALUE", help="Numbers: -1.5, 1e-3, 1/3, 0x1.8p3, inf, nan.")
]
Files: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option("--data", metavar="FILE", help="A file .npy, .npz, .safetensors, .pt or .pth, or a folder of them."),
]
Packed: TypeAlias = Annotated[
    bool, typer.Option("--packed", help="Dense codes, each row (last axis) padded to a whole byte.")
]
Seed: TypeAlias = Annotated[
    int | None,
    typer.Option("--seed", help="The seed of stochastic rounding; by default a new one each time."),
]


def encode(
    format: Format,
    values: Numbers = None,
    data: Files = None,
    unscaled: Unscaled = False,
    output: Output = None,
    packed: Packed = False,
    seed: Seed = None,
    json: Json = None,
    search: Search = None,
) -> None:
    r"""Encode numbers: print the code of each, the value that it represents, and the error.

    Typed numbers are read as the nearest float64 and rounded to the format once; the relative error is that of the
    float64. Tensors of files are read without conversion: float16, bfloat16, float32, float64, float8 (its values) and
    integers, each rounded once. (`measure` skips integers, which are mostly indices, and whose errors would mean
    nothing.) Float8 NAME with scales, tensors NAME_scale_inv or NAME_scale, is their product in float32.

    \b
    statqat-sim encode float8_e4m3fn 0.1 -1.5 1/3 0x1.8p3 inf nan
    statqat-sim encode nf4 0.3 -0.7 --packed
    statqat-sim encode int4 --data weights.npy --output codes.npy
    statqat-sim encode float6_e3m2fn --data model.safetensors --packed --output codes.npz
    """
    from statqat_sim.cli.conversion import check_sources, refuse_options
    from statqat_sim.cli.data import numbers_in
    from statqat_sim.cli.number_formats import load_number_format
    from statqat_sim.cli.outputs import check_results, paths_in
    from statqat_sim.codec import Codec, new_seed

    refuse_options(values or ())
    check_sources(values or (), data or (), output, "numbers")
    inputs = [*paths_in([format]), *(data or ())]
    check_results(inputs, text=json, output=output)
    fmt = load_number_format(format, search or (), "encode")
    codec = Codec(fmt)
    if seed is None and fmt.encode.rounding.is_stochastic:
        seed = new_seed()
        note(f"--seed {seed}")
    if data:
        _encode_files(codec, numbers_in(data, unscaled=unscaled), output or Path(), packed, seed, json)
    else:
        _encode_typed(codec, values or [], output, packed, seed, json)


def _encode_files(
    codec: Codec, tensors: Sequence[Tensor], output: Path, packed: bool, seed: int | None, json: str | None
) -> None:
    """Encode tensors of files; the sequence of random bits continues from tensor to tensor."""
    from statqat_sim.cli.conversion import convert, show_conversion

    offset = 0

    def codes(x: Any) -> Any:
        nonlocal offset
        result = codec.encode(x, seed=seed, offset=offset, packed=packed)
        offset += math.prod(x.shape)
        return result

    told = convert(tensors, codes, output)
    if json:
        write_json(told, json)
        return
    show_conversion(told)
    typer.echo(f"{output}: written")


def _encode_typed(
    codec: Codec, texts: Sequence[str], output: Path | None, packed: bool, seed: int | None, json: str | None
) -> None:
    import numpy as np

    from statqat_sim.cli.numbers import read_number
    from statqat_sim.cli.outputs import write_arrays

    x = np.array([read_number(text) for text in texts], np.float64)
    codes = codec.encode(x, seed=seed)
    dense = codec.encode(x, seed=seed, packed=True) if packed else None
    rows = list(_rows(x.tolist(), codes.tolist(), codec.decode(codes, dtype="float64").tolist()))
    text = json_text(rows if dense is None else [{"packed": dense.tobytes().hex(), "codes": rows}]) if json else ""
    if output:
        write_arrays([("codes", codes if dense is None else dense)], output)
    if json:
        write_text(text, json)
        return
    _show(rows, codec.format.bits)
    if dense is not None:
        typer.echo(f"\npacked: {dense.size} bytes: {dense.tobytes().hex(' ')}")
    if output:
        typer.echo(f"{output}: written")


def _rows(inputs: Sequence[float], codes: Sequence[int], values: Sequence[float]) -> Iterator[dict[str, Any]]:
    """One JSON-ready row per input: NaN and Inf are strings, undefined errors are None."""
    from statqat_sim.report.facts import json_value

    for x, code, y in zip(inputs, codes, values, strict=True):
        error = _error(x, y)
        yield {
            "input": json_value(x),
            "code": code,
            "value": json_value(y),
            "error": error,
            "relative_error": _relative(error, x),
        }


def _error(x: float, y: float) -> float | None:
    """The error y - x; None if exactly one of them is not finite."""
    if math.isfinite(x) and math.isfinite(y):
        return y - x
    return 0.0 if x == y or (math.isnan(x) and math.isnan(y)) else None


def _relative(error: float | None, x: float) -> float | None:
    if error is None or error == 0:
        return error
    relative = error / abs(x) if x else math.inf
    return relative if math.isfinite(relative) else None


def _show(rows: Sequence[dict[str, Any]], bits: int) -> None:
    from statqat_sim.cli.numbers import binary_code, hex_code
    from statqat_sim.report.facts import number
    from statqat_sim.report.table import NOTHING, number_text, table_of

    def cells(row: dict[str, Any]) -> tuple[str, ...]:
        code, relative = row["code"], row["relative_error"]
        return (
            number(float(row["input"])),
            hex_code(code, bits),
            binary_code(code, bits),
            number(float(row["value"])),
            number_text(row["error"], ".6g"),
            NOTHING if relative is None else f"{100 * relative:.3g} %",
        )

    show_table(table_of(COLUMNS, map(cells, rows), right=COLUMNS))
