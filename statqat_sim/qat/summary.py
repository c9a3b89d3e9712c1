"""What each tensor of a model is quantized to, at what error and in how many bits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from statqat_sim.errors import UnsupportedError
from statqat_sim.histogram import Histogram
from statqat_sim.metrics import decibels
from statqat_sim.qat.config_rules import Role
from statqat_sim.qat.matmul_config import MatmulConfig
from statqat_sim.qat.matmul_keys import matmul_of
from statqat_sim.qat.modes import require_layers
from statqat_sim.qat.modules import Quantized
from statqat_sim.qat.packed import SCALE, PackedWeight, Packing
from statqat_sim.qat.registry import REGISTERED
from statqat_sim.qat.stale import warn_of_stale_scales
from statqat_sim.qat.tensor_quantizer import Mode, TensorQuantizer, whole
from statqat_sim.qat.unknown import elements, matrices, unknown_modules
from statqat_sim.quantizer import Unscaled
from statqat_sim.quantizer.levels import levels
from statqat_sim.quantizer.score import Score
from statqat_sim.spec.base import BYTE
from statqat_sim.spec.format import Format
from statqat_sim.spec.number import NumberFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryRow:
    """One tensor.

    Args:
        layer: the qualified name of its layer.
        tensor: the parameter, or the role: "weight", "input", "output", "grad_output", "grad_input.weight" and so on.
        role: what it is to its layer.
        format: the name of its format.
        quantizer: what chooses its scales; None: the format finds its own, or no scale is chosen any more.
        scale: the least and the greatest; None where each call has its own, or there is none.
        sqnr_db: of weights as they are; of activations what calibration lets expect; None where neither is known, or
            there is no error.
        clipped: the share of elements beyond the format's range, likewise.
        elements: of a weight; 0 for what flows.
        nbytes: of a weight's codes and scales: those in memory after `convert`, before it those that it will leave.
        float_nbytes: of the weight as floats.
        mode: "float" where `set_mode` lets it pass as it is; scale and errors are those that quantizing would have.
    """

    layer: str
    tensor: str
    role: Role
    format: str
    quantizer: str | None = None
    scale: tuple[float, float] | None = None
    sqnr_db: float | None = None
    clipped: float | None = None
    elements: int = 0
    nbytes: int = 0
    float_nbytes: int = 0
    mode: Mode = "quantize"

    @property
    def bits_per_element(self) -> float | None:
        """With scales and padding; of weights."""
        return BYTE * self.nbytes / self.elements if self.elements else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All quantized tensors of a model; `str` is a table of them.

    Args:
        rows: in the order of the layers.
        matmuls: the `MatmulConfig` of each layer whose product is an accelerator's, by qualified names.
        left: qualified names of modules that could be quantized, and are not; of subclasses, too, which
            `qat.prepare` leaves alone unless they are registered, as those of `torch.nn.utils.parametrize`.
        unknown: qualified names and classes of modules with matrices of their own that `qat` cannot quantize unless
            `qat.register` tells it how, as LSTM; what is broadcast along its first axis is no matrix.
        converted: whether weights are codes.
        unquantized_elements: of the model's matrices that are not quantized, each that is shared counted once.
    """

    rows: tuple[SummaryRow, ...]
    matmuls: Mapping[str, MatmulConfig]
    left: tuple[str, ...]
    unknown: Mapping[str, str]
    converted: bool
    unquantized_elements: int

    @property
    def nbytes(self) -> int:
        """Of all weights, each that is shared once."""
        return sum(row.nbytes for row in self.rows)

    @property
    def float_nbytes(self) -> int:
        """Of the same weights as floats."""
        return sum(row.float_nbytes for row in self.rows)

    @property
    def bits_per_element(self) -> float:
        """Of all weights together, with scales and padding; NaN where there are none."""
        return BYTE * self.nbytes / self.elements if self.elements else math.nan

    @property
    def elements(self) -> int:
        """Of all weights together, each that is shared counted once."""
        return sum(row.elements for row in self.rows if row.nbytes)

    @property
    def quantized_share(self) -> float:
        """How much of the elements of the model's matrices is quantized; NaN where there are none."""
        of_all = self.elements + self.unquantized_elements
        return self.elements / of_all if of_all else math.nan

    def __str__(self) -> str:
        from statqat_sim.report.layers import summary_text

        return summary_text(self)


