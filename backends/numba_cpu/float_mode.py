"""The processor's floating-point mode while the loops of codecs and matrix instructions run: the default one.

It keeps subnormal numbers and rounds to nearest even. A caller may have another, `torch.set_flush_denormal(True)` for
one, and threads have modes of their own. Only x86 is covered: on other processors the caller's mode remains. So it does
in numpy's conversions before and after the loops.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any, Final

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

IS_X86: Final = platform.machine().lower() in ("x86_64", "amd64", "i686", "x86")

NOT_DEFAULT: Final = 0xE040
"""The bits of MXCSR that flush results, choose a rounding mode, and flush operands; all 0 by default."""

MODE: Final = ir.IntType(32)


def _call(builder: ir.IRBuilder, name: str, place: Any) -> None:
    address = ir.IntType(8).as_pointer()
    function = builder.module.declare_intrinsic(f"llvm.x86.sse.{name}", (), ir.FunctionType(ir.VoidType(), [address]))
    builder.call(function, [builder.bitcast(place, address)])


def _load_mode(builder: ir.IRBuilder, mode: Any) -> None:
    place = builder.alloca(MODE)
    builder.store(mode, place)
    _call(builder, "ldmxcsr", place)


def _if_not_default(builder: ir.IRBuilder, mode: Any) -> Any:
    is_other = builder.icmp_unsigned("!=", builder.and_(mode, MODE(NOT_DEFAULT)), MODE(0))
    return builder.if_then(is_other, likely=False)


if TYPE_CHECKING:

    def set_default_mode() -> int:
        """Set the default mode in this thread, and return the mode before, for `restore_mode`."""

    def restore_mode(mode: int) -> None:
        """Set the mode that `set_default_mode` returned."""

else:

    @intrinsic
    def set_default_mode(typing):
        """As declared above."""

        def generate(context, builder, signature, arguments):
            if not IS_X86:
                return MODE(0)
            place = builder.alloca(MODE)
            _call(builder, "stmxcsr", place)
            mode = builder.load(place)
            with _if_not_default(builder, mode):
                _load_mode(builder, builder.and_(mode, MODE(~NOT_DEFAULT & 0xFFFF_FFFF)))
            return mode

        return types.uint32(), generate

    @intrinsic
    def restore_mode(typing, mode):
        """As declared above."""

        def generate(context, builder, signature, arguments):
            with _if_not_default(builder, arguments[0]):
                _load_mode(builder, arguments[0])
            return context.get_dummy_value()

        return types.void(mode), generate
