"""Block tensors in bytes: every code of every field has its place."""

from statqat_sim.layouts.bytes import dense_elements, pack, pack_fields, packed_size, unpack
from statqat_sim.layouts.field import ELEMENTS, OFFSET, SCALE, Field, fields_of

__all__ = [
    "ELEMENTS",
    "OFFSET",
    "SCALE",
    "Field",
    "dense_elements",
    "fields_of",
    "pack",
    "pack_fields",
    "packed_size",
    "unpack",
]
