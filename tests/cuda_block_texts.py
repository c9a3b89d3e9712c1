"""The kernels that a block format runs, listed without running them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from statqat_sim.arrays import CPU
from statqat_sim.backends.cupy_gpu.block_kernel import CudaBlockKernel
from statqat_sim.backends.cupy_gpu.kernel_text import KernelText
from statqat_sim.backends.cupy_gpu.launcher import Argument
from statqat_sim.geometry import Geometry
from statqat_sim.plan.lower_block import lower_block
from statqat_sim.plan.program import Packed
from statqat_sim.spec.block import BlockFormat


@dataclass(frozen=True, slots=True)
class Listing:
    """See `launcher.Launcher`: kernels that do nothing."""

    texts: dict[KernelText, None] = field(default_factory=dict)

    def load(self, text: KernelText) -> Any:
        self.texts[text] = None
        return _do_nothing

    def pointer(self, array: Any) -> np.uint64:
        return np.uint64(array.ctypes.data)

    def words(self, count: int, like: Any) -> Any:
        return np.zeros(count, np.uint32)

    def zeros(self, count: int, like: Any) -> Any:
        return np.zeros(count, np.uint32)

    def constant(self, words: bytes, like: Any) -> np.uint64:
        return np.uint64(0)


def _do_nothing(blocks: int, threads: int, arguments: Sequence[Argument], like: Any) -> None:
    pass


def block_texts(
    format: BlockFormat, shape: tuple[int, ...] = (4, 1024), axis: int = -1, *, packed: Packed | None = None
) -> list[KernelText]:
    """What quantizing, rounding and dequantizing an array of this shape runs, each kernel once."""
    listing, geometry = Listing(), Geometry.of(shape, axis, format)
    kernel, x = CudaBlockKernel(lower_block(format), listing, CPU), np.zeros(shape, np.float32)
    given = np.ones(geometry.scale_shape(format.scales[0].block), np.float32)
    kernel.quantize(x, geometry, packed=packed, given=given)
    kernel.dequantize(*kernel.quantize(x, geometry, given=given), geometry)
    kernel.fake_quantize(x, geometry, given=given)
    return list(listing.texts)
