"""What a product of the backward pass multiplies: a frozen value, checked when it is made."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

from statqat_sim.errors import shown
from statqat_sim.qat.tensor_config import TensorConfig

HADAMARD, LARGEST = "hadamard", 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductConfig:
    """How the operands of a product of the backward pass are quantized, as hardware does that multiplies in formats.

    There are two: grad_input = grad_output · weight, which sums over the output's features, and grad_weight =
    grad_outputᵀ · input, which sums over all rows of the input (of a language model its tokens). Blocks run along the
    axis that the product sums over; `per: channel` is a scale for each row or column that it keeps apart. The weight
    and the input are quantized anew, from the floats that forward got; the gradient is what comes back, after
    `grad_output` of the layer. Scales of number formats are found in each backward pass. None: the weight or the input
    as forward multiplied it, the gradient as it is.

    Args:
        grad_output: the gradient of the layer's output.
        weight: of `grad_input` alone.
        input: of `grad_weight` alone.
        hadamard: a power of two: before they are quantized both operands get a random Hadamard transform, in groups of
            so many elements along the axis that is summed over, which spreads outliers over their group and leaves the
            product what it is but for rounding (Tseng et al., Training LLMs with MXFP4, arXiv 2502.20586). The signs
            are the same in all groups, layers and steps; elements behind the last whole group stay. 0: none.

    Raises:
        ValueError: if `hadamard` is neither 0 nor a power of two from 2 to 65536.
    """

    grad_output: TensorConfig | None = None
    weight: TensorConfig | None = None
    input: TensorConfig | None = None
    hadamard: int = 0

    def __post_init__(self) -> None:
        if told := hadamard_problem(self.hadamard):
            raise ValueError(f"{HADAMARD}: {told}")


def hadamard_problem(value: Any) -> str | None:
    """Why a value is no size of a Hadamard transform."""
    if type(value) is int and (value == 0 or (1 < value <= LARGEST and value.bit_count() == 1)):
        return None
    return f"expected a power of two from 2 to {LARGEST}, or 0 for none, got {shown(value)}"


def require_product(name: str, config: Any, operands: Collection[str]) -> None:
    """Check a product's configuration.

    Args:
        name: the product's.
        config: what was given for it.
        operands: those that it has.

    Raises:
        TypeError: if it is no `ProductConfig`.
        ValueError: if it has other operands, or none.
    """
    if not isinstance(config, ProductConfig):
        raise TypeError(f"{name} is {shown(config)}; allowed: a ProductConfig; QATConfig takes names")
    tensors = [field.name for field in fields(config) if field.name != HADAMARD]
    said = [key for key in tensors if getattr(config, key) is not None]
    if others := [key for key in said if key not in operands]:
        raise ValueError(f"{name}.{others[0]}: the product has no such operand; allowed: {', '.join(operands)}")
    if not said:
        raise ValueError(f"{name}: no operand is quantized; allowed: {', '.join(operands)}, or None")
