"""Training: what torch does to a forward pass must not change what is computed, nor what was counted."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import statqat_sim as sqs
from statqat_sim import qat
from statqat_sim.testing import assert_bit_exact

INT8 = {"format": "int8", "quantizer": "minmax"}
STOCHASTIC = "{name: drawn, element: {kind: int, bits: 4}, encode: {rounding: stochastic_a, random_bits: 16}}\n"
DRAWN = {"format": sqs.parse_format(STOCHASTIC), "quantizer": sqs.MinMax()}
CONFIGS: dict[str, dict[str, Any]] = {
    "blocks": {"weight": "mxfp4", "input": "mxfp4"},
    "static": {"weight": INT8, "input": INT8},
    "learned": {"weight": {**INT8, "gradient": "lsq"}, "input": {**INT8, "gradient": "lsq"}},
    "drawn": {"weight": DRAWN, "input": {**DRAWN, "dynamic": True}, "grad_output": DRAWN},
    "every other step": {"weight": {**INT8, "update_every": 2}, "input": INT8},
}


def prepared(config: str, **options: Any) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 48), nn.GELU(), nn.Linear(48, 16))
    qat.prepare(model, qat.QATConfig(**CONFIGS[config], **options))
    with qat.calibrate(model):
        model(batch(0))
    return model


def batch(seed: int) -> Tensor:
    return torch.randn(8, 64, generator=torch.Generator().manual_seed(seed))


def gradients(model: nn.Module, y: Tensor) -> list[Tensor]:
    return [y.detach(), *torch.autograd.grad(y.square().sum(), [*model.parameters()])]


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("config", CONFIGS)
def test_checkpointing_gives_the_same_bits(config: str, use_reentrant: bool) -> None:
    """Forward runs twice: random bits are drawn again as they were, and nothing is counted twice."""
    model, x = prepared(config), batch(1).requires_grad_()
    state = copy.deepcopy(qat.state_dict(model))
    torch.manual_seed(3)
    plain = gradients_of(model, model(x))
    torch.manual_seed(3)
    recomputed = gradients_of(model, checkpoint(model, x, use_reentrant=use_reentrant))
    for one, other in zip(plain, recomputed, strict=True):
        assert_bit_exact(one, other)
    for name, tensor in qat.state_dict(model).items():
        assert torch.equal(tensor, state[name]), name


def gradients_of(model: nn.Module, y: Tensor) -> list[Tensor]:
    """By `backward`, as reentrant checkpoints want it."""
    model.zero_grad()
    y.square().sum().backward()
    return [y.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


def test_random_bits_come_from_torchs_generator() -> None:
    model = prepared("drawn")
    results = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        results.append(gradients(model, model(batch(1))))
    assert all(torch.equal(one, other) for one, other in zip(results[0], results[1], strict=True))
    assert not torch.equal(results[0][0], results[2][0])


@pytest.mark.parametrize("config", ["blocks", "static"])
def test_autocast_quantizes_in_float32_and_casts_once(config: str) -> None:
    model, x = prepared(config), batch(1)
    seen: list[Tensor] = []
    forward = torch.nn.functional.linear

    def spy(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        seen.extend((input, weight))
        return forward(input, weight, bias)

    layer = model[0]
    with pytest.MonkeyPatch.context() as patch, torch.autocast("cpu", torch.bfloat16):
        patch.setattr(torch.nn.functional, "linear", spy)
        y = model(x)
    quantizers = layer.input_quantizer, layer.weight_quantizer
    for quantizer, tensor, used in zip(quantizers, (x, layer.weight.detach()), seen[:2], strict=True):
        wanted = sqs.Codec(quantizer.config.format).fake_quantize(tensor, scale=quantizer.scale_for(tensor))
        assert used.dtype == torch.float32
        assert_bit_exact(used.detach(), wanted)
    assert seen[2].dtype == torch.bfloat16  # what a layer in bfloat16 gave
    gelu = seen[2].detach()
    assert torch.equal(gelu.to(torch.float32).to(torch.bfloat16), gelu)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32


# --- resuming ----------------------------------------------------------------------------------------------------


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> list[float]:
    losses = []
    for step in steps:
        loss = model(batch(step)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        qat.step(model)
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("config", CONFIGS)
def test_training_goes_on_from_a_checkpoint_to_the_same_bits(config: str) -> None:
    model = prepared(config)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    trained(model, optimizer, range(3))
    parts = [copy.deepcopy(part) for part in (model.state_dict(), optimizer.state_dict(), qat.state_dict(model))]
    random = torch.get_rng_state()
    losses = trained(model, optimizer, range(3, 6))

    other = nn.Sequential(nn.Linear(64, 48), nn.GELU(), nn.Linear(48, 16))
    qat.prepare(other, qat.QATConfig(**CONFIGS[config]))
    other.load_state_dict(parts[0])
    qat.load_state_dict(other, parts[2])
    resumed = torch.optim.Adam(other.parameters(), lr=0.01)
    resumed.load_state_dict(parts[1])
    torch.set_rng_state(random)
    assert trained(other, resumed, range(3, 6)) == losses
    for one, another in zip(model.parameters(), other.parameters(), strict=True):
        assert_bit_exact(one.detach(), another.detach())
    for name, tensor in qat.state_dict(model).items():
        assert torch.equal(tensor, qat.state_dict(other)[name]), name


def test_training_lowers_the_loss() -> None:
    model = prepared("blocks")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = trained(model, optimizer, range(30))
    assert losses[-1] < 0.5 * losses[0]
