"""Cupy has what the GPU backend and the tests' stand-in use of it: no GPU is needed, arrays lie in the CPU's memory."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cuda_block_texts import block_texts
from cuda_on_cpu import arrays
from cuda_on_cpu.arrays import ATTRIBUTES
from cuda_on_cpu.arrays import Array as StandIn
from cuda_on_cpu.devices import Device, Stream
from cuda_on_cpu.stand_in import RawModule, module
from inputs import DTYPES
from reduction_cases import PLANS

from statqat_sim.arrays import dtype_name
from statqat_sim.backends.cupy_gpu.backend import CupyBackend
from statqat_sim.backends.cupy_gpu.conversions import _BODIES, _text
from statqat_sim.backends.cupy_gpu.driver import OLDEST_CUPY
from statqat_sim.backends.cupy_gpu.elementwise import Feed, elementwise
from statqat_sim.backends.cupy_gpu.kernel_text import KernelText
from statqat_sim.backends.cupy_gpu.mma_text import MmaForm, mma_kernel
from statqat_sim.backends.cupy_gpu.reduction_text import reduction_kernel
from statqat_sim.plan.lower import Purpose, lower
from statqat_sim.plan.program import Storage
from statqat_sim.spec.catalog import load_format

cupy = pytest.importorskip("cupy", reason="cupy is not installed")

Array = Any
FUNCTIONS = [name for name, member in vars(module()).items() if inspect.isfunction(member)]
OWN = {"on", "launches", "waits", "ptr", "non_blocking"}
"""What only the stand-ins have, or only their classes."""


def in_cpu_memory(array: Array) -> Any:
    """Cupy's array of numpy's memory, which no kernel may read."""
    owned = cupy.cuda.UnownedMemory(array.ctypes.data, max(array.nbytes, 1), array, 0)
    return cupy.ndarray(array.shape, array.dtype, cupy.cuda.MemoryPointer(owned, 0), strides=array.strides)


def test_the_version_is_one_that_the_backend_takes() -> None:
    assert int(cupy.__version__.partition(".")[0]) >= OLDEST_CUPY


def public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_") or name in PROTOCOLS} - OWN


PROTOCOLS = ("__array_ufunc__", "__dlpack__", "__dlpack_device__", "__enter__", "__exit__", "__bool__", "__setitem__")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (StandIn, lambda: cupy.ndarray),
        (Device, lambda: cupy.cuda.Device),
        (Stream, lambda: cupy.cuda.Stream),
        (RawModule, lambda: cupy.RawModule),
    ],
)
def test_a_stand_in_has_no_more_than_cupy(ours: type, theirs: Callable[[], type]) -> None:
    missing = [name for name in sorted(public(ours)) if not hasattr(theirs(), name)]
    assert not missing


def test_arrays_have_what_is_read_of_them() -> None:
    array = in_cpu_memory(np.zeros(3, np.float32))
    for name in (*ATTRIBUTES, "data", "flags", "device"):
        assert hasattr(array, name), name
    assert not hasattr(array.flags, "writeable")
    assert isinstance(array.data.ptr, int)
    assert (str(array.device), array.device.id) == ("<CUDA Device 0>", 0)
    with pytest.raises(TypeError, match="Implicit conversion to a NumPy array is not allowed"):
        np.asarray(array)


def test_arrays_are_owned_by_their_type() -> None:
    """Cupy's `__dlpack_device__` asks CUDA about an address, which needs a driver, and one that is not null."""
    assert CupyBackend().owns(in_cpu_memory(np.zeros(3, np.float32)))


@pytest.mark.parametrize("name", DTYPES)
def test_arrays_are_of_all_types_of_floats(name: str) -> None:
    assert dtype_name(in_cpu_memory(np.zeros(3, DTYPES[name]))) == name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_what_their_stand_ins_take(name: str) -> None:
    if inspect.isbuiltin(getattr(cupy, name)):
        pytest.skip("compiled functions do not say what they take")
    ours, theirs = (inspect.signature(getattr(each, name)).parameters for each in (arrays, cupy))
    for parameter in ours.values():
        assert theirs[parameter.name].kind is parameter.kind
        assert (theirs[parameter.name].default is parameter.empty) == (parameter.default is parameter.empty)


