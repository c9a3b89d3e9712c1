"""What compressed-tensors has for our formats: the kind of an element, what shares a scale, and how scales are stored.

Its own words are those of `QuantizationArgs` and `CompressionFormat` of compressed-tensors 0.20.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Any, Final

from statqat_sim.qat.tensor_config import TensorConfig
from statqat_sim.spec.base import BYTE
from statqat_sim.spec.block import BlockFormat, Offset
from statqat_sim.spec.catalog import load_format
from statqat_sim.spec.format import Format
from statqat_sim.spec.integer import Encoding, IntElement
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import Block, ScaleLevel, Whole

ALLOWED: Final = (
    "signed integers of up to 8 bits and float8_e4m3fn, with scales of float32, float16 or bfloat16 for the tensor, "
    "channels, groups or blocks, and zero-points of groups; and the elements, blocks and scales of mxfp4, mxfp8_e4m3, "
    "nvfp4"
)
"""What there is a place for."""

MX_BLOCK, NV_BLOCK = 32, 16


class Kind(StrEnum):
    """What elements are."""

    INT = "int"
    FLOAT = "float"


class Strategy(StrEnum):
    """What shares a scale."""

    TENSOR = "tensor"
    CHANNEL = "channel"
    TOKEN = "token"
    GROUP = "group"
    BLOCK = "block"
    TENSOR_GROUP = "tensor_group"


class Scales(StrEnum):
    """How scales are stored."""

    FLOATS = "floats"
    POWERS = "torch.uint8"
    """E8M0, in MX formats."""
    NESTED = "torch.float8_e4m3fn"
    """E4M3, within a scale of the tensor, in NVFP4."""


class Layout(StrEnum):
    """How codes lie."""

    INTS = "int-quantized"
    PACKED_INTS = "pack-quantized"
    FLOATS = "float-quantized"
    MXFP8 = "mxfp8-quantized"
    MXFP4 = "mxfp4-pack-quantized"
    NVFP4 = "nvfp4-pack-quantized"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """A format, as compressed-tensors has it."""

    kind: Kind
    bits: int
    strategy: Strategy
    block: tuple[int, int] | None = None
    """The rows and columns that share a scale; None where a tensor or a channel does."""
    scales: Scales = Scales.FLOATS
    has_zero_points: bool = False

    def arguments(self, *, dynamic: bool = False) -> dict[str, Any]:
        """The keys of `QuantizationArgs`; `dynamic`: scales are found when the model runs."""
        found: dict[str, Any] = {"num_bits": self.bits, "type": self.kind.value, "strategy": self.strategy.value}
        found |= {"symmetric": not self.has_zero_points, "dynamic": dynamic}
        if self.block is not None and self.strategy is Strategy.BLOCK:
            found["block_structure"] = list(self.block)
        elif self.block is not None:
            found["group_size"] = self.block[1]
        if self.scales is not Scales.FLOATS:
            found["scale_dtype"] = self.scales.value
        return found

    def layout(self, *, with_inputs: bool) -> Layout:
        """That of a weight's codes; integers are packed where `with_inputs` is false: inputs stay floats."""
        if self.kind is Kind.INT:
            return Layout.INTS if with_inputs else Layout.PACKED_INTS
        return FLOAT_LAYOUTS[self.bits, self.scales]


FLOAT_LAYOUTS: Final = {
    (8, Scales.FLOATS): Layout.FLOATS,
    (8, Scales.POWERS): Layout.MXFP8,
    (4, Scales.POWERS): Layout.MXFP4,
    (4, Scales.NESTED): Layout.NVFP4,
}
"""By bits and scales of float elements."""


def scheme_of(format: Format, *, per_channel: bool = False) -> Scheme | None:
    """The scheme of a format; None if there is none.

    Args:
        format: of a weight, or of what enters a layer.
        per_channel: whether a number format's scales are those of channels.
    """
    if isinstance(format, NumberFormat):
        strategy = Strategy.CHANNEL if per_channel else Strategy.TENSOR
        return _with_floats(format, strategy, None)
    if format.offset is not None:
        return _with_zero_points(format, format.offset)
    match format.scales:
        case (level,):
            return _of_one_level(format, level)
        case (outer, inner):
            return _of_two_levels(format, outer, inner)
    return None


