"""A short description of each key of a spec, for editors and for new files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TOP: Final[Mapping[str, str]] = {
    "name": "what the format is called: the file's stem",
    "aliases": "other names that lead to it",
    "title": "one line about it",
    "source": "document and section that its numbers come from",
    "oracle": "independent implementations that tests compare with: library:name, or library==version:name",
    "extends": "the format that it inherits from, key by key",
    "element": "what the codes mean: a mapping, or the name of another format",
    "encode": "how reals become codes",
    "scales": "of a block format: the scales that elements share, outermost first; a value is element × every scale",
    "offset": "of a block format: what is added to a value",
    "pack": "how codes lie in bytes",
}
"""The keys of a file."""

MEANING: Final[Mapping[str, str]] = {
    "kind": "what codes are made of",
    "bits": "bits of one code",
    # float
    "exponent_bits": "bits of the exponent field",
    "mantissa_bits": "bits of the mantissa field",
    "signed": "whether the top bit is a sign",
    "bias": "exponent field minus exponent (default 2^(exponent_bits - 1) - 1)",
    "subnormals": "what exponent field 0 means (none: a binade like any other; raw: gradual, one binade lower)",
    "nan": "which codes are NaN",
    "inf": "which codes are infinite",
    "zero": "which zeros there are (positive: no -0)",
    # int
    "encoding": "how an integer is written in bits",
    "offset": "code minus integer, for offset_binary only (default 2^(bits - 1))",
    "fraction_bits": "how many of the bits are below the binary point; kind lns: of the logarithm's bits",
    "min": "least integer that the encoder produces (default: what the bits hold)",
    "max": "greatest integer that the encoder produces (default: what the bits hold)",
    # codebook
    "values": "the values of code 0, code 1, ... (codes beyond the list are NaN)",
    # posit, takum, tapered
    "es": "exponent bits",
    "variant": "what follows the characteristic: a mantissa, or more bits of the exponent of the square root of e",
    "regimes": "the codes that begin, after the sign, with a prefix. With exponent_bits, an exponent of so many bits "
    "in sign and magnitude, its leading one left out, and a mantissa follow; with subnormal_exponent, the M of the "
    "mantissa field is 2^(subnormal_exponent + M), and 0 for M = 0",
    "prefix": "the bits after the sign, in quotes",
    "subnormal_exponent": "instead of exponent_bits: the values are 2^(this + mantissa), and 0 for mantissa 0",
    # encode
    "rounding": "which of its neighbours a value between them becomes",
    "random_bits": "how many random bits stochastic rounding takes",
    "tie_domain": "where the midpoint of two neighbours lies (bitstring: kinds posit and takum; log: kind lns)",
    "overflow": "what a value beyond the largest becomes",
    "inf_input": "what an infinite input becomes (overflow: as above)",
    "nan_input": "what a NaN becomes",
    "zero_input": "what zero becomes in a format without zero",
    "underflow": "what a nonzero value that rounds to zero becomes (min: the smallest)",
    "negative_input": "what a negative input becomes in a format without negative values",
    "flush_inputs": "whether subnormal inputs count as zero",
    "via": "an intermediate that inputs are rounded to first",
    # pack
    "nibbles": "which half of a byte holds the first of two 4-bit codes",
    "bit_order": "whether a row of codes is a little-endian string of bits (lsb) or a big-endian one (msb)",
    "layout": "whether each array lies by itself, or the arrays of each block follow each other",
    "fields": "the order of the arrays: scale (or scale0, scale1, ... outermost first), offset, elements",
    "swizzle": "how the innermost scales lie",
    # scales
    "format": "the format of the scale: a name, or its element (and scales of its own)",
    "block": "how many elements share it: along the axis, [rows, columns], a whole channel or the whole tensor",
    "rule": "how a block's elements decide on it",
    "target": "what the largest magnitude becomes: the largest element (max), its power of two (emax), or a number",
    "clamp": "the least and the greatest scale, [low, high]",
    "all_zero": "the scale of a block of zeros",
    "nonfinite": "what NaN and Inf do to their block (default: nan_block if the scale has a NaN, else saturate)",
    "apply": "how an element is scaled, each operation rounded to float32",
    "quotient": "whether elements are divided by the stored scale, or by the one before it was encoded (unrounded)",
    "order": "the order of the float32 operations in a scale below another one",
    "candidates": "what rule: mse chooses among: codes at these distances from the plain rule's, or {targets: [...]}",
    "added": "whether a zero-point is added to a quotient, or to the integer that this is rounded to",
    "combine": "whether it is a factor, or is added to the exponent of those outside of it or taken from it",
    "offsets": "distances from the code of the plain rule",
    "targets": "the plain one first",
    # offset
    "sign": "what the minimum is multiplied by before it is stored, and after",
    "scales": "of a minimum: its format and block; of a format of scales: theirs",
}
"""The keys of all parts and of their entries."""
