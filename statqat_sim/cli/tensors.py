"""Files of tensors: .npy, .npz, .safetensors, .pt, .pth. Nothing in a file is ever executed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cache, partial
from importlib.util import find_spec
from os import SEEK_CUR
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from statqat_sim.arrays import FLOATS, INTEGERS, dtype_name
from statqat_sim.errors import UnsupportedError, to_install

if TYPE_CHECKING:
    from statqat_sim.codec import Codec

WHOLE = (*INTEGERS, "bool")
"""Dtypes of integers and booleans."""

SAFETENSORS_FLOAT8 = {
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
}
"""What torch, and the catalog, call the dtypes of safetensors that numpy does not have."""

FLOAT8 = tuple(SAFETENSORS_FLOAT8.values())
NUMBERS_READ = ", ".join((*FLOATS, *FLOAT8, "integers"))

VOIDS = ("void8", "void16", "void32")
"""What numpy saves dtypes unknown to it as."""

SAFETENSORS_NAMES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "BOOL": "bool"} | {
    f"{kind}{bits}": f"{name}{bits}" for kind, name in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)
}

UNSAFE_ADVICE = ("allow_pickle", "weights_only")
"""Words in messages of libraries that advise loading pickled objects."""

UNREADABLE = "not a valid dtype descriptor"
"""Words in numpy's message about dtypes of other libraries, which it writes without their names."""

ZIP, PICKLE = b"PK", b"\x80"
"""The first bytes of zip archives, which .npz and torch files are, and of torch's pickles of old versions."""

Load: TypeAlias = Callable[[], Any]
"""A function that reads one tensor: an array or a torch tensor."""

Entry: TypeAlias = tuple[str, Load, bool]
"""A tensor of a file: its key, the function that reads it, and whether its dtype is a float8."""


class NotRead(ValueError):
    """A tensor of an unwanted kind: complex where numbers are expected, or sparse."""


class Kind(Enum):
    """The elements to read."""

    NUMBERS = "numbers"
    """Floats and integers; float8 as the float32 of its values."""
    CODES = "codes"
    """Integers; float8 as its bytes."""
    EITHER = "either"
    """Floats and integers; float8 as its bytes."""

    def check(self, dtype: str) -> None:
        """Raises NotRead for a dtype that this kind does not include."""
        takes_floats, takes_bytes = self is not Kind.CODES, self is not Kind.NUMBERS
        if dtype in (*WHOLE, *FLOAT8) or (takes_floats and dtype in FLOATS) or (takes_bytes and dtype in VOIDS):
            return
        hint = " (numpy saves bfloat16 and float8 without their type)" if dtype in VOIDS else ""
        allowed = f"{NUMBERS_READ}; decode other formats first" if takes_floats else "codes, as integers or float8"
        raise NotRead(f"holds {dtype}{hint}; allowed: {allowed}")

    def of_float8(self, codes: Any, dtype: str) -> Any:
        """The elements of a float8 array or tensor, of which `codes` are the bytes."""
        return _codec(dtype).decode(codes) if self is Kind.NUMBERS else codes


@cache
def _codec(name: str) -> Codec:
    """The codec of a format of the catalog; files hold many tensors."""
    from statqat_sim.codec import Codec
    from statqat_sim.spec.catalog import load_format

    return Codec(load_format(name))


def holds_integers(array: Any) -> bool:
    """Whether an array or torch tensor holds integers or booleans."""
    return dtype_name(array) in WHOLE


@dataclass(frozen=True, slots=True)
class Tensor:
    """One named tensor, read when needed.

    `load` raises ValueError, naming file and tensor, if it cannot be read; NotRead if it is of an unwanted kind. `key`
    is what its file calls it, empty if the file holds one tensor without a name.
    """

    name: str
    load: Load
    file: Path | None = None
    key: str = ""
    is_float8: bool = False


def tensors(paths: Iterable[Path], kind: Kind = Kind.NUMBERS, *, with_files: bool = False) -> list[Tensor]:
    """Every tensor of files and folders; with several files, or `with_files`, names begin with that of the file.

    Raises:
        OSError: if a file or folder cannot be read.
        ValueError: if a file is broken or its type is not supported; if a folder holds no files of tensors.
        UnsupportedError: for torch files without torch.
    """
    files = [file for path in paths for file in _files(path)]
    found = []
    for file in files:
        for key, load, is_float8 in READERS[file.suffix](file, kind):
            name = key or file.stem
            if with_files or len(files) > 1:
                name = f"{file}:{key}" if key else str(file)
            found.append(Tensor(name, load, file, key, is_float8))
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
    """Turns the various errors of the libraries that read files into ValueError."""
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        if any(unsafe in str(error) for unsafe in UNSAFE_ADVICE):
            raise ValueError(f"{where}: holds Python objects, which are never loaded; save plain tensors") from error
        if UNREADABLE in str(error):
            told = "holds a dtype that numpy does not know (so it writes float8_e5m2); save its bytes, x.view(np.uint8)"
            raise ValueError(f"{where}: {told}") from error
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise (NotRead if isinstance(error, NotRead) else ValueError)(f"{where}: {reason}") from error


