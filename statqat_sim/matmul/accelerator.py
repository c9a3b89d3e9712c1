"""An accelerator: its matrix products and conversions, bit-exact."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import left_out
from statqat_sim.codec import Codec
from statqat_sim.errors import UnsupportedError, of_type, shown
from statqat_sim.matmul.gemm import product
from statqat_sim.matmul.operands import Side, accumulator, left, right
from statqat_sim.matmul.place import Place
from statqat_sim.matmul.results import put_codes, stored
from statqat_sim.matmul.runner import Runner
from statqat_sim.plan.lower import code_storage
from statqat_sim.plan.lower_mma import check_mma
from statqat_sim.quantized import QuantizedTensor
from statqat_sim.spec.accelerator import AcceleratorSpec, Conversion, Evidence, GemmPlan, Instruction
from statqat_sim.spec.accelerator_catalog import load_spec, parse_spec
from statqat_sim.spec.files import Search
from statqat_sim.spec.number import NumberFormat


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A device described by one file, ready to compute.

    >>> import numpy as np, statqat_sim as sqs
    >>> h100 = sqs.load_accelerator("nvidia_h100")
    >>> a = np.full((1, 4), 0.1, np.float32)
    >>> h100.matmul(a, a.T, instruction="wgmma.e4m3.f32")
    array([[0.04125977]], dtype=float32)
    >>> h100.matmul(a, a.T, instruction="mma.f16.f32")
    array([[0.03998047]], dtype=float32)
    >>> h100.evidence.status
    <Status.REFERENCE_MODEL: 'reference_model'>
    """

    spec: AcceleratorSpec

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def evidence(self) -> Evidence:
        """How the device's arithmetic is known; each instruction has evidence of its own, which may differ."""
        return self.spec.evidence

    @property
    def instructions(self) -> Mapping[str, Instruction]:
        """The instructions by name."""
        return {each.name: each for each in self.spec.instructions}

    @property
    def conversions(self) -> Mapping[str, Conversion]:
        """The conversions by name."""
        return {each.name: each for each in self.spec.conversions}

    def __repr__(self) -> str:
        return f"Accelerator({self.name}, {len(self.spec.instructions)} instructions, {self.evidence})"

    def instruction(self, name: str | None = None) -> Instruction:
        """The instruction of this name; None: the one that the accelerator's own plan names.

        Raises:
            LookupError: if there is no such instruction.
            ValueError: if none is named.
        """
        if name is None and self.spec.gemm is not None:
            name = self.spec.gemm.instruction
        if name is None:
            allowed = ", ".join(self.instructions)
            raise ValueError(f"{self.name} ({self.evidence}): which instruction? allowed: {allowed}")
        return self.spec.instruction(name)

    @left_out
    def matmul(
        self,
        a: Any,
        b: Any,
        c: Any = None,
        *,
        instruction: str | None = None,
        a_format: str | NumberFormat | None = None,
        b_format: str | NumberFormat | None = None,
        a_scale: Any = None,
        b_scale: Any = None,
        plan: GemmPlan | Mapping[str, Any] | None = None,
    ) -> Any:
        """D = A·B + C of any shape, with the bits of an instruction.

        K is padded with zeros to a multiple of the instruction's K; if K = 0, D is C. The instruction's M and N do not
        matter: an element of D depends on one row of A and one column of B. Arrays on a GPU are multiplied there.

        Args:
            a: shape `(..., M, K)`. Floats are encoded into the operand's format (the first, if there are several) by
                its own rounding; unsigned integers of a code's width are codes; for integer formats, signed integers
                are values. Arrays of a float8 dtype are codes of that format. A QuantizedTensor has block scales.
            b: shape `(..., K, N)`, as `a`; blocks of a QuantizedTensor run along axis -2. Leading axes are broadcast.
            c: the accumulator's initial value, which broadcasts to D's shape. None: +0.
            instruction: the instruction's name; optional if `plan`, or the accelerator's own plan, names it.
            a_format: the format of A's codes, if the operand may have several.
            b_format: likewise for B.
            a_scale: codes of block scales, shape `(..., M, ceil(K / block))`; None: 1. Floats are encoded.
            b_scale: likewise, shape `(..., ceil(K / block), N)`.
            plan: how a long K is cut: a `GemmPlan`, or a mapping with its keys. None: the accelerator's own plan, or
                without one no cuts: each run of the instruction takes the previous D as C.

        Returns:
            D in the dtype of the instruction's D: float32, float16, float64 or int32; formats without a numpy dtype
            are returned as float32. It is an array of A's library, on A's device.

        Raises:
            LookupError: if there is no such instruction, or the operand does not take the format.
            TypeError: if an array has the wrong dtype, library or device.
            ValueError: if shapes do not fit, the format of codes is ambiguous, or `plan` names another instruction.
            SpecError: if `plan` has wrong keys or values.
            UnsupportedError: if no kernel computes the instruction.
        """
        if isinstance(c, str):
            raise TypeError(f"c is {shown(c)}; allowed: an array; an instruction is named by instruction={shown(c)}")
        cut = self._plan(plan)
        if plan is not None and instruction is not None and cut.instruction not in (None, instruction):
            raise ValueError(f"plan.instruction is {shown(cut.instruction)}; allowed: {instruction}, or none")
        chosen = self.instruction(cut.instruction if instruction is None else instruction)
        given = a.codes if isinstance(a, QuantizedTensor) else a
        place = Place.of(given, "a")
        with place.library.on_device_of(given):
            x, y = left(chosen, a, a_format, a_scale, place), right(chosen, b, b_format, b_scale, place)
            shape = _shape(chosen, x, y)
            start = accumulator(chosen, c, shape, place)
            _refuse_devices({"a": x.values, "a_scale": x.scale, "b": y.values, "b_scale": y.scale, "c": start})
            d = product(Runner(chosen, self.instructions, place), x, y, start, cut, shape)
            return place.library.in_kind(stored(chosen, d), given)

    @left_out
    def convert(self, x: Any, conversion: str, *, seed: int | None = None, offset: int = 0) -> Any:
        """The codes that a conversion instruction produces from the numbers in x, one code each.

        Args:
            x: numbers, as `Codec.encode` takes them.
            conversion: the conversion's name, such as `cvt.rn.satfinite.e4m3x2.f32`.
            seed: of conversions that round stochastically, as in `Codec.encode`; None: a new one each time.
            offset: the index of the first element among those that the random bits are for.

        Raises:
            LookupError: if there is no such conversion.
            ValueError: if `seed` or `offset` is beyond 64 bits.
            TypeError: if x has the wrong dtype, or no backend owns it.
        """
        found = self.spec.conversion(conversion)
        codec, library = Codec(found.format), Place.of(x, "x").library
        if found.nan is None:
            return codec.encode(x, seed=seed, offset=offset)
        with library.on_device_of(x):
            values = library.as_float32(x, "x")
            codes = library.result(None, tuple(values.shape), code_storage(found.format), values)
            codec.encode(x, out=codes, seed=seed, offset=offset)
            put_codes(codes, values != values, found.nan)
            return library.in_kind(codes, x)

    def _plan(self, plan: GemmPlan | Mapping[str, Any] | None) -> GemmPlan:
        if plan is None:
            return self.spec.gemm or GemmPlan()
        if isinstance(plan, GemmPlan):
            return plan
        if not isinstance(plan, Mapping):
            raise TypeError(f"plan is {of_type(plan)}; allowed: a GemmPlan, or a mapping of its keys")
        return GemmPlan.of(plan, ("plan",))


