"""A matrix unit: its instructions, the evidence for them, and its conversions. Built only by its readers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from operator import index
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BeforeValidator, Field

from statqat_sim.errors import Problem, SpecError, none_of, shown
from statqat_sim.spec.accelerator_dot import Dot, Precision, Special
from statqat_sim.spec.base import Spec, Worded
from statqat_sim.spec.encode import Rounding
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.located import Located
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.validate import validate

Found = TypeVar("Found")


class Status(StrEnum):
    """How an instruction's arithmetic is known, best first."""

    HARDWARE_CHECKED = "hardware_checked"
    VENDOR_DOCUMENTED = "vendor_documented"
    REFERENCE_MODEL = "reference_model"
    GUESS = "guess"


class Evidence(Spec):
    """How the arithmetic is known, and from where. `golden`: recorded results that it was compared with."""

    status: Worded[Status] = Status.GUESS
    golden: str = ""
    source: str = ""

    def __str__(self) -> str:
        return f"evidence: {self.status}" + (f", {self.source}" if self.source else "")


class Float64(Spec):
    """float64 as an operand; no format file describes it."""

    name: Literal["float64"] = "float64"
    bits: Literal[64] = 64


OperandFormat: TypeAlias = NumberFormat | Float64


def precision_of(operand: OperandFormat) -> Precision | None:
    """The widths of an operand with the layout of IEEE 754's formats; None for others."""
    if isinstance(operand, Float64):
        return Precision(exponent_bits=11, mantissa_bits=52)
    element = operand.element
    if not isinstance(element, FloatElement) or not 2 <= element.exponent_bits <= 11 or not element.mantissa_bits:
        return None
    widths = {"exponent_bits": element.exponent_bits, "mantissa_bits": element.mantissa_bits}
    return Precision(**widths) if element == FloatElement.ieee(**widths) else None


class Apply(StrEnum):
    """How a block scale enters: its exponent is added to those of its products, or it multiplies the sum of a group."""

    EXPONENT = "exponent"
    GROUP = "group"


class ScaleKeys(Spec):
    """What `scale` says, but for its format."""

    block: Annotated[int, Field(ge=1, le=1 << 20)]
    apply: Worded[Apply] = Apply.EXPONENT


class Scaling(ScaleKeys):
    """Scales of A and of B: each element of the format for `block` products along K."""

    format: NumberFormat


class RoundKeys(Spec):
    """What `round` says, but for `to`."""

    mode: Worded[Rounding] = Rounding.NEAREST_EVEN


Dimension: TypeAlias = Annotated[int, Field(ge=1, le=1 << 20)] | Literal["M", "N", "K"]
Shape: TypeAlias = Annotated[tuple[Dimension, Dimension, Dimension], Field(strict=False)]


class ShapeKeys(Spec):
    """What `operands` says, but for formats."""

    shape: Shape | None = Field(
        None, title="a list of three, [M, N, K]: integers above 0, or these letters where any size goes"
    )


class Start(StrEnum):
    """What an instruction of a recipe accumulates on."""

    ZERO = "zero"
    PREVIOUS = "previous"
    GIVEN = "given"


class Selection(Spec):
    """Those k of which k mod `modulus` is one of `residues`."""

    modulus: Annotated[int, Field(ge=1, le=1 << 20)]
    residues: tuple[int, ...]


class Fused(Spec):
    """A step of a recipe that is another instruction, over some of the products."""

    instruction: str
    k: Selection | None = None
    c: Start = Start.PREVIOUS


class Add(Spec):
    """A step of a recipe that adds C to the result so far, rounded once to D, to nearest even."""

    instruction: str
    added: Literal["c"] = "c"


Recipe: TypeAlias = tuple[Fused | Add, ...]


