"""Formats -> plans. One plan for each thing that is done with a format."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

from statqat_sim.plan import codebook, encode_float, encode_int
from statqat_sim.plan.builder import Builder, Word
from statqat_sim.plan.decode import decode_float, decode_int
from statqat_sim.plan.float32 import MAGNITUDE
from statqat_sim.plan.program import CodecPlan, Storage
from statqat_sim.spec.codebook import CodebookElement
from statqat_sim.spec.encode import Element, EncodePolicy
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.number import NumberFormat


class Purpose(StrEnum):
    """What a plan does, and the streams that it reads."""

    ENCODE = "encode"  # x: float32 -> code
    DECODE = "decode"  # code -> float32
    FAKE_QUANTIZE = "fake_quantize"  # x -> float32
    FAKE_QUANTIZE_SCALED = "fake_quantize_scaled"  # x, scale -> decode(encode(x / scale)) × scale


class Lowering(StrEnum):
    """How floats are rounded: the fastest valid way, or by integers alone."""

    FASTEST = "fastest"
    INTEGER = "integer"


def code_storage(format: NumberFormat) -> Storage:
    """The unsigned integer that holds one code."""
    return next(kind for kind in (Storage.UINT8, Storage.UINT16, Storage.UINT32) if format.bits <= kind.bits)


def lower(format: NumberFormat, purpose: Purpose, lowering: Lowering = Lowering.FASTEST) -> CodecPlan:
    """The plan of a format for one purpose; equal elements and policies share it."""
    return _lower(format.element, format.encode, code_storage(format), purpose, lowering)


@lru_cache(maxsize=1024)
def _lower(element: Element, policy: EncodePolicy, codes: Storage, purpose: Purpose, lowering: Lowering) -> CodecPlan:
    builder = Builder()
    if purpose is Purpose.DECODE:
        return builder.finish(_decode(builder.input("codes", codes), element), Storage.FLOAT32)
    x = builder.input("x", Storage.FLOAT32)
    if purpose is Purpose.ENCODE:
        return builder.finish(_encode(x, element, policy, lowering), codes)
    if purpose is Purpose.FAKE_QUANTIZE:
        return builder.finish(_round_trip(x, element, policy, lowering), Storage.FLOAT32)
    scale = builder.input("scale", Storage.FLOAT32)
    quotient = (scale & MAGNITUDE).where(x.fdiv(scale), 0)  # a scale of 0 gives the codes of 0
    return builder.finish(_round_trip(quotient, element, policy, lowering).fmul(scale), Storage.FLOAT32)


def _round_trip(word: Word, element: Element, policy: EncodePolicy, lowering: Lowering) -> Word:
    if lowering is Lowering.FASTEST:
        match element:
            case FloatElement() if encode_float.has_value_shortcut(element, policy):
                return encode_float.round_to_value(word, element, policy)
            case CodebookElement() if codebook.has_value_shortcut(element, policy):
                return codebook.round_to_level(word, element, policy)
    return _decode(_encode(word, element, policy, lowering), element)


def _encode(word: Word, element: Element, policy: EncodePolicy, lowering: Lowering) -> Word:
    match element:
        case FloatElement():
            magic = lowering is Lowering.FASTEST and encode_float.has_magic(element)
            return encode_float.encode_float(word, element, policy, magic=magic)
        case IntElement():
            magic = lowering is Lowering.FASTEST and encode_int.has_magic(element, policy)
            return encode_int.encode_int(word, element, policy, magic=magic)
        case CodebookElement():
            return codebook.encode_codebook(word, element, policy)


def _decode(code: Word, element: Element) -> Word:
    match element:
        case FloatElement():
            return decode_float(code, element)
        case IntElement():
            return decode_int(code, element)
        case CodebookElement():
            return codebook.decode_codebook(code, element)
