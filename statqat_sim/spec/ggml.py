"""The blocks of ggml whose byte layout `nibbles` and `bit_order` cannot express.

Source: ggml-common.h, block_q5_0, block_q5_1, block_q2_K to block_q6_K, block_iq4_xs, block_tq1_0, block_tq2_0,
block_nvfp4; gguf 0.19, quants.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Final

from statqat_sim.spec.base import BYTE
from statqat_sim.spec.block_map import BlockMap, Piece, Run
from statqat_sim.spec.pack import Layout


def _half(field: str) -> tuple[Run, ...]:
    """One 16-bit code, little-endian."""
    return tuple(Run((Piece(field, range(1), BYTE, low),)) for low in (0, BYTE))


def _planes(field: str, count: int, width: int, size: int, low: int = 0) -> tuple[Run, ...]:
    """Chunks of `size` bytes: codes fill the lowest `width` bits of all bytes of a chunk, then the bits above."""
    chunks = range(0, count, size * BYTE // width)
    return tuple(
        Run(tuple(Piece(field, range(first, first + size), width, low) for first in range(start, stop, size)))
        for start, stop in zip(chunks, [*chunks[1:], count], strict=True)
    )


def _string(field: str, count: int, width: int, low: int = 0) -> tuple[Run, ...]:
    """A contiguous bit string: neighbouring codes share bytes."""
    share = BYTE // width
    return (Run(tuple(Piece(field, range(first, count, share), width, low) for first in range(share))),)


def _together(*pieces: Piece) -> tuple[Run, ...]:
    return (Run(pieces),)


def _ternary(field: str, first: int, digits: int, size: int) -> tuple[Run, ...]:
    """Bytes of `digits` codes each; the codes of a byte are `size` apart."""
    starts = range(first, first + digits * size, size)
    return (Run(tuple(Piece(field, range(start, start + size), 2) for start in starts), ternary=True),)


def _block(*parts: tuple[Run, ...]) -> BlockMap:
    return BlockMap(tuple(chain(*parts)))


Q4_K_SCALES: Final = (
    *_together(Piece("scale1", range(4), 6), Piece("scale1", range(4, 8), 2, low=4)),
    *_together(Piece("offset1", range(4), 6), Piece("offset1", range(4, 8), 2, low=4)),
    *_together(Piece("scale1", range(4, 8), 4), Piece("offset1", range(4, 8), 4)),
)
"""Twice 8 codes of 6 bits: the first four of each are contiguous; bits 4 and 5 of the others lie above them."""

MAPS: Final[Mapping[Layout, tuple[BlockMap, ...]]] = {
    Layout.GGML_Q5_0: tuple(
        _block(
            *map(_half, halves),
            _string("elements", 32, width=1, low=4),
            _planes("elements", 32, width=4, size=16),
        )
        for halves in (("scale",), ("scale", "offset"))
    ),
    Layout.GGML_Q2_K: (
        _block(
            _together(Piece("scale1", range(16), 4), Piece("offset1", range(16), 4)),
            _planes("elements", 256, width=2, size=32),
            _half("scale0"),
            _half("offset0"),
        ),
    ),
    Layout.GGML_Q3_K: (
        _block(
            _planes("elements", 256, width=1, size=32, low=2),
            _planes("elements", 256, width=2, size=32),
            _planes("scale1", 16, width=4, size=8),
            _planes("scale1", 16, width=2, size=4, low=4),
            _half("scale0"),
        ),
    ),
    Layout.GGML_Q4_K: tuple(
        _block(_half("scale0"), _half("offset0"), Q4_K_SCALES, fifth, _planes("elements", 256, width=4, size=32))
        for fifth in ((), _planes("elements", 256, width=1, size=32, low=4))
    ),
    Layout.GGML_Q6_K: (
        _block(
            _planes("elements", 256, width=4, size=64),
            _planes("elements", 256, width=2, size=32, low=4),
            _string("scale1", 16, width=8),
            _half("scale0"),
        ),
    ),
    Layout.GGML_IQ4_XS: (
        _block(
            _half("scale0"),
            _string("scale1", 8, width=2, low=4),
            _string("scale1", 8, width=4),
            _planes("elements", 256, width=4, size=16),
        ),
    ),
    Layout.GGML_TQ1_0: (
        _block(
            _ternary("elements", 0, digits=5, size=32),
            _ternary("elements", 160, digits=5, size=16),
            _ternary("elements", 240, digits=4, size=4),
            _half("scale"),
        ),
    ),
    Layout.GGML_TQ2_0: (_block(_planes("elements", 256, width=2, size=32), _half("scale")),),
    Layout.GGML_NVFP4: (_block(_together(Piece("scale", range(4), 7)), _planes("elements", 64, width=4, size=8)),),
}
"""The possible blocks of each layout: without and with an offset, without and with a fifth bit."""