def input_scheme_of(config: TensorConfig) -> tuple[Scheme, bool] | None:
    """The scheme of what enters a layer, and whether its scales are dynamic; None if there is none.

    NVFP4 has none: its scale of the tensor is dynamic here, and static there.
    """
    if isinstance(config.format, NumberFormat):
        scheme = scheme_of(config.format) if config.per == "tensor" else None
        return None if scheme is None else (scheme, config.dynamic)
    scheme = scheme_of(config.format)
    if scheme is None or scheme.scales is Scales.NESTED or scheme.strategy is Strategy.BLOCK or scheme.has_zero_points:
        return None
    is_token = scheme.strategy is Strategy.CHANNEL
    return replace(scheme, strategy=Strategy.TOKEN) if is_token else scheme, True


def _of_one_level(format: BlockFormat, level: ScaleLevel) -> Scheme | None:
    number = format.element
    if _is_like(level.format, "float8_e8m0fnu"):
        element = _element(number)
        if level.block != MX_BLOCK or element not in ((Kind.FLOAT, 4), (Kind.FLOAT, 8)):
            return None
        kind, bits = element
        return Scheme(kind=kind, bits=bits, strategy=Strategy.GROUP, block=(1, MX_BLOCK), scales=Scales.POWERS)
    if not any(_is_like(level.format, name) for name in ("float32", "float16", "bfloat16")):
        return None
    strategy, block = _sharing(level.block)
    return _with_floats(number, strategy, block)


def _of_two_levels(format: BlockFormat, outer: ScaleLevel, inner: ScaleLevel) -> Scheme | None:
    is_nvfp4 = (
        (outer.block, inner.block) == (Whole.TENSOR, NV_BLOCK)
        and _is_like(outer.format, "float32")
        and _is_like(inner.format, "float8_e4m3fn")
        and _element(format.element) == (Kind.FLOAT, 4)
    )
    if not is_nvfp4:
        return None
    return Scheme(kind=Kind.FLOAT, bits=4, strategy=Strategy.TENSOR_GROUP, block=(1, NV_BLOCK), scales=Scales.NESTED)


def _with_zero_points(format: BlockFormat, offset: Offset) -> Scheme | None:
    """Groups or channels of integers, whose zero-points are integers of as many bits."""
    stored, element = offset.format, _element(format.element)
    if stored is None or len(format.scales) != 1 or element is None or _element(stored) != element:
        return None
    scheme = _of_one_level(format, format.scales[0])
    if scheme is None or scheme.kind is not Kind.INT or scheme.strategy not in (Strategy.GROUP, Strategy.CHANNEL):
        return None
    return replace(scheme, has_zero_points=True)


def _sharing(block: Block) -> tuple[Strategy, tuple[int, int] | None]:
    match block:
        case Whole.TENSOR:
            return Strategy.TENSOR, None
        case Whole.CHANNEL:
            return Strategy.CHANNEL, None
        case (rows, columns):
            return Strategy.BLOCK, (rows, columns)
    assert isinstance(block, int)
    return Strategy.GROUP, (1, block)


def _with_floats(number: NumberFormat, strategy: Strategy, block: tuple[int, int] | None) -> Scheme | None:
    """Elements whose scales are floats; None for those that have none in compressed-tensors."""
    element = _element(number)
    if element is None or element == (Kind.FLOAT, 4):
        return None
    kind, bits = element
    return Scheme(kind=kind, bits=bits, strategy=strategy, block=block)


def _element(number: NumberFormat) -> tuple[Kind, int] | None:
    """What elements are, and their bits."""
    element = number.element
    if isinstance(element, IntElement):
        is_signed = element.encoding is Encoding.TWOS_COMPLEMENT or element.code_offset == 1 << (number.bits - 1)
        is_plain = is_signed and not element.fraction_bits and number.bits <= BYTE
        return (Kind.INT, number.bits) if is_plain else None
    if _is_like(number, "float4_e2m1fn"):
        return Kind.FLOAT, 4
    return (Kind.FLOAT, 8) if _is_like(number, "float8_e4m3fn") else None


def _is_like(format: Format, name: str) -> bool:
    """Whether codes mean the same as those of a number format of the catalog."""
    return isinstance(format, NumberFormat) and format.element == _elements()[name]


@cache
def _elements() -> Mapping[str, Any]:
    names = ("float4_e2m1fn", "float8_e4m3fn", "float8_e8m0fnu", "float16", "bfloat16", "float32")
    return {name: load_format(name).element for name in names}