def summary(model: nn.Module) -> Summary:
    """The formats, scales and errors of a prepared or converted model.

    Of a model that is spread over processes all of them call it.

    Raises:
        TypeError: if `model` is none.
        ValueError: if the model is neither.

    Warns:
        UserWarning: if weights with `update_every` above 1 have left their scales behind, and `step` was never called.
    """
    found = list(require_layers(model).items())
    warn_of_stale_scales(model)
    seen: set[int] = set()
    with torch.no_grad():
        rows = tuple(row for name, layer in found for row in _rows(name, layer, seen))
    left = tuple(name for name, module in model.named_modules() if _could_be_quantized(module))
    unknown = {name: type(module).__name__ for name, module in unknown_modules(model).items()}
    matmuls = {name: matmul_of(layer.matmul_key) for name, layer in found if layer.matmul_key is not None}
    converted = any(_packed(layer) for _, layer in found)
    rest = _unquantized_elements(model, (layer for _, layer in found))
    return Summary(
        rows=rows, matmuls=matmuls, left=left, unknown=unknown, converted=converted, unquantized_elements=rest
    )


def _could_be_quantized(module: nn.Module) -> bool:
    is_part = type(module) is NonDynamicallyQuantizableLinear  # of an attention, which is named itself
    return isinstance(module, tuple(REGISTERED)) and not isinstance(module, Quantized) and not is_part


def _unquantized_elements(model: nn.Module, found: Iterable[Quantized]) -> int:
    """Of the model's matrices that no quantizer is for."""
    quantized: set[nn.Parameter] = set()
    for layer in found:
        for name, _ in layer.weight_quantizers():
            weight = getattr(layer, name)
            is_computed = not isinstance(weight, nn.Parameter)  # by a parametrization, or pruned
            quantized.update(matrices(layer.modules()) if is_computed else [weight])
    return elements(each for each in matrices(model.modules()) if each not in quantized)


def _packed(layer: Quantized) -> list[PackedWeight]:
    return [module for module in layer.children() if isinstance(module, PackedWeight)]


def _rows(name: str, layer: Quantized, seen: set[int]) -> Iterator[SummaryRow]:
    """`seen`: the weights that were counted already."""
    for parameter in layer.weights:
        packed, quantizer = (layer._modules.get(each) for each in (f"packed_{parameter}", f"{parameter}_quantizer"))
        if isinstance(packed, PackedWeight):
            yield _of_packed(name, parameter, packed, is_shared=id(packed) in seen)
            seen.add(id(packed))
        elif isinstance(quantizer, TensorQuantizer):
            weight = getattr(layer, parameter)
            yield _of_weight(name, parameter, whole(weight), quantizer, is_shared=id(weight) in seen)
            seen.add(id(weight))
    for _, quantizer in layer.quantizers():
        if quantizer.role != "weight":
            yield _of_activation(name, quantizer)


def _of_packed(layer: str, parameter: str, packed: PackedWeight, *, is_shared: bool) -> SummaryRow:
    packing, format = packed.packing, packed.packing.format
    scale = packed.get_buffer(SCALE) if packing.has_scale else None
    elements = math.prod(packing.shape)
    return SummaryRow(
        layer=layer,
        tensor=parameter,
        role="weight",
        format=format.name,
        quantizer=None if packing.is_scaled else repr(Unscaled()),
        scale=_ends(scale),
        elements=elements,
        nbytes=0 if is_shared else packed.nbytes,
        float_nbytes=0 if is_shared else elements * packed.dtype.itemsize,
    )


