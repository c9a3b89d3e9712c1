"""Prints the kernel that packs codes, each thread one byte: for rows whose groups do not end with bytes."""

from __future__ import annotations

from functools import cache

from statqat_sim.backends.cupy_gpu.block_text import Printed, Signature, c_type, each_thread
from statqat_sim.backends.cupy_gpu.bodies import block
from statqat_sim.plan.program import Packed, Storage


@cache
def dense_kernel(storage: Storage, packed: Packed) -> Printed:
    """The kernel. Rows of `length` codes become rows of whole bytes."""
    signature = Signature()
    for name in ("threads", "length"):
        signature.number(name)
    codes, out = signature.source("codes", c_type(storage)), signature.target("out", "u8")
    bits = packed.bits
    bit = f"code >> {f'({bits - 1} - inside)' if packed.big_endian else 'inside'} & 1"
    place = "7 - b" if packed.big_endian else "b"
    lines = [
        f"const u64 row_bytes = (length * {bits} + 7) / 8, row = quotient(thread, row_bytes);",
        "const u64 first = (thread - row * row_bytes) * 8;",
        "u32 byte = 0;",
        *block(
            f"for (u32 b = 0; b < 8 && first + b < length * {bits}; b++)",
            [
                f"const u64 place = (first + b) / {bits};",
                f"const u32 inside = (u32)(first + b - place * {bits});",
                f"const u32 code = {codes}[row * length + place];",
                f"byte |= ({bit}) << ({place});",
            ],
        ),
        f"{out}[thread] = (u8)byte;",
    ]
    return signature.printed("block_dense", each_thread("threads", lines))
