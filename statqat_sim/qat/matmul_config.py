"""Which instruction of which accelerator multiplies in a layer, and which formats it takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from statqat_sim.errors import did_you_mean, shown
from statqat_sim.geometry import is_whole_array
from statqat_sim.matmul.formats import means_scales, operand_of
from statqat_sim.qat.tensor_config import TensorConfig
from statqat_sim.spec.accelerator import AcceleratorSpec, Float64, GemmPlan, Instruction, OperandFormat, Scaling
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.format import Format


@dataclass(frozen=True, slots=True, kw_only=True)
class MatmulConfig:
    """How a layer multiplies its quantized input with its quantized weight.

    Forward is D · (scale of the input · scale of the weight) + bias, each operation rounded to float32, and then cast
    to the dtype that the layer has without it. D is what the instruction makes of the codes, `Accelerator.matmul`.
    Scales of number formats are factors of D; those of blocks go into the instruction, which must take them.
    Backward is that of the layer's usual product of quantized tensors, as if the accumulator had made no error. Where
    the input or the weight is not quantized, in mode "float" and while it is calibrated, the product is the usual one.

    Args:
        accelerator: what a file says of it.
        instruction: the name of one of its instructions.
        plan: how a long K is cut; None: as the accelerator's own plan has it, or not at all.

    Raises:
        TypeError: if `accelerator`, `instruction` or `plan` is something else.
        LookupError: if there is no such instruction.
        ValueError: if the plan names another one.
    """

    accelerator: AcceleratorSpec
    instruction: str
    plan: GemmPlan | None = None

    def __post_init__(self) -> None:
        kinds: tuple[tuple[str, Any, str], ...] = (
            ("accelerator", AcceleratorSpec, "an AcceleratorSpec, such as load_accelerator(...).spec"),
            ("instruction", str, "the name of one of the accelerator's"),
            ("plan", GemmPlan | None, "a GemmPlan"),
        )
        for key, kind, allowed in kinds:
            if not isinstance(getattr(self, key), kind):
                raise TypeError(f"{key} is {shown(getattr(self, key))}; allowed: {allowed}")
        self.accelerator.instruction(self.instruction)
        named = None if self.plan is None else self.plan.instruction
        if named not in (None, self.instruction):
            raise ValueError(f"plan.instruction is {shown(named)}; allowed: {self.instruction}, or none")

    @property
    def unit(self) -> Instruction:
        """What multiplies."""
        return self.accelerator.instruction(self.instruction)

    def __str__(self) -> str:
        plan = {} if self.plan is None else self.plan.model_dump(mode="json", exclude_defaults=True)
        told = "".join(f", {key} {value}" for key, value in plan.items() if key != "instruction")
        return f"{self.accelerator.name}/{self.instruction}{told}"


def config_problems(matmul: MatmulConfig, weight: TensorConfig | None, input: TensorConfig | None) -> Iterator[str]:
    """Why an instruction cannot multiply tensors that are quantized so."""
    unit = matmul.unit
    for role, tensor, operands in (("input", input, unit.a), ("weight", weight, unit.b)):
        if tensor is None:
            yield f"{matmul} multiplies codes, and {role} has no format; allowed: {_allowed(unit, operands)}"
        elif told := _refused(unit, tensor.format, operands):
            yield f"{matmul} does not take {role}: {told}"
    if input is not None and input.per == "channel":
        yield f"{matmul} sums over the input's channels, whose scales cannot leave the sum; allowed: per: tensor"


def _refused(unit: Instruction, format: Format, operands: Sequence[OperandFormat]) -> str | None:
    if all(isinstance(each, Float64) for each in operands):
        return f"{unit.name} multiplies float64, to which no tensor is quantized; allowed: another instruction"
    allowed = _allowed(unit, operands)
    if operand_of(operands, format) is None:
        hint = did_you_mean(format.name, [each.name for each in operands])
        return f"its format is {format.name}{hint} (allowed: {allowed})"
    if not isinstance(format, BlockFormat):
        return None
    if unit.scale is None:
        return f"{format.name} has block scales, which {unit.name} has no place for; allowed: {allowed}"
    return None if _fits(format, unit.scale) else f"blocks of {format.name} are none of its; allowed: {allowed}"


def _fits(format: BlockFormat, scaling: Scaling) -> bool:
    """Whether the innermost scales are the instruction's, and those above them one for the whole tensor."""
    *outer, inner = format.scales
    if format.offset is not None or not isinstance(inner.block, int) or inner.block % scaling.block:
        return False
    return means_scales(inner.format, scaling) and len(outer) < 2 and all(is_whole_array(each.block) for each in outer)


def _allowed(unit: Instruction, operands: Sequence[OperandFormat]) -> str:
    numbers = ", ".join(each.name for each in operands)
    if unit.scale is None:
        return numbers
    return f"{numbers}, and blocks of {unit.scale.block} of these with scales of {unit.scale.format.name}"
