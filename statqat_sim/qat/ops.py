"""Operations that torch knows by name: eager, compiled, exported, vectorised, with gradients.

`statqat::fake_quantize` and `statqat::choose_scale` are opaque to the compiler: their bits are those of `Codec`, on the
backend that owns the tensor. With `exact=False` there are torch's operations in its place, which the compiler fuses.
Where nobody watches operations, `fake_quantize` does at once what the named one does: see `is_watched`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from statqat_sim.codec import Codec
from statqat_sim.geometry import checked_axis, is_whole_array
from statqat_sim.qat.device_scales import minmax_scale
from statqat_sim.qat.gradients import LEARNED, elements, gradient_of_input, gradient_of_scale, is_clipped
from statqat_sim.qat.keys import codec_for, format_of, is_stochastic, plain_scale, quantizer_of, traced_codec
from statqat_sim.qat.samples import sample_by_sample
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.format import Format
from statqat_sim.spec.scale import Rule

LIBRARY = torch.library.Library("statqat", "DEF")  # type: ignore[no-untyped-call]
FAKE_QUANTIZE, CHOOSE_SCALE = "statqat::fake_quantize", "statqat::choose_scale"
LIBRARY.define(  # type: ignore[no-untyped-call]
    "fake_quantize(Tensor x, Tensor? scale, Tensor? seed, str format, int axis, str gradient) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
LIBRARY.define(  # type: ignore[no-untyped-call]
    "choose_scale(Tensor x, str format, str quantizer, int? channel_axis) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
OPERATION: Any = torch.ops.statqat.fake_quantize.default
PLAIN = Tensor, nn.Parameter
"""Types of tensors that do nothing of their own."""
ORDERED = Rule.MSE, Rule.SIGNED_ABSMAX, Rule.MINMAX
"""Rules that depend on the order of a block's elements: by a sum, or by which of several that are as large is first."""


def fake_quantize(
    x: Tensor,
    scale: Tensor | None = None,
    seed: Tensor | None = None,
    *,
    format: str,
    axis: int = -1,
    gradient: str = "clipped",
    exact: bool = True,
) -> Tensor:
    """What x decodes to when it was encoded: in float32, cast once to x's dtype; contiguous, or channels last as x is.

    Args:
        x: floats.
        scale: float32, in a shape that broadcasts against x; number formats only.
        seed: of stochastic rounding, an int64 without axes in the CPU's memory.
        format: its key.
        axis: along which blocks run.
        gradient: what the backward pass takes for the derivative: "clipped", "ste", "lsq"; "lsq_features" of
            activations, whose features begin at `axis`.
        exact: False: torch's operations, on whatever device; torch's compiler traces no format that rounds at random.
    """
    if not exact or is_transformed():
        return _FakeQuantize.apply(x, scale, seed, format, axis, gradient, exact)  # type: ignore[no-any-return, no-untyped-call]
    call = OPERATION if is_watched(x, scale, seed) else _FakeQuantizeAtOnce.apply
    return call(x, scale, seed, format, axis, gradient)  # type: ignore[no-any-return]


def is_transformed() -> bool:
    """Whether `torch.func` calls, which wants a Function: it does not take gradients of named operations."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


def is_watched(*tensors: Tensor | None) -> bool:
    """Whether anyone but autograd is to see an operation's name: compilers, tracers, modes, tensors of other kinds.

    For all else there is no need to go through torch's dispatcher, which takes longer than a small tensor does.
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._is_tracing()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._len_torch_function_stack() > 0
        or any(type(tensor) not in PLAIN or tensor.is_meta for tensor in tensors if tensor is not None)
    )


def choose_scale(x: Tensor, *, format: str, quantizer: str, channel_axis: int | None = None) -> Tensor:
    """The scale that a quantizer gives x, as `Quantizer.fit` has it; without a gradient.

    What lies on a device is copied to the CPU's memory for it, but for MinMax, which does not wait for the device: of a
    histogram that was counted there quantizers choose other bits than `fit` gives, and so than a model has on the CPU.
    """
    return torch.ops.statqat.choose_scale(x.detach(), format, quantizer, channel_axis)  # type: ignore[no-any-return]


