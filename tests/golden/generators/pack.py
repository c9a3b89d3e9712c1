"""Makes a golden file of the lines that `record.py` and the C++ programs print.

    ./cuda_casts | python pack.py cuda-13.0.npz

Arrays of the file, all as differences from one entry to the next, which compress well: `name.first` (uint32 or uint64:
bits of the inputs where steps begin), `name.code`, and `name.value` (bits of every code's value).
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORDS = {"float32": np.uint32, "float64": np.uint64, "value": np.uint64, "value32": np.uint32}


def main(target: str) -> None:
    rows: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for line in sys.stdin:
        name, kind, left, right = line.split()
        rows[name, kind].append((int(left, 16), int(right, 16)))
    arrays = {}
    for (name, kind), pairs in rows.items():
        left, right = zip(*pairs, strict=True)
        if kind.startswith("value"):
            arrays[f"{name}.value"] = differences(right, WORDS[kind])
        else:
            arrays[f"{name}.first"] = differences(left, WORDS[kind])
            arrays[f"{name}.code"] = differences(right, np.uint16)
    write(Path(target), arrays)


def differences(words: tuple[int, ...], dtype: type) -> NDArray[Any]:
    return np.diff(np.array(words, dtype), prepend=dtype(0))


def write(target: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """As numpy's savez_compressed does, with LZMA: both signs of a cast have the same differences, far apart."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_LZMA)


if __name__ == "__main__":
    main(sys.argv[1])
