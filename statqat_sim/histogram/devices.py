"""Arrays that lie on devices, of any library."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, cast

import numpy as np

from statqat_sim.arrays import Array, is_cpu_array
from statqat_sim.arrays.tensors import is_tensor

CPU_DEVICES: Final = (1, 3)
"""As dlpack numbers them: the CPU's memory, and what of it is pinned for CUDA."""


def lies_elsewhere(x: Any) -> bool:
    """Whether this is an array that does not lie in the CPU's memory."""
    if is_tensor(x):
        return bool(x.device.type != "cpu")
    if is_cpu_array(x) or isinstance(x, type) or not hasattr(x, "__dlpack_device__"):
        return False
    return int(x.__dlpack_device__()[0]) not in CPU_DEVICES


def on_cpu(array: Any) -> Array:
    """An array of any library as numpy's. This waits for a device."""
    if is_tensor(array):
        array = array.detach().cpu().numpy()
    return array.get() if hasattr(array, "get") else np.asarray(array)


def where_it_lies(array: Any) -> AbstractContextManager[Any]:
    """While it lasts, operators on cupy's arrays run on the device of this one; others know by themselves where to."""
    device: Any = getattr(array, "device", None)
    is_context = hasattr(device, "__enter__") and not is_tensor(array)
    return cast("AbstractContextManager[Any]", device) if is_context else nullcontext()


def with_first(array: Any, axis: int) -> Any:
    """The array with an axis first."""
    if is_tensor(array):
        return array.detach().movedim(axis, 0)
    others = (other for other in range(len(array.shape)) if other != axis)
    return array.transpose((axis, *others))
