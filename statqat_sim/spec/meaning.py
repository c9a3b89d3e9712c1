"""What each key of a spec is about, in a few words: for editors and for new files."""

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
}
"""The keys of `element`, `encode` and `pack`, and of what `element` holds."""
