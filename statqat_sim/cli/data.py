"""Shared by commands on many tensors: which arguments are files, and the loop over tensors."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import typer

from statqat_sim.cli.console import note, progress

if TYPE_CHECKING:
    from statqat_sim.cli.tensors import Tensor
    from statqat_sim.measurement import Row
    from statqat_sim.ranking import RankRow
    from statqat_sim.spec.format import Format

RowT = TypeVar("RowT", "Row", "RankRow")
"""Rows that count the values left out."""

Data: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        metavar="FILE...",
        help="Files .npy, .npz, .safetensors, .pt or .pth, or folders of them. Float8 is read times its scales, if "
        "there are tensors NAME_scale_inv or NAME_scale. Without --data, 2^20 values each of normal, laplace, "
        "student_t5, lognormal, and normal with outliers (0.1 % times 30).",
    ),
]


def sorted_out(words: Sequence[str], data: Sequence[Path], known: Container[str]) -> tuple[list[str], list[Path]]:
    """Names of formats, and files of data: `--data` takes one argument, further files arrive among the formats.

    A folder with a format's name counts as that format; `./name` is the folder.

    Raises:
        LookupError: if there are data files without `--data`.
    """
    from statqat_sim.cli.tensors import READERS

    files = [word for word in words if word not in known and (Path(word).suffix in READERS or Path(word).is_dir())]
    if files and not data:
        raise LookupError(f"{files[0]} is data, not a format; write --data before the files")
    return [word for word in words if word not in files], [*data, *map(Path, files)]


def given_or_standard(data: Sequence[Path], *, unscaled: bool) -> list[Tensor]:
    """The tensors of files, or the standard sources."""
    from statqat_sim.cli.sources import standard_sources

    return numbers_in(data, unscaled=unscaled) if data else standard_sources()


def numbers_in(data: Sequence[Path], *, unscaled: bool) -> list[Tensor]:
    """The tensors of files; float8 ones times the scales beside them unless `unscaled`."""
    from statqat_sim.cli.float8_scales import scaled
    from statqat_sim.cli.tensors import tensors

    found = tensors(data)
    return found if unscaled else scaled(found)


def rows_of(
    tensors: Sequence[Tensor],
    verb: str,
    rows: Callable[[str, Any, list[str]], Sequence[RowT]],
    least_axes: int = 0,
) -> list[RowT]:
    """The rows of all tensors, with a progress bar and notes on the standard error.

    Args:
        tensors: the tensors, read one at a time.
        verb: the name of the operation, for messages.
        rows: returns the rows of a name and an array, and appends notes to a list.
        least_axes: tensors with fewer axes are left out.

    Raises:
        ValueError: if a file is broken, the only tensor has an unsupported dtype, or there is no row.
    """
    found: list[RowT] = []
    notes: list[str] = []
    axes: list[int] = []
    for name, array in _arrays(tensors, notes, verb):
        axes.append(array.ndim)
        if array.ndim < least_axes:
            continue
        new = rows(name, array, notes)
        found += new
        if new and new[0]["nonfinite"]:
            notes.append(f"{name}: {new[0]['nonfinite']} of {new[0]['elements']} values are NaN or Inf, left out")
    for text in notes:
        note(text)
    if axes and max(axes) < least_axes:
        told = f"no tensor of floats has {least_axes} axes; allowed with these data: --least-axes {max(axes)}, or less"
        raise ValueError(f"nothing to {verb}: {told}")
    if not found:
        raise ValueError(f"nothing to {verb}: the data holds no tensor of floats that a format takes")
    return found


def _arrays(tensors: Sequence[Tensor], notes: list[str], doing: str) -> Iterator[tuple[str, Any]]:
    """Names and arrays of floats, under a progress bar; other tensors are skipped with a note.

    Raises:
        ValueError: if a file is broken, or the only tensor has an unsupported dtype.
    """
    from statqat_sim.cli.tensors import NotRead, holds_integers

    with progress() as bar:
        for tensor in bar.track(tensors, description=doing):
            try:
                array = tensor.load()
            except NotRead as error:
                if len(tensors) == 1:
                    raise
                notes.append(f"{error}; skipped")
                continue
            if holds_integers(array):
                notes.append(f"{tensor.name}: integers, skipped")
            else:
                yield tensor.name, array


def check_blocks(formats: Sequence[Format], given: Mapping[str, bool]) -> None:
    """Raises ValueError for options about blocks if no format has blocks."""
    from statqat_sim.spec.block import BlockFormat

    idle = [option for option, is_given in given.items() if is_given]
    if idle and not any(isinstance(fmt, BlockFormat) for fmt in formats):
        names = ", ".join(fmt.name for fmt in formats)
        raise ValueError(f"{idle[0]} is about blocks, and there are none in {names}; allowed: block formats")


def fitting(formats: Iterable[Format], name: str, array: Any, axis: int, notes: list[str]) -> Iterator[Format]:
    """The formats whose blocks fit the tensor's shape; a note for each of the others."""
    from statqat_sim.geometry import Geometry
    from statqat_sim.spec.block import BlockFormat

    for fmt in formats:
        try:
            if isinstance(fmt, BlockFormat):
                Geometry.of(tuple(array.shape), axis, fmt)
        except ValueError as error:
            notes.append(f"{name}: {error}; not measured in {fmt.name}")
        else:
            yield fmt
