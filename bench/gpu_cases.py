"""Cases of the GPU bench: beside device copies of the same number of bytes, and beside other libraries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch

import statqat_sim as sqs
from bench.block_peers import BLOCK
from bench.cases import magic_add
from bench.pairs import Call
from bench.report import Section
from statqat_sim.histogram import BIN_MANTISSA_BITS, Counter
from statqat_sim.plan.block import ELEMENTS
from statqat_sim.plan.block_statistics import amax
from statqat_sim.plan.program import Storage
from statqat_sim.plan.reduction import histogram_plan, maximum_plan
from statqat_sim.runtime import backend_for, reduction_kernel

ELEMENTWISE_TARGET, BLOCK_TARGET = 0.85, 0.75
"""Promised shares of the bandwidth of a device copy."""

MOST_BYTES = 12
"""The most bytes per element that a case moves."""

NAMED = ("float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "int8", "bfloat16", "nf4", "posit8")
NAMED_BLOCKS = ("mxfp4", "mxfp8_e4m3", "mxint8", "nvfp4", "nvfp4.mse", "gguf_q4_0")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCase:
    """Two calls to compare, queued on the device's stream."""

    section: Section
    name: str
    bytes: float = 0
    """The fewest bytes per element that ours must move."""
    operations: int = 0
    """Multiply-adds of a call, if time is reported per multiply-add, not per element."""
    peer_name: str
    ours: Call
    peer: Call
    target: float | None = None
    results: tuple[torch.Tensor, torch.Tensor] | None = None
    """The results of ours and of the peer, if they must be equal bit for bit."""

    def check(self) -> None:
        """Run both calls and compare `results`.

        Raises:
            RuntimeError: if the results differ.
        """
        self.ours()
        self.peer()
        if self.results is None:
            return
        ours, peer = (result.contiguous().view(torch.uint8).reshape(-1) for result in self.results)
        if not torch.equal(ours, peer):
            raise RuntimeError(f"{self.name}: results differ from {self.peer_name}")


