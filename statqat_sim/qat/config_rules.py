"""What a configuration says where nothing is written, and why values of it do not go together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias, get_args

from statqat_sim.errors import did_you_mean, shown
from statqat_sim.quantizer import Analytic, Iterative, StateQuantizer, Unscaled
from statqat_sim.quantizer.chooser import Chooser
from statqat_sim.spec.base import MAX_TABLE_BITS, KeyProblem
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.format import Format
from statqat_sim.spec.number import NumberFormat

TensorName: TypeAlias = Literal["weight", "input", "output", "grad_output"]
Operand: TypeAlias = Literal[
    "grad_input.grad_output", "grad_input.weight", "grad_weight.grad_output", "grad_weight.input"
]
Role: TypeAlias = TensorName | Operand
Per: TypeAlias = Literal["tensor", "channel"]
Gradient: TypeAlias = Literal["clipped", "ste", "lsq"]

TENSORS: tuple[TensorName, ...] = get_args(TensorName)
"""Of a layer, by the keys of a rule."""
OPERANDS: tuple[Operand, ...] = get_args(Operand)
"""Of the products of the backward pass."""
PRODUCTS: Mapping[str, Mapping[str, Operand]] = {
    "grad_input": {"grad_output": "grad_input.grad_output", "weight": "grad_input.weight"},
    "grad_weight": {"grad_output": "grad_weight.grad_output", "input": "grad_weight.input"},
}
"""The same, by the keys of a rule, and the keys within each."""
ROLES: tuple[Role, ...] = *TENSORS, *OPERANDS
OF_GRADIENTS: tuple[Role, ...] = "grad_output", *OPERANDS
"""What forward does without."""
OF_DATA: Mapping[str, float | None] = {"weights": None, "norm": 2.0}
"""Options of quantizers that need the data themselves, and what they are where nobody gave them."""
WORDS: Mapping[str, tuple[str, ...]] = {"per": get_args(Per), "gradient": get_args(Gradient)}


def quantizer_name(role: Role) -> str:
    """The attribute of a layer that quantizes the tensor with a role."""
    return f"{role.replace('.', '_')}_quantizer"


def default_quantizer(role: Role) -> StateQuantizer:
    """What chooses the scales of a number format where nothing else is said."""
    return Analytic() if role == "weight" else Iterative()


def role_defaults(role: Role, format: Format) -> dict[str, Any]:
    """What a tensor's keys are where they are not written, but for the quantizer's."""
    return {
        "per": "channel" if role == "weight" and isinstance(format, NumberFormat) else "tensor",
        "dynamic": role in OF_GRADIENTS and isinstance(format, NumberFormat),
        "update_every": 1,
        "gradient": "clipped",
    }


def value_problems(values: Mapping[str, Any]) -> Iterator[KeyProblem]:
    """The keys whose value is of another type, or beyond what is allowed."""
    for key, value in values.items():
        if key in WORDS and (not isinstance(value, str) or value not in WORDS[key]):
            hint = did_you_mean(value, WORDS[key]) if isinstance(value, str) else ""
            yield key, f"expected one of {', '.join(WORDS[key])}, got {shown(value)}{hint}"
        elif key == "dynamic" and not isinstance(value, bool):
            yield key, f"expected true or false, got {shown(value)}"
        elif key == "update_every" and (type(value) is not int or value < 0):
            yield key, f"expected an integer, at least 0, got {shown(value)}"


def format_problems(format: Format) -> Iterator[KeyProblem]:
    """Why a format is none that tensors can be quantized to."""
    if isinstance(format, BlockFormat) and format.needs_scale:
        yield "format", f"the scales of {format.name} are given by the caller; allowed: formats that find their own"


def is_quantizer(value: object) -> bool:
    """Whether it chooses scales; classes do not."""
    return hasattr(value, "choose") and not isinstance(value, type)


def quantizer_problems(quantizer: StateQuantizer | None, format: Format) -> Iterator[KeyProblem]:
    """Why a quantizer is none that tensors can be quantized with in a format."""
    if getattr(quantizer, "zero_point", False):
        yield "quantizer", "zero-points are not for training; allowed: scales alone, zero_point=False"
    is_wide = isinstance(format, NumberFormat) and format.bits > MAX_TABLE_BITS
    if is_wide and isinstance(quantizer, Chooser):
        what = f"{quantizer!r} lists a format's values, up to {MAX_TABLE_BITS} bits; {format.name} has {format.bits}"
        yield "quantizer", f"{what}; allowed: none, which is a cast, or minmax"


def calibration_problems(
    role: Role, quantizer: StateQuantizer | None, values: Mapping[str, Any]
) -> Iterator[KeyProblem]:
    """Why calibration, which keeps no data but their histogram, cannot choose as a quantizer's options want it."""
    if role == "weight" or values["dynamic"] is True or not isinstance(quantizer, Chooser):
        return
    options = [name for name, usual in OF_DATA.items() if _is_other(getattr(quantizer, name, usual), usual)]
    if options:
        told = f"{' and '.join(options)} of {quantizer!r} cannot be heeded for {role}, whose scale is for a histogram"
        yield "quantizer", f"{told}; allowed: dynamic: true, or a quantizer without"


def _is_other(value: Any, usual: float | None) -> bool:
    """Whether an option was given; arrays have no one answer to ==."""
    return value is not None if usual is None else value != usual


def lsq_problems(format: Format, quantizer: StateQuantizer | None, values: Mapping[str, Any]) -> Iterator[KeyProblem]:
    """Why no scale can be learned, where one is to be."""
    if values["gradient"] != "lsq":
        return
    if isinstance(format, BlockFormat):
        yield "gradient", f"'lsq' learns a scale, and {format.name} finds its own; allowed: clipped, ste"
    elif isinstance(quantizer, Unscaled):
        yield "gradient", "'lsq' learns a scale, and the quantizer none has none; allowed: clipped, ste"
    elif values["dynamic"] is True:
        yield "gradient", "'lsq' learns a scale, and a dynamic one is found anew each time; allowed: clipped, ste"


def operand_problems(role: Role, format: Format, values: Mapping[str, Any]) -> Iterator[KeyProblem]:
    """Why an operand of the backward pass cannot be quantized so: it is another tensor each time."""
    if role in OPERANDS and isinstance(format, NumberFormat) and values["dynamic"] is False:
        yield "dynamic", f"the scale of {role} is found in each backward pass; allowed: true, or to leave it out"


def role_problems(role: Role, format: Format, said: Iterable[str]) -> Iterator[KeyProblem]:
    """The keys that mean nothing for the role or the format; `said`: those with a value of their own."""
    none_of_gradients = dict.fromkeys(OF_GRADIENTS, ("update_every", "gradient"))
    of_role = {"weight": ("dynamic",), **none_of_gradients}.get(role, ("update_every",))
    of_blocks = ("per", "dynamic") if isinstance(format, BlockFormat) else ()
    for key in said:
        if key in of_role:
            yield key, f"it has no meaning for {role}; leave it out"
        elif key in of_blocks:
            yield key, f"it has no meaning for {format.name}, a block format; leave it out"
