"""The operations: torch's own checks of them, the codec's bits, every way that torch runs an operation."""

from __future__ import annotations

import copy
import multiprocessing
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, Dataset

import statqat_sim as sqs
from statqat_sim import qat
from statqat_sim.qat import keys, ops
from statqat_sim.qat.device_scales import minmax_scale
from statqat_sim.qat.keys import format_key, format_of, quantizer_key, quantizer_of
from statqat_sim.qat.ops import OPERATION, choose_scale, fake_quantize
from statqat_sim.testing import assert_bit_exact

FORMATS = ("mxfp4", "nvfp4", "mxint8", "float8_e4m3fn", "int4_narrow", "nf4", "posit8")
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
STOCHASTIC = "{name: drawn, element: {kind: int, bits: 4}, encode: {rounding: stochastic_a, random_bits: 16}}\n"
WHOLE = "{name: whole, element: int4, scales: [{format: float32, block: tensor, rule: signed_absmax}]}\n"
PICKY = "{name: picky, extends: int4_narrow, encode: {nan_input: error}}\n"

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),  # torch's compiler warns of torch
    pytest.mark.filterwarnings("ignore:.*\\.grad attribute of a Tensor:UserWarning"),
]


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).to(dtype)


def is_block(name: str) -> bool:
    return isinstance(sqs.load_format(name), sqs.BlockFormat)


def scale_of(name: str, x: Tensor) -> Tensor | None:
    return None if is_block(name) else torch.full((len(x), *[1] * (x.ndim - 1)), 0.13)


@pytest.fixture
def drawn() -> str:
    return format_key(sqs.parse_format(STOCHASTIC))


@pytest.fixture
def whole() -> str:
    return format_key(sqs.parse_format(WHOLE))


# --- bits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", FORMATS)
def test_bits_are_the_codecs_cast_once(name: str, dtype: torch.dtype) -> None:
    x = normal(6, 70, dtype=dtype)
    scale = scale_of(name, x)
    wanted = sqs.Codec(sqs.load_format(name)).fake_quantize(x, scale=scale, axis=0)
    result = fake_quantize(x, scale, format=name, axis=0)
    assert result.dtype == dtype
    assert result.is_contiguous()
    assert_bit_exact(result, wanted.to(dtype))


@pytest.mark.parametrize("name", ["mxfp4", "float8_e4m3fn"])
def test_torch_operations_give_the_same_bits(name: str) -> None:
    x = normal(6, 70)
    assert_bit_exact(
        fake_quantize(x, scale_of(name, x), format=name, exact=False), fake_quantize(x, scale_of(name, x), format=name)
    )


@pytest.mark.parametrize("name", ["mxfp4", "int4_narrow"])
@pytest.mark.parametrize("shape", [(0,), (0, 8), (4, 0, 8), (1, 1)], ids=str)
def test_empty_and_tiny_tensors(name: str, shape: tuple[int, ...]) -> None:
    x = torch.ones(shape, requires_grad=True)
    y = fake_quantize(x, None if is_block(name) else torch.ones(1), format=name)
    y.sum().backward()
    assert y.shape == shape
    assert x.grad is not None


@pytest.mark.parametrize("name", ["mxfp4", "int4_narrow"])
def test_strided_inputs_give_what_contiguous_ones_give(name: str) -> None:
    x = normal(4, 32, 6, 6)
    scale = None if is_block(name) else torch.rand(4, 1, 1, 1) + 0.1
    wanted = fake_quantize(x, scale, format=name, axis=1)
    for strided in (x.to(memory_format=torch.channels_last), x.transpose(2, 3).contiguous().transpose(2, 3)):
        assert not strided.is_contiguous()
        assert_bit_exact(fake_quantize(strided, scale, format=name, axis=1), wanted)
    part = normal(8, 64, 6, 6)[::2, ::2]
    assert_bit_exact(
        fake_quantize(part, scale, format=name, axis=1), fake_quantize(part.clone(), scale, format=name, axis=1)
    )


