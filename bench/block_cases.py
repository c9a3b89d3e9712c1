"""Cases of the bench of block formats: beside other libraries, beside memory limits, and beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

import numpy as np

import statqat_sim as sqs
from bench.block_peers import microxcaling, on_fastest_threads, to_mx, to_nvfp4
from bench.cases import Case
from bench.loops import Array, Threads, copy, move
from bench.made_up import E3M1_BLOCK24
from bench.pairs import Call
from bench.report import Section

PACK_TARGET, MXFP8_TARGET, NVFP4_TARGET, MICROXCALING_TARGET = 100.0, 15.0, 60.0, 200.0
FAKE_QUANTIZE_TARGET, DEQUANTIZE_TARGET = 0.8, 0.8
MSE_TARGET, OTHER_AXIS_TARGET, MADE_UP_TARGET = 1 / 12, 1 / 2.5, 1 / 2
"""Promised ratios, peer's time / ours: at most 12, 2.5 and 2 times as long."""


class BlockData:
    """A seeded matrix of 2^n normals, square or nearly so, and output arrays."""

    def __init__(self, elements: int) -> None:
        columns = 1 << (elements.bit_length() - 1) // 2
        self.x = np.random.default_rng(0).standard_normal((elements // columns, columns), dtype=np.float32)
        self.values = np.zeros_like(self.x)


# --- other libraries ---------------------------------------------------------------------------------------------


def torchao(data: BlockData, threads: int) -> Iterator[Case]:
    """The same bytes from torchao's functions, run eagerly; both allocate their results."""
    library = f"torchao {version('torchao')}, eager"
    mxfp4, mxfp8, nvfp4 = map(_codec, ("mxfp4", "mxfp8_e4m3", "nvfp4.torchao"))
    yield Case(
        section=Section.LIBRARIES,
        name="pack mxfp4",
        peer_name=f"to_mx of {library}",
        ours=lambda: mxfp4.pack(data.x),
        peer=on_fastest_threads(lambda: to_mx(data.x, "float4_e2m1fn_x2"), threads),
        target=PACK_TARGET,
        results=(_packed(mxfp4, data.x), _joined(to_mx(data.x, "float4_e2m1fn_x2"))),
    )
    yield Case(
        section=Section.LIBRARIES,
        name="quantize mxfp8_e4m3",
        peer_name=f"to_mx of {library}",
        ours=lambda: mxfp8.quantize(data.x),
        peer=on_fastest_threads(lambda: to_mx(data.x, "float8_e4m3fn"), threads),
        target=MXFP8_TARGET,
        results=(_packed(mxfp8, data.x), _joined(to_mx(data.x, "float8_e4m3fn"))),
    )
    yield Case(
        section=Section.LIBRARIES,
        name="quantize nvfp4.torchao",
        peer_name=f"nvfp4_quantize of {library}",
        ours=lambda: nvfp4.quantize(data.x),
        peer=on_fastest_threads(lambda: to_nvfp4(data.x), threads),
        target=NVFP4_TARGET,
        results=(_packed(nvfp4, data.x), _joined(to_nvfp4(data.x))),
    )


def of_microxcaling(data: BlockData, threads: int) -> Case:
    """The same values from microxcaling's `quantize_mx_op` on the CPU; it has no codes."""
    codec = _codec("mxfp4.microxcaling")
    return Case(
        section=Section.LIBRARIES,
        name="fake_quantize mxfp4.microxcaling",
        peer_name="microxcaling, CPU",
        ours=lambda: codec.fake_quantize(data.x, out=data.values),
        peer=on_fastest_threads(lambda: microxcaling(data.x), threads),
        target=MICROXCALING_TARGET,
        results=(codec.fake_quantize(data.x) + 0.0, microxcaling(data.x) + 0.0),  # it loses the sign of zero
    )


def _packed(codec: sqs.Codec, x: Array) -> Array:
    return np.frombuffer(codec.pack(x), np.uint8)


def _joined(arrays: tuple[Array, ...]) -> Array:
    return np.concatenate([array.reshape(-1).view(np.uint8) for array in arrays])


# --- limits ------------------------------------------------------------------------------------------------------


def limits(data: BlockData, threads: Threads) -> Iterator[Case]:
    """Cases beside loops that move the same words, except scales, of which there is one byte per 32 elements."""
    codec = _codec("mxfp4")
    q = codec.quantize(data.x)
    x, values, codes = (array.reshape(-1) for array in (data.x, data.values, q.codes))
    yield Case(
        section=Section.LIMITS,
        name="fake_quantize mxfp4",
        peer_name="numpy copy",
        ours=lambda: codec.fake_quantize(data.x, out=data.values),
        peer=threads.over(copy, x, values),
        target=FAKE_QUANTIZE_TARGET,
    )
    yield Case(
        section=Section.LIMITS,
        name="dequantize mxfp4",
        peer_name="plain loop",
        ours=lambda: codec.dequantize(q, out=data.values),
        peer=threads.over(move, codes, values.view(np.uint32)),
        target=DEQUANTIZE_TARGET,
    )


# --- ourselves ---------------------------------------------------------------------------------------------------


def ourselves(data: BlockData) -> Iterator[Case]:
    """Cases beside other cases of ours: the cost of an MSE search, of another axis, and of a format not shipped."""
    mxfp4, made_up = _fake(data, _codec("mxfp4")), sqs.parse_format(E3M1_BLOCK24)
    mse, nvfp4 = (_fake(data, _codec(name)) for name in ("nvfp4.mse", "nvfp4"))
    yield _beside("nvfp4.mse", mse, "nvfp4", nvfp4, MSE_TARGET)
    yield _beside("mxfp4, axis=0", _fake(data, _codec("mxfp4"), axis=0), "mxfp4, axis=-1", mxfp4, OTHER_AXIS_TARGET)
    yield _beside(made_up.name, _fake(data, sqs.Codec(made_up)), "mxfp4", mxfp4, MADE_UP_TARGET)


def _beside(name: str, ours: Call, peer_name: str, peer: Call, target: float) -> Case:
    name = f"fake_quantize {name}"
    return Case(section=Section.OURSELVES, name=name, peer_name=peer_name, ours=ours, peer=peer, target=target)


def _fake(data: BlockData, codec: sqs.Codec, axis: int = -1) -> Call:
    return lambda: codec.fake_quantize(data.x, axis=axis, out=data.values)


def _codec(name: str) -> sqs.Codec:
    return sqs.Codec(sqs.load_format(name))