X = np.zeros((2, 3, 4), np.float32)
VIEWS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda x: x,
    "words": lambda x: x.view("uint32"),
    "bfloat16": lambda x: x.view(np.uint16).view("bfloat16"),
    "wider": lambda x: x.view(np.uint64),
    "narrower": lambda x: x.view("uint16"),
    "turned": lambda x: x.transpose((2, 0, 1)),
    "turned words": lambda x: x.transpose((2, 0, 1)).view("int32"),
    "turned, narrower": lambda x: x.transpose((2, 0, 1)).view("uint16"),
    "number": lambda x: x[0, 0, 0],
    "number, narrower": lambda x: x[0, 0, 0].view("uint16"),
    "nothing": lambda x: x.reshape(-1)[:0],
    "nothing, wider": lambda x: x.reshape(-1)[:0].view("uint64").reshape(0, 5),
    "nothing, ragged": lambda x: x[:0, :, :3].view("uint64"),
    "one column": lambda x: x[:, :, :1],
    "one row": lambda x: x[1:2],
    "backwards": lambda x: x[::-1],
    "steps": lambda x: x[..., slice(1, None, 2)],
    "last but one": lambda x: x[..., slice(1, None, 2), slice(None)],
    "flat": lambda x: x.reshape(-1),
    "rows": lambda x: x.reshape(6, 4),
    "no such shape": lambda x: x.reshape(7, 4),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_lie_as_those_of_the_stand_in(name: str) -> None:
    theirs, ours = (laid_out(VIEWS[name], each) for each in (in_cpu_memory(X), StandIn(X)))
    assert theirs == ours


def laid_out(view: Callable[[Any], Any], array: Any) -> object:
    """Where a view lies in memory; the error where there is none."""
    try:
        found = view(array)
    except ValueError:
        return ValueError
    strides = found.strides if found.size else ()
    return found.shape, strides, found.dtype, found.data.ptr - array.data.ptr, found.flags.c_contiguous


@pytest.mark.parametrize("shape", [(2, 3, 4), (5, 2, 3, 4), (2, 3, 5)])
def test_arrays_are_broadcast_as_those_of_the_stand_in(shape: tuple[int, ...]) -> None:
    x = np.zeros((3, 1), np.float32)
    theirs, ours = (
        laid_out(lambda each, to=to: to(each, shape), array)
        for array, to in ((in_cpu_memory(x), cupy.broadcast_to), (StandIn(x), arrays.broadcast_to))
    )
    assert theirs == ours


@pytest.mark.parametrize("name", [name for name in VIEWS if laid_out(VIEWS[name], StandIn(X)) is not ValueError])
def test_where_an_array_lies(name: str) -> None:
    from statqat_sim.backends.cupy_gpu.cupy_arrays import _extent

    view, expected = VIEWS[name](in_cpu_memory(X)), VIEWS[name](StandIn(X)).on
    first, last = _extent(view)
    assert (first, last) == np.lib.array_utils.byte_bounds(expected) if view.size else first == last


def test_streams_of_others_are_taken() -> None:
    from statqat_sim.backends.cupy_gpu.cupy_launcher import _of_torch

    assert (_of_torch(4711).ptr, _of_torch(0).ptr) == (4711, 0)
    assert (_of_torch(4711).device_id, _of_torch(0).device_id) == (-1, -1)


def test_arrays_of_the_cpu_are_not_imported() -> None:
    with pytest.raises(TypeError, match="CPU arrays cannot be directly imported"):
        cupy.from_dlpack(np.zeros(3))


KERNELS: dict[str, Callable[[], list[KernelText]]] = {
    "elementwise": lambda: [of_numbers(purpose) for purpose in (Purpose.ENCODE, Purpose.FAKE_QUANTIZE)],
    "blocks": lambda: block_texts(load_format("nvfp4")),
    "blocks along columns": lambda: block_texts(load_format("gguf_q4_k"), (1024, 4), 0),
    "reductions": lambda: [reduction_kernel(PLANS[name](Storage.FLOAT32)).text for name in ("extremes", "histogram 6")],
    "matrix instructions": lambda: [
        mma_kernel(form).text for form in {each.unit: each for each in MmaForm.every()}.values()
    ],
    "conversions": lambda: [_text(floats, to) for floats, to in _BODIES],
}


def of_numbers(purpose: Purpose) -> KernelText:
    return elementwise(lower(load_format("float8_e4m3fn"), purpose).shape, (Feed.ARRAY,)).text


@pytest.mark.parametrize("kind", KERNELS)
def test_cupys_compiler_takes_the_kernels_and_their_options(kind: str) -> None:
    """Without a warning, and in ASCII: cupy writes the text to a file in the locale's encoding."""
    from statqat_sim.backends.cupy_gpu.cupy_launcher import OPTIONS

    for text in KERNELS[kind]():
        assert text.source.isascii()
        assert cupy.RawModule(code=text.source, options=OPTIONS, backend="nvrtc").options == OPTIONS
        cubin, log = compiled(text, OPTIONS)
        assert cubin.startswith(b"\x7fELF")
        assert not log.strip("\0\n ")


def compiled(text: KernelText, options: tuple[str, ...]) -> tuple[bytes, str]:
    """Machine code by NVRTC, with the options that cupy adds, and what the compiler says."""
    nvrtc = cupy.cuda.nvrtc
    try:
        program = nvrtc.createProgram(text.source, "kernel.cu", (), ())
    except RuntimeError as error:
        pytest.skip(f"NVRTC is not installed: {error}")
    nvrtc.compileProgram(program, (*options, "-ftz=true", "-arch=sm_90", "--device-as-default-execution-space"))
    return nvrtc.getCUBIN(program), nvrtc.getProgramLog(program)
