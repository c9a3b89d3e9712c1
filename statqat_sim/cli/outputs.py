"""Files of results: .npy, .npz, .bin. Each appears whole or not at all, in the place of an older one."""

from __future__ import annotations

import errno
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from statqat_sim.cli.console import STDOUT

SEPARATORS = re.compile(r"[/\\\0]")
DRIVE = re.compile("[A-Za-z]:")

Named: TypeAlias = tuple[str, Any]
"""A tensor's name, and its array."""


def check_output(path: Path, inputs: Iterable[Path] = ()) -> None:
    """Raises ValueError or OSError, before anything is computed, unless results can be written to a file of this name.

    Args:
        path: where they shall go.
        inputs: files that are read, and folders of them.

    Raises:
        OSError: if its folder does not exist.
        ValueError: if its suffix is another, or if it is one of the inputs.
    """
    if path.suffix not in WRITERS:
        raise ValueError(f"{path}: not a file of results; allowed: {', '.join(WRITERS)}")
    check_folder(path)
    _check_is_no_input(path, inputs)


def check_folder(path: Path) -> None:
    """Raises OSError unless a file can lie there."""
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder", str(path.parent))


def check_json(target: str | None, inputs: Iterable[Path] = ()) -> None:
    """Raises OSError unless JSON can go there, if it shall; ValueError if that is one of the inputs."""
    if target and target != STDOUT:
        check_folder(Path(target))
        _check_is_no_input(Path(target), inputs)


def _check_is_no_input(path: Path, inputs: Iterable[Path]) -> None:
    """Raises ValueError for a result that would take the place of what is read, by whatever name it goes."""
    if not path.is_file():
        return
    for given in inputs:
        for file in given.rglob("*") if given.is_dir() else (given,):
            if file.is_file() and file.samefile(path):
                raise ValueError(f"{path}: the result would replace {file}, which is read; allowed: another file")


def write_arrays(arrays: Iterable[Named], path: Path) -> None:
    """Write numpy arrays; an .npz file takes them one after the other, the others take one.

    Raises:
        OSError: if it cannot be written.
    """
    from statqat_sim.atomic import replacing

    with replacing(path) as temporary:
        WRITERS[path.suffix](arrays, temporary)


def _write_npy(arrays: Iterable[Named], path: Path) -> None:
    import numpy as np

    ((_, array),) = arrays
    np.save(path, array, allow_pickle=False)


def _write_npz(arrays: Iterable[Named], path: Path) -> None:
    """As numpy's `savez` does, but with one array in memory at a time; the names are those of `member_name`."""
    import numpy as np

    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def member_name(name: str) -> str:
    """What a tensor is called in an archive, in which names are paths: relative ones, that stay below its folder."""
    parts = [part for part in SEPARATORS.split(name) if part not in ("", ".", "..") and not DRIVE.fullmatch(part)]
    return "/".join(parts) or "tensor"


def _write_bytes(arrays: Iterable[Named], path: Path) -> None:
    ((_, array),) = arrays
    path.write_bytes(array.astype(array.dtype.newbyteorder("<")).tobytes())


WRITERS: Mapping[str, Callable[[Iterable[Named], Path], None]] = {
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".bin": _write_bytes,
}