# --- what they do ------------------------------------------------------------------------------------------------


def _fake_quantize(x: Tensor, scale: Tensor | None, seed: Tensor | None, format: str, axis: int, _: str) -> Tensor:
    if not x.is_floating_point():
        raise TypeError(f"x is {x.dtype}; allowed: floats")
    codec = codec_for(format, x)
    is_wide = x.dtype == torch.float64 and not isinstance(codec.format, BlockFormat)
    # in torch's own memory, which may be resized
    out = _room(x, torch.float64 if is_wide else torch.float32)
    call = _Call(x, scale, axis, out)
    if not out.is_contiguous() and _is_free_of_order(codec.format):
        with suppress(TypeError, ValueError):  # refused below, by the axes, shapes and places of the caller
            call.with_channels_last().run(codec, seed)
            return out.to(x.dtype)
    call.run(codec, seed)
    return out.to(x.dtype)


def _is_free_of_order(format: Format) -> bool:
    """Whether the bits stay, whatever the order of axes: not those that are drawn at random, by an element's index."""
    levels = format.scales if isinstance(format, BlockFormat) else ()
    ordered = (is_whole_array(level.block) and level.rule in ORDERED for level in levels)
    of_matrices = (isinstance(level.block, tuple) for level in levels)  # of the last two axes
    return not (is_stochastic(format) or any(ordered) or any(of_matrices))


class _Call(NamedTuple):
    """What a codec is given."""

    x: Tensor
    scale: Tensor | None
    axis: int
    out: Tensor

    def with_channels_last(self) -> _Call:
        """The same with the axis of channels as the last one, as it is in memory: kernels then read without a copy."""
        x, scale, axis, out = self
        axis = [0, *range(2, x.ndim), 1].index(checked_axis(axis, tuple(x.shape)))
        channels = 1 - x.ndim  # from the end, as shapes that broadcast count
        if scale is not None:
            scale = scale.reshape(*[1] * (x.ndim - scale.ndim), *scale.shape).movedim(channels, -1)
        return _Call(x.movedim(channels, -1), scale, axis, out.movedim(channels, -1))

    def run(self, codec: Codec, seed: Tensor | None) -> None:
        """Fill `out`."""
        codec.fake_quantize(self.x, scale=self.scale, axis=self.axis, out=self.out, seed=word(seed))


