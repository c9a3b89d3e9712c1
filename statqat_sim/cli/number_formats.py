"""Loading formats for commands that accept only number formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from statqat_sim.spec.number import NumberFormat


def load_number_format(name: str, search: Sequence[Path], command: str) -> NumberFormat:
    """A number format by name, by alias, or from a file, for a command.

    Raises:
        UnsupportedError: for a block format; the message suggests an alternative.
        LookupError, SpecError, OSError: as for `load_format`.
    """
    from statqat_sim.errors import UnsupportedError
    from statqat_sim.spec.block import BlockFormat
    from statqat_sim.spec.catalog import load_format

    fmt = load_format(name, search)
    if isinstance(fmt, BlockFormat):
        told = f"{fmt.name} is a block format, and `{command}` takes number formats; {INSTEAD[command]}"
        raise UnsupportedError(told.format(element=fmt.element.name))
    return fmt


INSTEAD = {
    "encode": "in Python: Codec(format).quantize(x) or .pack(x); `statqat-sim measure` tells its error",
    "decode": "in Python: Codec(format).dequantize(unpack(bytes, format, shape))",
    "verify": "blocks are too many to try them all; prove the format of its elements, {element}",
}
