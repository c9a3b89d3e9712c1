"""Products of the backward pass: operands quantized anew, along the axis that each product sums over."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import statqat_sim as sqs
from statqat_sim import qat
from statqat_sim.qat.config_rules import OPERANDS
from statqat_sim.qat.hadamard import signs
from statqat_sim.reference.philox import random_field
from statqat_sim.testing import assert_bit_exact
from tests.recorded import CASTS

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),  # torch's compiler does it
]

PRODUCTS = CASTS.parent / "products"
IN, OUT, ROWS = 64, 48, 40
DRAWN = "name: drawn\nextends: nvfp4\nencode: {rounding: stochastic_a}\n"


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, np.float32))


def layer(config: qat.QATConfig, *, bias: bool = True) -> nn.Linear:
    """A prepared layer; its weight is always the same."""
    linear = nn.Linear(IN, OUT, bias=bias)
    linear.weight.data = normal(OUT, IN, seed=1)
    qat.prepare(nn.Sequential(linear), config)
    return linear


def gradients(model: nn.Linear, x: Tensor, gradient: Tensor, forward: Any = None) -> tuple[Tensor, Tensor]:
    """Of the input and the weight."""
    x = x.clone().requires_grad_()
    model.zero_grad()
    y = (model if forward is None else forward)(x)
    y.backward(gradient.to(y.dtype))
    assert x.grad is not None
    assert model.weight.grad is not None
    return x.grad, model.weight.grad


def cast(name: str, x: Tensor, axis: int = -1) -> Tensor:
    """What a format without a seed makes of a tensor."""
    return sqs.Codec(sqs.load_format(name)).fake_quantize(x.detach(), axis=axis)  # type: ignore[no-any-return]


def same(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(*pair) for pair in zip(one, other, strict=True))


X, G = normal(2, ROWS // 2, IN, seed=2), normal(2, ROWS // 2, OUT, seed=3)
FORWARD: dict[str, Any] = {"weight": "mxfp8_e4m3", "input": "mxfp8_e4m3"}
BACKWARD: dict[str, Any] = {
    "grad_input": {"grad_output": "mxfp8_e5m2", "weight": "mxfp6_e2m3"},
    "grad_weight": {"grad_output": "mxfp4", "input": "nvfp4"},
}


# --- what they are -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [True, False])
def test_operands_are_quantized_along_the_axis_that_is_summed_over(exact: bool) -> None:
    model = layer(qat.QATConfig(**FORWARD, **BACKWARD, exact=exact))
    of_x, of_weight = gradients(model, X, G)
    rows, x = G.reshape(ROWS, OUT), X.reshape(ROWS, IN)
    assert torch.equal(of_x, (cast("mxfp8_e5m2", rows) @ cast("mxfp6_e2m3", model.weight, 0)).reshape(X.shape))
    assert torch.equal(of_weight, cast("mxfp4", rows, 0).T @ cast("nvfp4", x, 0))
    assert model.bias.grad is not None
    assert torch.equal(model.bias.grad, rows.sum(0))


def test_forward_is_what_it_is_without() -> None:
    assert torch.equal(
        layer(qat.QATConfig(**FORWARD, **BACKWARD), bias=False)(X), layer(qat.QATConfig(**FORWARD), bias=False)(X)
    )


def test_an_operand_that_is_not_named_is_what_forward_multiplied() -> None:
    model = layer(qat.QATConfig(**FORWARD, grad_input={"grad_output": "mxfp4"}, grad_weight={"input": "mxfp4"}))
    of_x, of_weight = gradients(model, X, G)
    rows, x = G.reshape(ROWS, OUT), X.reshape(ROWS, IN)
    assert torch.equal(of_x, (cast("mxfp4", rows) @ cast("mxfp8_e4m3", model.weight)).reshape(X.shape))
    assert torch.equal(of_weight, rows.T @ cast("mxfp4", x, 0))


def test_one_product_alone() -> None:
    both, one = (layer(qat.QATConfig(**FORWARD, **options)) for options in ({}, {"grad_weight": "mxfp4"}))
    usual, found = gradients(both, X, G), gradients(one, X, G)
    assert torch.equal(usual[0], found[0])
    assert not torch.equal(usual[1], found[1])


def test_operands_are_of_floats_that_no_format_has_rounded_before() -> None:
    """Of what forward multiplies, MXFP4, the product would have 18 dB."""
    model = layer(qat.QATConfig(input="mxfp4", grad_weight={"input": "mxfp8_e4m3"}))
    _, of_weight = gradients(model, X, G)
    assert sqs.sqnr_db(G.reshape(ROWS, OUT).T @ X.reshape(ROWS, IN), of_weight) > 25


def test_grad_output_is_quantized_before_its_products_see_it() -> None:
    model = layer(qat.QATConfig(grad_output="mxfp4", grad_input="mxfp8_e4m3", grad_weight="mxfp8_e4m3"))
    plain = layer(qat.QATConfig(grad_input="mxfp8_e4m3", grad_weight="mxfp8_e4m3"))
    assert same(gradients(model, X, G), gradients(plain, X, cast("mxfp4", G)))


def test_blocks_of_rows_and_columns() -> None:
    """They are the same along both axes: what forward multiplied."""
    anew, usual = (
        layer(qat.QATConfig(weight="nvfp4_2d", **options)) for options in ({}, {"grad_input": {"weight": "nvfp4_2d"}})
    )
    assert same(gradients(anew, X, G), gradients(usual, X, G))


@pytest.mark.parametrize("per", ["tensor", "channel"])
def test_number_formats_get_a_scale_in_each_backward_pass(per: str) -> None:
    eight = {"format": "int8", "quantizer": "minmax", "per": per}
    model = layer(qat.QATConfig(grad_input=eight, grad_weight=eight))
    int8 = sqs.load_format("int8")

    def scaled(x: Tensor, kept: int) -> Tensor:
        scale = sqs.MinMax().fit(x.detach(), int8, channel_axis=kept if per == "channel" else None)
        return sqs.Codec(int8).fake_quantize(x.detach(), scale=scale)  # type: ignore[no-any-return]

    for gradient in (G, 1000 * G):
        of_x, of_weight = gradients(model, X, gradient)
        rows, x = gradient.reshape(ROWS, OUT), X.reshape(ROWS, IN)
        assert torch.equal(of_x, (scaled(rows, 0) @ scaled(model.weight, 1)).reshape(X.shape))
        assert torch.equal(of_weight, scaled(rows, 1).T @ scaled(x, 1))


def test_overflows_stay_for_a_gradient_scaler_to_see() -> None:
    gradient = G.clone()
    gradient[0, 3, 5], gradient[1, 2, 7] = math.inf, math.nan
    of_x, of_weight = gradients(layer(qat.QATConfig(grad_input="mxfp4", grad_weight="mxfp4")), X, gradient)
    assert (~torch.isfinite(of_x)).any(-1).nonzero().tolist() == [[0, 3], [1, 2]]
    assert (~torch.isfinite(of_weight)).any(-1).nonzero().flatten().tolist() == [5, 7]


def test_finite_gradients_are_quantized_though_their_sum_is_not_finite() -> None:
    gradient = torch.full_like(G, 3e38)
    gradient[0, 0, 0] = 2.9e38
    model = layer(qat.QATConfig(grad_weight={"grad_output": "mxfp4"}))
    _, of_weight = gradients(model, 1e-38 * X, gradient)
    rows = cast("mxfp4", gradient.reshape(ROWS, OUT), 0)
    assert rows.max() < 3e38  # what it would be, unquantized
    assert torch.equal(of_weight, rows.T @ (1e-38 * X).reshape(ROWS, IN))


@pytest.mark.parametrize("case", ["same", "others"])
def test_microxcaling_gives_the_same_gradients(case: str) -> None:
    """The sums are exact in float32, and so independent of their order."""
    path = PRODUCTS / "microxcaling-1.1.npz"
    told, arrays = json.loads(path.with_suffix(".json").read_text("utf-8"))["cases"][case], np.load(path)
    names = {"fp4_e2m1": "mxfp4", "fp6_e2m3": "mxfp6_e2m3", "fp6_e3m2": "mxfp6_e3m2", "int8": "mxint8"}
    used = ("fp4_e2m1",) * 4 if case == "same" else ("fp6_e2m3", "fp4_e2m1", "fp6_e3m2", "int8")
    assert all(each in told for each in used)
    rows, weight, other, x = (names[each] for each in used)
    config = qat.QATConfig(
        weight="mxfp4",
        input="mxfp4",
        grad_input={"grad_output": rows, "weight": weight},
        grad_weight={"grad_output": other, "input": x},
    )
    model = nn.Linear(64, 96, bias=False)
    model.weight.data = torch.from_numpy(arrays["weight"])
    qat.prepare(nn.Sequential(model), config)
    of_x, of_weight = gradients(model, *(torch.from_numpy(arrays[name]) for name in ("input", "grad_output")))
    assert_bit_exact(of_x.numpy(), arrays[f"{case}.grad_input"])
    assert_bit_exact(of_weight.numpy(), arrays[f"{case}.grad_weight"])


# --- random rounding ---------------------------------------------------------------------------------------------


def drawn_config() -> qat.QATConfig:
    drawn = sqs.parse_format(DRAWN)
    return qat.QATConfig(weight="nvfp4", input="nvfp4", grad_input=drawn, grad_weight=drawn)


def test_random_rounding_of_operands_is_right_on_average() -> None:
    """Of the input's gradient, to the product of float operands."""
    model = layer(drawn_config())
    torch.manual_seed(0)
    found = torch.stack([gradients(model, X, G)[0] for _ in range(400)])
    exact = G @ model.weight.detach()
    assert sqs.sqnr_db(exact, found.mean(0)) > sqs.sqnr_db(exact, found[0]) + 20


