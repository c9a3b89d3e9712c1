"""How one tensor is quantized: a frozen value, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass

from statqat_sim.errors import of_type, shown
from statqat_sim.qat.config_rules import (
    Gradient,
    Per,
    format_problems,
    is_quantizer,
    lsq_problems,
    quantizer_problems,
    value_problems,
)
from statqat_sim.quantizer import StateQuantizer, Unscaled
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.format import Format
from statqat_sim.spec.number import NumberFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorConfig:
    """How one tensor is quantized.

    Args:
        format: a number format, or a block format that finds its own scales.
        quantizer: what chooses the scales of a number format, `Unscaled()` none; None for block formats.
        per: whether each channel has its own scale, or the tensor one. Number formats only.
        dynamic: a scale for each call, instead of one that calibration finds. Number formats only; not for weights.
        update_every: of weights: 1: the scale is a function of the weight in every forward; n: chosen anew by
            `qat.step` every n steps, where that is worth it; 0: chosen once, by `qat.prepare`, for the weights that are
            there then, and for those that `load_state_dict` brings.
        gradient: what passes backwards: "clipped": nothing where the format's range ends; "ste": everything; "lsq":
            clipped, and the scale is learned (Esser et al., Learned step size quantization, ICLR 2020), a parameter,
            which calibration fills in place. Through block formats, whose scales follow the largest element, everything
            passes.

    Raises:
        TypeError: if the format is none.
        ValueError: with every other problem.
    """

    format: Format
    quantizer: StateQuantizer | None = None
    per: Per = "tensor"
    dynamic: bool = False
    update_every: int = 1
    gradient: Gradient = "clipped"

    def __post_init__(self) -> None:
        if not isinstance(self.format, NumberFormat | BlockFormat):
            raise TypeError(f"format is {of_type(self.format)}; allowed: a NumberFormat or a BlockFormat")
        values = {key: getattr(self, key) for key in ("per", "dynamic", "update_every", "gradient")}
        found = [*value_problems(values), *format_problems(self.format)]
        found += lsq_problems(self.format, self.quantizer, values)
        if isinstance(self.format, BlockFormat) and self.quantizer is not None:
            found.append(("quantizer", f"{self.format.name} is a block format, which finds its own scales"))
        if isinstance(self.format, NumberFormat) and not is_quantizer(self.quantizer):
            allowed = "such as statqat_sim.Iterative()"
            found.append(("quantizer", f"{self.format.name} needs one, {allowed}, got {shown(self.quantizer)}"))
        found += quantizer_problems(self.quantizer, self.format)
        if found:
            raise ValueError("; ".join(f"{key}: {message}" for key, message in found))

    @property
    def is_scaled(self) -> bool:
        """Whether a scale is chosen for the tensor: block formats find theirs."""
        return isinstance(self.format, NumberFormat) and not isinstance(self.quantizer, Unscaled)
