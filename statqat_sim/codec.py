"""A format and a backend: encode, decode, fake-quantize."""

from __future__ import annotations

from typing import Any

import numpy as np

from statqat_sim.arrays import as_numpy, as_scale
from statqat_sim.errors import UnsupportedError
from statqat_sim.plan.lower import Purpose, lower
from statqat_sim.plan.program import Storage
from statqat_sim.runtime import Backend, Kernel, backend_for, backend_named
from statqat_sim.spec.encode import NanInput
from statqat_sim.spec.number import NumberFormat, checked_format


class Codec:
    """Bit-exact conversion between float32 arrays and a format's codes. Results are of the input's kind.

    Args:
        format: a number format.
        backend: a backend's name; `"auto"` takes the one that owns each array: numpy arrays and CPU tensors run on
            numba.

    Raises:
        TypeError: if `format` is not a NumberFormat.
        LookupError: if no backend has this name.
        UnsupportedError: if the backend cannot run here.

    >>> import numpy as np, statqat_sim as sqs
    >>> codec = sqs.Codec(sqs.load_format("float8_e4m3fn"))
    >>> codec.encode(np.array([1.0, 0.1, 1000.0], np.float32))
    array([ 56,  29, 126], dtype=uint8)
    >>> codec.fake_quantize(np.array([1.0, 0.1, 1000.0], np.float32))
    array([1.000000e+00, 1.015625e-01, 4.480000e+02], dtype=float32)
    """

    def __init__(self, format: NumberFormat, backend: str = "auto") -> None:
        self.format = checked_format(format)
        self._backend: Backend | None = None if backend == "auto" else backend_named(backend)
        self._kernels: dict[tuple[type, object, Purpose], Kernel] = {}
        self._refuses_nan = format.encode.nan_input is NanInput.ERROR

    def __repr__(self) -> str:
        return f"Codec({self.format.name}, backend={self._backend.name if self._backend else 'auto'})"

    def encode(self, x: Any, *, out: Any = None, seed: int | None = None, packed: bool = False) -> Any:
        """The code of each element.

        Args:
            x: float32, any shape and strides.
            out: where the codes go: x's shape, uint8, uint16 or uint32 by the format's width.
            seed: for stochastic rounding; other formats do not use it.
            packed: dense bits; not yet.

        Raises:
            TypeError: if an array has the wrong dtype or kind.
            ValueError: if a shape does not fit, or for a NaN under `nan_input: error`.
        """
        if packed:
            raise UnsupportedError("packed codes: not yet")
        if self._refuses_nan:
            _refuse_nan(x, self.format.name)
        return self._kernel(x, Purpose.ENCODE)(x, out=out)

    def decode(
        self, codes: Any, *, out: Any = None, dtype: str = "float32", packed: bool = False, shape: Any = None
    ) -> Any:
        """The value of each code, rounded once to float32 where float32 is coarser.

        Args:
            codes: uint8, uint16 or uint32 by the format's width; bits above that width are ignored.
            out: where the values go: float32, of the codes' shape.
            dtype: `"float32"`; others not yet.
            packed: dense bits; not yet.
            shape: of packed codes; not yet.

        Raises:
            TypeError: if an array has the wrong dtype or kind.
            ValueError: if a shape does not fit.
        """
        if packed or shape is not None:
            raise UnsupportedError("packed codes: not yet")
        if dtype != "float32":
            raise UnsupportedError(f"decode to {dtype}: not yet; allowed: float32")
        return self._kernel(codes, Purpose.DECODE)(codes, out=out)

    def fake_quantize(
        self, x: Any, *, scale: Any = None, axis: int = -1, out: Any = None, seed: int | None = None
    ) -> Any:
        """decode(encode(x / scale)) × scale, each operation rounded to float32.

        Args:
            x: float32, any shape and strides.
            scale: a number or a float32 array that broadcasts against x; None: no scaling. A scale of 0 gives the
                codes of 0.
            axis: where blocks run; scalar formats do not use it.
            out: where the values go: float32, x's shape; may be x.
            seed: for stochastic rounding; other formats do not use it.

        Raises:
            TypeError: if an array has the wrong dtype or kind.
            ValueError: if a shape does not fit, or for a NaN under `nan_input: error`.
        """
        if self._refuses_nan:
            _refuse_nan(x, self.format.name, scale)
        if scale is None:
            return self._kernel(x, Purpose.FAKE_QUANTIZE)(x, out=out)
        return self._kernel(x, Purpose.FAKE_QUANTIZE_SCALED)(x, out=out, scale=scale)

    def _kernel(self, array: Any, purpose: Purpose) -> Kernel:
        key = (type(array), getattr(array, "device", None), purpose)
        kernel = self._kernels.get(key)
        if kernel is None:
            backend = self._backend or backend_for(array)
            kernel = self._kernels[key] = backend.compile(lower(self.format, purpose))
        return kernel


def _refuse_nan(x: Any, name: str, scale: Any = None) -> None:
    """Raises ValueError for the first NaN of x, or of x / scale."""
    values, what = as_numpy(x, Storage.FLOAT32, "x"), "x"
    if scale is not None:
        divisor = as_scale(scale, values.shape)
        with np.errstate(all="ignore"):
            values, what = np.where(divisor == 0, np.float32(0), values / divisor), "(x / scale)"
    nan = np.isnan(values)
    if nan.any():
        place = ", ".join(str(index) for index in np.unravel_index(int(nan.argmax()), nan.shape))
        raise ValueError(f"{what}[{place}] is NaN, which {name} refuses (nan_input: error)")
