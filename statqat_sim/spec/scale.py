"""The scales of a block format: the elements that share one, the rule that computes it, and how it is applied."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from pydantic import BeforeValidator, Field

from statqat_sim.spec.base import Spec, Worded
from statqat_sim.spec.encode import Rounding, Underflow
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.members import only_powers_of_two
from statqat_sim.spec.number import NumberFormat

if TYPE_CHECKING:
    from statqat_sim.spec.block import BlockFormat

MAX_BLOCK = 1 << 20
MAX_CANDIDATES = 256
"""The most candidates: as many as 8-bit codes."""

CodeOffset: TypeAlias = Annotated[int, Field(ge=1 - MAX_CANDIDATES, le=MAX_CANDIDATES - 1)]
Number: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]


class Whole(StrEnum):
    """Blocks that extend over a whole axis, or over the whole array."""

    CHANNEL = "channel"
    TENSOR = "tensor"


Size: TypeAlias = Annotated[int, Field(ge=1, le=MAX_BLOCK)]
Block: TypeAlias = Size | Annotated[tuple[Size, Size], Field(strict=False)] | Worded[Whole]
"""Elements along the axis, rows and columns of the last two axes, or a whole axis or array."""


def block_size(block: Block) -> int | None:
    """Elements of one block; None if that depends on the array."""
    match block:
        case Whole():
            return None
        case (rows, columns):
            return rows * columns
    return block


def times(block: Block, unit: Block) -> Block:
    """A block whose size is counted in blocks of `unit`; a whole axis or array stays one."""
    return block * unit if isinstance(block, int) and isinstance(unit, int) else block


class Rule(StrEnum):
    """How a block's scale is computed from its elements. See `formats/LANGUAGE.md`, Definitions 21, 22, 27, 30."""

    ABSMAX = "absmax"
    FLOOR = "floor"
    CEIL = "ceil"
    RCEIL = "rceil"
    EVEN = "even"
    MSE = "mse"
    SIGNED_ABSMAX = "signed_absmax"
    MINMAX = "minmax"
    GIVEN = "given"

    @property
    def is_power_of_two(self) -> bool:
        """Whether the rule reads only exponents, and gives a power of two."""
        return self in (Rule.FLOOR, Rule.CEIL, Rule.RCEIL, Rule.EVEN)


class Target(StrEnum):
    """The value that a block's largest magnitude is scaled to: the largest element value, or its power of two."""

    MAX = "max"
    EMAX = "emax"


class AllZero(StrEnum):
    """The scale of a block of zeros."""

    ONE = "one"
    MIN = "min"
    ZERO = "zero"


class Nonfinite(StrEnum):
    """The effect of NaN and Inf on a block's scale: it is NaN, or is computed from the finite elements."""

    NAN_BLOCK = "nan_block"
    SATURATE = "saturate"


class Apply(StrEnum):
    """How an element is scaled: x / S, or x × (1 / S), each operation rounded to float32."""

    DIVIDE = "divide"
    MULTIPLY_RECIPROCAL = "multiply_reciprocal"


class Quotient(StrEnum):
    """The scale that an element is divided by: as stored, or before encoding."""

    ROUNDED = "rounded"
    UNROUNDED = "unrounded"


class Order(StrEnum):
    """The order of the float32 operations for a scale within an outer one. See Definition 22."""

    TARGET_FIRST = "target_first"
    PRODUCT = "product"
    ENCODE = "encode"


class Combine(StrEnum):
    """How a scale combines with outer ones: as a factor, or added to, or subtracted from, their exponent."""

    MULTIPLY = "multiply"
    EXPONENT_ADD = "exponent_add"
    EXPONENT_SUBTRACT = "exponent_subtract"


class Candidates(Spec):
    """The candidates of `rule: mse`: codes at these offsets from the plain rule's, or scales for these targets."""

    offsets: Annotated[tuple[CodeOffset, ...], Field(max_length=MAX_CANDIDATES, strict=False)] = ()
    targets: Annotated[tuple[Number, ...], Field(max_length=MAX_CANDIDATES, strict=False)] = ()


