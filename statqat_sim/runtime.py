"""The interface between the core and the backends: protocols, discovery by entry point, and which owns an array."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, runtime_checkable

from statqat_sim.arrays import CPU, ArrayLibrary, left_out, refuse_watched
from statqat_sim.errors import UnsupportedError, none_of, of_type, shown
from statqat_sim.geometry import Geometry
from statqat_sim.plan.block import BlockPlan
from statqat_sim.plan.mma import MmaPlan
from statqat_sim.plan.program import CodecPlan, Packed
from statqat_sim.plan.reduction import ReductionPlan
from statqat_sim.plan.row_scan import RowScanPlan

GROUP = "statqat_sim.backends"
"""Entry points of this group are backends; a third party adds its own without touching the core."""


class Kernel(Protocol):
    """A compiled elementwise plan. Arrays are the backend's own kind, of any shape and strides."""

    def __call__(
        self, x: Any, *, out: Any = None, scale: Any = None, seed: int = 0, offset: int = 0, shape: Any = None
    ) -> Any:
        """The result, in `out` if given.

        Args:
            x: the first stream, of the plan's width; integers where it reads floats are converted.
            out: an array of the result's width, of x's shape or of its packed codes'.
            scale: for plans with a scale stream: a number or an array that broadcasts against x.
            seed: for plans with random bits, below 2^64.
            offset: the index of x's first element among the random bits.
            shape: of the elements, where x is packed.

        Raises:
            TypeError: if an array has the wrong dtype or kind.
            ValueError: if shapes do not fit.
        """


class BlockKernel(Protocol):
    """A compiled block plan. Arrays are numpy's or the backend's own, C-contiguous.

    `x`, codes and values have the geometry's shape; x and values are float32, codes as wide as the element's.
    `stored`: one array per entry of the plan's `stored` (scales, offsets), of that entry's dtype and the geometry's
    `scale_shape`.

    A kernel may also have `at_addresses(geometry)`, which returns a function (source, target) that fake-quantizes
    between two CPU addresses, equal or disjoint; or None if unsupported.
    """

    def quantize(
        self,
        x: Any,
        geometry: Geometry,
        *,
        given: Any = None,
        weights: Any = None,
        seed: int = 0,
        offset: int = 0,
        packed: Packed | None = None,
    ) -> tuple[Any, tuple[Any, ...]]:
        """The codes, and the arrays stored with them.

        Args:
            x: the array to quantize.
            geometry: the layout of its blocks.
            given: float32 scales of the `scale_shape` of the stage's blocks, for plans that read them.
            weights: weights of the squared errors, for plans with candidates: float64, one per index of the axis.
            seed: for plans with random bits, below 2^64.
            offset: the index of x's first element among the random bits.
            packed: write the codes as dense bytes, each row of the last axis padded; only for blocks along rows.
        """

    def fake_quantize(
        self,
        x: Any,
        geometry: Geometry,
        *,
        out: Any = None,
        given: Any = None,
        weights: Any = None,
        seed: int = 0,
        offset: int = 0,
    ) -> Any:
        """The values that the codes decode to, in `out` if given, which may be x."""

    def dequantize(self, codes: Any, stored: tuple[Any, ...], geometry: Geometry, *, out: Any = None) -> Any:
        """The values of codes, in `out` if given."""


class ReductionKernel(Protocol):
    """A compiled reduction. Arrays are numpy's, or the backend's own."""

    def __call__(self, x: Any, *, rows: int = 1) -> tuple[Any, ...]:
        """Reduce each row of x.

        Args:
            x: of the plan's dtype; integers are converted where it reads floats. Read in C order as `rows` equal rows.
            rows: the number of rows.

        Returns:
            For maxima one uint32 array, or uint64 for pairs of words. For a histogram counts and sums, int64.
            Each array has shape `(rows, plan.width)`.

        Raises:
            TypeError: if x has the wrong dtype or kind.
        """