def test_a_seed_repeats_and_checkpoints_recompute_the_bits() -> None:
    model, found = layer(drawn_config()), []
    for forward in (None, None, partial(checkpoint, model, use_reentrant=False)):
        torch.manual_seed(5)
        found.append(gradients(model, X, G, forward))
    assert same(found[0], found[1])
    assert same(found[0], found[2])
    assert not same(found[0], gradients(model, X, G))


# --- Hadamard transforms -----------------------------------------------------------------------------------------

PLAIN = {"format": "float32", "quantizer": "none"}


def matrix(size: int, count: int, signs: Tensor) -> Tensor:
    """What `count` elements are multiplied by: whole groups, and what is left over."""
    found = torch.ones(1, 1)
    while len(found) < size:
        found = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), found)
    whole = [signs[:, None] * found / math.sqrt(size)] * (count // size)
    return torch.block_diag(*whole, torch.eye(count % size))


@pytest.mark.parametrize("size", [2, 16, 32])
def test_operands_are_transformed_before_they_are_quantized(size: int) -> None:
    """In the order of the matrix of Sylvester; eight of 40 rows are left over at 16 and 32."""
    model = layer(qat.QATConfig(grad_input={"weight": "mxfp4"}, grad_weight={"input": "int8", "hadamard": size}))
    _, of_weight = gradients(model, X, G)
    turn = matrix(size, ROWS, torch.tensor([1.0 - 2 * random_field(0, place, 1) for place in range(size)]))
    turned, int8 = turn.T @ X.reshape(ROWS, IN), sqs.load_format("int8")
    quantized = sqs.Codec(int8).fake_quantize(turned, scale=sqs.Iterative().fit(turned, int8))
    torch.testing.assert_close(of_weight, (turn.T @ G.reshape(ROWS, OUT)).T @ quantized, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(2, 20), (3, 5), (0,)], ids=str)
