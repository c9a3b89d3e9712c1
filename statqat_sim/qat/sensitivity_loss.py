"""How the loss changes while weights are quantized."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, TypeAlias

from torch import Tensor, nn

from statqat_sim.errors import of_type
from statqat_sim.qat.require import told_value

Loss: TypeAlias = Callable[[nn.Module, Any], Any]
"""(model, batch) -> a number: the mean over the batch."""


@dataclass(frozen=True, slots=True)
class MeanLoss:
    """The mean loss over batches.

    Args:
        model: the model, whose weights are changed and restored.
        batches: what the loss is given.
        loss: of the batch with this index.
        reference: the mean with all weights as they are; None where there are no batches.
    """

    model: nn.Module
    batches: list[Any]
    loss: Callable[[int], float]
    reference: float | None

    @classmethod
    def of(cls, model: nn.Module, batches: list[Any], loss: Loss | None) -> MeanLoss:
        """See `qat.sensitivity`."""
        if loss is None:
            outputs = [_output(model, batch) for batch in batches]

            def of_batch(index: int) -> float:
                return _distance(_output(model, batches[index]), outputs[index])
        else:

            def of_batch(index: int) -> float:
                return _number(loss(model, batches[index]))

        return cls(model, batches, of_batch, _mean(of_batch, len(batches)))

    def change(self, weights: Sequence[nn.Parameter], quantized: Sequence[Tensor]) -> float | None:
        """Of the mean, while the weights are quantized."""
        if self.reference is None:
            return None
        originals = [weight.detach().clone() for weight in weights]
        try:
            _copy(weights, quantized)
            mean = _mean(self.loss, len(self.batches))
        finally:
            _copy(weights, originals)
        return None if mean is None else mean - self.reference


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        told = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else told_value(value)
        raise TypeError(f"the loss is {told}; allowed: a number, for each batch") from None


def _mean(loss: Callable[[int], float], count: int) -> float | None:
    return math.fsum(map(loss, range(count))) / count if count else None


def _copy(weights: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    for weight, value in zip(weights, values, strict=True):
        weight.copy_(value)


def _output(model: nn.Module, batch: Any) -> Tensor:
    arguments, options = _arguments(batch)
    try:
        output = model(*arguments, **options)
    except TypeError as error:
        _require_bindable(model, arguments, options, error)
        raise
    if isinstance(output, tuple):
        output = output[0]
    if not isinstance(output, Tensor):
        output = getattr(output, "logits", output)
    if not isinstance(output, Tensor):
        raise TypeError(f"the output of the model is {of_type(output)}; allowed without a loss: a tensor")
    return output


def _arguments(batch: Any) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """What a model is called with, without a loss."""
    match batch:
        case Mapping():
            return (), batch
        case tuple() | list():
            return batch, {}
    return (batch,), {}


def _require_bindable(
    model: nn.Module, arguments: Sequence[Any], options: Mapping[str, Any], raised: TypeError
) -> None:
    """Tell if the model raised because it does not take a batch; batches of a DataLoader often have labels, too."""
    try:
        call = signature(model.forward)
    except (TypeError, ValueError):  # of what is not written in Python
        return
    try:
        call.bind(*arguments, **options)
    except TypeError as error:
        what = f"forward of {type(model).__name__} does not take what is in batches: {error}"
        allowed = "what the model takes, or for batches such as (x, y) loss=lambda model, batch: ..."
        raise TypeError(f"{what}; allowed: {allowed}") from raised


def _distance(output: Tensor, reference: Tensor) -> float:
    power = float(reference.double().square().sum())
    return float((output.double() - reference.double()).square().sum()) / power if power else 0.0