def load_accelerator(name: str | os.PathLike[str], search: Search = ()) -> Accelerator:
    """An accelerator by name, by alias, or from a file.

    Args:
        name: a built-in name or alias, or the path of a `.yaml` file whose stem is its `name`.
        search: directories of further formats; their subdirectories `accelerator` hold accelerators.

    Raises:
        TypeError: if `name` is neither text nor a path.
        LookupError: if no accelerator has this name; the message suggests the nearest.
        SpecError: if the file is wrong.
        UnsupportedError: if no kernel computes one of its instructions.
        OSError: if the file cannot be read.
    """
    return _computed(load_spec(name, search), os.fspath(name))


def parse_accelerator(text: str | bytes, *, file: str = "<string>", search: Search = ()) -> Accelerator:
    """An accelerator from YAML text.

    Raises:
        TypeError: if `text` is not text.
        SpecError: if the text is wrong; it lists every problem.
        UnsupportedError: if no kernel computes one of its instructions.
    """
    return _computed(parse_spec(text, file=file, search=search), file)


def _computed(spec: AcceleratorSpec, file: str) -> Accelerator:
    """The accelerator, if kernels compute all of its instructions."""
    try:
        check_mma(spec.instructions)
    except UnsupportedError as error:
        raise UnsupportedError(f"{file}: {error}") from None
    return Accelerator(spec)


def _shape(instruction: Instruction, a: Side, b: Side) -> tuple[int, ...]:
    """The shape of D."""
    if a.values.shape[-1] != b.values.shape[-2]:
        told = f"a has shape {tuple(a.values.shape)} and b {tuple(b.values.shape)}"
        raise ValueError(f"{instruction}: {told}; allowed: (..., M, K) and (..., K, N)")
    try:
        batch = np.broadcast_shapes(a.values.shape[:-2], b.values.shape[:-2])
    except ValueError:
        told = f"a has shape {tuple(a.values.shape)} and b {tuple(b.values.shape)}"
        raise ValueError(f"{instruction}: {told}; allowed: leading axes that broadcast") from None
    return (*batch, a.values.shape[-2], b.values.shape[-1])


def _refuse_devices(arrays: Mapping[str, Any]) -> None:
    """Raises TypeError for arrays on a device other than that of `a`."""
    devices = {what: str(getattr(array, "device", "cpu")) for what, array in arrays.items() if array is not None}
    for what, device in devices.items():
        if device != devices["a"]:
            raise TypeError(f"{what} is on {device}; allowed: {devices['a']}, where a is")