def test_products_stay_what_they_are_but_for_rounding(shape: tuple[int, ...]) -> None:
    turned = layer(
        qat.QATConfig(grad_input={"weight": PLAIN, "hadamard": 16}, grad_weight={"input": PLAIN, "hadamard": 8})
    )
    usual = layer(qat.QATConfig(grad_input={"weight": PLAIN}))
    x, gradient = normal(*shape, IN), normal(*shape, OUT)
    for one, other in zip(gradients(turned, x, gradient), gradients(usual, x, gradient), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_outliers_of_single_rows_cost_less() -> None:
    x, gradient = X.clone(), G.clone()
    x[0, 3] = 100 * x[0, 3]
    exact = gradient.reshape(ROWS, OUT).T @ x.reshape(ROWS, IN)
    found = []
    for size in (0, 16):
        model = layer(qat.QATConfig(grad_weight={"input": "mxfp4", "hadamard": size}))
        found.append(sqs.sqnr_db(exact, gradients(model, x, gradient)[1]))
    assert found[1] > found[0] + 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_transforms_do_not_follow_torchs_default_dtype(dtype: torch.dtype) -> None:
    model = layer(qat.QATConfig(grad_weight={"input": "int8", "hadamard": 8}))
    expected = gradients(model, X, G)
    torch.set_default_dtype(dtype)
    try:
        assert same(gradients(model, X, G), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_transforms_do_not_overflow() -> None:
    """The largest value of a group grows fourfold where all of its elements are as large."""
    model = layer(qat.QATConfig(grad_weight={"input": PLAIN, "hadamard": 16})).half()
    turned = torch.tensor(signs(16)).half()[:, None]
    of_weight = gradients(model, 20000 * turned.expand(16, IN), 1e-3 * turned.expand(16, OUT))[1]
    torch.testing.assert_close(of_weight, torch.full((OUT, IN), 320.0).half(), rtol=2e-3, atol=0)


def test_a_transform_of_no_whole_group_is_none() -> None:
    sized, plain = (layer(qat.QATConfig(grad_weight={"input": "mxfp4", "hadamard": size})) for size in (1 << 16, 0))
    assert same(gradients(sized, X, G), gradients(plain, X, G))


def test_floats_are_not_transformed() -> None:
    model, usual = (layer(qat.QATConfig(weight="mxfp4", **options)) for options in (BACKWARD, {}))
    model.hadamards = {"grad_weight": 16}
    qat.set_mode(model, "float", roles=["grad_weight.input", "grad_weight.grad_output"])
    assert torch.equal(gradients(model, X, G)[1], gradients(usual, X, G)[1])


def test_a_layer_shows_its_transforms() -> None:
    model = layer(qat.QATConfig(grad_weight={"input": "mxfp4", "hadamard": 16}))
    assert "bias=True, hadamard of grad_weight=16" in str(model)
    assert "hadamard" not in str(layer(qat.QATConfig(grad_weight="mxfp4")))


def test_signs_are_neither_alike_nor_a_row_of_the_matrix() -> None:
    """Which would only change the order of what comes out."""
    assert signs(16) == signs(32)[:16]
    rows = (matrix(16, 16, torch.ones(16)) * 4).T
    assert (rows @ torch.tensor(signs(16))).abs().max() < 16


@pytest.mark.parametrize("exact", [True, False])
def test_compiled_layers_transform_alike(exact: bool) -> None:
    """Of any number of rows."""
    turned = {"grad_output": "mxfp4", "input": "mxfp4", "hadamard": 16}
    model = layer(qat.QATConfig(grad_weight=turned, exact=exact))
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager", dynamic=True)
    for rows in (40, 55):
        x, gradient = normal(rows, IN), normal(rows, OUT, seed=1)
        assert same(gradients(model, x, gradient, compiled), gradients(model, x, gradient))


# --- how they are run --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [True, False])
def test_compiled_layers_have_the_same_gradients(exact: bool) -> None:
    model = layer(qat.QATConfig(**FORWARD, **BACKWARD, exact=exact))
    expected = gradients(model, X, G)
    torch.compiler.reset()
    assert same(gradients(model, X, G, torch.compile(model, fullgraph=True, backend="aot_eager")), expected)


def test_a_seed_repeats_the_bits_of_compiled_layers() -> None:
    """They are others than those of layers that are not compiled: torch's compiler draws seeds where they are used."""
    model = layer(drawn_config())
    torch.compiler.reset()
    compiled, found = torch.compile(model, fullgraph=True, backend="aot_eager"), []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        found.append(gradients(model, X, G, compiled))
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


def test_gradients_of_single_samples() -> None:
    """What `torch.func` gives for each is what it gives alone."""
    turned = {"grad_output": "mxfp4", "input": "mxfp4", "hadamard": 16}
    model = layer(qat.QATConfig(**FORWARD, grad_input="mxfp4", grad_weight=turned), bias=False)
    parameters = {"weight": model.weight.detach()}

    def loss(parameters: dict[str, Tensor], x: Tensor, gradient: Tensor) -> Tensor:
        return (torch.func.functional_call(model, parameters, (x,)) * gradient).sum()

    found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, X, G)["weight"]
    for each, x, gradient in zip(found, X, G, strict=True):
        assert torch.equal(each, gradients(model, x, gradient)[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_multiplies_the_operands_in_its_dtype(dtype: torch.dtype) -> None:
    model = layer(qat.QATConfig(**FORWARD, grad_input="mxfp8_e4m3", grad_weight="mxfp8_e4m3"))

    def forward(x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype):
            return model(x)  # type: ignore[no-any-return]

    of_x, of_weight = gradients(model, X, G, forward)
    rows, x = G.to(dtype).reshape(ROWS, OUT), X.reshape(ROWS, IN)
    left = cast("mxfp8_e4m3", rows, 0).to(dtype)
    expected = cast("mxfp8_e4m3", rows).to(dtype) @ cast("mxfp8_e4m3", model.weight, 0).to(dtype)
    assert torch.equal(of_x, expected.reshape(X.shape).float())
    assert torch.equal(of_weight, (left.T @ cast("mxfp8_e4m3", x, 0).to(dtype)).float())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_models_of_other_dtypes(dtype: torch.dtype) -> None:
    model = layer(qat.QATConfig(**FORWARD, **BACKWARD)).to(dtype)
    found = gradients(model, X.to(dtype), G)
    assert [each.dtype for each in found] == [dtype, dtype]
    rows = G.to(dtype).reshape(ROWS, OUT)
    expected = cast("mxfp8_e5m2", rows).to(dtype) @ cast("mxfp6_e2m3", model.weight, 0).to(dtype)
    assert torch.equal(found[0], expected.reshape(X.shape))


@pytest.mark.parametrize("shape", [(IN,), (1, IN), (0, IN), (3, 0, IN)], ids=str)
@pytest.mark.parametrize("operands", ["mxfp4", "int8"])
def test_one_row_or_none(shape: tuple[int, ...], operands: str) -> None:
    model = layer(qat.QATConfig(grad_input=operands, grad_weight=operands))
    of_x, of_weight = gradients(model, normal(*shape), normal(*shape[:-1], OUT))
    assert of_x.shape == shape
    assert of_weight.any() == (0 not in shape)


SIZES: dict[str, tuple[int, dict[str, int]]] = {
    "one input": (1, {}),
    "three inputs": (3, {}),
    "three widths": (3, {"kdim": 40, "vdim": 48}),
}


@pytest.mark.parametrize("case", SIZES)
def test_projections_of_attention_multiply_so_too(case: str) -> None:
    """The inputs are identities, so that the usual gradient of a weight is what comes back to its projection."""
    count, sizes = SIZES[case]
    anew = qat.QATConfig(grad_input={"weight": "mxfp4"}, grad_weight={"grad_output": "mxfp4", "input": "mxfp4"})
    found: list[list[tuple[Tensor, Tensor]]] = []
    for config in (qat.QATConfig(output="int8"), anew):
        torch.manual_seed(0)
        model = qat.prepare(nn.MultiheadAttention(32, 2, bias=False, **sizes), config)
        qat.set_mode(model, "float", match="out_proj")
        inputs = [torch.eye(32, width).requires_grad_() for width in (32, model.kdim, model.vdim)][:count]
        (model(*(inputs * 3)[:3])[0] * normal(32, 32)).sum().backward()
        joined = model.in_proj_weight
        weights = [joined] if joined is not None else [getattr(model, f"{name}_proj_weight") for name in "qkv"]
        parts = [(weight, weight.grad) for weight in weights] if joined is None else _rows(joined, count)
        found.append([(x.grad, *part) for x, part in zip(inputs, parts, strict=True)])  # type: ignore[misc]
    for (_, _, usual), (of_x, weight, of_weight) in zip(*found, strict=True):  # type: ignore[misc]
        incoming = usual[:, :32].T
        assert torch.equal(of_weight, cast("mxfp4", incoming, 0).T @ torch.eye(32, weight.shape[1]))
        torch.testing.assert_close(of_x, incoming @ cast("mxfp4", weight, 0))


def _rows(joined: Tensor, count: int) -> list[tuple[Tensor, Tensor]]:
    """Equal parts of a weight, and of its gradient."""
    assert joined.grad is not None
    return list(zip(joined.chunk(count), joined.grad.chunk(count), strict=True))


def test_an_accelerators_sums_in_forward() -> None:
    fp8 = {"format": "float8_e4m3fn", "dynamic": True, "quantizer": "minmax"}
    options: dict[str, Any] = {"weight": "float8_e4m3fn", "input": fp8, "grad_input": "mxfp4", "grad_weight": "mxfp4"}
    hopper, usual = (
        layer(qat.QATConfig(**options, **matmul)) for matmul in ({"matmul": "nvidia_h100/wgmma.e4m3.f32"}, {})
    )
    with torch.no_grad():
        assert not torch.equal(hopper(X), usual(X))
    assert same(gradients(hopper, X, G), gradients(usual, X, G))


@pytest.mark.parametrize("shape", [(3, IN), (2, 3, IN), (IN,)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_what_leaves_a_layer_may_be_changed_in_place(shape: tuple[int, ...], bias: bool) -> None:
    found = []
    for options in ({}, {"grad_weight": {"input": PLAIN}}):
        model = layer(qat.QATConfig(weight="mxfp4", **options), bias=bias)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(normal(*parameter.shape, seed=5))
        found.append(
            gradients(model, normal(*shape), normal(*shape[:-1], OUT), lambda x, model=model: model(x).relu_())
        )
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_reentrant_checkpoints_draw_what_the_first_pass_drew() -> None:
    model = nn.Sequential(layer(drawn_config()), nn.Dropout(0.5))
    torch.manual_seed(3)
    y = checkpoint(model, X.clone().requires_grad_(), use_reentrant=True)
    y.sum().backward()
    assert torch.equal(model[0].bias.grad, 2.0 * (y != 0).sum((0, 1)))


def test_weights_that_are_computed_are_computed_once() -> None:
    class Dropped(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return nn.functional.dropout(weight, 0.5)

    model = layer(qat.QATConfig(weight="mxfp8_e4m3", grad_input={"weight": "mxfp8_e4m3"}), bias=False)
    torch.nn.utils.parametrize.register_parametrization(model, "weight", Dropped())
    x = torch.eye(IN).requires_grad_()
    y = model(x)
    y.backward(torch.eye(IN, OUT))
    assert x.grad is not None
    assert torch.equal(y.T[:, :IN] == 0, x.grad[:OUT] == 0)


def test_second_derivatives_are_straight_through() -> None:
    """Of a gradient penalty, as without products; along both axes the weight in eight bits is nearly the same."""
    found = []
    for options in ({}, {"grad_input": "mxfp8_e4m3", "grad_weight": "mxfp8_e4m3"}):
        model = nn.Sequential(layer(qat.QATConfig(weight="mxfp8_e4m3", **options)), nn.Softplus(), nn.Linear(OUT, 1))
        model[2].weight.data = normal(1, OUT, seed=7)
        x = X.clone().requires_grad_()
        (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        (slope.norm(dim=-1) - 1).square().mean().backward()
        found.append([x.grad, *(parameter.grad for parameter in model.parameters() if parameter.grad is not None)])
    assert len(found[0]) == len(found[1]) == 4
    for one, other in zip(*found, strict=True):
        assert sqs.sqnr_db(one, other) > 20


def test_only_what_the_backward_pass_reads_is_kept() -> None:
    """Of a frozen layer not its input, which may be changed."""
    model = layer(qat.QATConfig(**BACKWARD)).requires_grad_(requires_grad=False)
    x = X.clone().requires_grad_()
    middle = 2 * x
    y = model(middle)
    middle.add_(1)
    y.backward(G)
    assert x.grad is not None
    expected = cast("mxfp8_e5m2", G.reshape(ROWS, OUT)) @ cast("mxfp6_e2m3", model.weight, 0)
    assert torch.equal(x.grad, 2 * expected.reshape(X.shape))


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors:UserWarning")
@pytest.mark.parametrize(("features", "out"), [(0, 4), (4, 0)])
def test_layers_of_no_width(features: int, out: int) -> None:
    model = nn.Linear(features, out)
    qat.prepare(nn.Sequential(model), qat.QATConfig(grad_input="mxfp4", grad_weight="mxfp4"))
    of_x, of_weight = gradients(model, normal(3, features), normal(3, out))
    assert (of_x.shape, of_weight.shape) == ((3, features), (out, features))


# --- what becomes of them ----------------------------------------------------------------------------------------


def test_floats_pass_in_mode_float_and_while_calibrating() -> None:
    model, usual = layer(qat.QATConfig(**FORWARD, **BACKWARD)), layer(qat.QATConfig(**FORWARD))
    qat.set_mode(model, "float", roles=OPERANDS)
    assert same(gradients(model, X, G), gradients(usual, X, G))
    qat.set_mode(model, "quantize", roles=["grad_weight.input"])
    found = gradients(model, X, G)
    assert torch.equal(found[0], gradients(usual, X, G)[0])
    assert torch.equal(found[1], G.reshape(ROWS, OUT).T @ cast("nvfp4", X.reshape(ROWS, IN), 0))
    with qat.calibrate(model):
        _, of_weight = gradients(model, X, G)
    assert torch.equal(of_weight, G.reshape(ROWS, OUT).T @ X.reshape(ROWS, IN))


def test_without_gradients_nothing_is_kept() -> None:
    model = layer(qat.QATConfig(**FORWARD, **BACKWARD))
    with torch.no_grad():
        assert model(X).grad_fn is None
    assert model.products(X, model.weight).weight is model.weight  # type: ignore[union-attr]
    assert model.products(X, None) is None


def test_codes_need_no_backward_pass() -> None:
    model = nn.Sequential(layer(qat.QATConfig(**FORWARD, **BACKWARD)))
    y = model(X)
    qat.convert(model)
    assert torch.equal(model(X), y)
    assert [name for name, _ in qat.quantizers(model)] == ["0.input_quantizer"]


def test_a_model_of_which_only_gradients_are_quantized_has_nothing_to_convert() -> None:
    model = nn.Sequential(layer(qat.QATConfig(**BACKWARD)))
    with pytest.raises(ValueError, match="only gradients are quantized"):
        qat.convert(model)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"]
)
def test_copies_have_the_same_gradients(copied: Callable[[nn.Linear], nn.Linear]) -> None:
    model = layer(qat.QATConfig(**FORWARD, **BACKWARD))
    assert same(gradients(copied(model), X, G), gradients(model, X, G))


def test_states_tell_of_the_formats_of_operands() -> None:
    model, other = (layer(qat.QATConfig(**FORWARD, grad_input={"weight": name})) for name in ("mxfp4", "nvfp4"))
    state = qat.state_dict(model)
    qat.load_state_dict(model, state)
    with pytest.raises(ValueError, match="grad_input_weight_quantizer.*mxfp4"):
        qat.load_state_dict(other, state)


def test_training_in_four_bits_lowers_the_loss(tmp_path: Path) -> None:
    """Forward and both products backward, from a file, and the gradients rounded at random."""
    (tmp_path / "drawn.yaml").write_text(DRAWN, "utf-8")
    (tmp_path / "qat.yaml").write_text(
        "weight: nvfp4_2d\ninput: nvfp4\n"
        "grad_input: {grad_output: drawn.yaml, weight: nvfp4_2d}\n"
        "grad_weight: {grad_output: drawn.yaml, input: nvfp4}\n",
        "utf-8",
    )
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 16))
    qat.prepare(model, qat.QATConfig.from_yaml(tmp_path / "qat.yaml"))
    x = torch.randn(128, 32)
    labels, losses = x[:, :16].argmax(1), []
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


# --- what is said ------------------------------------------------------------------------------------------------


def test_a_name_stands_for_both_operands() -> None:
    one = qat.QATConfig(grad_weight="mxfp4")
    assert one == qat.QATConfig(grad_weight={"grad_output": "mxfp4", "input": {"format": "mxfp4"}})
    assert one == qat.QATConfig(rules=[{"grad_weight": {"format": "mxfp4"}}])
    mxfp4 = qat.TensorConfig(format=sqs.load_format("mxfp4"))
    assert one == qat.QATConfig(grad_weight=qat.ProductConfig(grad_output=mxfp4, input=mxfp4))
    assert one == qat.QATConfig(grad_weight=mxfp4)
    turned = qat.QATConfig(grad_weight={"format": "mxfp4", "hadamard": 16})
    assert turned == qat.QATConfig(grad_weight={"grad_output": "mxfp4", "input": "mxfp4", "hadamard": 16})


def test_scales_of_operands_are_dynamic() -> None:
    (rule,) = qat.QATConfig(grad_input={"weight": {"format": "int8", "per": "channel"}}).rules
    tensor = rule.layer.tensor("grad_input.weight")
    assert tensor is not None
    assert (tensor.dynamic, tensor.per, tensor.quantizer) == (True, "channel", sqs.Iterative())


REFUSED = {
    "operand": (
        {"grad_input": {"input": "mxfp4"}},
        ["grad_input.input: unknown key (allowed: grad_output, weight)"],
    ),
    "nothing": ({"grad_weight": {}}, ["grad_weight: no operand is quantized; allowed: grad_output, input"]),
    "name": ({"grad_weight": "mxfp44"}, ["grad_weight: no format is named 'mxfp44'"]),
    "kind": ({"grad_weight": [1]}, ["grad_weight: expected the name of a format, the path of its file, or a mapping"]),
    "static": (
        {"grad_input": {"weight": {"format": "int8", "dynamic": False}}},
        ["grad_input.weight.dynamic: the scale of grad_input.weight is found in each backward pass; allowed: true"],
    ),
    "learned": (
        {"grad_input": {"weight": {"format": "int8", "gradient": "lsq", "update_every": 2}}},
        [
            "grad_input.weight.gradient: it has no meaning for grad_input.weight",
            "grad_input.weight.update_every: it has no meaning for grad_input.weight",
        ],
    ),
    "hadamard": (
        {"grad_weight": {"input": "mxfp4", "hadamard": 12}, "grad_input": {"weight": "mxfp4", "hadamard": 2.0}},
        [
            "grad_weight.hadamard: expected a power of two from 2 to 65536, or 0 for none, got 12",
            "grad_input.hadamard: expected a power of two from 2 to 65536, or 0 for none, got 2.0",
        ],
    ),
    "hadamard alone": (
        {"grad_weight": {"hadamard": 16}, "grad_input": {"hadamard": 16, "weight": None}},
        ["grad_weight: no operand is quantized", "grad_input: no operand is quantized; allowed: grad_output, weight"],
    ),
    "large": ({"grad_weight": {"input": "mxfp4", "hadamard": 1 << 17}}, ["expected a power of two from 2 to 65536"]),
    "blocks": (
        {"grad_weight": {"format": "mxfp4", "per": "tensor"}},
        ["grad_weight.per: it has no meaning for mxfp4, a block format"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_means_nothing_is_refused_with_its_place(case: str) -> None:
    keys, told = REFUSED[case]
    with pytest.raises(sqs.SpecError) as caught:
        qat.QATConfig(**keys)
    problems = [str(problem) for problem in caught.value.problems]
    assert all(any(each in problem for problem in problems) for each in told), problems
    assert len(problems) <= len(told) + (case == "learned")


def test_what_cannot_be_read_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "qat.yaml"
    path.write_text("grad_weight: {input: int8, hadamard: yes}\ninput: {format: int8, dynamic: on}\n", "utf-8")
    with pytest.raises(sqs.SpecError) as caught:
        qat.QATConfig.from_yaml(path)
    assert [(problem.line, problem.column) for problem in caught.value.problems] == [(1, 38), (2, 32)]


def test_objects_are_checked_like_files() -> None:
    mxfp4 = qat.TensorConfig(format=sqs.load_format("mxfp4"))
    int8 = qat.TensorConfig(format=sqs.load_format("int8"), quantizer=sqs.MinMax())
    with pytest.raises(TypeError, match="grad_input is .*; allowed: a ProductConfig; QATConfig takes names"):
        qat.LayerConfig(grad_input=mxfp4)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match="grad_input.input: the product has no such operand; allowed: grad_output, weight"
    ):
        qat.LayerConfig(grad_input=qat.ProductConfig(input=mxfp4))
    with pytest.raises(ValueError, match="hadamard: expected a power of two from 2 to 65536, or 0 for none, got 1"):
        qat.ProductConfig(input=mxfp4, hadamard=1)
    with pytest.raises(ValueError, match="grad_weight: no operand is quantized; allowed: grad_output, input"):
        qat.LayerConfig(grad_weight=qat.ProductConfig())
    with pytest.raises(ValueError, match="grad_weight.input.dynamic: the scale .* is found in each backward pass"):
        qat.LayerConfig(grad_weight=qat.ProductConfig(input=int8))
    with pytest.raises(TypeError, match="grad_weight.input is 'mxfp4'; allowed: a TensorConfig"):
        qat.LayerConfig(grad_weight=qat.ProductConfig(input="mxfp4"))  # type: ignore[arg-type]


def test_layers_that_are_no_matrix_products_are_refused_by_name() -> None:
    model = nn.ModuleDict({"conv": nn.Conv1d(32, 32, 3), "tokens": nn.Embedding(8, 32), "head": nn.Linear(32, 8)})
    with pytest.raises(
        ValueError, match=r"conv \(Conv1d\) cannot multiply in the backward pass as grad_input would: its "
    ):
        qat.prepare(model, qat.QATConfig(grad_input="mxfp4"))
    rules = [{"match": "tokens", "weight": "mxfp4", "grad_weight": "mxfp4"}]
    with pytest.raises(
        ValueError, match=r"tokens \(Embedding\) .*: it has no product; allowed: to leave grad_weight out"
    ):
        qat.prepare(model, qat.QATConfig(rules))
    qat.prepare(model, qat.QATConfig([{"weight": "mxfp4", "grad_weight": "mxfp4"}, {"match": "conv", "skip": True}]))
    assert {name for name, _ in qat.quantizers(model) if "grad" in name} == {
        "head.grad_weight_grad_output_quantizer",
        "head.grad_weight_input_quantizer",
    }


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    config = qat.QATConfig(
        **FORWARD, **BACKWARD, rules=[{"match": "head", "grad_input": {"weight": "int8", "hadamard": 32}}]
    )
    assert qat.QATConfig.from_dict(config.to_dict()) == config
    (tmp_path / "qat.yaml").write_text(config.to_yaml(), "utf-8")
    assert qat.QATConfig.from_yaml(tmp_path / "qat.yaml") == config