OF_CHANNELS_LAST = [
    (name, axis) for name in (*FORMATS, "nvfp4.mse", "gguf_q4_k", "drawn", "whole") for axis in (1, -1, 0)
]


@pytest.mark.parametrize("shape", [(3, 40, 5, 6), (2, 40, 3, 4, 5)], ids=["2d", "3d"])
@pytest.mark.parametrize(("name", "axis"), [*OF_CHANNELS_LAST, ("nvfp4_2d", -1)])
def test_channels_that_come_last_are_quantized_alike(
    name: str, axis: int, shape: tuple[int, ...], drawn: str, whole: str
) -> None:
    key = {"drawn": drawn, "whole": whole}.get(name, name)
    x = normal(*shape)
    x[1, 5, ..., -1], x[1, 6, ..., 0] = 7, -7  # which of the largest comes first depends on the order of axes
    last = x.contiguous(memory_format=torch.channels_last if len(shape) == 4 else torch.channels_last_3d)
    seed = torch.tensor(5) if name == "drawn" else None
    channels = torch.rand(40, *[1] * (len(shape) - 2)) + 0.1
    is_number = not isinstance(format_of(key), sqs.BlockFormat)
    for scale in (torch.tensor([0.3]), channels, channels + torch.rand(shape)) if is_number else (None,):
        wanted, found = (fake_quantize(each, scale, seed, format=key, axis=axis) for each in (x, last))
        assert_bit_exact(found, wanted)
        assert found.stride() == last.stride()


REFUSED: dict[str, tuple[str, Tensor | None, Any, str]] = {
    "a scale of more axes": (
        "int4_narrow",
        torch.ones(1, 1, 1, 1, 3),
        1,
        r"shape \(1, 1, 1, 1, 3\); .* \(2, 3, 4, 5\)",
    ),
    "a scale of other sizes": ("int4_narrow", torch.ones(2, 2, 1, 1), 1, r"shape \(2, 2, 1, 1\); .* \(2, 3, 4, 5\)"),
    "a scale that is NaN": (
        "int4_narrow",
        torch.tensor([[[1.0]], [[torch.nan]], [[1.0]]]),
        1,
        r"scale\[1, 0, 0\] is NaN",
    ),
    "no such axis": ("mxfp4", None, 4, r"axis is 4; allowed: -4 to 3 for shape \(2, 3, 4, 5\)"),
    "an axis that is none": ("mxfp4", None, True, r"axis is True; allowed: -4 to 3 for shape \(2, 3, 4, 5\)"),
    "a value": ("picky", torch.ones(1), 1, r"\[1, 2, 3, 4\] is NaN, which picky refuses"),
}


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_told_by_the_axes_that_it_came_with(case: str, form: torch.memory_format) -> None:
    name, scale, axis, told = REFUSED[case]
    key = format_key(sqs.parse_format(PICKY)) if name == "picky" else name
    x = normal(2, 3, 4, 5)
    x[1, 2, 3, 4] = torch.nan if name == "picky" else 1
    with pytest.raises((TypeError, ValueError), match=told):
        fake_quantize(x.contiguous(memory_format=form), scale, format=key, axis=axis)


def test_inputs_are_left_alone_and_their_memory_stays_resizable() -> None:
    """`tensor.numpy()` would mark it otherwise, and FSDP2, which resizes the memory of parameters, would die."""
    x, scale = normal(64, 64), torch.rand(64, 1) + 0.1
    before = x.clone()
    for result in (
        fake_quantize(x, scale, format="int4_narrow"),
        fake_quantize(x, format="mxfp4"),
        choose_scale(x, format="int4_narrow", quantizer="minmax", channel_axis=0),
    ):
        assert_bit_exact(x, before)
        for tensor in (x, scale, result):
            size = tensor.untyped_storage().size()
            kept = tensor.clone()
            tensor.untyped_storage().resize_(0)
            tensor.untyped_storage().resize_(size)
            tensor.copy_(kept)


