"""Shapes and strides of any library's arrays."""

from __future__ import annotations

from collections.abc import Sequence


def broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether an array of this shape broadcasts to shape `to`."""
    aligned = to[len(to) - len(shape) :] if len(shape) <= len(to) else ()
    return len(aligned) == len(shape) and all(a in (1, b) for a, b in zip(shape, aligned, strict=True))


def may_overlap_itself(shape: Sequence[int], strides: Sequence[int], item: int) -> bool:
    """Whether some stride is shorter than the extent of the axes inside it: nearly always, elements share memory.

    Args:
        shape: none of its sizes is 0.
        strides: of each axis, in any unit.
        item: size of an element, in that unit.
    """
    axes = [(abs(stride), size) for stride, size in zip(strides, shape, strict=True) if size > 1]
    return any(
        stride * size < item + sum(inner * (count - 1) for inner, count in axes if inner <= stride)
        for stride, size in axes
    )
