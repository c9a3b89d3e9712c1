"""Files of results: .npy, .npz, .bin. Each is written atomically and replaces an older one."""

from __future__ import annotations

import errno
import re
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from statqat_sim.cli.console import STDOUT

SEPARATORS = re.compile(r"[/\\\0]")
DRIVE = re.compile("[A-Za-z]:")

SPECS = (".yaml", ".yml")
"""The suffixes of format and accelerator files."""

RAW = ".bin"
"""The suffix of files that hold the bytes of one array alone."""

Named: TypeAlias = tuple[str, Any]
"""A tensor's name, and its array."""


def paths_in(names: Iterable[str | None]) -> list[Path]:
    """The files among names of formats or accelerators: those that are written as paths."""
    from statqat_sim.spec.files import is_path

    return [Path(name) for name in names if name and is_path(name)]


def check_results(
    inputs: Collection[Path] = (), *, text: str | None, plot: Path | None = None, output: Path | None = None
) -> None:
    """Check, before anything is computed, that results can be written to files of these names.

    Args:
        inputs: files that are read, and folders of them.
        text: the file of JSON or other text; "-" is always fine.
        plot: the file of a picture.
        output: the file of arrays.

    Raises:
        OSError: if a folder does not exist, or if a file is one.
        ValueError: if a suffix is not supported, a file is one of the inputs, or that of the text is another result
            or an existing .yaml file: these may be read by name, and by `extends`.
    """
    _check_output(output, inputs)
    _check_plot(plot, inputs)
    _check_text(text, inputs, [output, plot])


def _check_output(path: Path | None, inputs: Iterable[Path]) -> None:
    if path is None:
        return
    if path.suffix not in WRITERS:
        raise ValueError(f"{path}: not a file of results; allowed: {', '.join(WRITERS)}")
    _check_file(path, inputs)


def _check_plot(path: Path | None, inputs: Iterable[Path]) -> None:
    if path is None:
        return
    from statqat_sim.report.plot import check_suffix

    check_suffix(path)
    _check_file(path, inputs)


def _check_text(target: str | None, inputs: Iterable[Path], results: Iterable[Path | None]) -> None:
    if not target or target == STDOUT:
        return
    path = Path(target)
    if path.suffix.lower() in SPECS and path.is_file():
        told = f"the result would replace a {path.suffix} file, which may be a format or an accelerator"
        raise ValueError(f"{path}: {told}; allowed: another file")
    _check_file(path, inputs)
    if any(other and other.resolve() == path.resolve() for other in results):
        raise ValueError(f"{path}: two results would be written to it; allowed: a file for each")


def _check_file(path: Path, inputs: Iterable[Path]) -> None:
    """Check that a result has a folder, and would replace neither one nor, under any of its names, an input.

    Raises:
        OSError: if its folder does not exist, or if it is one.
        ValueError: if it is one of the inputs.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder", str(path.parent))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder, to which no result can be written", str(path))
    if not path.is_file():
        return
    for given in inputs:
        for file in given.rglob("*") if given.is_dir() else (given,):
            if file.is_file() and file.samefile(path):
                raise ValueError(f"{path}: the result would replace {file}, which is read; allowed: another file")


def write_arrays(arrays: Iterable[Named], path: Path) -> None:
    """Write numpy arrays: any number to an .npz file, one at a time; exactly one to other files.

    Raises:
        OSError: if the file cannot be written.
    """
    from statqat_sim.atomic import replacing

    with replacing(path) as temporary:
        WRITERS[path.suffix](arrays, temporary)


def _write_npy(arrays: Iterable[Named], path: Path) -> None:
    import numpy as np

    ((_, array),) = arrays
    np.save(path, array, allow_pickle=False)


def _write_npz(arrays: Iterable[Named], path: Path) -> None:
    """Like numpy's `savez`, but with one array in memory at a time; names are those of `member_name`."""
    import numpy as np

    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def member_name(name: str) -> str:
    """A tensor's member name in an archive: a relative path that stays below the folder of extraction."""
    parts = [part for part in SEPARATORS.split(name) if part not in ("", ".", "..") and not DRIVE.fullmatch(part)]
    return "/".join(parts) or "tensor"


def _write_bytes(arrays: Iterable[Named], path: Path) -> None:
    ((_, array),) = arrays
    path.write_bytes(array.astype(array.dtype.newbyteorder("<")).tobytes())


WRITERS: Mapping[str, Callable[[Iterable[Named], Path], None]] = {
    ".npy": _write_npy,
    ".npz": _write_npz,
    RAW: _write_bytes,
}
