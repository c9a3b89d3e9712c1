"""Files of tensors: .npy, .npz, .safetensors, .pt, .pth. Nothing in a file is ever executed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from statqat_sim.errors import UnsupportedError

FLOATS = ("float16", "bfloat16", "float32", "float64")
"""The dtypes that are measured, by the names that numpy, ml_dtypes and torch give them."""

SAFETENSORS_NAMES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "BOOL": "bool"} | {
    f"{kind}{bits}": f"{name}{bits}" for kind, name in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)
}

UNSAFE_ADVICE = ("allow_pickle", "weights_only")
"""Words of libraries that advise to load pickled objects."""

Load: TypeAlias = Callable[[], Any]
"""Reads one tensor: an array or a torch tensor; None if it holds integers."""


class NotMeasured(ValueError):
    """A tensor of a kind that is not measured: float8, complex, sparse."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One named tensor, read when needed.

    `load` raises ValueError, with file and tensor, if it cannot be read or is neither floats nor integers.
    """

    name: str
    load: Load


def tensors(paths: Iterable[Path]) -> list[Tensor]:
    """Every tensor of files, and of folders' files; with several files, a tensor's name starts with its file.

    Raises:
        OSError: if a file or folder cannot be read.
        ValueError: if a file is of another type, or broken; if a folder holds none.
        UnsupportedError: for torch files without torch.
    """
    files = [file for path in paths for file in _files(path)]
    found = []
    for file in files:
        for key, load in READERS[file.suffix](file):
            name = key or file.stem
            if len(files) > 1:
                name = f"{file}:{key}" if key else str(file)
            found.append(Tensor(name, load))
    return found


def _files(path: Path) -> list[Path]:
    allowed = ", ".join(READERS)
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.suffix in READERS and file.is_file())
        if not inside:
            raise ValueError(f"{path}: no data in this folder; allowed: {allowed}")
        return inside
    path.stat()
    if path.suffix not in READERS:
        raise ValueError(f"{path}: not a file of tensors; allowed: {allowed}")
    return [path]


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Errors of the libraries that read files: each has kinds of its own, which become ValueError here."""
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        if any(unsafe in str(error) for unsafe in UNSAFE_ADVICE):
            raise ValueError(f"{where}: holds Python objects, which are never loaded; save plain tensors") from error
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise (NotMeasured if isinstance(error, NotMeasured) else ValueError)(f"{where}: {reason}") from error


def _is_measured(dtype: str) -> bool:
    """Whether a tensor is floats; False for integers, which are no weights.

    Raises:
        ValueError: for anything else.
    """
    if dtype.startswith(("int", "uint", "bool")):
        return False
    if dtype in FLOATS:
        return True
    hint = " (numpy saves bfloat16 and float8 without their type)" if dtype.startswith("void") else ""
    raise NotMeasured(f"holds {dtype}{hint}; allowed: {', '.join(FLOATS)}; decode other formats first")


# --- numpy -----------------------------------------------------------------------------------------------------


def _npy(file: Path) -> Iterator[tuple[str, Load]]:
    yield "", partial(_load_npy, file)


def _load_npy(file: Path) -> Any:
    import numpy as np

    with _told(str(file)), file.open("rb") as stream:
        if stream.read(6) != np.lib.format.MAGIC_PREFIX:
            raise ValueError("not a .npy file")
        stream.seek(0)
        array = np.load(stream, allow_pickle=False)
        return array if _is_measured(array.dtype.name) else None


def _npz(file: Path) -> Iterator[tuple[str, Load]]:
    import numpy as np

    with _told(str(file)), file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        keys = list(archive.files)
    for key in keys:
        yield key, partial(_load_npz, file, key)


def _load_npz(file: Path, key: str) -> Any:
    import numpy as np

    with _told(f"{file}: {key}"), file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        array = archive[key]
        if not isinstance(array, np.ndarray):
            raise ValueError("not an array")
        return array if _is_measured(array.dtype.name) else None


# --- safetensors -----------------------------------------------------------------------------------------------


def _safetensors(file: Path) -> Iterator[tuple[str, Load]]:
    from safetensors import safe_open

    with _told(str(file)):
        archive: Any = safe_open(file, "np")
    for key in archive.keys():  # noqa: SIM118
        yield key, partial(_load_safetensors, archive, file, key)


def _load_safetensors(archive: Any, file: Path, key: str) -> Any:
    import ml_dtypes  # noqa: F401  (numpy learns what bfloat16 is)

    with _told(f"{file}: {key}"):
        dtype = archive.get_slice(key).get_dtype()
        return archive.get_tensor(key) if _is_measured(SAFETENSORS_NAMES.get(dtype, dtype)) else None


# --- torch -----------------------------------------------------------------------------------------------------


def _torch(file: Path) -> Iterator[tuple[str, Load]]:
    if find_spec("torch") is None:
        raise UnsupportedError(f"{file}: reading it needs torch: pip install 'statqat-sim[torch]'")
    import torch

    with _told(f"{file}: not a file of tensors alone"):
        content = torch.load(file, map_location="cpu", weights_only=True)
    found = list(_flat("", content, torch.Tensor))
    if not found:
        raise ValueError(f"{file}: holds no tensors")
    for key, tensor in found:
        yield key, partial(_checked, tensor, f"{file}: {key}" if key else str(file))


def _flat(key: str, content: Any, kind: type) -> Iterator[tuple[str, Any]]:
    """The tensors in nested mappings and lists; other values are settings, not data."""
    if isinstance(content, kind):
        yield key, content
        return
    is_mapping, is_list = isinstance(content, Mapping), isinstance(content, list | tuple)
    entries = content.items() if is_mapping else enumerate(content) if is_list else ()
    for name, entry in entries:
        yield from _flat(f"{key}.{name}" if key else str(name), entry, kind)


def _checked(tensor: Any, where: str) -> Any:
    with _told(where):
        if not _is_measured(str(tensor.dtype).removeprefix("torch.")):
            return None
        if str(tensor.layout) != "torch.strided":
            raise NotMeasured(f"is {tensor.layout}; allowed: dense tensors")
        return tensor


READERS: Mapping[str, Callable[[Path], Iterator[tuple[str, Load]]]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".safetensors": _safetensors,
    ".pt": _torch,
    ".pth": _torch,
}
