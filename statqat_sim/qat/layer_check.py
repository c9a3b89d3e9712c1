"""Which layers of a model cannot be quantized as a configuration wants it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import nn

from statqat_sim.arrays import FLOATS, dtype_name
from statqat_sim.qat.config_rules import Role
from statqat_sim.qat.layout import Layout
from statqat_sim.qat.modules import Quantized
from statqat_sim.qat.rules import LayerConfig
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.format import Format


def layer_problems(jobs: Iterable[tuple[str, nn.Module, type[Quantized], LayerConfig]]) -> Iterator[str]:
    """The layers that have not the axes or channels that their formats are about, or weights of other dtypes.

    Args:
        jobs: name, float module, quantized class and configuration of each layer.
    """
    for name, module, quantized, layer in jobs:
        found = (
            *_dtype_problems(module, quantized, layer),
            *_block_problems(module, quantized, layer),
            *quantized.tensor_problems(module, layer),
        )
        yield from (f"{name or '(model)'} ({type(module).__name__}): {told}" for told in found)


def weight_problems(format: Format, layout: Layout, rank: int) -> Iterator[str]:
    """Why a weight with so many axes cannot be quantized to a format."""
    of_product = {layout.axis % rank, layout.channel_axis % rank}
    if _has_rows_and_columns(format) and of_product != {rank - 2, rank - 1}:
        yield _no_matrix(format, "weight")


def _dtype_problems(module: nn.Module, quantized: type[Quantized], layer: LayerConfig) -> Iterator[str]:
    """Weights that encoders do not read as floats, such as float8, which is stored and not computed with."""
    weights = {name: getattr(module, name) for name in quantized.weights} if layer.weight is not None else {}
    for name, weight in weights.items():
        if weight is not None and dtype_name(weight) not in FLOATS:
            yield f"{name} is {dtype_name(weight)}; allowed: {', '.join(FLOATS)}, such as {name}.float()"


def _block_problems(module: nn.Module, quantized: type[Quantized], layer: LayerConfig) -> Iterator[str]:
    for role, tensor in layer.tensors():
        if role == "weight":
            found = ((getattr(module, name), layout) for name, layout in quantized.weights.items())
            each = (
                weight_problems(tensor.format, layout, weight.ndim) for weight, layout in found if weight is not None
            )
            yield from dict.fromkeys(told for problems in each for told in problems)
        elif role in quantized.layouts and quantized.layouts[role].axis < -2 and _has_rows_and_columns(tensor.format):
            yield _no_matrix(tensor.format, role)


def _has_rows_and_columns(format: Format) -> bool:
    return isinstance(format, BlockFormat) and any(isinstance(level.block, tuple) for level in format.scales)


def _no_matrix(format: Format, role: Role) -> str:
    told = f"blocks of {format.name} have rows and columns, and the last two axes of its {role} are no matrix"
    return f"{told} that it multiplies by; allowed: blocks along one axis, or a rule without {role} for it"