# --- numpy -----------------------------------------------------------------------------------------------------


def _npy(file: Path, kind: Kind) -> Iterator[Entry]:
    yield "", partial(_load_npy, file, kind), False


def _load_npy(file: Path, kind: Kind) -> Any:
    import numpy as np

    with _told(str(file)), file.open("rb") as stream:
        if stream.read(6) != np.lib.format.MAGIC_PREFIX:
            raise ValueError("not a .npy file")
        stream.seek(0)
        return _numpy_array(np.load(stream, allow_pickle=False), kind)


def _npz(file: Path, kind: Kind) -> Iterator[Entry]:
    import numpy as np

    with _told(str(file)), file.open("rb") as stream:
        if stream.read(len(ZIP)) != ZIP:
            raise ValueError("not a .npz file")
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as archive:
            keys = list(archive.files)
    for key in keys:
        yield key, partial(_load_npz, file, key, kind), False


def _load_npz(file: Path, key: str, kind: Kind) -> Any:
    import numpy as np

    with _told(f"{file}: {key}"), file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        array = archive[key]
        if not isinstance(array, np.ndarray):
            raise ValueError("not an array")
        return _numpy_array(array, kind)


def _numpy_array(array: Any, kind: Kind) -> Any:
    if array.dtype.names:
        raise NotRead(f"holds records with the fields {', '.join(array.dtype.names)}; allowed: plain arrays")
    kind.check(array.dtype.name)
    return array.view(f"u{array.dtype.itemsize}") if array.dtype.kind == "V" else array


# --- safetensors -----------------------------------------------------------------------------------------------


def _safetensors(file: Path, kind: Kind) -> Iterator[Entry]:
    from safetensors import safe_open

    with _told(str(file)):
        archive: Any = safe_open(file, "np")
    for key in archive.keys():  # noqa: SIM118
        is_float8 = archive.get_slice(key).get_dtype() in SAFETENSORS_FLOAT8
        yield key, partial(_load_safetensors, archive, file, key, kind), is_float8


def _load_safetensors(archive: Any, file: Path, key: str, kind: Kind) -> Any:
    import ml_dtypes  # noqa: F401  (numpy learns what bfloat16 is)

    with _told(f"{file}: {key}"):
        dtype = archive.get_slice(key).get_dtype()
        name = (SAFETENSORS_NAMES | SAFETENSORS_FLOAT8).get(dtype, dtype)
        kind.check(name)
        return kind.of_float8(_safetensors_bytes(file, key), name) if name in FLOAT8 else archive.get_tensor(key)


def _safetensors_bytes(file: Path, key: str) -> Any:
    """The bytes of a tensor with one-byte elements of a dtype that safetensors cannot return as numpy."""
    import numpy as np

    with file.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        first, end = header[key]["data_offsets"]
        stream.seek(first, SEEK_CUR)
        return np.frombuffer(stream.read(end - first), np.uint8).reshape(header[key]["shape"])


# --- torch -----------------------------------------------------------------------------------------------------


def _torch(file: Path, kind: Kind) -> Iterator[Entry]:
    if find_spec("torch") is None:
        raise UnsupportedError(f"{file}: reading it needs torch; {to_install('torch')}")
    import torch

    with _told(f"{file}: not a file of tensors alone"):
        with file.open("rb") as stream:
            if not stream.read(len(ZIP)).startswith((ZIP, PICKLE)):
                raise ValueError("torch.save wrote no such file")
        content = torch.load(file, map_location="cpu", weights_only=True)
    found = list(_flat("", content, torch.Tensor))
    if not found:
        raise ValueError(f"{file}: holds no tensors")
    for key, tensor in found:
        load = partial(_torch_tensor, tensor, f"{file}: {key}" if key else str(file), kind)
        yield key, load, dtype_name(tensor) in FLOAT8


def _flat(key: str, content: Any, kind: type) -> Iterator[tuple[str, Any]]:
    """The tensors in nested mappings and lists, with dotted names; other values are ignored."""
    if isinstance(content, kind):
        yield key, content
        return
    is_mapping, is_list = isinstance(content, Mapping), isinstance(content, list | tuple)
    entries = content.items() if is_mapping else enumerate(content) if is_list else ()
    for name, entry in entries:
        yield from _flat(f"{key}.{name}" if key else str(name), entry, kind)


def _torch_tensor(tensor: Any, where: str, kind: Kind) -> Any:
    import torch

    with _told(where):
        dtype = dtype_name(tensor)
        kind.check(dtype)
        if str(tensor.layout) != "torch.strided":
            raise NotRead(f"is {tensor.layout}; allowed: dense tensors")
        return kind.of_float8(tensor.view(torch.uint8), dtype) if dtype in FLOAT8 else tensor


READERS: Mapping[str, Callable[[Path, Kind], Iterator[Entry]]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".safetensors": _safetensors,
    ".pt": _torch,
    ".pth": _torch,
}
