"""`statqat-sim decode`: codes to numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from statqat_sim.cli.console import json_text, show_table, write_json, write_text
from statqat_sim.cli.options import Format, Json, Output, Search

if TYPE_CHECKING:
    from statqat_sim.cli.tensors import Tensor
    from statqat_sim.spec.number import NumberFormat

COLUMNS = ("code", "binary", "value")


class Dtype(StrEnum):
    """The dtype of decoded values; float64 holds every value."""

    FLOAT64 = "float64"
    FLOAT32 = "float32"


Codes: TypeAlias = Annotated[
    list[str] | None, typer.Argument(metavar="CODE", help="Codes: 126, 0x7e, 0b1111110; with --packed, bytes.")
]
Files: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        metavar="FILE",
        help="A file whose elements are codes, integers or float8: .npy, .npz, .safetensors, .pt, .pth, or a "
        "folder of them; or .bin, the bytes alone.",
    ),
]
OfType: TypeAlias = Annotated[Dtype, typer.Option("--dtype", help="float64 holds every value; float32 rounds once.")]
Packed: TypeAlias = Annotated[
    bool, typer.Option("--packed", help="The codes are dense, as `encode --packed` writes them.")
]
Shape: TypeAlias = Annotated[
    str | None,
    typer.Option("--shape", metavar="4,300", help="With --packed: the shape of padded rows, or of a .bin file."),
]


def decode(
    format: Format,
    codes: Codes = None,
    data: Files = None,
    output: Output = None,
    dtype: OfType = Dtype.FLOAT64,
    packed: Packed = False,
    shape: Shape = None,
    json: Json = None,
    search: Search = None,
) -> None:
    r"""Decode codes: print the value of each.

    \b
    statqat-sim decode float8_e4m3fn 0x7e 0x7f 0b10000001
    statqat-sim decode float6_e3m2fn 0x41 0x10 --packed --shape 2
    statqat-sim decode int4 --data codes.npy --output values.npy --dtype float32
    statqat-sim decode int4 --data codes.bin --packed --shape 4,300 --output values.npy
    """
    from statqat_sim.cli.conversion import check_sources, refuse_options
    from statqat_sim.cli.number_formats import load_number_format
    from statqat_sim.cli.outputs import check_results, paths_in

    refuse_options(codes or ())
    check_sources(codes or (), data or (), output, "codes")
    inputs = [*paths_in([format]), *(data or ())]
    check_results(inputs, text=json, output=output)
    how = {"dtype": dtype.value, "packed": packed, "shape": _read_shape(shape, packed)}
    fmt = load_number_format(format, search or (), "decode")
    if data:
        _decode_files(fmt, data, output or Path(), how, json)
    else:
        _decode_typed(fmt, codes or [], output, how, json)


def _read_shape(text: str | None, packed: bool) -> tuple[int, ...] | None:
    if text is None:
        return None
    if not packed:
        raise ValueError("--shape says how packed codes lie; allowed: with --packed")
    sizes = text.split(",")
    if not all(size.isdecimal() for size in sizes):
        raise ValueError(f"--shape {text}: not a shape; allowed: whole numbers with commas between them, such as 4,300")
    return tuple(map(int, sizes))


def _decode_files(fmt: NumberFormat, data: Sequence[Path], output: Path, how: dict[str, Any], json: str | None) -> None:
    from statqat_sim.cli.conversion import convert, show_conversion
    from statqat_sim.codec import Codec

    codec = Codec(fmt)

    def values(codes: Any) -> Any:
        array = _checked(codes, fmt, how["packed"])
        _check_rows(array, fmt, how)
        return codec.decode(array, **how)

    told = convert(_tensors(data, fmt, how["packed"]), values, output)
    if json:
        write_json(told, json)
        return
    show_conversion(told)
    typer.echo(f"{output}: written")


def _tensors(data: Sequence[Path], fmt: NumberFormat, packed: bool) -> list[Tensor]:
    """Every tensor; with several files or folders, names begin with that of the file."""
    from statqat_sim.cli.outputs import RAW
    from statqat_sim.cli.tensors import Kind, Tensor, tensors

    found = []
    for path in data:
        if path.suffix == RAW:
            path.stat()
            found.append(Tensor(path.stem if len(data) == 1 else str(path), partial(_raw, path, fmt, packed)))
        else:
            found += tensors([path], Kind.CODES, with_files=len(data) > 1)
    return found


def _raw(path: Path, fmt: NumberFormat, packed: bool) -> Any:
    """The little-endian words of a file without a header."""
    import numpy as np

    dtype = np.dtype(_word(fmt, packed)).newbyteorder("<")
    content = path.read_bytes()
    if len(content) % dtype.itemsize:
        raise ValueError(f"{path}: {len(content)} bytes are not a whole number of codes of {dtype.itemsize} bytes")
    return np.frombuffer(content, dtype).astype(dtype.newbyteorder("="))


def _word(fmt: NumberFormat, packed: bool) -> str:
    """The dtype of an array of codes."""
    from statqat_sim.plan.lower import code_storage

    return "uint8" if packed else code_storage(fmt).value


def _width(fmt: NumberFormat, packed: bool) -> int:
    """The bits of a given number: a code, or a byte of packed ones."""
    from statqat_sim.spec.base import BYTE

    return BYTE if packed else fmt.bits


def _checked(codes: Any, fmt: NumberFormat, packed: bool) -> Any:
    """Integers converted to the dtype that the codec takes.

    Raises:
        TypeError: if they are not integers.
        ValueError: if one is not a code of the format; the message names the first.
    """
    import numpy as np

    from statqat_sim.cli.numbers import code_refusal

    array = np.asarray(codes)
    if array.dtype.kind not in "ui":
        raise TypeError(f"codes are {array.dtype}; allowed: integers")
    bits = _width(fmt, packed)
    outside = (array < 0) | (array > (1 << bits) - 1)
    if outside.any():
        place = np.unravel_index(int(outside.argmax()), array.shape)
        raise ValueError(f"[{', '.join(map(str, place))}]: {code_refusal(int(array[place]), bits)}")
    return array.astype(_word(fmt, packed), copy=False)


def _check_rows(array: Any, fmt: NumberFormat, how: Mapping[str, Any]) -> None:
    """Raises ValueError for dense codes whose number is ambiguous without --shape."""
    from statqat_sim.spec.base import BYTE

    if not how["packed"] or how["shape"] is not None or fmt.bits > BYTE or not array.shape:
        return
    bits = BYTE * array.shape[-1]
    if bits % fmt.bits:
        shape = ",".join(map(str, (*array.shape[:-1], bits // fmt.bits)))
        told = f"rows of {bits} bits are not a whole number of {fmt.bits}-bit codes"
        raise ValueError(f"{told}; say their shape, without the padding, such as --shape {shape}")


def _decode_typed(
    fmt: NumberFormat, texts: Sequence[str], output: Path | None, how: dict[str, Any], json: str | None
) -> None:
    import numpy as np

    from statqat_sim.cli.numbers import read_code
    from statqat_sim.cli.outputs import write_arrays
    from statqat_sim.codec import Codec
    from statqat_sim.report.facts import json_value

    packed = how["packed"]
    words = np.array([read_code(text, _width(fmt, packed)) for text in texts], _word(fmt, packed))
    _check_rows(words, fmt, how)
    values = Codec(fmt).decode(words, **how)
    codes = _unpacked(words, fmt, values.shape) if packed else words
    pairs = list(zip(codes.reshape(-1).tolist(), values.reshape(-1).tolist(), strict=True))
    text = json_text({"code": code, "value": json_value(value)} for code, value in pairs) if json else ""
    if output:
        write_arrays([("values", values)], output)
    if json:
        write_text(text, json)
        return
    _show(pairs, fmt.bits)
    if output:
        typer.echo(f"{output}: written")


def _unpacked(words: Any, fmt: NumberFormat, shape: tuple[int, ...]) -> Any:
    """The codes, unpacked from dense bytes, for values of this shape."""
    from statqat_sim.packing import array_shape
    from statqat_sim.plan.lower import packed_storage
    from statqat_sim.plan.program import Packed
    from statqat_sim.reference.dense import unpack

    storage = packed_storage(fmt)
    rows = words.reshape(array_shape(shape, storage))
    return unpack(rows, storage, shape[-1]) if isinstance(storage, Packed) else rows


def _show(pairs: Sequence[tuple[int, float]], bits: int) -> None:
    from statqat_sim.cli.numbers import binary_code, hex_code
    from statqat_sim.report.facts import number
    from statqat_sim.report.table import table_of

    rows = ((hex_code(code, bits), binary_code(code, bits), number(value)) for code, value in pairs)
    show_table(table_of(COLUMNS, rows, right=COLUMNS))
