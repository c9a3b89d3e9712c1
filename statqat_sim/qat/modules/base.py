"""What prepared layers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

from torch import Tensor, nn

from statqat_sim.qat.config import Role
from statqat_sim.qat.layout import Layout
from statqat_sim.qat.tensor_quantizer import TensorQuantizer


class Quantized(nn.Module):
    """Comes before a float class among the bases of its quantized one, whose forward calls these methods.

    No instance is ever made: `prepare` gives a float module this class, and a quantizer as submodule for each tensor
    that is quantized: `weight_quantizer`, `input_quantizer`, `output_quantizer`, `grad_output_quantizer`.

    Attributes:
        weights: the parameters that are quantized, and how their axes lie.
        layouts: of what enters and leaves, by role; roles that are not there are not quantized.
    """

    weights: ClassVar[Mapping[str, Layout]] = {}
    layouts: ClassVar[Mapping[Role, Layout]] = {}

    def quantized_input(self, x: Tensor) -> Tensor:
        """What enters the layer."""
        return self._passed("input_quantizer", x)

    def quantized_weight(self, name: str = "weight") -> Tensor:
        """A parameter as it is computed with: quantized, or decoded where `convert` has packed it."""
        packed = self._modules.get(f"packed_{name}")
        if packed is not None:
            return packed()  # type: ignore[no-any-return]
        return self._passed(f"{name}_quantizer", getattr(self, name))

    def quantized_output(self, y: Tensor) -> Tensor:
        """What leaves the layer."""
        return self.quantized_gradient(self._passed("output_quantizer", y))

    def quantized_gradient(self, y: Tensor) -> Tensor:
        """The same tensor, whose gradient is quantized where it comes back in."""
        return self._passed("grad_output_quantizer", y)

    def _passed(self, name: str, x: Tensor) -> Tensor:
        quantizer = self._modules.get(name)
        return x if quantizer is None else quantizer(x)

    def choose_weight_scales(self, which: Callable[[TensorQuantizer], bool]) -> None:
        """Choose the scales that are kept, of the parameters whose quantizer is one of these."""
        for name in self.weights:
            quantizer = self._modules.get(f"{name}_quantizer")
            if isinstance(quantizer, TensorQuantizer) and quantizer.stores_scale and which(quantizer):
                quantizer.choose(getattr(self, name))

    def quantizers(self) -> Iterator[tuple[str, TensorQuantizer]]:
        """The quantizers of this layer, by their attributes' names."""
        for name, child in self.named_children():
            if isinstance(child, TensorQuantizer):
                yield name, child


def every_role(layout: Layout) -> Mapping[Role, Layout]:
    """Of layers whose input and output lie alike."""
    return {"input": layout, "output": layout, "grad_output": layout}