def _room(x: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor of x's shape."""
    return torch.empty(x.shape, dtype=dtype, device=x.device, memory_format=_memory_format(x))


def _memory_format(x: Tensor) -> torch.memory_format:
    """Channels last where x has them so, and convolutions want them so; whatever else has strides comes out without."""
    known = {4: torch.channels_last, 5: torch.channels_last_3d}
    if x.ndim in known and not x.is_contiguous() and x.is_contiguous(memory_format=known[x.ndim]):
        return known[x.ndim]
    return torch.contiguous_format


def word(seed: Tensor | None) -> int | None:
    """The 64 bits of a seed, as codecs take them: without a sign."""
    return None if seed is None else int(seed) & (1 << 64) - 1


def _choose_scale(x: Tensor, format: str, quantizer: str, channel_axis: int | None) -> Tensor:
    number: Any = format_of(format)
    if x.is_cuda and quantizer == "minmax":
        return minmax_scale(x, number, channel_axis)
    scale = quantizer_of(quantizer).fit(x.cpu(), number, channel_axis=channel_axis)
    return torch.tensor(plain_scale(scale, quantizer), device=x.device)


def _fake_of_quantized(x: Tensor, *_: Any) -> Tensor:
    return _room(x, x.dtype)


def _fake_of_scale(x: Tensor, format: str, quantizer: str, channel_axis: int | None) -> Tensor:
    kept = range(x.ndim) if channel_axis is None else set(range(x.ndim)) - {channel_axis % x.ndim}
    shape = [1 if axis in kept else size for axis, size in enumerate(x.shape)]
    return torch.empty(shape, dtype=torch.float32, device=x.device)


LIBRARY.impl("fake_quantize", _fake_quantize, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
LIBRARY.impl("choose_scale", _choose_scale, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
torch.library.register_fake(FAKE_QUANTIZE, _fake_of_quantized, lib=LIBRARY)
torch.library.register_fake(CHOOSE_SCALE, _fake_of_scale, lib=LIBRARY)


# --- gradients ---------------------------------------------------------------------------------------------------


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor | None = None) -> None:
    """Keep what the gradients need: nothing where they pass through."""
    x, scale, seed, ctx.format, ctx.axis, ctx.gradient, *options = inputs
    ctx.exact = all(options)
    ctx.is_clipped = is_clipped(ctx.format, ctx.gradient)
    if ctx.is_clipped:
        ctx.save_for_backward(x, scale, seed if ctx.gradient in LEARNED else None)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    """Of all inputs of the operation."""
    if not ctx.is_clipped:
        return gradient, None, None, None, None, None
    x, scale, seed = ctx.saved_tensors
    of_input = gradient_of_input(gradient, x, scale, ctx.format) if ctx.needs_input_grad[0] else None
    of_scale = None
    if ctx.needs_input_grad[1] and ctx.gradient in LEARNED:
        quotient = x.to(torch.float32) / scale
        codes = fake_quantize(quotient, None, seed, format=ctx.format, gradient="ste", exact=ctx.exact)
        count = elements(x.shape, ctx.gradient, ctx.axis)
        of_scale = gradient_of_scale(gradient, x, scale, codes, ctx.format, count)
    return of_input, of_scale, None, None, None, None


class _FakeQuantize(torch.autograd.Function):
    """The same for what takes no named operation: with a last argument, `exact`."""

    setup_context = staticmethod(_remember)

    @staticmethod
    def forward(
        x: Tensor, scale: Tensor | None, seed: Tensor | None, format: str, axis: int, gradient: str, exact: bool
    ) -> Tensor:
        if exact:
            return OPERATION(x, scale, seed, format, axis, gradient)  # type: ignore[no-any-return]
        values = traced_codec(format).fake_quantize(x, scale=scale, axis=axis, seed=word(seed))
        return values.to(x.dtype, memory_format=_memory_format(x))  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        return (*_backward(ctx, *gradients), None)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> tuple[Tensor, int]:
        return _vectorised(_FakeQuantize.apply, info, in_dims, arguments), 0


class _FakeQuantizeAtOnce(torch.autograd.Function):
    """The same past the dispatcher; without `setup_context`, for which torch would look up a signature every time."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        _remember(ctx, inputs)
        return _fake_quantize(*inputs)

    backward = staticmethod(_backward)


torch.library.register_autograd(FAKE_QUANTIZE, _backward, setup_context=_remember, lib=LIBRARY)


# --- vectorised calls --------------------------------------------------------------------------------------------


def _vectorised_quantize(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> tuple[Tensor, int]:
    return _vectorised(OPERATION, info, in_dims, arguments), 0


def _vectorised(call: Any, info: Any, in_dims: tuple[Any, ...], arguments: tuple[Any, ...]) -> Tensor:
    """One call for all, where every sample's blocks are its own; else one for each."""
    (x, scale, seed, format, axis, *rest), (x_dim, scale_dim, seed_dim, *_) = arguments, in_dims
    spec = format_of(format)
    is_joint = isinstance(spec, BlockFormat) and any(is_whole_array(level.block) for level in spec.scales)
    if is_joint or seed_dim is not None or x_dim is None:
        joined: Tensor = sample_by_sample(call)(info, in_dims, *arguments)[0]
        return joined
    x = x.movedim(x_dim, 0)
    if scale is not None and scale_dim is not None:
        scale = scale.movedim(scale_dim, 0)
        scale = scale.reshape(len(scale), *[1] * (x.ndim - scale.ndim), *scale.shape[1:])
    return call(x, scale, seed, format, axis if axis < 0 else axis + 1, *rest)  # type: ignore[no-any-return]


torch.library.register_vmap(FAKE_QUANTIZE, _vectorised_quantize, lib=LIBRARY)
torch.library.register_vmap(CHOOSE_SCALE, sample_by_sample(torch.ops.statqat.choose_scale), lib=LIBRARY)