class Instruction(Spec):
    """D = A·B + C as one unit computes it, or a recipe of other instructions, which has no `dot`, `scale` and rounding.

    Of `special` a recipe has `nan` alone.
    """

    name: str
    evidence: Evidence
    a: tuple[NumberFormat, ...] | tuple[Float64]
    b: tuple[NumberFormat, ...] | tuple[Float64]
    c: OperandFormat
    d: OperandFormat
    shape: Shape | None = None
    scale: Scaling | None = None
    dot: Dot | None = None
    to: Precision | None = None
    mode: Rounding = Rounding.NEAREST_EVEN
    special: Special = Special()
    recipe: Recipe = ()

    @property
    def k(self) -> int | None:
        """The number of products of one instruction, if its shape fixes it."""
        size = self.shape[2] if self.shape else None
        return size if isinstance(size, int) else (self.dot.step if self.dot else None)

    @property
    def step(self) -> int | None:
        """The number of products summed at a time: the unit's step, or the instruction's K if smaller. None: all."""
        known = [each for each in (self.dot.step if self.dot else None, self.k) if each is not None]
        return min(known) if known else None

    def __str__(self) -> str:
        return f"{self.name} ({self.evidence})"


class ReduceOrder(StrEnum):
    """How the results of `split_k` parts are added."""

    ASCENDING = "ascending"
    DESCENDING = "descending"
    PAIRWISE = "pairwise"


def _plain(value: Any) -> Any:
    """Any library's integer as a Python int; other values are unchanged, for error messages."""
    try:
        return value if isinstance(value, bool) else index(value)
    except TypeError:
        return value


Count: TypeAlias = Annotated[int, Field(ge=1, le=1 << 30), BeforeValidator(_plain)]


class GemmPlan(Spec):
    """How a long K is cut before an instruction sees it.

    K is padded with zeros to a multiple of `k_slab`, and cut into `split_k` parts of whole slabs, as equal as possible,
    the longer ones first. In each part, every `promote_every` products are summed from zero by the unit, and added to
    the part's result so far. Then the parts are added in `reduce_order`, and C last, even if K is too short to be cut.
    Without a `promote_every` and a `split_k` above 1, C enters the instruction itself. Additions are rounded to D, to
    nearest even.

    Raises:
        SpecError: for wrong keys or values.
    """

    instruction: str | None = None
    k_slab: Count | None = None
    promote_every: Count | None = None
    split_k: Count = 1
    reduce_order: Worded[ReduceOrder] = ReduceOrder.ASCENDING

    def __new__(cls, **keys: Any) -> GemmPlan:
        """Check a call's keys like a file's, with the same error messages instead of pydantic's."""
        if keys:  # readers of files, and copies, pass none here
            cls.of(keys, file="<GemmPlan>")
        return super().__new__(cls)

    @classmethod
    def of(cls, keys: Mapping[str, Any], path: tuple[str, ...] = (), file: str = "<dict>") -> GemmPlan:
        """The plan described by a mapping, read as by `Located.of`. None stands for a default that is None.

        Raises:
            SpecError: for wrong keys or values.
        """
        unsaid = {key for key, field in cls.model_fields.items() if field.default is None}
        said = {key: value for key, value in keys.items() if value is not None or key not in unsaid}
        problems: list[Problem] = []
        plan = validate(cls, Located.of(said, path, file), problems)
        if plan is None:
            raise SpecError(problems)
        return plan


class ConversionKeys(Spec):
    """What one entry of `conversions` says, but for its format and evidence. `nan`: the code of every NaN."""

    nan: Annotated[int, Field(ge=0)] | None = None


class Conversion(ConversionKeys):
    """A conversion instruction: encoding into `format`."""

    name: str
    evidence: Evidence
    format: NumberFormat

    def __str__(self) -> str:
        return f"{self.name} ({self.evidence})"


class AcceleratorSpec(Spec):
    """A validated accelerator file."""

    name: str
    evidence: Evidence
    aliases: tuple[str, ...] = ()
    title: str = ""
    source: str = ""
    instructions: tuple[Instruction, ...] = ()
    conversions: tuple[Conversion, ...] = ()
    gemm: GemmPlan | None = None

    def instruction(self, name: object) -> Instruction:
        """The instruction of this name.

        Raises:
            LookupError: if there is none; the message suggests the nearest.
        """
        return self._found("instruction", name, {each.name: each for each in self.instructions})

    def conversion(self, name: object) -> Conversion:
        """The conversion of this name.

        Raises:
            LookupError: if there is none; the message suggests the nearest.
        """
        return self._found("conversion", name, {each.name: each for each in self.conversions})

    def _found(self, kind: str, name: object, known: Mapping[str, Found]) -> Found:
        if isinstance(name, str) and name in known:
            return known[name]
        raise LookupError(f"{self.name} ({self.evidence}) has no {kind} {shown(name)}{none_of(name, known)}")
