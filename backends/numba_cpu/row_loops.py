"""Loops over the rows of an array: one text, each of its functions compiled once and kept as loops are."""

from __future__ import annotations

from typing import Any, Final

from numba import types

from statqat_sim.backends.numba_cpu.cache import Generated, digest, kept, printed_by

_END = """

from statqat_sim.backends.numba_cpu.decorators import kernel

run = kernel(signature, cache={on_disk})({entry})
"""
_SHARED: Final = ("decorators.py",)
"""Texts that other texts import."""


def compiled(entry: str, text: str, *kinds: Any) -> Any:
    """The text's function of this name for arguments of these types."""
    name = f"statqat_sim_{entry}_{digest((text, _END, printed_by(_SHARED)))}"
    names = {"signature": types.void(*kinds)}
    return kept(entry, lambda: Generated(name, lambda on_disk: text + _END.format(on_disk=on_disk, entry=entry), names))
