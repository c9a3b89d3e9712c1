"""Addresses for compiled loops, and of them.

Numba frees an array that compiled code made as soon as its name is used no more, whether or not its address still is.
What a loop needs for itself lies on the stack, therefore, or is read by its name after the loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from statqat_sim.backends.numba_cpu.vector import ALIGNMENT

if TYPE_CHECKING:

    def address(array: Any) -> int:
        """The address of an array's first element; it does not keep the array."""

    def room(size: int) -> int:
        """The address of memory on the stack, of a size in bytes that is a literal."""

    def copied(number: int) -> int:
        """The address of a copy of a number on the stack."""

    def call(function: int, numbers: tuple[int, ...]) -> None:
        """Call the C function at an address with numbers as long as addresses."""

else:

    @intrinsic
    def address(typing, array):
        """As declared above."""

        def generate(context, builder, signature, arguments):
            data = context.make_array(array)(context, builder, arguments[0]).data
            return builder.ptrtoint(data, context.get_value_type(types.uintp))

        return types.uintp(array), generate

    @intrinsic(prefer_literal=True)
    def room(typing, size):
        """As declared above."""

        def generate(context, builder, signature, arguments):
            return _on_stack(context, builder, ir.ArrayType(ir.IntType(8), size.literal_value))

        return types.uintp(size), generate

    @intrinsic
    def copied(typing, number):
        """As declared above."""

        def generate(context, builder, signature, arguments):
            (value,) = arguments
            place = _on_stack(context, builder, value.type)
            builder.store(value, builder.inttoptr(place, value.type.as_pointer()))
            return place

        return types.uintp(number), generate

    @intrinsic
    def call(typing, function, numbers):
        """As declared above."""

        def generate(context, builder, signature, arguments):
            place, values = arguments[0], cgutils.unpack_tuple(builder, arguments[1])
            kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
            builder.call(builder.inttoptr(place, kind.as_pointer()), values)
            return context.get_dummy_value()

        return types.void(function, numbers), generate


def _on_stack(context: Any, builder: ir.IRBuilder, kind: ir.Type) -> Any:
    with builder.goto_entry_block():  # `alloca_once` would write zeros, one by one
        place = builder.alloca(kind)
    place.align = ALIGNMENT
    return builder.ptrtoint(place, context.get_value_type(types.uintp))
