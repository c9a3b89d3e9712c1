"""The codes that an accelerator multiplies: of what a quantizer gets, or of a packed weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from statqat_sim.geometry import is_whole_array
from statqat_sim.plan.lower import code_storage
from statqat_sim.plan.lower_block import lower_block
from statqat_sim.qat.keys import codec_for, format_of
from statqat_sim.qat.ops import LIBRARY, word
from statqat_sim.qat.packed import PackedWeight, encoded, unpacked
from statqat_sim.qat.samples import sample_by_sample
from statqat_sim.qat.tensor_quantizer import TensorQuantizer
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.format import Format

LIBRARY.define(  # type: ignore[no-untyped-call]
    "encode(Tensor x, Tensor? scale, Tensor? seed, str format, int axis) -> Tensor[]",
    tags=(torch.Tag.pt2_compliant_tag,),
)
LIBRARY.define(  # type: ignore[no-untyped-call]
    "unpack_weight(Tensor codes, Tensor[] scales, str format, int[] shape, int axis) -> Tensor[]",
    tags=(torch.Tag.pt2_compliant_tag,),
)


@dataclass(frozen=True, slots=True)
class Operand:
    """A quantized input or weight.

    Args:
        values: what the codes stand for, of the tensor's dtype, with its gradient; None where none is wanted.
        codes: of the elements; then, of a block format, those of its scales, outermost first.
        scale: of a number format: float32, one for the tensor or for each of a weight's rows; None in block formats.
        format: its key.
        dtype: of the tensor.
    """

    values: Tensor | None
    codes: tuple[Tensor, ...]
    scale: Tensor | None
    format: str
    dtype: torch.dtype

    def with_codes(self, codes: Tensor) -> Operand:
        """The same numbers in another order."""
        return replace(self, codes=(codes,))

    def chunk(self, count: int) -> tuple[Operand, ...]:
        """Equal parts of a weight's rows."""
        rows = len(self.codes[0])

        def parts(tensor: Tensor | None) -> Sequence[Tensor | None]:
            return (tensor,) * count if tensor is None or len(tensor) != rows else tensor.chunk(count)

        values, scales = parts(self.values), parts(self.scale)
        codes = zip(*map(parts, self.codes), strict=True)
        found = zip(values, codes, scales, strict=True)
        return tuple(replace(self, values=value, codes=each, scale=scale) for value, each, scale in found)


def quantized_operand(quantizer: TensorQuantizer, x: Tensor) -> Operand:
    """What a quantizer in mode "quantize" makes of a tensor: its codes, and with them what its forward gives."""
    quantizer.require_plain(x)
    scale, seed = quantizer.scale_for(x), quantizer.draw_seed()
    values = quantizer.quantized(x, scale, seed) if torch.is_grad_enabled() else None
    plain = None if scale is None else scale.detach()
    codes = torch.ops.statqat.encode(x.detach(), plain, seed, quantizer.format_key, quantizer.layout.axis)
    return Operand(values, tuple(codes), plain, quantizer.format_key, x.dtype)


def packed_operand(packed: PackedWeight) -> Operand:
    """What `convert` left of a weight."""
    packing = packed.packing
    codes, *scales = (getattr(packed, name) for name in packing.names)
    found = torch.ops.statqat.unpack_weight(codes, scales, packed.format_key, packing.shape, packing.axis)
    scale = scales[0] if packing.has_scale else None
    values = packed() if torch.is_grad_enabled() else None
    return Operand(values, tuple(found), scale, packed.format_key, packed.dtype)


# --- what they do ------------------------------------------------------------------------------------------------


def _encode(x: Tensor, scale: Tensor | None, seed: Tensor | None, format: str, axis: int) -> list[Tensor]:
    codec = codec_for(format, x)
    if isinstance(codec.format, BlockFormat):
        q = codec.quantize(x, axis=axis, seed=word(seed))
        return [q.codes, *q.scales]
    return [encoded(x, scale, seed, format)]


def _unpack(codes: Tensor, scales: list[Tensor], format: str, shape: list[int], axis: int) -> list[Tensor]:
    found = unpacked(codes, scales, format_of(format), tuple(shape), axis)
    given = {each.data_ptr() for each in (codes, *scales)}
    return [each.clone() if each.data_ptr() in given else each for each in found]  # an operation returns no input


def _fake_of_encoded(x: Tensor, scale: Tensor | None, seed: Tensor | None, format: str, axis: int) -> list[Tensor]:
    return _empty(x.shape, format_of(format), axis, x.device)


def _fake_of_unpacked(codes: Tensor, scales: list[Tensor], format: str, shape: list[int], axis: int) -> list[Tensor]:
    return _empty(shape, format_of(format), axis, codes.device)


def _empty(shape: Sequence[int], format: Format, axis: int, device: torch.device) -> list[Tensor]:
    """Codes, and scales of blocks along an axis or of the whole tensor."""
    if not isinstance(format, BlockFormat):
        return [torch.empty(shape, dtype=_dtype(code_storage(format)), device=device)]
    found = [torch.empty(shape, dtype=_dtype(code_storage(format.element)), device=device)]
    for level, stored in zip(format.scales, lower_block(format).stored, strict=True):
        sizes = [1] * len(shape)
        if not is_whole_array(level.block):
            assert isinstance(level.block, int)  # `config_problems` asks
            sizes = list(shape)
            sizes[axis] = -(-sizes[axis] // level.block)
        found.append(torch.empty(sizes, dtype=_dtype(stored.storage), device=device))
    return found


def _dtype(storage: str) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, str(storage))
    return dtype


LIBRARY.impl("encode", _encode, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
LIBRARY.impl("unpack_weight", _unpack, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
torch.library.register_fake("statqat::encode", _fake_of_encoded, lib=LIBRARY)
torch.library.register_fake("statqat::unpack_weight", _fake_of_unpacked, lib=LIBRARY)
torch.library.register_vmap("statqat::encode", sample_by_sample(torch.ops.statqat.encode), lib=LIBRARY)
torch.library.register_vmap("statqat::unpack_weight", sample_by_sample(torch.ops.statqat.unpack_weight), lib=LIBRARY)
