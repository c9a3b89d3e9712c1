"""Cases of the codec bench beside memory limits: each operation beside the plainest loop over the same words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import ml_dtypes
import numpy as np

import statqat_sim as sqs
from bench.cases import Case, Data
from bench.loops import Array, Loop, Threads, copy, move
from bench.made_up import E3M4_AWAY, normal_quantiles, sorted_normals, stochastic
from bench.report import Section

NAMED: Final = ("float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "int8", "bfloat16", "nf4")

FAKE_QUANTIZE_TARGET, ENCODE_TARGET, DECODE_TARGET = 1.0, 0.8, 0.8
SEARCH_TARGETS: Final = {"nf4": 0.35, "normal_quantiles": 0.2, "sorted_normals": 0.2, "posit8": 0.15, "posit16": 0.05}
"""Promised ratios of formats that are encoded by search, in place of the targets above."""

NARROW_TARGET, FLOAT64_TARGET, PACKED_TARGET = 0.8, 0.5, 0.8
SOURCES: Final = {np.float16: NARROW_TARGET, ml_dtypes.bfloat16: NARROW_TARGET, np.float64: FLOAT64_TARGET}
STOCHASTIC_TARGETS: Final = {8: 0.4, 16: 0.25, 32: 0.15}
"""Promised ratios of stochastic rounding, by random bits."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Cases on shared arrays."""

    data: Data
    threads: Threads

    def cases(self) -> Iterator[Case]:
        """All cases."""
        yield from self.formats()
        yield from self.searched()
        yield from self.sources()
        yield from self.packed()
        yield from self.random()

    def formats(self) -> Iterator[Case]:
        """Encode, decode and fake-quantize."""
        for fmt in (*map(sqs.load_format, NAMED), sqs.parse_format(E3M4_AWAY)):
            lower = SEARCH_TARGETS.get(fmt.name)
            codec = sqs.Codec(fmt)
            yield self._of(codec.fake_quantize, self.data.x, self.data.values, lower or FAKE_QUANTIZE_TARGET, copy)
            yield from self._codes(codec, lower or ENCODE_TARGET, lower or DECODE_TARGET)

    def searched(self) -> Iterator[Case]:
        """Encode and decode of formats without bit structure."""
        made_up = [sqs.parse_format(text()) for text in (normal_quantiles, sorted_normals)]
        for fmt in (*made_up, sqs.load_format("posit8"), sqs.load_format("posit16")):
            yield from self._codes(sqs.Codec(fmt), SEARCH_TARGETS[fmt.name], SEARCH_TARGETS[fmt.name])

    def sources(self) -> Iterator[Case]:
        """Inputs of other dtypes."""
        for dtype, target in SOURCES.items():
            x = self.data.x.astype(dtype)
            values = np.zeros(x.size, np.float64 if dtype is np.float64 else np.float32)
            for name in ("float8_e4m3fn", "float4_e2m1fn"):
                codec = sqs.Codec(sqs.load_format(name))
                yield self._of(codec.encode, x, self.data.codes(8), target)
                yield self._of(codec.fake_quantize, x, values, target)

    def packed(self) -> Iterator[Case]:
        """Packed 4-bit codes: the loop moves the two floats of a byte as one word."""
        codec, dense = sqs.Codec(sqs.load_format("float4_e2m1fn")), np.zeros(self.data.x.size // 2, np.uint8)
        pairs, values = (array.view(np.uint64) for array in (self.data.x, self.data.values))
        yield self._case(
            "encode, packed float4_e2m1fn",
            lambda: codec.encode(self.data.x, out=dense, packed=True),
            self.threads.over(move, pairs, dense),
            PACKED_TARGET,
        )
        yield self._case(
            "decode, packed float4_e2m1fn",
            lambda: codec.decode(dense, out=self.data.values, packed=True),
            self.threads.over(move, dense, values),
            PACKED_TARGET,
        )

    def random(self) -> Iterator[Case]:
        """Stochastic rounding."""
        for bits, target in STOCHASTIC_TARGETS.items():
            codec = sqs.Codec(sqs.parse_format(stochastic(bits)))
            call = self._seeded(codec)
            yield self._of(call, self.data.x, self.data.values, target, copy, f"fake_quantize {codec.format.name}")

    def _seeded(self, codec: sqs.Codec) -> Callable[..., Any]:
        return lambda x, out: codec.fake_quantize(x, out=out, seed=1)

    def _codes(self, codec: sqs.Codec, encode_target: float, decode_target: float) -> Iterator[Case]:
        codes = self.data.codes(codec.format.bits)
        yield self._of(codec.encode, self.data.x, codes, encode_target)
        codec.encode(self.data.x, out=codes)
        yield self._of(codec.decode, codes, self.data.values, decode_target)

    def _of(
        self,
        call: Callable[..., Any],
        source: Array,
        target: Array,
        promise: float,
        loop: Loop = move,
        name: str | None = None,
    ) -> Case:
        """A codec's operation beside a loop that moves the same words through the same pages."""
        if name is None:
            name = f"{call.__name__} {call.__self__.format.name}"  # type: ignore[attr-defined]  # a bound method
            name += "" if source.dtype.itemsize == 4 or call.__name__ == "decode" else f" from {source.dtype.name}"
        words = [array.view(f"u{array.itemsize}") for array in (source, target)]
        return self._case(name, lambda: call(source, out=target), self.threads.over(loop, *words), promise, loop)

    def _case(self, name: str, ours: Any, peer: Any, target: float, loop: Loop = move) -> Case:
        peer_name = "numpy copy" if loop is copy else "plain loop"
        return Case(section=Section.LIMITS, name=name, peer_name=peer_name, ours=ours, peer=peer, target=target)
