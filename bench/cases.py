"""Cases of the codec bench beside other libraries that do the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import torch

import statqat_sim as sqs
from bench.loops import Array, Threads
from bench.pairs import Call
from bench.report import Section

E4M3, E5M2 = "float8_e4m3fn", "float8_e5m2"

ML_DTYPES_TARGET = 50.0
TORCH_E4M3_ENCODE_TARGET, TORCH_E5M2_ENCODE_TARGET = 2.5, 1.5
TORCH_E4M3_DECODE_TARGETS = {1: 14.0, 2: 8.0}

COMPILED = "torch.compile of a magic-add"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Two calls to compare, each with its own preallocated output if it takes one."""

    section: Section
    name: str
    peer_name: str
    ours: Call
    peer: Call
    target: float | None = None
    results: tuple[Array, Array] | None = None
    """The results of ours and of the peer, if they must be equal."""

    def check(self) -> None:
        """Run both calls and compare `results`.

        Raises:
            RuntimeError: if the results differ.
        """
        if self.results is None:
            return
        self.ours()
        self.peer()
        ours, peer = (result.view(f"u{result.itemsize}") for result in self.results)
        if not np.array_equal(ours, peer):
            raise RuntimeError(f"{self.name}: {np.count_nonzero(ours != peer)} results differ from {self.peer_name}")


class Data:
    """Seeded inputs and output arrays, shared by all cases."""

    def __init__(self, elements: int) -> None:
        self.x = np.random.default_rng(0).standard_normal(elements, dtype=np.float32)
        self.values = np.zeros(elements, np.float32)
        self._codes: dict[int, Array] = {1: np.zeros(elements, np.uint8), 2: np.zeros(elements, np.uint16)}

    def codes(self, bits: int) -> Array:
        """The array for codes of this width."""
        return self._codes[1 if bits <= 8 else 2]


# --- other libraries ---------------------------------------------------------------------------------------------


def libraries(data: Data, threads: Threads) -> Iterator[Case]:
    """The same work by ml_dtypes, which uses one thread, and by torch on as many threads as ours."""
    yield _torch_encode(data, E5M2, TORCH_E5M2_ENCODE_TARGET)
    yield _torch_encode(data, E4M3, TORCH_E4M3_ENCODE_TARGET)
    yield _torch_decode(data, TORCH_E4M3_DECODE_TARGETS.get(threads.count))
    yield from _ml_dtypes(data)


def compiled_by_torch(data: Data) -> Case:
    """Our own algorithm, written in torch and compiled: the strongest peer."""
    torch.compiler.reset()  # compiled code has the number of threads as a constant
    result = torch.empty(data.x.size)
    compiled = torch.compile(magic_add, dynamic=False)
    x = torch.from_numpy(data.x)
    codec = _codec(E4M3)
    return Case(
        section=Section.LIBRARIES,
        name=f"fake_quantize {E4M3}",
        peer_name=COMPILED,
        ours=lambda: codec.fake_quantize(data.x, out=data.values),
        peer=lambda: compiled(x, result),
        results=(data.values, result.numpy()),
    )


def magic_add(x: torch.Tensor, out: torch.Tensor) -> None:
    """Add and subtract a float whose ulp is the target's quantum: the processor rounds."""
    e4m3 = torch.finfo(torch.float8_e4m3fn)
    one, smallest, quantum = torch.tensor([1.0, e4m3.smallest_normal, 2**23 * e4m3.eps]).view(torch.int32).tolist()
    magnitude = x.abs().clamp(max=e4m3.max)
    binade = (magnitude.view(torch.int32) & 0x7F800000).clamp(min=smallest)
    magic = (binade + (quantum - one)).view(torch.float32)
    out.copy_(torch.copysign((magnitude + magic) - magic, x))


def _torch_encode(data: Data, name: str, target: float) -> Case:
    codec, codes, x = _codec(name), data.codes(8), torch.from_numpy(data.x)
    result = torch.empty(data.x.size, dtype=getattr(torch, name))
    return Case(
        section=Section.LIBRARIES,
        name=f"encode {name}",
        peer_name="torch copy_",
        ours=lambda: codec.encode(data.x, out=codes),
        peer=lambda: result.copy_(x),
        target=target,
        results=(codes, result.view(torch.uint8).numpy()),
    )


def _torch_decode(data: Data, target: float | None) -> Case:
    codec = _codec(E4M3)
    codes = codec.encode(data.x)
    source, result = torch.from_numpy(codes).view(torch.float8_e4m3fn), torch.empty(data.x.size)
    return Case(
        section=Section.LIBRARIES,
        name=f"decode {E4M3}",
        peer_name="torch copy_",
        ours=lambda: codec.decode(codes, out=data.values),
        peer=lambda: result.copy_(source),
        target=target,
        results=(data.values, result.numpy()),
    )


def _ml_dtypes(data: Data) -> Iterator[Case]:
    codec, codes = _codec(E4M3), data.codes(8)
    result, values = np.zeros(data.x.size, ml_dtypes.float8_e4m3fn), np.zeros(data.x.size, np.float32)
    yield Case(
        section=Section.LIBRARIES,
        name=f"encode {E4M3}",
        peer_name="ml_dtypes, one thread",
        ours=lambda: codec.encode(data.x, out=codes),
        peer=lambda: np.copyto(result, data.x, casting="unsafe"),
        target=ML_DTYPES_TARGET,
        results=(codes, result),
    )
    codec.encode(data.x, out=codes)
    yield Case(
        section=Section.LIBRARIES,
        name=f"decode {E4M3}",
        peer_name="ml_dtypes, one thread",
        ours=lambda: codec.decode(codes, out=data.values),
        peer=lambda: np.copyto(values, codes.view(result.dtype)),
        target=ML_DTYPES_TARGET,
        results=(data.values, values),
    )


def _codec(name: str) -> sqs.Codec:
    return sqs.Codec(sqs.load_format(name))
