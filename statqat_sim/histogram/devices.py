"""Arrays of any library on any device."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import numpy as np

from statqat_sim.arrays import Array, DeviceType, device_type, is_cpu_array
from statqat_sim.arrays.kinds import is_tensor


def lies_elsewhere(x: Any) -> bool:
    """Whether this is an array outside the CPU's memory."""
    if is_tensor(x):
        return bool(x.device.type != "cpu")
    return not is_cpu_array(x) and device_type(x) not in (None, DeviceType.CPU, DeviceType.CUDA_HOST)


def on_cpu(array: Any) -> Array:
    """An array of any library as a numpy array. This synchronizes with the array's device."""
    if is_tensor(array):
        array = array.detach().cpu().numpy()
    return array.get() if hasattr(array, "get") else np.asarray(array)


def where_it_lies(array: Any) -> AbstractContextManager[Any]:
    """A context in which cupy operators run on the array's device; other libraries dispatch by themselves."""
    device: Any = getattr(array, "device", None)
    is_context = hasattr(device, "__enter__") and not is_tensor(array)
    return cast("AbstractContextManager[Any]", device) if is_context else nullcontext()


def with_first(array: Any, axis: int) -> Any:
    """The array with `axis` moved to the front."""
    if is_tensor(array):
        return array.detach().movedim(axis, 0)
    others = (other for other in range(len(array.shape)) if other != axis)
    return array.transpose((axis, *others))
