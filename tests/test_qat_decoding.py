"""Converted models that keep their weights decoded for a while."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from statqat_sim import qat
from statqat_sim.qat.conversion import packed_weights
from statqat_sim.testing import assert_bit_exact
from tests.qat_models import PACKED, Net, net, outputs, prepared

INT4 = {"format": "int4", "quantizer": "minmax"}


def converted(weight: Any = INT4, seed: int = 0) -> Net:
    model = qat.prepare(net(seed=seed), qat.QATConfig(weight=weight))
    return qat.convert(model)


def kept(model: nn.Module) -> list[torch.Tensor]:
    return [packed.kept for _, _, packed in packed_weights(model) if packed.kept is not None]


@pytest.mark.parametrize("weight", [INT4, "mxfp4"], ids=str)
def test_weights_are_decoded_once_and_let_go_of(weight: Any) -> None:
    model = converted(weight)
    wanted, state = outputs(model), model.state_dict()
    with qat.decoded(model) as same:
        assert same is model
        assert len(kept(model)) == len(PACKED)
        assert model.linear.weight is model.linear.weight
        assert model.head.weight is model.embedding.weight  # shared codes
        assert_bit_exact(outputs(model), wanted)
        assert model.state_dict().keys() == state.keys()
        with qat.decoded(model.linear):
            pass
        assert len(kept(model)) == len(PACKED)
    assert not kept(model)
    assert model.linear.weight is not model.linear.weight
    assert_bit_exact(outputs(model), wanted)


def test_an_error_lets_go_of_them_too() -> None:
    model = converted()
    with pytest.raises(ZeroDivisionError), qat.decoded(model):
        raise ZeroDivisionError
    assert not kept(model)


def test_what_is_loaded_or_moved_meanwhile_counts() -> None:
    model, other = converted(), converted(seed=3)
    with qat.decoded(model):
        model.load_state_dict(other.state_dict())
        assert_bit_exact(outputs(model), outputs(other))
    with qat.decoded(model):
        model.to(torch.bfloat16)
        assert model.linear.weight.dtype == torch.bfloat16
        assert_bit_exact(outputs(model), outputs(other.to(torch.bfloat16)))


def test_codes_of_another_model_are_those_that_count() -> None:
    model, other = converted(), converted(seed=3)
    with qat.decoded(model):
        x, codes = torch.randn(3, 24), other.linear.state_dict()
        found = torch.func.functional_call(model.linear, codes, (x,))
        assert_bit_exact(found, other.linear(x))
        assert model.linear.weight is model.linear.weight


def test_copies_decode_for_themselves() -> None:
    model = converted()
    with qat.decoded(model):
        other = copy.deepcopy(model)
        assert not kept(other)
        assert_bit_exact(outputs(other), outputs(model))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler warns of torch
def test_compiled_models_and_inference_mode() -> None:
    layer, x = converted().linear, torch.randn(3, 24, requires_grad=True)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    wanted = layer(x)
    assert_bit_exact(compiled(x), wanted)
    with torch.inference_mode(), qat.decoded(compiled), torch.inference_mode(False):
        y = compiled(x)
        assert_bit_exact(y, wanted)
        y.sum().backward()
    assert_bit_exact(compiled(x), wanted)


@pytest.mark.parametrize("model", [nn.Linear(2, 2), prepared(qat.QATConfig(weight="mxfp4"))], ids=["float", "prepared"])
def test_what_has_no_codes_is_refused(model: nn.Module) -> None:
    told = "the model has no weights that are codes; allowed: what qat.convert or qat.load gave"
    with pytest.raises(ValueError, match=told), qat.decoded(model):
        pass
