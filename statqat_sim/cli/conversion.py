"""Conversion of files of numbers to files of codes, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import typer

from statqat_sim.cli.console import note, progress, show_table
from statqat_sim.cli.outputs import Named, member_name, write_arrays

if TYPE_CHECKING:
    from statqat_sim.cli.tensors import Tensor

Told: TypeAlias = Mapping[str, Any]
"""The summary of one converted tensor, for JSON."""

COLUMNS = ("tensor", "dtype", "shape", "result_dtype", "result_shape")


def refuse_options(values: Sequence[str]) -> None:
    """Raises BadParameter for unknown options, which click passes on as values since numbers may begin with a minus."""
    for value in values:
        if value.startswith("--"):
            raise typer.BadParameter(f"No such option: {value}")


def check_sources(values: Sequence[str], data: Sequence[Path], output: Path | None, what: str) -> None:
    """Raises LookupError unless either values or files are given, and with files an output."""
    if values and data:
        raise LookupError(f"{values[0]} is given with --data; allowed: {what} or files, with --data before each")
    if not values and not data:
        raise LookupError(f"nothing to do; allowed: {what}, or files with --data FILE")
    if data and output is None:
        raise LookupError("the result of --data goes to a file; write --output FILE")


def convert(tensors: Sequence[Tensor], function: Callable[[Any], Any], output: Path) -> list[Told]:
    """Write the function's result for each tensor; of several, those with unsupported dtypes are skipped with a note.

    Raises:
        OSError: if a file cannot be read or written.
        ValueError: if a tensor cannot be read, or the function does not accept it.
    """
    told: list[Told] = []
    notes: list[str] = []
    results = _results(tensors, function, told, notes)
    try:
        write_arrays(_distinct(results, output) if output.suffix == ".npz" else _single(results, output), output)
    finally:
        for text in notes:
            note(text)
    return told


def _single(results: Iterable[Named], output: Path) -> Iterator[Named]:
    """The single result, for a file that holds one."""
    first = None
    for name, array in results:
        if first is not None:
            raise ValueError(f"{output}: holds one tensor, and there are {first} and {name}; allowed: .npz")
        first = name
        yield name, array


def _distinct(results: Iterable[Named], output: Path) -> Iterator[Named]:
    """The results under their member names in an archive; raises ValueError for duplicates."""
    taken: dict[str, str] = {}
    for name, array in results:
        member = member_name(name)
        if member in taken:
            names = name if name == taken[member] else f"{taken[member]} and {name}"
            raise ValueError(f"{output}: two tensors would be called {member}: {names}; allowed: each name once")
        taken[member] = name
        yield member, array


def _results(
    tensors: Sequence[Tensor], function: Callable[[Any], Any], told: list[Told], notes: list[str]
) -> Iterator[Named]:
    import numpy as np

    from statqat_sim.arrays import dtype_name
    from statqat_sim.cli.tensors import NotRead

    with progress() as bar:
        for tensor in bar.track(tensors, description="converting"):
            try:
                array = tensor.load()
                result = np.asarray(_named(function, array, tensor.name))
            except NotRead as error:
                if len(tensors) == 1:
                    raise
                notes.append(f"{error}; skipped")
                continue
            row = (tensor.name, dtype_name(array), list(array.shape), result.dtype.name, list(result.shape))
            told.append(dict(zip(COLUMNS, row, strict=True)))
            yield tensor.name, result
    if not told:
        raise ValueError("nothing to convert: no tensor has a dtype that is taken")


def _named(function: Callable[[Any], Any], array: Any, name: str) -> Any:
    """The function's result; the tensor's name is added to its errors."""
    from statqat_sim.cli.tensors import NotRead

    try:
        return function(array)
    except TypeError as error:
        raise NotRead(f"{name}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def show_conversion(told: Sequence[Told]) -> None:
    """Print one row for each tensor."""
    from statqat_sim.report.table import table_of

    columns = (column.replace("_", "\n") for column in COLUMNS)
    show_table(table_of(columns, ([_cell(row[column]) for column in COLUMNS] for row in told)))


def _cell(value: str | list[int]) -> str:
    return value if isinstance(value, str) else "×".join(map(str, value)) or "scalar"
