"""Formats -> plans, one for each purpose."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from statqat_sim.errors import UnsupportedError
from statqat_sim.plan import encode_float, encode_int, listed
from statqat_sim.plan.builder import Builder, Word
from statqat_sim.plan.decode import decode_float, decode_int
from statqat_sim.plan.decode_by_table import NARROW_BITS, decode_by_table, decode_by_table_exactly
from statqat_sim.plan.decode_exactly import Pair, decode_float_exactly, decode_int_exactly, float64_of
from statqat_sim.plan.layout import FLOAT32, MAGNITUDE, MANTISSA_BITS
from statqat_sim.plan.philox import RANDOM, field_storage
from statqat_sim.plan.program import CodecPlan, Packed, Storage
from statqat_sim.plan.rounding import Draw
from statqat_sim.plan.source import LAYOUTS, Real, Source, flushed, narrowed, read, take_apart, widened
from statqat_sim.spec.encode import Element, EncodePolicy, Overflow, Via
from statqat_sim.spec.floating import FloatElement, InfCodes, NanCodes
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.listed import ListedElement
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.pack import BitOrder, Nibbles

FLOAT32_ELEMENT: Final = FloatElement(
    kind="float", exponent_bits=8, mantissa_bits=23, nan=NanCodes.IEEE, inf=InfCodes.IEEE
)
INTERMEDIATES: Final = {
    Via.FLOAT32: FLOAT32_ELEMENT,
    Via.BFLOAT16: FLOAT32_ELEMENT.model_copy(update={"mantissa_bits": 7}),
}


class Purpose(StrEnum):
    """What a plan computes, and its input streams; stochastic rounding reads `random` after these."""

    ENCODE = "encode"  # x: floats -> code
    DECODE = "decode"  # codes -> floats
    PACK = "pack"  # x: floats -> dense codes
    UNPACK = "unpack"  # codes, dense -> floats
    FAKE_QUANTIZE = "fake_quantize"  # x -> floats
    FAKE_QUANTIZE_SCALED = "fake_quantize_scaled"  # x, scale -> decode(encode(x / scale)) × scale


class Lowering(StrEnum):
    """How plans compute: as fast as processors can, or as circuits can, without floats and with short tables."""

    FASTEST = "fastest"
    INTEGER = "integer"

    def builder(self) -> Builder:
        """A builder of a plan that computes so."""
        return Builder(lean=self is Lowering.INTEGER)


def code_storage(format: NumberFormat) -> Storage:
    """The unsigned integer that holds one code."""
    return next(kind for kind in (Storage.UINT8, Storage.UINT16, Storage.UINT32) if format.bits <= kind.bits)


def packed_storage(format: NumberFormat) -> Packed | Storage:
    """Dense codes of a format, in its order of bits.

    Raises:
        UnsupportedError: for codes of more than 8 bits.
    """
    if format.bits > Storage.UINT8.bits:
        raise UnsupportedError(f"{format.name}: packed codes of {format.bits} bits; allowed: up to 8 bits")
    if format.bits == Storage.UINT8.bits:
        return Storage.UINT8
    big_endian = format.pack.nibbles is Nibbles.HIGH_FIRST or format.pack.bit_order is BitOrder.MSB
    return Packed(format.bits, big_endian)


def lower(
    format: NumberFormat,
    purpose: Purpose,
    lowering: Lowering = Lowering.FASTEST,
    *,
    floats: Storage = Storage.FLOAT32,
) -> CodecPlan:
    """The plan of a format for one purpose; equal elements and policies share it.

    Args:
        format: a number format.
        purpose: what the plan does.
        lowering: how the plan computes. With `INTEGER`, encoders and decoders have no float operation, and no table
            longer than 2^bits words, or 16.
        floats: the dtype that encoders read and decoders return: float32 or float64. Fake quantization returns float64
            for float64, and float32 for every other dtype.

    Raises:
        UnsupportedError: if codes of more than 8 bits shall be packed.
    """
    codes = packed_storage(format) if purpose in (Purpose.PACK, Purpose.UNPACK) else code_storage(format)
    return _lower(format.element, format.encode, codes, purpose, lowering, floats)


@lru_cache(maxsize=1024)
def _lower(
    element: Element,
    policy: EncodePolicy,
    codes: Storage | Packed,
    purpose: Purpose,
    lowering: Lowering,
    floats: Storage,
) -> CodecPlan:
    builder = lowering.builder()
    values = Storage.FLOAT64 if floats is Storage.FLOAT64 else Storage.FLOAT32
    if purpose in (Purpose.DECODE, Purpose.UNPACK):
        return builder.finish(_decode_to(values, builder.input("codes", codes), element), values)
    real = read(builder, "x", floats)
    scale = builder.input("scale", Storage.FLOAT32) if purpose is Purpose.FAKE_QUANTIZE_SCALED else None
    encoder = Encoder(element, policy, lowering, drawn(builder, policy))
    if scale is not None:
        return builder.finish(_to(values, encoder.scaled(real, scale)), values)
    if purpose in (Purpose.ENCODE, Purpose.PACK):
        return builder.finish(encoder.code(real, floats), codes)
    if values is Storage.FLOAT32:
        return builder.finish(encoder.round_trip(real, floats), values)
    if encoder.rounds_to_float32:
        return builder.finish(float64_of(encoder.round_trip(real, floats)), values)
    return builder.finish(_decode_to(values, encoder.code(real, floats), element), values)


def drawn(builder: Builder, policy: EncodePolicy) -> Draw | None:
    """The random bits of an element, the top bits of its field; None without stochastic rounding."""
    if not policy.rounding.is_stochastic:
        return None
    storage = field_storage(policy.random_bits)
    spare = storage.bits - policy.random_bits
    field = builder.input(RANDOM, storage)
    return Draw(field >> spare if spare else field, policy.random_bits)


@dataclass(frozen=True, slots=True)
class Encoder:
    """The encoder of one format."""

    element: Element
    policy: EncodePolicy
    lowering: Lowering
    draw: Draw | None

    def code(self, real: Real, came_as: Storage) -> Word:
        """The code of an input that was read from an array of storage `came_as`."""
        source = self._source(real, came_as)
        match self.element:
            case FloatElement():
                magic = self._is_fast(source) and encode_float.has_magic(source.layout, self.element, self.policy)
                return encode_float.encode_float(source, self.element, self.policy, magic=magic)
            case IntElement():
                magic = self._is_fast(source) and encode_int.has_magic(self.element, self.policy)
                return encode_int.encode_int(source, self.element, self.policy, magic=magic)
        return listed.encode_listed(source, self.element, self.policy)

    def round_trip(self, real: Real, came_as: Storage) -> Word:
        """The float32 that the code of an input decodes to."""
        source = self._source(real, came_as)
        match self.element:
            case FloatElement() if self._is_fast(source) and encode_float.has_value_shortcut(
                source.layout, self.element, self.policy
            ):
                return encode_float.round_to_value(source, self.element, self.policy)
            case IntElement() if self._is_fast(source) and encode_int.has_value_shortcut(self.element, self.policy):
                return encode_int.round_to_value(source, self.element, self.policy)
            case ListedElement() if self._is_fast(source) and listed.has_value_shortcut(self.element, self.policy):
                return listed.round_to_level(source, self.element, self.policy)
        return decoded(self.code(real, came_as), self.element)

    def scaled(self, real: Real, scale: Word) -> Word:
        """decode(encode(real / scale)) × scale, each operation rounded to float32."""
        x = widened(real).word if real.low is None else _nearest(real, FLOAT32_ELEMENT, "x")
        quotient = (scale & MAGNITUDE).where(x.fdiv(scale), 0)  # a scale of 0 gives the codes of 0
        return self.round_trip(Real.of(quotient), Storage.FLOAT32).fmul(scale)

    @property
    def rounds_to_float32(self) -> bool:
        """Whether `round_trip` is exact for float64 inputs: every result is a float32 that is not subnormal."""
        match self.element:
            case FloatElement():
                return self._narrows and encode_float.has_value_shortcut(FLOAT32, self.element, self.policy)
            case IntElement():
                return self._narrows and encode_int.has_value_shortcut(self.element, self.policy)
        return False

    def _source(self, real: Real, came_as: Storage) -> Source:
        """Apply Definition 8 up to `negative_input`, and split the input into the parts that encoders use."""
        if self.policy.flush_inputs:
            real = flushed(real, LAYOUTS[came_as])
        if not self._takes_aligned(real):
            real = widened(real)
        through = INTERMEDIATES.get(self.policy.via)
        if through is not None and not (through is FLOAT32_ELEMENT and real.low is None):
            real = Real.of(_nearest(real, through, "via"))
        if real.low is not None and self._narrows:
            real = narrowed(real)
        return take_apart(real, self.element, self.policy, self.draw)

    def _takes_aligned(self, real: Real) -> bool:
        """Whether the FPU may round an aligned float16 without widening it."""
        if self.lowering is not Lowering.FASTEST or self.policy.via in INTERMEDIATES:
            return False
        return isinstance(self.element, FloatElement) and encode_float.has_magic(real.layout, self.element, self.policy)

    def _is_fast(self, source: Source) -> bool:
        return self.lowering is Lowering.FASTEST and source.low is None

    @property
    def _narrows(self) -> bool:
        """Whether a float64 may first be narrowed to float32."""
        if self.lowering is not Lowering.FASTEST:
            return False
        match self.element:
            case FloatElement():
                return encode_float.fits_float32(self.element, self.policy)
            case IntElement():
                return encode_int.fits_float32(self.element, self.policy)
        return listed.fits_float32(self.element, self.policy)


def _nearest(real: Real, element: FloatElement, scope: str) -> Word:
    """The float32 word of an input rounded to a format whose codes are truncated float32 words."""
    policy = EncodePolicy(overflow=Overflow.INF).resolved(element)
    with real.signed.builder.scope(scope):
        code = encode_float.encode_float(take_apart(real, element, policy, None), element, policy, magic=False)
    return code << (MANTISSA_BITS - element.mantissa_bits)


def _to(values: Storage, word: Word) -> Word | Pair:
    """A float32 word, converted to float64 if `values` is float64."""
    if values is Storage.FLOAT32:
        return word
    with word.builder.scope("result"):
        return decode_float_exactly(word, FLOAT32_ELEMENT)


def _decode_to(values: Storage, code: Word, element: Element) -> Word | Pair:
    if values is Storage.FLOAT32:
        return decoded(code, element)
    if element.bits > NARROW_BITS:
        match element:
            case FloatElement():
                return decode_float_exactly(code, element)
            case IntElement():
                return decode_int_exactly(code, element)
    return decode_by_table_exactly(code, element)


def decoded(code: Word, element: Element) -> Word:
    """The float32 word of a code; code bits above the format's width are ignored."""
    if element.bits > NARROW_BITS:
        match element:
            case FloatElement():
                return decode_float(code, element)
            case IntElement():
                return decode_int(code, element)
    return decode_by_table(code, element)
