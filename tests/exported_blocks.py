"""Exported block formats at work: matrices in C, blocks in SystemVerilog."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from exported import FLAGS
from numpy.typing import NDArray

from statqat_sim.export import to_c, to_systemverilog
from statqat_sim.export.blocks import Blocks, blocks_of
from statqat_sim.export.functions import identifier
from statqat_sim.quantized import QuantizedTensor
from statqat_sim.spec.block import BlockFormat

Array: TypeAlias = NDArray[Any]

FUNCTIONS = ("quantize", "dequantize", "workspace")


def stored_in(q: QuantizedTensor) -> list[Array]:
    """Codes, then scales, then offsets, as unsigned integers."""
    offsets = [] if q.offset is None else [*q.offset_scales, q.offset]
    return [array.view(f"u{array.itemsize}") for array in map(np.ascontiguousarray, (q.codes, *q.scales, *offsets))]


@dataclass(frozen=True)
class MatricesInC:
    """Formats, compiled."""

    library: ctypes.CDLL

    @classmethod
    def compiled(cls, formats: Sequence[BlockFormat], folder: Path) -> MatricesInC:
        source = []
        for place, format in enumerate(formats):
            (folder / f"format{place}.h").write_text(to_c(format), "utf-8")
            name = identifier(format.name)
            source.append(f'#include "format{place}.h"\nextern void *const {name}_all[3];')
            functions = [f"{name}_{each}" for each in FUNCTIONS]
            if f"{functions[-1]}(" not in (folder / f"format{place}.h").read_text("utf-8"):
                functions[-1] = "0"
            source.append(f"void *const {name}_all[3] = {{ {', '.join(f'(void *){each}' for each in functions)} }};")
        (folder / "all.c").write_text("\n".join(source), "utf-8")
        flags = ["-Wno-pedantic", "-Wno-unused-function", "-c", "-fPIC"]
        subprocess.run(["gcc", *FLAGS, *flags, "all.c", "-o", "all.o"], cwd=folder, check=True)
        subprocess.run(["gcc", "-shared", "all.o", "-o", "all.so"], cwd=folder, check=True)
        return cls(ctypes.CDLL(str(folder / "all.so")))

    def quantize(self, like: QuantizedTensor, x: Array, *inputs: Array) -> list[Array]:
        """The arrays that `quantize` writes: like those of a quantized matrix. `inputs`: random bits, or scales."""
        outputs = [np.full_like(array, 0xA5) for array in stored_in(like)]
        buffers = []
        room = self._function(like.format, "workspace")
        if room is not None:
            buffers.append(np.full(room(*map(ctypes.c_size_t, x.shape)), 0xA5A5A5A5, np.uint32))
        self._run(like.format, "quantize", x.shape, (x, *inputs, *outputs, *buffers))
        return outputs

    def dequantize(self, q: QuantizedTensor) -> Array:
        y = np.full(q.shape, np.nan, np.float32)
        self._run(q.format, "dequantize", q.shape, (*stored_in(q), y))
        return y

    def _run(self, format: BlockFormat, name: str, shape: tuple[int, ...], arrays: Sequence[Array]) -> None:
        function = self._function(format, name)
        kept = [np.ascontiguousarray(array) for array in arrays]
        function(*map(ctypes.c_size_t, shape), *(ctypes.c_void_p(array.ctypes.data) for array in kept))

    def _function(self, format: BlockFormat, name: str) -> Any:
        pointers = (ctypes.c_void_p * len(FUNCTIONS)).in_dll(self.library, f"{identifier(format.name)}_all")
        address = pointers[FUNCTIONS.index(name)]
        return None if address is None else ctypes.CFUNCTYPE(ctypes.c_size_t)(address)


@dataclass(frozen=True)
class BlockInSystemVerilog:
    """A format's package, in an interpreter."""

    blocks: Blocks
    session: Any

    @classmethod
    def read(cls, format: BlockFormat) -> BlockInSystemVerilog:
        from pyslang.ast import ScriptSession

        session = ScriptSession()
        session.eval(to_systemverilog(format))
        return cls(blocks_of(format), session)

    def call(self, function: str, *vectors: tuple[int, int]) -> int:
        """A function's result. Arguments: a number, and how many bits it has."""
        arguments = ", ".join(f"{bits}'h{number:x}" for number, bits in vectors)
        result = self.session.eval(f"{self.blocks.name}_pkg::{function}({arguments})").value
        assert result is not None, [str(each.code) for each in self.session.getDiagnostics()]
        assert not result.hasUnknown
        return int(result)


def in_one_vector(words: Array, bits: int) -> tuple[int, int]:
    """Words, the first in the lowest bits."""
    number = sum(int(word) << bits * place for place, word in enumerate(words.reshape(-1).tolist()))
    return number, bits * words.size


def joined(vectors: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Vectors, the first in the lowest bits."""
    number, width = 0, 0
    for each, bits in vectors:
        number, width = number | each << width, width + bits
    return number, width
