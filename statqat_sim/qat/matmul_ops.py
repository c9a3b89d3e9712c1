"""A layer's product by an accelerator, as an operation that torch knows by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from statqat_sim.matmul import Accelerator
from statqat_sim.matmul.formats import operand_of
from statqat_sim.qat.keys import format_of
from statqat_sim.qat.matmul_keys import matmul_of
from statqat_sim.qat.matmul_operands import Operand
from statqat_sim.qat.ops import LIBRARY, is_transformed
from statqat_sim.qat.samples import sample_by_sample
from statqat_sim.quantized import QuantizedTensor
from statqat_sim.spec.block import BlockFormat

MULTIPLY = "statqat::multiply"
LIBRARY.define(  # type: ignore[no-untyped-call]
    "multiply(Tensor usual, Tensor[] a, Tensor[] b, Tensor? a_scale, Tensor? b_scale, Tensor? bias, str a_format, "
    "str b_format, str matmul) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def multiply(usual: Tensor, a: Operand, b: Operand, bias: Tensor | None, matmul: str) -> Tensor:
    """(D · (scale of a · scale of b) + bias), D = a · bᵀ with an accelerator's bits; each operation in float32.

    Args:
        usual: the product that torch makes of the same layer; (..., N). The result has its shape, its dtype, to which
            it is cast at last, and its gradient; what is in it does not matter.
        a: codes (..., K), or of groups (groups, M, K).
        b: codes (N, K), or of groups (groups, N / groups, K).
        bias: (N,).
        matmul: the key of a `MatmulConfig`.
    """
    plain = None if bias is None else bias.detach()
    others = list(a.codes), list(b.codes), a.scale, b.scale, plain, a.format, b.format, matmul
    if is_transformed():
        return _Product.apply(usual, torch.ops.statqat.multiply(usual.detach(), *others))  # type: ignore[no-any-return, no-untyped-call]
    return torch.ops.statqat.multiply(usual, *others)  # type: ignore[no-any-return]


def _multiply(
    usual: Tensor,
    a: list[Tensor],
    b: list[Tensor],
    a_scale: Tensor | None,
    b_scale: Tensor | None,
    bias: Tensor | None,
    a_format: str,
    b_format: str,
    matmul: str,
) -> Tensor:
    d = _product(a, b, a_format, b_format, matmul).to(torch.float32)
    if d.ndim == 3:  # of groups
        d = d.transpose(0, 1).flatten(1)
    scales = [scale.reshape(-1) for scale in (a_scale, b_scale) if scale is not None]
    if scales:
        d = d * (scales[0] if len(scales) == 1 else scales[0] * scales[1])
    if bias is not None:
        d = d + bias.to(torch.float32)
    return d.reshape(usual.shape).to(usual.dtype, copy=True)


def _product(a: list[Tensor], b: list[Tensor], a_format: str, b_format: str, key: str) -> Tensor:
    """D, (M, N) or (groups, M, N)."""
    matmul = matmul_of(key)
    is_grouped = b[0].ndim == 3
    left, a_name = _side(a if is_grouped else [_rows(each) for each in a], a_format, matmul.unit.a, -1)
    right, b_name = _side([each.mT for each in b], b_format, matmul.unit.b, -2)
    names = {"a_format": a_name, "b_format": b_name}
    d: Tensor = Accelerator(matmul.accelerator).matmul(
        left, right, instruction=matmul.instruction, plan=matmul.plan, **names
    )
    return d


def _rows(x: Tensor) -> Tensor:
    """A tensor as a matrix: its last axis stays."""
    return x.reshape(-1, x.shape[-1])


def _side(arrays: list[Tensor], key: str, operands: Any, axis: int) -> tuple[Any, str | None]:
    """What `Accelerator.matmul` takes for A or B, and the name of its format among the operands'."""
    format, (codes, *scales) = format_of(key), arrays
    if isinstance(format, BlockFormat):
        return QuantizedTensor(codes, tuple(scales), format, axis), None
    operand = operand_of(operands, format)
    assert operand is not None  # `config_problems` asks
    return codes, operand.name


def _fake_of_product(usual: Tensor, *_: Any) -> Tensor:
    return torch.empty(usual.shape, dtype=usual.dtype, device=usual.device)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """How many tensors each side has; the gradient is that of `usual`, and needs nothing."""
    _, a, b, *_ = inputs
    ctx.counts = len(a), len(b)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    a, b = ctx.counts
    return gradient, [None] * a, [None] * b, *(None,) * 6


class _Product(torch.autograd.Function):
    """A product with the gradient of the usual one, for `torch.func`, which takes none of named operations."""

    generate_vmap_rule = True

    @staticmethod
    def forward(usual: Tensor, product: Tensor) -> Tensor:
        return product.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """The gradient needs nothing."""

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        return *gradients, None


LIBRARY.impl("multiply", _multiply, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
torch.library.register_fake(MULTIPLY, _fake_of_product, lib=LIBRARY)
torch.library.register_autograd(MULTIPLY, _backward, setup_context=_remember, lib=LIBRARY)
torch.library.register_vmap(MULTIPLY, sample_by_sample(torch.ops.statqat.multiply), lib=LIBRARY)