ABSMAX_CANDIDATES: Final = Candidates(offsets=tuple(range(-2, 6)))
FLOAT_CANDIDATES: Final = Candidates(offsets=(0, 1))
INT_CANDIDATES: Final = Candidates(offsets=(-1, 0, 1))
"""The default candidates of power-of-two scales, for elements of kind float and int."""


def _offsets_or_targets(written: Any) -> Any:
    """Read a bare list as offsets."""
    return {"offsets": written} if isinstance(written, list) else written


class ScaleKeys(Spec):
    """What one entry of `scales` says, but for its format. A `title` is what a key takes, where its type is no help."""

    block: Block = Field(title=f"an integer from 1 to {MAX_BLOCK}, [rows, columns], channel or tensor")
    rule: Worded[Rule] = Rule.ABSMAX
    target: Number | Worded[Target] = Field(Target.MAX, title="a number, max or emax")
    rounding: Worded[Rounding] = Rounding.NEAREST_EVEN
    clamp: Annotated[tuple[Number, Number], Field(strict=False)] | None = Field(None, title="two numbers, [low, high]")
    underflow: Worded[Underflow] = Underflow.MIN
    all_zero: Worded[AllZero] = AllZero.ONE
    nonfinite: Worded[Nonfinite] | None = None
    apply: Worded[Apply] = Apply.DIVIDE
    quotient: Worded[Quotient] = Quotient.ROUNDED
    order: Worded[Order] = Order.TARGET_FIRST
    candidates: Annotated[
        Candidates, BeforeValidator(_offsets_or_targets, json_schema_input_type=tuple[CodeOffset, ...] | Candidates)
    ] = Field(Candidates(), title="distances between codes, as [0, 1], or {targets: [6, 4]}")
    combine: Worded[Combine] = Combine.MULTIPLY


class ScaleLevel(ScaleKeys):
    """One entry of `scales`, its defaults filled in: `nonfinite` is never None.

    The scale of a block format is such a format's element: one for each block, in blocks of their own along the axis.
    """

    format: NumberFormat | BlockFormat

    @property
    def multiplies(self) -> bool:
        """Whether the scale is a factor, not a shift of an outer scale's exponent."""
        return self.combine is Combine.MULTIPLY

    @property
    def may_be_negative(self) -> bool:
        """Whether its rule may give negative scales."""
        return self.rule is Rule.SIGNED_ABSMAX or (isinstance(self.target, float | int) and self.target < 0)

    def resolved(self, element: NumberFormat, *, is_anchor: bool) -> ScaleLevel:
        """The level with the defaults that depend on the formats filled in for missing keys.

        `model_fields_set` still holds the written keys. `is_anchor`: this is the innermost level that multiplies.
        """
        number = self.format if isinstance(self.format, NumberFormat) else None
        has_nan = is_anchor and number is not None and number.element.nan_code is not None
        filled: dict[str, Any] = {}
        if self.nonfinite is None:
            filled["nonfinite"] = Nonfinite.NAN_BLOCK if has_nan else Nonfinite.SATURATE
        if number is None and "all_zero" not in self.model_fields_set:
            filled["all_zero"] = AllZero.ZERO
        if self.rule is Rule.MSE and "candidates" not in self.model_fields_set:
            filled["candidates"] = self._default_candidates(element)
        return ScaleLevel.model_construct(self.model_fields_set, **{**dict(self), **filled})

    @property
    def is_power_of_two(self) -> bool:
        """Whether all scales that this level can store are powers of two."""
        return isinstance(self.format, NumberFormat) and only_powers_of_two(self.format.element)

    def _default_candidates(self, element: NumberFormat) -> Candidates:
        if not self.is_power_of_two:
            return ABSMAX_CANDIDATES
        return INT_CANDIDATES if isinstance(element.element, IntElement) else FLOAT_CANDIDATES