class RowScanKernel(Protocol):
    """A compiled scan of rows, and a sweep of short ones."""

    longest_row: int
    """In elements; longer rows are not scanned."""

    def amax(self, rows: Any) -> Any:
        """The largest finite magnitude of each row, float32."""

    def __call__(self, rows: Any, minmax: Any, amax: Any) -> tuple[Any, Any]:
        """The best scale of each row, and whether it is proven to be no worse than MinMax's.

        Args:
            rows: float32, two axes; NaN and Inf are ignored.
            minmax: the MinMax scale of each row.
            amax: the largest finite magnitude of each row: float32, normal, above zero.
        """

    def sweep(self, rows: Any, minmax: Any) -> Any:
        """The scale of least squared error of each row, float64; of all up to the plan's `reach`.

        Args:
            rows: float32, two axes, of fewer than `plan.row_scan.SHORTEST` elements each; NaN and Inf are ignored.
            minmax: the MinMax scale of each row; also the result where no scale gives a value above zero.
        """


class RowSumsKernel(Protocol):
    """Compiled sums over rows: float32, two axes; NaN and Inf are ignored."""

    def moments(self, rows: Any) -> tuple[Any, Any, Any]:
        """The number of elements of each row, Σ|x| and Σx², each float64."""

    def squared_errors(self, rows: Any, values: Any) -> Any:
        """Σ(x - y)² of each row, float64; `values`: y, float32, in the same shape."""


class MmaKernel(Protocol):
    """A compiled matrix instruction. Arrays are numpy's or the backend's own, C-contiguous, all on one device."""

    def __call__(self, a: Any, b: Any, c: Any, *, a_scale: Any = None, b_scale: Any = None) -> Any:
        """D = A·B + C: values, in a new array of C's shape and dtype.

        Args:
            a: float32 (float64, or int32 for integers), shape `(M, K)`; K is a multiple of the plan's step.
            b: likewise, shape `(K, N)`.
            c: likewise, shape `(M, N)`.
            a_scale: for plans with blocks: float32, shape `(M, K / block)`, rounded up.
            b_scale: likewise, shape `(K / block, N)`.
        """


@runtime_checkable
class Backend(Protocol):
    """What every backend has: it compiles and runs plans. `OptionalParts` lists its optional methods.

    Importing a backend's module must be cheap; it loads its compiler when first used.
    """

    name: str
    """The name of its entry point."""

    def __hash__(self) -> int:
        """Kernels are kept for each backend."""

    def available(self) -> str | None:
        """None, or why the backend cannot run here and what to install."""

    def versions(self) -> Mapping[str, str]:
        """The versions of the libraries and devices it uses, for reports."""

    def owns(self, array: object) -> bool:
        """Whether `backend="auto"` gives it this array; looks at the type and imports nothing."""

    def compile(self, plan: CodecPlan) -> Kernel:
        """The kernel of an elementwise plan."""


class OptionalParts(Protocol):
    """Optional parts of a backend: it may have any of these."""

    is_traced: bool
    """Whether torch's compiler traces its kernels. Without, or if false: it leaves their calls out of its graphs."""

    def library(self, array: object) -> ArrayLibrary:
        """The library for this kind of array. Without it the backend computes on numpy arrays and CPU tensors."""

    def compile_block(self, plan: BlockPlan) -> BlockKernel:
        """The kernel of a block plan. Without: no block formats."""

    def compile_reduction(self, plan: ReductionPlan) -> ReductionKernel:
        """The kernel of a reduction. Without: no histograms."""

    def compile_mma(self, plan: MmaPlan) -> MmaKernel:
        """The kernel of a matrix instruction. Without: no products."""

    def compile_row_scan(self, plan: RowScanPlan) -> RowScanKernel:
        """The kernel of a scan of rows. Without, or without sums over rows: a histogram for each channel."""

    def compile_row_sums(self) -> RowSumsKernel:
        """Sums over rows, which a scan of rows needs beside it."""


@cache
def backends() -> Mapping[str, Backend]:
    """Every installed backend by name, available or not.

    Raises:
        UnsupportedError: if there is none: statqat_sim is imported from a folder, and not installed.
    """
    found = {entry.name: _of_entry(entry) for entry in entry_points(group=GROUP)}
    if not found:
        told = "statqat_sim is not installed, and its metadata names its backends"
        raise UnsupportedError(f"{told}; allowed: pip install -e . in its repository")
    return found


@dataclass(slots=True, eq=False)
class Broken:
    """Stands for a backend that cannot be loaded: the others go on without it."""

    name: str
    reason: str

    def available(self) -> str:
        return self.reason

    def versions(self) -> Mapping[str, str]:
        return {}

    def owns(self, array: object) -> bool:
        return False

    def compile(self, plan: CodecPlan) -> Kernel:
        raise UnsupportedError(f"backend {self.name!r}: {self.reason}")