@pytest.mark.parametrize("quantizer", ["minmax", "analytic", "iterative"])
@pytest.mark.parametrize("channel_axis", [None, 0, -1])
def test_scales_are_the_quantizers(quantizer: str, channel_axis: int | None) -> None:
    x = normal(3, 5, 40).requires_grad_()
    format = sqs.load_format("int4_narrow")
    scale = choose_scale(x, format="int4_narrow", quantizer=quantizer, channel_axis=channel_axis)
    assert not scale.requires_grad
    assert_bit_exact(
        scale, torch.tensor(quantizer_of(quantizer).fit(x.detach(), format, channel_axis=channel_axis).value)
    )


@pytest.mark.parametrize("name", sqs.formats(kind="number"))
@pytest.mark.parametrize("channel_axis", [None, 0, -1])
def test_minmax_on_devices_is_minmax(name: str, channel_axis: int | None) -> None:
    format = sqs.load_format(name)
    for x in (normal(5, 7, 40), normal(9, seed=1), -normal(3, 4).abs(), torch.zeros(2, 0), torch.zeros(2, 3)):
        special = torch.cat([x.reshape(-1), torch.tensor([torch.nan, torch.inf, 3e38, 1e-44])])
        for each in (x, special):
            wanted = sqs.MinMax().fit(each, format, channel_axis=channel_axis).value
            assert_bit_exact(minmax_scale(each, format, channel_axis), torch.tensor(wanted))


def test_zero_points_are_refused() -> None:
    key = quantizer_key(sqs.MinMax(zero_point=True))
    with pytest.raises(sqs.UnsupportedError, match="chooses zero-points, which layers do not take"):
        choose_scale(normal(4, 4), format="uint8", quantizer=key)


# --- keys --------------------------------------------------------------------------------------------------------


def test_keys_are_names_where_these_are_built_in() -> None:
    assert format_key(sqs.load_format("mxfp4")) == "mxfp4"
    text = format_key(sqs.parse_format(STOCHASTIC))
    assert "\n" in text
    assert format_key(format_of(text)) == text
    other = sqs.parse_format("{name: int8, element: {kind: int, bits: 7}}\n")
    assert format_of(format_key(other)).bits == 7


def test_quantizers_with_options_are_known_in_this_process() -> None:
    assert quantizer_key(sqs.Iterative()) == "iterative"
    one, other = sqs.Iterative(weights=np.ones(3)), sqs.Iterative(weights=np.full(3, 2.0))
    found = [quantizer_key(each) for each in (one, other, one)]
    assert found[0] == found[2] != found[1]
    assert quantizer_of(found[1]) is other
    with pytest.raises(LookupError, match="no quantizer is known as 'Iterativ' in this process; did you mean"):
        quantizer_of("Iterativ")


@pytest.mark.parametrize("weights", [np.full(8, 3.0), torch.full((8,), 5.0)], ids=["array", "tensor"])
def test_copies_of_a_layer_share_the_key_of_their_quantizer(weights: Any) -> None:
    weight = {"format": "int4", "quantizer": sqs.Iterative(weights=weights), "update_every": 0}
    layer = qat.prepare(torch.nn.Linear(8, 4), qat.QATConfig(weight=weight))
    known = len(keys._quantizers)
    copies = [copy.deepcopy(layer) for _ in range(5)]
    assert {each.weight_quantizer.quantizer_key for each in copies} == {layer.weight_quantizer.quantizer_key}
    assert len(keys._quantizers) == known


# --- torch's own checks ------------------------------------------------------------------------------------------

CHECKED = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")


def samples() -> Iterator[tuple[Any, ...]]:
    for gradient in ("clipped", "ste", "lsq"):
        for dtype in (torch.float32, torch.bfloat16):
            x = normal(4, 40, dtype=dtype).requires_grad_()
            scale = (torch.rand(4, 1) + 0.1).requires_grad_(gradient == "lsq")
            yield x, scale, None, "int4_narrow", -1, gradient
    yield normal(4, 40).requires_grad_(), None, None, "mxfp4", -1, "clipped"
    yield normal(40, 4).T, None, None, "nvfp4", 0, "clipped"
    seed = torch.tensor(-5)
    yield normal(4, 40).requires_grad_(), None, seed, format_key(sqs.parse_format(STOCHASTIC)), -1, "clipped"


