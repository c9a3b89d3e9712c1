"""A short description of each key of an accelerator file, for editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ACCELERATOR_TOP: Final[Mapping[str, str]] = {
    "name": "what the accelerator is called: the file's stem",
    "aliases": "other names that lead to it",
    "title": "one line about it",
    "source": "document and section that its numbers come from",
    "extends": "the accelerator whose instructions and conversions it has, but for those written here",
    "evidence": "how the arithmetic is known; an instruction may have its own",
    "instructions": "by their names, such as mma.f16.f32: <family>.<a>.<d>",
    "conversions": "by their names, such as cvt.rn.satfinite.e4m3x2.f32",
    "gemm": "how a long K is cut before an instruction sees it",
}
"""The keys of a file."""

INSTRUCTION: Final[Mapping[str, str]] = {
    "evidence": "how its arithmetic is known (default: as the file's)",
    "operands": "formats and shape of D = A·B + C (default: as the instruction's name says)",
    "scale": "block scales of A and of B",
    "dot": "how one step of the dot product is computed",
    "round": "how a sum becomes a result (default: once, to D, to nearest even)",
    "special": "NaN, zeros, subnormals and overflow; of a recipe NaN alone",
    "recipe": "the instructions that it is made of, in order",
}
"""The keys of an instruction."""

ACCELERATOR_MEANING: Final[Mapping[str, str]] = {
    # evidence
    "status": "how well it is known",
    "golden": "recorded results that it was compared with",
    "source": "from where it is known",
    # operands
    "a": "the format of A, or a list of those that it may have",
    "b": "the format of B, or a list (default: as A)",
    "c": "the format of C (default: as D)",
    "d": "the format of D",
    "shape": "[M, N, K] of one instruction: integers, or letters where any size goes",
    "encode": "how numbers become codes, where that differs from the format's own way",
    # scale
    "format": "the name of a format, or {format, encode}",
    "block": "for how many products along K one scale is",
    "apply": "whether its exponent is added to those of products, or it multiplies the sum of a group",
    # dot
    "sum": "how the products of a step are summed",
    "step": "how many products are summed at a time (default: all of K)",
    "split": "products k, k + split, ... are summed apart (even_odd: 2)",
    "group": "so many products are summed exactly before they become one term",
    "DotKeys.c": "where C enters (default: term; sum: chain: first; sum: pairwise: last)",
    "order": "which products come first, in chains and sums of neighbours: a word, or a list of the places of a step",
    "aligned": "of sum: aligned",
    "merge": "of c: join: how parts of a sum, and then C, are brought together",
    # aligned
    "fraction_bits": "terms count in units of 2^(E - this), E the largest exponent of a term",
    "round": "how what is below the last bit goes",
    "per": "what is cut: every term, or their exact sum",
    "zero_exponent": "the exponent that a zero product or zero C counts with",
    # merge
    "dot_fraction_bits": "bits of the sum of products below the larger exponent",
    "c_fraction_bits": "bits of C below the larger exponent",
    "normalised_bits": "bits that are kept after the first, before the last rounding (default: all)",
    "c_reach": "how far C's exponent may lie below the larger one; C further down is dropped (default: any)",
    # round
    "mode": "which of its neighbours a sum between them becomes",
    "to": "a precision below D's: {exponent_bits, mantissa_bits}, or the name of a format",
    "exponent_bits": "bits of the exponent field",
    "mantissa_bits": "bits of the mantissa field",
    # special
    "nan": "the code of every NaN (default: the format's own quiet NaN)",
    "negative_zero": "which results are -0",
    "flush": "which subnormals become zeros",
    "flushed": "what an input that is flushed becomes",
    "overflow": "what a result beyond the largest becomes",
    "product_limit": "products of magnitude 2^this or more are infinite",
    # recipe
    "instruction": "the name of an instruction; add.<format of D> adds",
    "k": "of which k, such as k % 4 in (0, 1) (default: all)",
    "FusedKeys.c": "what it accumulates on",
    "with": "what is added",
    # gemm
    "k_slab": "K is filled with zeros up to a multiple of this",
    "promote_every": "so many products are summed from zero by the unit, and added to the result so far",
    "split_k": "into how many parts K is cut",
    "reduce_order": "how the results of these parts are added",
}
"""The keys of all parts; keys whose meaning depends on the model are qualified by its name."""


def accelerator_meaning(model: str, key: str) -> str:
    """The description of a model's key."""
    if model == "Header":
        return ACCELERATOR_TOP[key]
    return ACCELERATOR_MEANING.get(f"{model}.{key}") or ACCELERATOR_MEANING[key]