def _of_entry(entry: EntryPoint) -> Backend:
    """Load the backend of an entry point; `Broken` if that fails in any way."""
    try:
        backend: Backend = entry.load()()
        name = backend.name
    except Exception as error:
        return Broken(entry.name, f"{entry.value} cannot be loaded: {type(error).__name__}: {error}")
    if name != entry.name:
        return Broken(entry.name, f"{entry.value} calls itself {name!r}; allowed: {entry.name!r}, as its entry point")
    return backend


@left_out
def backend_named(name: str) -> Backend:
    """The backend of this name.

    Raises:
        TypeError: if it is not a string.
        LookupError: if there is none; the message suggests the nearest.
        UnsupportedError: if it cannot run here.
    """
    known = backends()
    if not isinstance(name, str):
        raise TypeError(f"backend is {of_type(name)}; allowed: a name, such as 'auto' or 'numba'")
    if name not in known:
        raise LookupError(f"no backend is named {shown(name)}{none_of(name, ('auto', *sorted(known)))}")
    return _ready(known[name])


def backend_for(array: object) -> Backend:
    """The backend that owns this kind of array.

    Raises:
        TypeError: if none does.
        UnsupportedError: if the one that does cannot run here, or torch traces the array; there is no
            fall-back to another.
    """
    refuse_watched(array)
    for backend in backends().values():
        if backend.owns(array):
            return _ready(backend)
    kind = f"{type(array).__module__}.{type(array).__qualname__}"
    told = "allowed: numpy arrays and CPU tensors, or what an installed backend owns"
    broken = "".join(f"; {each.reason}" for each in backends().values() if isinstance(each, Broken))
    raise TypeError(f"no backend owns {kind}; {told}{broken}")


def is_traced(backend: Backend) -> bool:
    """Whether torch's compiler traces the backend's kernels."""
    return bool(getattr(backend, "is_traced", False))


def library_of(backend: Backend, array: object) -> ArrayLibrary:
    """The library through which this backend handles an array."""
    find = _part(backend, "library")
    library: ArrayLibrary = CPU if find is None else find(array)
    return library


def block_kernel(backend: Backend, plan: BlockPlan) -> BlockKernel:
    """The backend's kernel of a block plan.

    Raises:
        UnsupportedError: if it has none.
    """
    kernel: BlockKernel = _required(backend, "compile_block", "block formats")(plan)
    return kernel


def reduction_kernel(backend: Backend, plan: ReductionPlan) -> ReductionKernel:
    """The backend's kernel of a reduction.

    Raises:
        UnsupportedError: if it has none.
    """
    kernel: ReductionKernel = _required(backend, "compile_reduction", "reductions")(plan)
    return kernel


def mma_kernel(backend: Backend, plan: MmaPlan) -> MmaKernel:
    """The backend's kernel of a matrix instruction.

    Raises:
        UnsupportedError: if it has none.
    """
    kernel: MmaKernel = _required(backend, "compile_mma", "matrix instructions")(plan)
    return kernel


def row_scan_kernel(backend: Backend, plan: RowScanPlan) -> RowScanKernel | None:
    """The backend's kernel of a scan of rows, if it has one."""
    compile_row_scan = _part(backend, "compile_row_scan")
    return compile_row_scan and compile_row_scan(plan)


def row_sums_kernel(backend: Backend) -> RowSumsKernel | None:
    """The backend's sums over rows, if it has them."""
    compile_row_sums = _part(backend, "compile_row_sums")
    return compile_row_sums and compile_row_sums()


def _part(backend: Backend, method: str) -> Callable[..., Any] | None:
    """One of the `OptionalParts`, if the backend has it."""
    return getattr(backend, method, None)


def _required(backend: Backend, method: str, what: str) -> Callable[..., Any]:
    """One of the `OptionalParts`.

    Raises:
        UnsupportedError: if the backend does not have it.
    """
    found = _part(backend, method)
    if found is None:
        raise UnsupportedError(f"backend {backend.name!r} has no {what}; allowed: backends with {method}")
    return found


def _ready(backend: Backend) -> Backend:
    reason = backend.available()
    if reason is not None:
        raise UnsupportedError(f"backend {backend.name!r}: {reason}")
    return backend