class GpuData:
    """A seeded matrix of normals on a device, with rows of whole blocks, and output arrays."""

    def __init__(self, elements: int, device: str = "cuda") -> None:
        columns = 1 << min(12, (elements.bit_length() - 1) // 2)
        self.device, self.count = device, elements // columns * columns
        generator = torch.Generator(device).manual_seed(0)
        self.x = torch.randn(self.count // columns, columns, device=device, generator=generator)
        self.values = torch.empty_like(self.x)
        self.codes = torch.empty(self.x.shape, dtype=torch.uint8, device=device)
        self._source = torch.ones(MOST_BYTES // 2 * self.count, dtype=torch.uint8, device=device)
        self._target = torch.empty_like(self._source)

    def copy(self, each: float) -> Call:
        """A device copy that reads and writes `each` bytes per element in all."""
        assert each <= MOST_BYTES
        size = int(self.count * each) // 2 // 16 * 16
        source, target = self._source[:size], self._target[:size]
        return lambda: target.copy_(source)


def elementwise(data: GpuData) -> Iterator[GpuCase]:
    """Number formats beside copies."""
    for name in NAMED:
        fmt = sqs.load_format(name)
        codec, wide = sqs.Codec(fmt), 1 if fmt.bits <= 8 else 2
        codes = data.codes if wide == 1 else torch.empty_like(data.codes, dtype=torch.uint16)
        yield _beside_copy(data, f"fake_quantize {name}", 8, ELEMENTWISE_TARGET, _fake(codec, data))
        yield _beside_copy(data, f"encode {name}", 4 + wide, ELEMENTWISE_TARGET, _encode(codec, data, codes))
        yield _beside_copy(data, f"decode {name}", 4 + wide, ELEMENTWISE_TARGET, _decode(codec, data, codes))


def blocks(data: GpuData) -> Iterator[GpuCase]:
    """Block formats beside copies; formats with a tensor scale read their input twice."""
    for name in NAMED_BLOCKS:
        fmt = sqs.load_format(name)
        codec, again = sqs.Codec(fmt), 4 * (fmt.scales[0].block == "tensor")
        yield _beside_copy(data, f"fake_quantize {name}", 8 + again, BLOCK_TARGET, _fake(codec, data))
        each = 5 + again + (fmt.bits_per_element - fmt.bits) / 8
        yield _beside_copy(data, f"quantize {name}", each, BLOCK_TARGET, _quantize(codec, data))


def reductions(data: GpuData) -> Iterator[GpuCase]:
    """Calibration statistics beside copies of the same number of bytes; `Counter` reads its data twice."""
    counter, backend = Counter(), backend_for(data.x)
    plans = {
        "histogram": histogram_plan(Storage.FLOAT32, BIN_MANTISSA_BITS),
        "amax": maximum_plan(amax(ELEMENTS, finite=True).key),
    }
    for name, plan in plans.items():
        kernel = reduction_kernel(backend, plan)
        yield _beside_copy(data, name, 4, None, partial(kernel, data.x))
    yield _beside_copy(data, "count", 8, None, partial(counter.count, data.x))
    zeros = data.x.relu()
    yield _beside_copy(data, "count, half of it zeros", 8, None, partial(counter.count, zeros))


def torch_casts(data: GpuData) -> Iterator[GpuCase]:
    """The same codes from torch's own casts, and the same values from torch.compile."""
    for name in ("float8_e5m2", "float8_e4m3fn"):
        codec, result = sqs.Codec(sqs.load_format(name)), torch.empty_like(data.x, dtype=getattr(torch, name))
        yield GpuCase(
            section=Section.LIBRARIES,
            name=f"encode {name}",
            bytes=5,
            peer_name="torch copy_",
            ours=_encode(codec, data, data.codes),
            peer=_copied(data.x, result),
            results=(data.codes, result),
        )
    yield _compiled(data)


def torchao_blocks(data: GpuData) -> Iterator[GpuCase]:
    """The same blocks from torchao, its functions compiled by torch."""
    from torchao.prototype.mx_formats.mx_tensor import ScaleCalculationMode, to_mx

    quantized = torch.compile(lambda x: to_mx(x, torch.float8_e4m3fn, BLOCK, ScaleCalculationMode.FLOOR))
    codec = sqs.Codec(sqs.load_format("mxfp8_e4m3"))
    scales, elements = quantized(data.x)
    yield GpuCase(
        section=Section.LIBRARIES,
        name="quantize mxfp8_e4m3",
        bytes=5 + 1 / BLOCK,
        peer_name="to_mx of torchao, torch.compile",
        ours=_quantize(codec, data),
        peer=lambda: quantized(data.x),
        results=(codec.quantize(data.x).codes, elements),
    )
    del scales


def _compiled(data: GpuData) -> GpuCase:
    result, compiled = torch.empty_like(data.x), torch.compile(magic_add, dynamic=False)
    return GpuCase(
        section=Section.LIBRARIES,
        name="fake_quantize float8_e4m3fn",
        bytes=8,
        peer_name="torch.compile of a magic-add",
        ours=_fake(sqs.Codec(sqs.load_format("float8_e4m3fn")), data),
        peer=lambda: compiled(data.x, result),
        results=(data.values, result),
    )


def _beside_copy(data: GpuData, name: str, each: float, target: float | None, ours: Call) -> GpuCase:
    return GpuCase(
        section=Section.LIMITS,
        name=name,
        bytes=each,
        peer_name="copy of as many bytes",
        ours=ours,
        peer=data.copy(each),
        target=target,
    )


def _fake(codec: sqs.Codec, data: GpuData) -> Call:
    return lambda: codec.fake_quantize(data.x, out=data.values)


def _encode(codec: sqs.Codec, data: GpuData, codes: torch.Tensor) -> Call:
    return lambda: codec.encode(data.x, out=codes)


def _decode(codec: sqs.Codec, data: GpuData, codes: torch.Tensor) -> Call:
    return lambda: codec.decode(codes, out=data.values)


def _quantize(codec: sqs.Codec, data: GpuData) -> Call:
    return lambda: codec.quantize(data.x)


def _copied(source: torch.Tensor, target: torch.Tensor) -> Call:
    return lambda: target.copy_(source)