def _of_weight(
    layer: str, parameter: str, weight: Tensor, quantizer: TensorQuantizer, *, is_shared: bool
) -> SummaryRow:
    format = quantizer.config.format
    is_ready = (quantizer.is_ready or not quantizer.stores_scale) and not weight.is_meta
    is_shape = weight.is_meta and quantizer.is_recomputed
    scale = quantizer.scale_for(weight) if is_ready or is_shape else quantizer.kept_scale
    channels = () if scale is None else tuple(scale.shape)
    shape, axis = tuple(weight.shape), quantizer.layout.axis
    packing = Packing(format=format, shape=shape, axis=axis, channels=channels, is_scaled=quantizer.has_scale)
    return SummaryRow(
        layer=layer,
        tensor=parameter,
        role="weight",
        format=format.name,
        quantizer=_told(quantizer),
        scale=_ends(scale) if is_ready else None,
        sqnr_db=_sqnr_db(weight, scale, quantizer) if is_ready else None,
        clipped=_clipped(weight, scale, format) if is_ready else None,
        elements=weight.numel(),
        nbytes=0 if is_shared else packing.nbytes,
        float_nbytes=0 if is_shared else weight.nbytes,
        mode=quantizer.mode,
    )


def _of_activation(layer: str, quantizer: TensorQuantizer) -> SummaryRow:
    sqnr_db, clipped = _expected(quantizer)
    return SummaryRow(
        layer=layer,
        tensor=quantizer.role,
        role=quantizer.role,
        format=quantizer.config.format.name,
        quantizer=_told(quantizer),
        scale=_ends(quantizer.kept_scale) if quantizer.is_ready else None,
        sqnr_db=sqnr_db,
        clipped=clipped,
        mode=quantizer.mode,
    )


def _told(quantizer: TensorQuantizer) -> str | None:
    chooser = quantizer.config.quantizer
    return None if chooser is None else f"{chooser!r}{', dynamic' * quantizer.config.dynamic}"


def _ends(scale: Tensor | None) -> tuple[float, float] | None:
    return None if scale is None or not scale.numel() else (float(scale.min()), float(scale.max()))


# --- errors ------------------------------------------------------------------------------------------------------


def _sqnr_db(weight: Tensor, scale: Tensor | None, quantizer: TensorQuantizer) -> float | None:
    x, y = weight.double(), quantizer.quantized(weight, scale, quantizer.fixed_seed()).double()
    return _finite(decibels(float((x * x).sum()), float(((x - y) ** 2).sum())))


def _clipped(weight: Tensor, scale: Tensor | None, format: Format) -> float | None:
    if scale is None or not isinstance(format, NumberFormat) or not weight.numel():
        return None
    quotient = weight.float() / scale
    return float(((quotient < format.min) | (quotient > format.max)).double().mean())


def _expected(quantizer: TensorQuantizer) -> tuple[float | None, float | None]:
    """SQNR and the share that is clipped, of what calibration has seen."""
    format, seen, scale = quantizer.config.format, quantizer.statistics, quantizer.kept_scale
    if seen is None or scale is None or not quantizer.is_ready or not isinstance(format, NumberFormat):
        return None, None
    try:
        steps = levels(format)
    except UnsupportedError:
        return None, None
    noise = power = clipped = count = 0.0
    for histogram, each in zip(seen.each_channel(), np.from_dlpack(scale.detach().cpu()).reshape(-1), strict=True):
        score = Score.of_histogram(histogram, steps)
        noise, power = noise + float(score.errors(np.array([float(each)]))[0]), power + score.power
        clipped, count = clipped + _beyond(histogram, float(each), format), count + score.count
    return _finite(decibels(power, noise)), clipped / count if count else None


def _beyond(histogram: Histogram, scale: float, format: NumberFormat) -> float:
    """How many elements lie beyond the format's range; bins that its ends cut are interpolated."""
    low, high = scale * format.min, scale * format.max
    below, _, above = histogram.cell_moments([-math.inf, low, high, math.inf])[0].tolist()
    return float(below * (histogram.low.min() < low) + above * (histogram.high.max() > high))


def _finite(ratio: float) -> float | None:
    return ratio if math.isfinite(ratio) else None
