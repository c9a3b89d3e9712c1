"""What prepared layers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from statqat_sim.qat.config_rules import OPERANDS, PRODUCTS, Role, quantizer_name
from statqat_sim.qat.layout import Layout
from statqat_sim.qat.matmul_layers import Factor
from statqat_sim.qat.matmul_operands import packed_operand, quantized_operand
from statqat_sim.qat.packed import PackedWeight
from statqat_sim.qat.products import Operands, Products
from statqat_sim.qat.rules import LayerConfig
from statqat_sim.qat.tensor_quantizer import TensorQuantizer
from statqat_sim.qat.weights import is_trained, mark_before, weight_came

OPERAND_QUANTIZERS = frozenset(map(quantizer_name, OPERANDS))
LEARNED = "learned_scales"
"""The weights whose scales were trained, in what torch's states say of a layer beside its tensors."""


class Quantized(nn.Module):
    """Comes before a float class among the bases of its quantized one, whose forward calls these methods.

    No instance is ever made: `prepare` gives a float module this class, and a quantizer as submodule for each tensor
    that is quantized: `weight_quantizer`, `input_quantizer`, `output_quantizer`, `grad_output_quantizer`, and those of
    the operands of the backward pass, `grad_input_weight_quantizer` and its like.

    Attributes:
        weights: the parameters that are quantized, and how their axes lie.
        layouts: of what enters and leaves, by role; roles that are not there are not quantized. Operands of the
            backward pass are matrices (`products.MATRICES`), and are there where forward's product takes `products`.
        channels: attributes that tell how many channels the input and the output have; "" where only data tell.
        has_product: whether the layer multiplies; one that does not leaves `matmul` of a rule aside.
        hadamards: the sizes of transforms, by products of the backward pass.
        matmul_key: stands for the `MatmulConfig` of what multiplies; None: torch.
    """

    weights: ClassVar[Mapping[str, Layout]] = {}
    layouts: ClassVar[Mapping[Role, Layout]] = {}
    channels: ClassVar[tuple[str, str]] = ("", "")
    has_product: ClassVar[bool] = True
    matmul_key: str | None = None
    hadamards: Mapping[str, int] = MappingProxyType({})

    def __getattr__(self, name: str) -> Any:
        """A parameter that `convert` has packed is decoded, each time that it is asked for.

        What is written into the tensor that comes, as by `weight.data.zero_()`, is lost: the codes stay.
        """
        try:
            return super().__getattr__(name)  # torch's own first: parameters of a prepared layer are asked for often
        except AttributeError:
            if name in type(self).weights and (packed := self._packed(name)) is not None:
                return packed()
            raise

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).weights and (packed := self._packed(name)) is not None:
            told = f"{name}: codes of {packed.packing.format.name} stand for it"
            raise AttributeError(f"{told}; allowed: to read it, and to convert a prepared model that has other weights")
        super().__setattr__(name, value)

    def _packed(self, name: str) -> PackedWeight | None:
        """The codes that stand for a parameter."""
        packed = self.__dict__.get("_modules", {}).get(f"packed_{name}")
        return packed if isinstance(packed, PackedWeight) else None

    @classmethod
    def channels_of(cls, module: nn.Module, role: Role) -> int | None:
        """The channels of a module's input, output or gradient, prepared or not yet; None where only data tell."""
        of_input, of_output = cls.channels
        return getattr(module, of_input if role == "input" else of_output, None)

    @classmethod
    def matmul_problems(cls, module: nn.Module, layer: LayerConfig) -> Iterator[str]:
        """Why `layer.matmul` cannot multiply in a float module: classes that compute with `input_factor` say it."""
        yield "its product is torch's own"

    @classmethod
    def tensor_problems(cls, module: nn.Module, layer: LayerConfig) -> Iterator[str]:
        """Why the tensors of a float module cannot be quantized as `layer` says."""
        yield from ()

    @property
    def is_accelerated(self) -> bool:
        """Whether an accelerator multiplies: not while input or weight are floats."""
        if self.matmul_key is None:
            return False
        found = (self._modules.get(f"{name}_quantizer") for name in ("input", *self.weights))
        return all(each is None or each.mode == "quantize" for each in found)

    def input_factor(self, x: Tensor) -> Factor:
        """What enters the layer, as it is multiplied: `quantized_input`, or its codes."""
        quantizer = self._modules.get("input_quantizer")
        if not self.is_accelerated or not isinstance(quantizer, TensorQuantizer):
            return self.quantized_input(x)
        return quantized_operand(quantizer, x)

    def weight_factor(self, name: str = "weight") -> Factor:
        """A parameter as it is multiplied: `quantized_weight`, or its codes."""
        return self.weight_and_factor(name)[1]

    def weight_and_factor(self, name: str = "weight") -> tuple[Tensor | None, Factor]:
        """A parameter, None where codes stand for it, and the same as it is multiplied."""
        if (packed := self._packed(name)) is not None:
            return None, packed_operand(packed) if self.is_accelerated else packed()
        weight = getattr(self, name)
        if not self.is_accelerated:
            return weight, self._passed(f"{name}_quantizer", weight)
        quantizer = self._modules[f"{name}_quantizer"]
        assert isinstance(quantizer, TensorQuantizer)
        return weight, quantized_operand(quantizer, weight)

    def products(self, x: Tensor, weight: Tensor | None) -> Products | None:
        """What the backward pass multiplies; None: what forward does.

        Args:
            x: the input, before it is quantized.
            weight: likewise; None where codes stand for it.
        """
        if weight is None or OPERAND_QUANTIZERS.isdisjoint(self._modules):
            return None
        found = [self._operand(role) for role in OPERANDS]
        for each in filter(None, found):
            each.require_plain(weight)
        seeds = tuple(None if each is None else each.draw_seed() for each in found)  # alike where forward is recomputed
        if not torch.is_grad_enabled() or not any(found):
            return None
        grad_input, grad_weight = map(self._operands, PRODUCTS, (found[:2], found[2:]))
        return Products(x, weight, grad_input, grad_weight, seeds)

    def _operand(self, role: Role) -> TensorQuantizer | None:
        """What quantizes an operand of the backward pass."""
        found = self._modules.get(quantizer_name(role))
        return found if isinstance(found, TensorQuantizer) and found.mode == "quantize" else None

    def _operands(self, product: str, quantizers: Sequence[TensorQuantizer | None]) -> Operands:
        """Those of a product; floats are not transformed."""
        gradient, factor = (None if each is None else each.quantization for each in quantizers)
        return Operands(gradient, factor, self.hadamards.get(product, 0) if any(quantizers) else 0)

    def quantized_input(self, x: Tensor) -> Tensor:
        """What enters the layer."""
        return self._passed("input_quantizer", x)

    def quantized_weight(self, name: str = "weight") -> Tensor:
        """A parameter as it is computed with: quantized, or decoded where `convert` has packed it."""
        if (packed := self._packed(name)) is not None:
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

    def extra_repr(self) -> str:
        told = (f"hadamard of {product}={size}" for product, size in self.hadamards.items())
        return ", ".join(filter(None, (super().extra_repr(), *told)))

    def settled(self, name: str) -> Tensor:
        """A parameter that becomes codes, as forward would have made it in time; the parameter itself stays."""
        parameter: Tensor = getattr(self, name)
        return parameter

    def choose_weight_scales(self, which: Callable[[TensorQuantizer], bool]) -> None:
        """Choose the scales that are kept, of the parameters whose quantizer is one of these."""
        for name, quantizer in self.weight_quantizers():
            if quantizer.stores_scale and which(quantizer):
                quantizer.choose(getattr(self, name))

    def update_weight_scales(self) -> None:
        """Choose the scales of the parameters whose schedule wants it."""
        for name, quantizer in self.weight_quantizers():
            if quantizer.stores_scale and quantizer.is_due:
                quantizer.update(getattr(self, name))

    def weight_quantizers(self) -> Iterator[tuple[str, TensorQuantizer]]:
        """The quantizers of parameters, by the parameters' names."""
        for name in self.weights:
            quantizer = self._modules.get(f"{name}_quantizer")
            if isinstance(quantizer, TensorQuantizer):
                yield name, quantizer

    def quantizers(self) -> Iterator[tuple[str, TensorQuantizer]]:
        """The quantizers of this layer, by their attributes' names."""
        for name, child in self.named_children():
            if isinstance(child, TensorQuantizer):
                yield name, child

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Say which weights go without a scale that was trained with them: who loads them alone is told of it."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        learned = [name for name, quantizer in self.weight_quantizers() if is_trained(quantizer)]
        if learned and hasattr(destination, "_metadata"):
            destination._metadata[prefix.removesuffix(".")][LEARNED] = learned

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Weights that come without scales get them."""
        learned = rest[0].get(LEARNED, ())
        before = {name: mark_before(each, self._parameters.get(name)) for name, each in self.weight_quantizers()}
        super()._load_from_state_dict(state_dict, prefix, *rest)
        for name, quantizer in self.weight_quantizers():
            found = state_dict.get(f"{prefix}{name}")
            if isinstance(found, Tensor) and found.shape == getattr(self, name).shape:  # torch takes no other
                weight = getattr(self, name)
                weight_came(quantizer, weight, before[name], call=rest[-1], was_learned=name in learned)


def every_role(layout: Layout) -> Mapping[Role, Layout]:
    """Of layers whose input and output lie alike."""
    return {"input": layout, "output": layout, "grad_output": layout}
