"""A weight as the codes of its format: what `convert` leaves of a parameter."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from statqat_sim import layouts
from statqat_sim.geometry import Geometry
from statqat_sim.plan.lower import packed_storage
from statqat_sim.plan.program import Packed
from statqat_sim.qat.dense import dense_bytes, from_dense, to_dense
from statqat_sim.qat.keys import codec_for, format_key, format_of
from statqat_sim.qat.ops import word
from statqat_sim.qat.stamps import Stamped
from statqat_sim.quantized import QuantizedTensor
from statqat_sim.spec.base import BYTE
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.format import Format
from statqat_sim.spec.number import NumberFormat

CODES, SCALE = "codes", "scale"
"""Names of buffers: of the elements' codes, and of a number format's scales. Those of blocks have their fields'."""

LIBRARY = torch.library.Library("statqat", "FRAGMENT")  # type: ignore[no-untyped-call]
LIBRARY.define(  # type: ignore[no-untyped-call]
    "decode_weight(Tensor codes, Tensor[] scales, str format, int[] shape, int axis, ScalarType dtype) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)


@dataclass(frozen=True, kw_only=True)
class Packing:
    """What a packed weight is, but for its bits.

    Args:
        format: of the codes.
        shape: of the weight.
        axis: along which blocks run.
        channels: the shape of a number format's scales; () where there are none, and for block formats.
        is_scaled: False: there are codes alone, as `quantizer: none` has it.
    """

    format: Format
    shape: tuple[int, ...]
    axis: int
    channels: tuple[int, ...] = ()
    is_scaled: bool = True

    @property
    def has_scale(self) -> bool:
        """Whether there are a number format's scales."""
        return isinstance(self.format, NumberFormat) and self.is_scaled

    @property
    def buffers(self) -> Mapping[str, tuple[tuple[int, ...], torch.dtype]]:
        """Shape and dtype of every array, by its name: codes are dense bytes, scales that are floats stay floats."""
        count = math.prod(self.shape)
        if isinstance(self.format, NumberFormat):
            codes = {CODES: ((dense_bytes(count, self.format.bits),), torch.uint8)}
            return {**codes, SCALE: (self.channels, torch.float32)} if self.is_scaled else codes
        *others, elements = self.fields.values()
        return {_name(field): _stored(field) for field in (elements, *others)}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the arrays: codes first."""
        return tuple(self.buffers)

    @property
    def fields(self) -> Mapping[str, layouts.Field]:
        """The arrays of a block format."""
        assert isinstance(self.format, BlockFormat)
        return layouts.fields_of(self.format, Geometry.of(self.shape, self.axis, self.format))

    @property
    def nbytes(self) -> int:
        """Of all arrays."""
        return sum(math.prod(shape) * dtype.itemsize for shape, dtype in self.buffers.values())

    @property
    def bits_per_element(self) -> float:
        """Of all arrays; NaN where there are no elements."""
        count = math.prod(self.shape)
        return BYTE * self.nbytes / count if count else math.nan


class PackedWeight(Stamped):
    """Buffers of codes and scales, and of what format they are; `forward` gives the weight that they stand for.

    Args:
        packing: what the buffers hold.
        dtype: of the weight; `model.to(torch.bfloat16)` changes it, and leaves codes and scales alone.
        buffers: by the names of `Packing.buffers`.

    Attributes:
        kept: the decoded weight, for as long as `qat.decoded` lasts; None: each forward decodes it.
        kept_of: the arrays that it was decoded from.
    """

    kept: Tensor | None = None
    kept_of: Sequence[Tensor] = ()

    def __init__(self, packing: Packing, dtype: torch.dtype, buffers: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.packing, self.dtype = packing, dtype
        self.format_key = format_key(packing.format)
        for name in packing.buffers:
            self.register_buffer(name, buffers[name])
        self.stamp(packing.format, buffers[CODES].device, packing.shape)

    @classmethod
    def of(
        cls, weight: Tensor, scale: Tensor | None, seed: Tensor | None, *, format: Format, axis: int
    ) -> PackedWeight:
        """The codes of a weight: with a number format's scale, unless there is none; see `ops.fake_quantize`."""
        if isinstance(format, BlockFormat):
            packing = Packing(format=format, shape=tuple(weight.shape), axis=axis)
            buffers = _of_blocks(weight, packing, seed)
        else:
            channels = () if scale is None else tuple(scale.shape)
            is_scaled = scale is not None
            packing = Packing(
                format=format, shape=tuple(weight.shape), axis=axis, channels=channels, is_scaled=is_scaled
            )
            buffers = _of_numbers(weight, scale, format, seed)
        return cls(packing, weight.dtype, buffers)

    @classmethod
    def empty(cls, packing: Packing, dtype: torch.dtype, device: torch.device) -> PackedWeight:
        """Room for codes that are to be loaded."""
        known = packing.buffers.items()
        return cls(
            packing, dtype, {name: torch.empty(shape, dtype=kind, device=device) for name, (shape, kind) in known}
        )

    def __getstate__(self) -> dict[str, Any]:
        """Copies decode for themselves."""
        return {**super().__getstate__(), "kept": None, "kept_of": ()}  # type: ignore[no-untyped-call]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A weight of `quantizer: none` that an earlier version pickled has a scale of 1."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        if not self.packing.is_scaled and self._buffers.pop(SCALE, None) is not None:
            self.packing = replace(self.packing, channels=())

    def arrays(self) -> list[Tensor]:
        """Codes, then scales."""
        return [getattr(self, name) for name in self.packing.names]

    def forward(self) -> Tensor:
        kept = self.kept
        if kept is not None and all(a is b for a, b in zip(self.arrays(), self.kept_of, strict=True)):
            return kept
        return self.decode()

    def keep(self) -> None:
        """Decode the weight for as long as its arrays are these, which `torch.func.functional_call` may replace."""
        self.kept, self.kept_of = self.decode(), self.arrays()

    def let_go(self) -> None:
        """Decode the weight in each forward again."""
        self.kept, self.kept_of = None, ()

    def decode(self) -> Tensor:
        """The weight, in memory of its own."""
        packing, (codes, *scales) = self.packing, self.arrays()
        return torch.ops.statqat.decode_weight(  # type: ignore[no-any-return]
            codes, scales, self.format_key, packing.shape, packing.axis, self.dtype
        )

    @property
    def nbytes(self) -> int:
        """Of codes and scales, as they are."""
        return sum(array.nbytes for array in self.arrays())

    @property
    def bits_per_element(self) -> float:
        """Measured; NaN where there are no elements."""
        count = math.prod(self.packing.shape)
        return BYTE * self.nbytes / count if count else math.nan

    def extra_repr(self) -> str:
        packing = self.packing
        return f"{packing.format.name}, {packing.shape}, {self.dtype}, {self.bits_per_element:.4g} bits per element"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PackedWeight:
        """Codes and scales move with the model and keep their dtypes; the weight's follows the model's."""

        def moved(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            return result if result.dtype == tensor.dtype else tensor.to(result.device)

        self.let_go()
        like = next(self.buffers())
        self.dtype = fn(torch.empty(0, dtype=self.dtype, device=like.device)).dtype
        super()._apply(moved, recurse)  # type: ignore[no-untyped-call]
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        self.let_go()
        key = f"{prefix}{SCALE}"
        if self.packing.is_scaled or key not in state_dict:
            super()._load_from_state_dict(state_dict, prefix, *rest)
        elif is_one(state_dict[key]):
            others = {name: each for name, each in state_dict.items() if name != key}
            super()._load_from_state_dict(others, prefix, *rest)
        else:
            rest[-1].append(f"{key}: the model's weight has no scale, as it is of `quantizer: none`; allowed: 1")


def is_one(scale: Any) -> bool:
    """Whether it is what earlier versions stored where there is no scale."""
    return isinstance(scale, Tensor) and scale.shape == (1,) and not scale.is_meta and bool(scale == 1)


# --- encoding ----------------------------------------------------------------------------------------------------


def encoded(x: Tensor, scale: Tensor | None, seed: Tensor | None, key: str) -> Tensor:
    """The codes of a number format: of quotients in float32, of float64 too, as `Codec.fake_quantize` has it."""
    codes: Tensor = codec_for(key, x).encode(x if scale is None else x.to(torch.float32) / scale, seed=word(seed))
    return codes


def _of_numbers(weight: Tensor, scale: Tensor | None, format: Format, seed: Tensor | None) -> dict[str, Tensor]:
    """Codes, and scales where there are any."""
    kept = None if scale is None else scale.detach()
    codes = {CODES: to_dense(encoded(weight.detach(), kept, seed, format_key(format)), format.bits)}
    return codes if kept is None else {**codes, SCALE: kept.to(torch.float32, copy=True)}


def _of_blocks(weight: Tensor, packing: Packing, seed: Tensor | None) -> dict[str, Tensor]:
    codec = codec_for(format_key(packing.format), weight)
    q = codec.quantize(weight.detach(), axis=packing.axis, seed=word(seed))
    offsets = (*q.offset_scales, *(() if q.offset is None else (q.offset,)))
    arrays = zip(packing.fields.values(), (*q.scales, *offsets, q.codes), strict=True)
    return {
        _name(field): array.contiguous().clone() if field.is_float else to_dense(array, field.bits)
        for field, array in arrays
    }


def _name(field: layouts.Field) -> str:
    return CODES if field.name == layouts.ELEMENTS else field.name


def _stored(field: layouts.Field) -> tuple[tuple[int, ...], torch.dtype]:
    if field.is_float:
        return field.shape, getattr(torch, field.storage.value)
    return (dense_bytes(math.prod(field.shape), field.bits),), torch.uint8


# --- decoding ----------------------------------------------------------------------------------------------------


def _decode(codes: Tensor, scales: list[Tensor], key: str, shape: list[int], axis: int, dtype: torch.dtype) -> Tensor:
    format, sizes = format_of(key), tuple(shape)
    if isinstance(format, NumberFormat):
        values = _decode_numbers(codes, format, key, sizes)
        return (values.mul_(*scales) if scales else values).to(dtype)  # type: ignore[no-any-return]
    elements, *arrays = unpacked(codes, scales, format, sizes, axis)
    count = sum(name.startswith(layouts.SCALE) for name in _fields(format, sizes, axis))
    offsets = arrays[count:]
    offset = offsets[-1] if offsets else None
    q = QuantizedTensor(elements, tuple(arrays[:count]), format, axis, offset, tuple(offsets[:-1]))
    return codec_for(key, codes).dequantize(q).to(dtype)  # type: ignore[no-any-return]


def _decode_numbers(codes: Tensor, format: NumberFormat, key: str, shape: tuple[int, ...]) -> Any:
    """The values of a number format's codes, unpacked on the way where its codec packs a row as `to_dense` does."""
    codec = codec_for(key, codes)
    if format.bits < BYTE and packed_storage(format) == Packed(format.bits):
        return codec.decode(codes, packed=True, shape=(math.prod(shape),)).reshape(shape)
    return codec.decode(from_dense(codes, format.bits, shape))


def unpacked(codes: Tensor, scales: list[Tensor], format: Format, shape: tuple[int, ...], axis: int) -> list[Tensor]:
    """The codes of a weight's elements, one each, and those of a block format's scales and offsets."""
    if isinstance(format, NumberFormat):
        return [from_dense(codes, format.bits, shape)]
    *others, elements = _fields(format, shape, axis).values()
    return [_unpacked(elements, codes), *(_unpacked(*pair) for pair in zip(others, scales, strict=True))]


def _fields(format: Format, shape: tuple[int, ...], axis: int) -> Mapping[str, layouts.Field]:
    return Packing(format=format, shape=shape, axis=axis).fields


def _unpacked(field: layouts.Field, stored: Tensor) -> Tensor:
    return stored if field.is_float else from_dense(stored, field.bits, field.shape)


def _fake_decode(
    codes: Tensor, scales: list[Tensor], key: str, shape: list[int], axis: int, dtype: torch.dtype
) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=codes.device)


LIBRARY.impl("decode_weight", _decode, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
torch.library.register_fake("statqat::decode_weight", _fake_decode, lib=LIBRARY)
