"""One tensor of a layer, quantized: a module that holds what `state_dict` of the model does not show."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from statqat_sim.histogram import Histogram
from statqat_sim.qat.config_rules import Role
from statqat_sim.qat.gradient_quantizer import Quantization, quantized_gradient
from statqat_sim.qat.holders import Holders
from statqat_sim.qat.keys import format_key, is_stochastic, plain_scale, quantizer_key
from statqat_sim.qat.layout import Layout
from statqat_sim.qat.marks import Chosen, mark_of
from statqat_sim.qat.ops import choose_scale, fake_quantize
from statqat_sim.qat.packed import PackedWeight
from statqat_sim.qat.stamps import Stamped
from statqat_sim.qat.statistics import with_batch
from statqat_sim.qat.tensor_config import TensorConfig
from statqat_sim.qat.updates import Update, updated

Mode: TypeAlias = Literal["float", "quantize", "calibrate"]
"""Float: tensors pass as they are. Calibrate: so too, and what is to be calibrated is counted."""


class TensorQuantizer(Stamped):
    """Quantizes a tensor: `forward` gives what its codes decode to, of the tensor's dtype.

    Args:
        config: how.
        layout: which axes mean what.
        role: what the tensor is to its layer.
        name: what errors call it.
        exact: whether kernels do it, or torch's operations.

    Attributes:
        scale: float32, in a shape that broadcasts; None where each call has its own, or nothing was chosen yet. A
            parameter where it is learned.
        statistics: what calibration saw; None before it.
        steps: how often `qat.step` came by.
        mode: "float", "quantize" or "calibrate".
        holders: of a weight: the modules that held it when the model was prepared.
        became: weights of other layers that `convert` replaced, while they were this one's too, and their codes.
        chosen: what the scale of a weight was chosen for.
        is_lost: whether a scale that was learned has been replaced, as the weight came without it.
        loaded_beside: the mark of the weight when the scale was loaded; None if it was not, or weights came since.
        kept_in: the call of a model's `load_state_dict` that left the scale as it had been loaded; see `weight_came`.
    """

    scale: Tensor | None
    holders: Holders = Holders()
    became: tuple[tuple[Tensor, PackedWeight], ...] = ()
    chosen: Chosen = Chosen()
    is_lost: bool = False
    loaded_beside: int | None = None
    kept_in: list[str] | None = None

    def __init__(self, config: TensorConfig, layout: Layout, role: Role, name: str = "", *, exact: bool = True) -> None:
        super().__init__()
        self.config, self.layout, self.role, self.name, self.exact = config, layout, role, name, exact
        self.mode: Mode = "quantize"
        self.statistics: Histogram | None = None
        self.steps = 0
        self.is_ready = False
        self.is_persistent = False
        self._find_keys()
        self.register_buffer("scale", None, persistent=False)
        if self.stores_scale:
            self._hold(torch.ones(1 if self.channel_axis is None else 0))

    def _find_keys(self) -> None:
        """What calls of operations say of the format and the quantizer, in this process."""
        self.format_key = format_key(self.config.format)
        self.quantizer_key = None if self.config.quantizer is None else quantizer_key(self.config.quantizer)
        self._is_stochastic = is_stochastic(self.config.format)
        if not self.exact:  # torch's exporter would make fakes of the constants that are kept when they are first seen
            scale = torch.ones(1) if self.has_scale else None
            fake_quantize(torch.zeros([1] * 5), scale, self.fixed_seed(), **self._options)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._find_keys()

    # --- what it is ----------------------------------------------------------------------------------------------

    @property
    def has_scale(self) -> bool:
        """Whether a scale is chosen for it."""
        return self.config.is_scaled

    @property
    def is_learned(self) -> bool:
        """Whether the scale is a parameter."""
        return self.has_scale and self.config.gradient == "lsq"

    @property
    def is_recomputed(self) -> bool:
        """Whether every forward has a scale of its own."""
        every_time = self.config.update_every == 1 if self.role == "weight" else self.config.dynamic
        return self.has_scale and every_time and not self.is_learned

    @property
    def stores_scale(self) -> bool:
        """Whether it keeps a scale from one forward to the next."""
        return self.has_scale and not self.is_recomputed

    @property
    def is_calibrated(self) -> bool:
        """Whether calibration finds the scale."""
        return self.stores_scale and self.role != "weight"

    @property
    def is_due(self) -> bool:
        """Whether the schedule of a weight wants another scale, now that `steps` have come by."""
        every = self.config.update_every
        return self.role == "weight" and not self.is_learned and every > 1 and self.steps % every == 0

    @property
    def device(self) -> torch.device:
        """Where its scale lies; the CPU, if it keeps none."""
        return torch.device("cpu") if self.scale is None else self.scale.device

    @property
    def channel_axis(self) -> int | None:
        """What keeps its own scale."""
        return self.layout.channel_axis if self.config.per == "channel" else None

    def extra_repr(self) -> str:
        quantizer = "" if self.config.quantizer is None else f", {self.config.quantizer!r}"
        return f"{self.config.format.name}{quantizer}, mode={self.mode!r}"

    # --- what it does --------------------------------------------------------------------------------------------

    def forward(self, x: Tensor) -> Tensor:
        self.require_plain(x)
        if self.mode == "quantize":
            return self._quantized(x)
        if self.mode == "calibrate" and self.is_calibrated:
            self._observe(x)
        return x

    def scale_for(self, x: Tensor) -> Tensor | None:
        """The scale that x gets; None where none is chosen.

        Raises:
            RuntimeError: if there is none yet.
            TypeError: if FSDP2 has cast a learned one.
        """
        if not self.has_scale:
            return None
        if self.is_recomputed:
            return self.choice(x)
        if not self.is_ready or self.scale is None:
            raise RuntimeError(self._unready())
        if self.scale.dtype != torch.float32:
            raise TypeError(self._cast(self.scale.dtype))
        if self.is_lost and not torch.compiler.is_compiling():
            self._warn_of_loss()
        return self.kept_scale

    @property
    def kept_scale(self) -> Tensor | None:
        """The scale as it is computed with: of a learned one the magnitude, as optimizers step across zero."""
        if not isinstance(self.scale, nn.Parameter):
            return self.scale
        return torch.where(self.scale < 0, -self.scale, self.scale)  # at zero abs would have no gradient

    def choose(self, x: Tensor) -> None:
        """Choose the scale for x, and keep it; of a tensor that is only a shape, have room for it."""
        x = whole(x)
        if x.is_meta:
            self._hold(torch.ones(self.choice(x).shape, device=x.device))
        else:
            self.keep(self.choice(x))
            self.remember_choice(x)

    def remember_choice(self, x: Tensor) -> None:
        """Note that the scale was chosen for x, of weights where somebody will ask."""
        is_scheduled = self.config.update_every > 1 and not self.is_learned
        if self.role != "weight" or not (is_scheduled or self.is_learned):
            self.chosen = Chosen()
        else:
            self.chosen = Chosen(mark_of(x) if is_scheduled else None, mark_of(self.scale))

    def update(self, x: Tensor) -> None:
        """Choose the scale for x anew, as the schedule wants it; what is nearly as good stays: see `updated`."""
        x = whole(x)
        if self.scale is None or not self.is_ready or x.is_meta:
            self.choose(x)
        else:
            self.keep(self.update_for(x).scale)

    def update_for(self, x: Tensor) -> Update:
        """What the schedule would have of x now."""
        held, seed = self.kept_scale, self.fixed_seed()
        assert held is not None
        with torch.no_grad():
            return updated(x, held, self.choice(x), lambda x, scale: self.quantized(x, scale, seed))

    def choice(self, x: Tensor) -> Tensor:
        """The scale that its quantizer gives x."""
        assert self.quantizer_key is not None
        return choose_scale(x, format=self.format_key, quantizer=self.quantizer_key, channel_axis=self.channel_axis)

    def choose_from_statistics(self) -> None:
        """Choose the scale for what calibration saw, and keep it; of nothing, none."""
        if self.statistics is None or not len(self.statistics.counts) or self.config.quantizer is None:
            return
        chosen = self.config.quantizer.choose(self.statistics, self.config.format)  # type: ignore[arg-type]
        value = plain_scale(chosen, self.config.quantizer)
        shape = (1,) if self.channel_axis is None else self.layout.scale_shape(len(value), 0)
        self.keep(torch.tensor(value).reshape(shape))

    def keep(self, scale: Tensor) -> None:
        """Take a scale as one's own, in the memory of the one before where it has its shape."""
        with torch.inference_mode(False), torch.no_grad():
            held = self.scale
            if held is None or (held.is_meta and not scale.is_meta):  # a shape only, which takes no values
                self._hold(scale.clone())
            elif held.shape == scale.shape:
                held.copy_(_spread_like(held, scale))
            elif isinstance(held, nn.Parameter):
                self._resize(held, scale)
            else:
                self._hold(scale.to(held.device, copy=True))
        self.is_ready, self.is_lost = True, False

    def make_room(self, channels: int) -> None:
        """Have room for the scales of so many channels, before they are chosen."""
        if self.stores_scale and self.channel_axis is not None:
            self._hold(torch.ones(self.layout.scale_shape(channels, 0), device=self.device))

    def _hold(self, scale: Tensor) -> None:
        self.scale = nn.Parameter(scale) if self.is_learned else scale

    def _resize(self, held: nn.Parameter, scale: Tensor) -> None:
        """Give a parameter other values, and another shape, in place: an optimizer may have it already."""
        if isinstance(held, DTensor):
            raise ValueError(self._spread_scale(held.shape, scale.shape))
        held.data, held.grad = scale.to(held.device, copy=True), None

    def _quantized(self, x: Tensor) -> Tensor:
        if self.role == "grad_output":
            return self._with_quantized_gradient(x)
        return self.quantized(x, self.scale_for(x), self.draw_seed())

    def _with_quantized_gradient(self, x: Tensor) -> Tensor:
        scale = None if self.is_recomputed else self.scale_for(x)
        return quantized_gradient(x, scale, self.draw_seed(), self.quantization)

    @property
    def quantization(self) -> Quantization:
        """How it quantizes what comes in the backward pass."""
        quantizer = self.quantizer_key if self.is_recomputed else None
        return Quantization(self.format_key, self.layout.axis, self.exact, quantizer, self.channel_axis)

    def quantized(self, x: Tensor, scale: Tensor | None, seed: Tensor | None) -> Tensor:
        """What `forward` gives with this scale and seed."""
        return fake_quantize(x, scale, seed, **self._options)

    @property
    def _options(self) -> dict[str, Any]:
        gradient = "lsq_features" if self.is_learned and self.role != "weight" else self.config.gradient
        options = {"format": self.format_key, "gradient": gradient, "exact": self.exact}
        return {**options, "axis": self.layout.axis}

    def draw_seed(self) -> Tensor | None:
        """From torch's generator, which checkpointing winds back before it recomputes a forward."""
        if not self._is_stochastic:
            return None
        return torch.randint(-(1 << 63), (1 << 63) - 1, (), dtype=torch.int64, device="cpu")

    def fixed_seed(self) -> Tensor | None:
        """For what is only measured: the same every time, and torch's generator stays as it is."""
        return torch.tensor(0) if self._is_stochastic else None

    def _observe(self, x: Tensor) -> None:
        if self.role == "grad_output":
            if x.requires_grad:
                x.register_hook(self._observe_gradient)  # type: ignore[no-untyped-call]
        elif not _is_recomputed():
            self.statistics = with_batch(self.statistics, x, self.channel_axis, exact=self.exact)

    def _observe_gradient(self, gradient: Tensor) -> None:
        if self.mode == "calibrate":  # a graph may live longer than the calibration
            self.statistics = with_batch(self.statistics, gradient, self.channel_axis, exact=self.exact)

    def _warn_of_loss(self) -> None:
        """Tell, once, that a learned scale was trained and is no more."""
        self.is_lost = False
        what = "weights were loaded without the scales that were learned with them"
        told = "and others were chosen in their place; load what qat.state_dict gave, too"
        warnings.warn(f"{what}, {told}", UserWarning, stacklevel=2)

    def _unready(self) -> str:
        what = f"{self.name or 'a quantizer'}: {self.config.format.name} has no scale yet"
        if self.role == "weight":
            ways = "qat.load_state_dict, qat.calibrate or qat.choose_weight_scales"
            return f"{what}; call {ways} when the weights are there"
        if self.role == "grad_output":
            return (
                f"{what}; run batches, backward too, under `with qat.calibrate(model):`, or leave out `dynamic: false`"
            )
        return f"{what}; run batches under `with qat.calibrate(model):`, or configure `dynamic: true`"

    def require_plain(self, x: Tensor) -> None:
        """Check that a tensor is no part of one.

        Raises:
            TypeError: if it is split over processes.
        """
        if isinstance(x, DTensor):
            what = f"{self.name or 'a quantizer'}: a tensor split over processes (a DTensor); allowed: plain tensors"
            told = "which FSDP2 hands out in forward; leave layers to tensor parallelism by `skip: true`"
            raise TypeError(f"{what}, {told}")

    def _spread_scale(self, held: torch.Size, found: torch.Size) -> str:
        what = f"{self.name or 'a quantizer'}: the learned scale, {tuple(held)}, is spread over processes already"
        return f"{what}, and calibration found {tuple(found)}; calibrate before fully_shard"

    def _cast(self, dtype: torch.dtype) -> str:
        what = f"{self.name or 'a quantizer'}: the learned scale is {dtype}; allowed: torch.float32"
        return f"{what}; call fully_shard first for each of qat.quantizers(model) that is_learned, without a cast"

    # --- what others do with its state ---------------------------------------------------------------------------

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> TensorQuantizer:
        """Scales move with the model, and stay float32; on torch's meta device they are lost."""

        def moved(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            return result if result.dtype == tensor.dtype else tensor.to(result.device)

        super()._apply(moved, recurse)  # type: ignore[no-untyped-call]
        if self.scale is not None and self.scale.is_meta:
            self.is_ready = self.is_persistent  # those are loaded with the model
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Only what `convert` froze is part of the model's `state_dict`; `qat.state_dict` has the rest."""
        if self.is_persistent:
            super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        if self.is_persistent:
            super()._load_from_state_dict(state_dict, prefix, *rest)


def _is_recomputed() -> bool:
    """Whether a backward pass is under way: activation checkpointing runs forward again, for what was counted."""
    return torch._C._current_graph_task_id() != -1


def whole(x: Tensor) -> Tensor:
    """A tensor, or all of one that FSDP2 has spread over processes, which come together for it."""
    return x.full_tensor() if isinstance(x, DTensor) else x


def _spread_like(held: Tensor, x: Tensor) -> Tensor:
    """What every process has the whole of, spread over them as `held` is."""
    if not isinstance(held, DTensor):
        return x
    return distribute_tensor(x.to(held.device), held.device_mesh, held.placements, src_data_rank=None)