@pytest.mark.parametrize("index", range(9))
def test_opcheck_of_fake_quantize(index: int) -> None:
    arguments = [*samples()][index]
    assert set(torch.library.opcheck(OPERATION, arguments).values()) == {"SUCCESS"}
    assert set(torch.library.opcheck(OPERATION, arguments)) == set(CHECKED)


@pytest.mark.parametrize("channel_axis", [None, 0, -1])
def test_opcheck_of_choose_scale(channel_axis: int | None) -> None:
    arguments = normal(4, 6, 40), "int4_narrow", "iterative", channel_axis
    found = torch.library.opcheck(torch.ops.statqat.choose_scale.default, arguments)
    assert set(found.values()) == {"SUCCESS"}


# --- past the dispatcher -----------------------------------------------------------------------------------------


class Seen(TorchDispatchMode):
    """Lists what goes through the dispatcher."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls.append(func)
        return func(*args, **(kwargs or {}))


class Asked(TorchFunctionMode):
    """Lists what is called by name."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls.append(func)
        return func(*args, **(kwargs or {}))


class Kind(Tensor):
    """Of its own."""


@pytest.fixture
def unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The named operation fails."""

    def fail(*_: Any) -> None:
        raise AssertionError("the operation was called by its name")

    monkeypatch.setattr(ops, "OPERATION", fail)


@pytest.mark.parametrize("index", range(9))
def test_calls_at_once_give_what_the_operation_gives(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, scale, seed, format, axis, gradient = [*samples()][index]
    leaves = [each for each in (x, scale) if each is not None and each.requires_grad]
    upstream = normal(*x.shape, seed=1).to(x.dtype)
    wanted = OPERATION(x, scale, seed, format, axis, gradient)
    gradients = torch.autograd.grad(wanted, leaves, upstream) if leaves else ()
    monkeypatch.setattr(ops, "OPERATION", None)
    result = fake_quantize(x, scale, seed, format=format, axis=axis, gradient=gradient)
    assert_bit_exact(result.detach(), wanted.detach())
    assert result.requires_grad == bool(leaves)
    for each, other in zip(torch.autograd.grad(result, leaves, upstream) if leaves else (), gradients, strict=True):
        assert_bit_exact(each, other)


@pytest.mark.usefixtures("unnamed")
def test_plain_tensors_go_past_the_dispatcher() -> None:
    x = normal(4, 40)
    for each in (x, x.clone().requires_grad_(), torch.nn.Parameter(x)):
        assert_bit_exact(fake_quantize(each, format="mxfp4").detach(), fake_quantize(x, format="mxfp4"))
    with pytest.raises(AssertionError, match="by its name"):
        fake_quantize(x.as_subclass(Kind), format="mxfp4")


@pytest.mark.parametrize("mode", [Seen, Asked])
def test_modes_see_the_operation(mode: type[Seen] | type[Asked]) -> None:
    x = normal(4, 40).requires_grad_()
    with mode() as watching:
        result = fake_quantize(x, format="mxfp4")
    assert OPERATION in watching.calls
    assert_bit_exact(result.detach(), fake_quantize(x, format="mxfp4").detach())


def test_shapes_alone_go_through_the_operation() -> None:
    assert fake_quantize(torch.empty(4, 40, device="meta"), format="mxfp4").shape == (4, 40)


def test_traces_hold_the_operation() -> None:
    traced = torch.jit.trace(lambda x: fake_quantize(x, format="mxfp4"), normal(4, 40))
    x = normal(4, 40, seed=1)
    assert_bit_exact(traced(x), fake_quantize(x, format="mxfp4"))


# --- what is kept for the backward pass --------------------------------------------------------------------------


def kept(x: Tensor, scale: Tensor | None, **options: Any) -> list[Tensor]:
    """What autograd keeps of a call."""
    tensors: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(tensors.append, lambda tensor: tensor):
        fake_quantize(x, scale, **options)
    return tensors


def test_block_formats_keep_nothing_for_the_backward_pass() -> None:
    x = normal(4, 40).requires_grad_()
    assert kept(x, None, format="mxfp4") == []
    assert kept(x, torch.ones(1), format="int4_narrow", gradient="ste") == []


def test_clipped_gradients_keep_the_input_itself() -> None:
    x, scale = normal(4, 40).requires_grad_(), torch.ones(4, 1)
    tensors = kept(x, scale, format="int4_narrow")
    assert [each.data_ptr() for each in tensors] == [x.data_ptr(), scale.data_ptr()]


# --- vectorised --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mxfp4", "nvfp4", "int4_narrow"])
@pytest.mark.parametrize(("dim", "axis"), [(0, -1), (2, 0), (1, 1)])
def test_vmap_gives_what_single_calls_give(name: str, dim: int, axis: int) -> None:
    x = normal(5, 33, 34)
    scale = None if is_block(name) else torch.full((1, 1), 0.2)
    result = torch.vmap(lambda each: fake_quantize(each, scale, format=name, axis=axis), in_dims=dim)(x)
    for index in range(x.shape[dim]):
        assert_bit_exact(result[index], fake_quantize(x.select(dim, index), scale, format=name, axis=axis))


def test_vmap_over_scales_seeds_and_choices(drawn: str) -> None:
    x, scales, seeds = normal(3, 4, 8), torch.rand(3, 4, 1) + 0.1, torch.arange(3)
    result = torch.vmap(lambda a, s: fake_quantize(a, s, format="int4_narrow"))(x, scales)
    fixed = torch.vmap(lambda s: fake_quantize(x[0], s, format="int4_narrow"))(scales)
    wild = torch.vmap(lambda a, k: fake_quantize(a, None, k, format=drawn))(x, seeds)
    chosen = torch.vmap(lambda a: choose_scale(a, format="int4_narrow", quantizer="minmax", channel_axis=0))(x)
    for i in range(3):
        assert_bit_exact(result[i], fake_quantize(x[i], scales[i], format="int4_narrow"))
        assert_bit_exact(fixed[i], fake_quantize(x[0], scales[i], format="int4_narrow"))
        assert_bit_exact(wild[i], fake_quantize(x[i], None, seeds[i], format=drawn))
        assert_bit_exact(chosen[i], choose_scale(x[i], format="int4_narrow", quantizer="minmax", channel_axis=0))


def test_gradients_of_single_samples() -> None:
    weight, x = normal(8, 40), normal(5, 40, seed=1)

    def loss(weight: Tensor, row: Tensor) -> Tensor:
        return (fake_quantize(weight, torch.ones(1) * 0.2, format="int4_narrow") @ row).square().sum()

    each = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(weight, x)
    for index in range(len(x)):
        torch.testing.assert_close(each[index], torch.func.grad(loss)(weight, x[index]))


# --- stochastic rounding -----------------------------------------------------------------------------------------


def test_random_bits_come_from_the_seed(drawn: str) -> None:
    x = normal(1000)
    results = [fake_quantize(x, None, torch.tensor(seed), format=drawn) for seed in (-1, -1, 7)]
    assert_bit_exact(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert_bit_exact(results[0], sqs.Codec(format_of(drawn)).fake_quantize(x, seed=(1 << 64) - 1))


# --- processes ---------------------------------------------------------------------------------------------------


class Rows(Dataset[Tensor]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        return fake_quantize(normal(600, 512, seed=index), format="mxfp4")


def test_forked_workers_of_a_data_loader() -> None:
    """A pool of threads that the parent has used does not exist in its children."""
    wanted = torch.stack([Rows()[index] for index in range(4)])
    torch.manual_seed(0)
    context = multiprocessing.get_context("fork")
    batches = DataLoader(Rows(), batch_size=1, num_workers=2, multiprocessing_context=context, timeout=60)
    assert_bit_exact(torch.cat(list(batches)), wanted)
