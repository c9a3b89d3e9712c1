"""Codecs of the torch backend, as torch's compiler and its exporter trace them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo.testing
from numpy.typing import NDArray
from torch.fx.experimental.proxy_tensor import make_fx
from torch_compiled import WARNINGS, normal, together

from statqat_sim.backends.torch_ops import parts
from statqat_sim.backends.torch_ops.block_errors import squared_errors
from statqat_sim.backends.torch_ops.block_stages import Programs
from statqat_sim.backends.torch_ops.grids import tiling_of
from statqat_sim.codec import Codec
from statqat_sim.errors import UnsupportedError
from statqat_sim.geometry import Geometry, is_whole_array
from statqat_sim.plan.block import ELEMENT
from statqat_sim.plan.lower_block import lower_block
from statqat_sim.quantized import QuantizedTensor
from statqat_sim.reference.block_backend import ReferenceBlockKernel
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.catalog import formats, load_format, parse_format
from statqat_sim.testing import assert_bit_exact

E4M3 = load_format("float8_e4m3fn")
CODEC, REFERENCE = Codec(E4M3, "torch"), Codec(E4M3, "reference")
STOCHASTIC = "{{name: drawn, element: {{kind: int, bits: 4}}, encode: {{rounding: stochastic_a, random_bits: {}}}}}"

pytestmark = WARNINGS


@pytest.mark.long
def test_codecs_are_traced_whole() -> None:
    """Lowering and printing happen while torch traces; so they do for a codec that was never used."""
    x, scale = normal(8, 64), torch.rand(8, 1)
    names = ("float8_e4m3fn", "nf4", "int8")
    ours = [Codec(load_format(name), "torch") for name in names]
    calls = [lambda codec=codec: codec.fake_quantize(x, scale=scale) for codec in ours]
    calls += [lambda codec=codec: codec.decode(codec.encode(x.bfloat16())) for codec in ours]
    calls.append(lambda: ours[0].encode(x, packed=True))
    theirs = [Codec(load_format(name), "reference") for name in names]
    wanted = [codec.fake_quantize(x.numpy(), scale=scale.numpy()) for codec in theirs]
    wanted += [codec.decode(codec.encode(x.bfloat16())) for codec in theirs]
    wanted.append(theirs[0].encode(x.numpy(), packed=True))
    for result, each in zip(together(*calls), wanted, strict=True):
        assert_bit_exact(result, each)


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`:UserWarning")
@pytest.mark.parametrize("backend", ["auto", "numba"])
@pytest.mark.parametrize("name", ["float8_e4m3fn", "mxfp4"])
def test_backends_that_are_not_traced_name_the_one_that_is(name: str, backend: str) -> None:
    """Where the compiler may not leave them out: elsewhere they run between its graphs."""
    codec, x = Codec(load_format(name), backend), normal(4, 64)
    wanted = 2 * codec.fake_quantize(2 * x)  # a kernel that is there already is not traced either
    for traced in (codec, Codec(codec.format, backend)):
        torch.compiler.reset()
        compiled = partial(torch.compile, lambda x, codec=traced: 2 * codec.fake_quantize(2 * x), backend="eager")
        with pytest.raises(
            torch._dynamo.exc.Unsupported, match=r"allowed: for codecs backend 'torch', as in Codec\(format, 'torch'\)"
        ):
            compiled(fullgraph=True)(x)
        assert_bit_exact(compiled()(x), wanted)


def test_loaded_modules_are_not_guarded() -> None:
    """There may be thousands, in `sys.modules`."""
    guarded: list[str] = []

    def keep_all(guards: list[Any]) -> list[bool]:
        guarded.extend(each.name for each in guards)
        return [True] * len(guards)

    torch.compiler.reset()
    for name in "float8_e4m3fn", "mxfp4":
        call = Codec(load_format(name), "torch").fake_quantize
        torch.compile(call, fullgraph=True, backend="eager", options={"guard_filter_fn": keep_all})(normal(4, 64))
    assert guarded
    assert not [name for name in guarded if "modules" in name]


def test_other_threads_go_on_while_one_compiles() -> None:
    codec, x = Codec(E4M3, "numba"), normal(4, 64)
    found: list[torch.Tensor] = []

    def compiler(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
        thread = Thread(target=lambda: found.append(codec.fake_quantize(x)))
        thread.start()
        thread.join()
        return graph

    torch.compiler.reset()
    torch.compile(lambda x: 2 * x, backend=compiler)(x)
    assert_bit_exact(found[0], codec.fake_quantize(x))


def _traced_by_example(call: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: torch.jit.trace(call, (x,), check_trace=False)  # type: ignore[no-untyped-call]


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
@pytest.mark.parametrize("watched", [make_fx, torch.func.vmap, torch.func.grad, _traced_by_example])
@pytest.mark.parametrize("backend", ["auto", "numba"])
def test_tracers_are_told_not_to_take_results_for_constants(watched: Callable[..., Any], backend: str) -> None:
    codec, x = Codec(E4M3, backend), normal(4, 64)
    codec.fake_quantize(x)
    call = watched(lambda x: codec.fake_quantize(x).sum())
    with pytest.raises(UnsupportedError, match=r"allowed: for codecs backend 'torch', as in Codec\(format, 'torch'\)"):
        call(x)


def test_random_bits_are_drawn_in_compiled_code() -> None:
    """Many of them: where the compiler saw what is multiplied, its loops had no end."""
    x, drawn = normal(300, 1001), [(8, 3, 0), (32, 2**64 - 1, 2**33 + 7)]
    formats = [parse_format(STOCHASTIC.format(bits)) for bits, _, _ in drawn]
    ours, theirs = ([Codec(format, backend) for format in formats] for backend in ("torch", "numba"))
    options = [{"seed": seed, "offset": offset} for _, seed, offset in drawn]
    calls = [lambda codec=codec, each=each: codec.encode(x, **each) for codec, each in zip(ours, options, strict=True)]
    for result, codec, each in zip(together(*calls), theirs, options, strict=True):
        assert_bit_exact(result, codec.encode(x, **each))


@pytest.mark.long
def test_seeds_may_change_between_compiled_calls() -> None:
    format = parse_format(STOCHASTIC.format(16))
    encode, reference = Codec(format, "torch").encode, Codec(format, "numba").encode
    torch.compiler.reset()
    compiled = torch.compile(lambda x, seed, offset: encode(x, seed=seed, offset=offset), fullgraph=True)
    calls = (3, 0, 100), (2**63 - 1, 2**33 + 7, 100), (2**63 + 5, 2, 100), (2**64 - 1, 3, 100), (5, 1, 30_000)
    for seed, offset, size in calls:
        x = normal(size)
        assert_bit_exact(compiled(x, seed, offset), reference(x, seed=seed, offset=offset))


def test_out_is_written_by_a_compiled_codec() -> None:
    x, out = normal(8, 64), torch.zeros(64, 8).T
    torch.compiler.reset()
    torch.compile(CODEC.fake_quantize, fullgraph=True)(x, out=out)
    assert_bit_exact(out.contiguous(), REFERENCE.fake_quantize(x.numpy()))


def test_shapes_that_change_are_compiled_once_more_and_no_oftener() -> None:
    torch.compiler.reset()
    counted = torch._dynamo.testing.CompileCounterWithBackend("eager")
    compiled = torch.compile(CODEC.fake_quantize, fullgraph=True, backend=counted)
    for size in (100, 200, 300, 400):
        x = normal(size, 3)
        assert_bit_exact(compiled(x), REFERENCE.fake_quantize(x.numpy()))
    assert counted.frame_count <= 2


@pytest.mark.parametrize(
    ("name", "axis"), [("nvfp4", -1), ("mxfp4", 0), pytest.param("nvfp4_2d", -1, marks=pytest.mark.long)]
)
def test_block_formats_of_shapes_that_change(name: str, axis: int) -> None:
    """As the compiler sees them after a second shape: sizes are unknown."""
    torch.compiler.reset()
    codec, wanted = (Codec(load_format(name), backend).fake_quantize for backend in ("torch", "numba"))
    compiled = torch.compile(codec, fullgraph=True, dynamic=True, backend="eager")
    for shape in ((256, 256), (300, 250), (70, 1000)):
        x = normal(*shape)
        assert_bit_exact(compiled(x, axis=axis), wanted(x.numpy(), axis=axis))


# --- quantize ----------------------------------------------------------------------------------------------------


def parts_of(q: QuantizedTensor) -> tuple[Any, ...]:
    return q.codes, *q.scales, *q.offset_scales, *(() if q.offset is None else (q.offset,))


@pytest.mark.parametrize("name", ["mxfp4", pytest.param("gguf_q4_k", marks=pytest.mark.long)])
def test_block_formats_are_quantized_in_traced_code(name: str) -> None:
    codec, x = Codec(load_format(name), "torch"), normal(2, 50)
    x.view(-1)[:5] = torch.tensor([float("nan"), -float("inf"), 1e-40, -0.0, 3e38])
    eager = codec.quantize(x)
    q, values = together(lambda: codec.quantize(x), lambda: codec.dequantize(eager), backend="eager")
    for ours, theirs in zip(parts_of(q), parts_of(eager), strict=True):
        assert_bit_exact(ours, theirs)
    assert (q.format, q.axis) == (eager.format, eager.axis)
    assert_bit_exact(values, codec.dequantize(eager))


@pytest.mark.parametrize("name", ["float8_e4m3fn", "posit8"])
def test_number_formats_are_encoded_in_traced_code(name: str) -> None:
    codec, x = Codec(load_format(name), "torch"), normal(5, 40)
    codes, values = together(lambda: codec.encode(x), lambda: codec.decode(codec.encode(x)), backend="eager")
    assert_bit_exact(codes, codec.encode(x))
    assert_bit_exact(values, codec.decode(codec.encode(x)))


@pytest.mark.long
@pytest.mark.parametrize("name", ["mxfp4", "nvfp4", "gguf_q4_k"])
def test_block_formats_are_quantized_in_compiled_code(name: str) -> None:
    codec, x = Codec(load_format(name), "torch"), normal(3, 300)
    compiled, values = together(lambda: codec.quantize(x), lambda: codec.dequantize(codec.quantize(x)))
    for ours, theirs in zip(parts_of(compiled), parts_of(codec.quantize(x)), strict=True):
        assert_bit_exact(ours, theirs)
    assert_bit_exact(values, codec.dequantize(codec.quantize(x)))


def test_codes_and_scales_of_two_kinds() -> None:
    """A tensor's codes with numpy's scales are a tensor for the CPU, and none that can be traced."""
    format, x = load_format("mxfp4"), normal(2, 64)
    assert isinstance(format, BlockFormat)
    q = Codec(format, "numba").quantize(x.numpy())
    mixed = QuantizedTensor(torch.from_numpy(q.codes), q.scales, format)
    assert mixed == q
    assert_bit_exact(Codec(format, "numba").dequantize(mixed), Codec(format, "numba").dequantize(q))
    with pytest.raises(TypeError, match="scale is of type ndarray; allowed: a uint8 array"):
        Codec(format, "torch").dequantize(mixed)


# --- errors of candidates ----------------------------------------------------------------------------------------


def by_halves(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over the last axis, as Definition 30 adds them."""
    sums = np.pad(terms, ((0, 0), (0, 0), (0, 2 ** (terms.shape[-1] - 1).bit_length() - terms.shape[-1])))
    while sums.shape[-1] > 1:
        lower, upper = np.split(sums, 2, axis=-1)
        sums = lower + upper
    return sums[..., 0]


def test_squared_errors_are_added_in_one_order() -> None:
    """Where compiled loops keep sums of vectors, where 16 does not divide blocks, and where the last one is short."""
    calls, wanted = [], []
    for block, columns in (16, 96), (48, 96), (24, 96), ("channel", 112), (16, 100):
        format = parse_format(f"name: m\nelement: int4\nscales: [{{format: ue4m3, block: {block}, rule: mse}}]")
        assert isinstance(format, BlockFormat)
        tiling = tiling_of(Geometry.of((9, columns), -1, format), lower_block(format))
        x, y, weights = normal(9, columns), normal(9, columns, seed=1), normal(9, columns, seed=2).abs().double()
        x[0, :4] = torch.tensor([np.nan, -np.inf, -0.0, 1e-40])
        weights[0, :2] = np.inf  # of elements that do not count
        size = columns if block == "channel" else int(block)
        for each in None, weights:
            squares = (x.double() - y.double()).numpy() ** 2 * (1 if each is None else each.numpy())
            terms = np.pad(np.where(np.isfinite(x.numpy()), squares, 0), ((0, 0), (0, -columns % size)))
            wanted.append(by_halves(terms.reshape(9, -1, size)))
            split = [None if one is None else tiling.split(one, ELEMENT) for one in (x, y, each)]
            calls.append(partial(squared_errors, *split, tiling, format.scales[0].block))
    traced = together(*calls, backend="eager")
    for one, found, each in zip(calls, traced, wanted, strict=True):
        assert_bit_exact(one().reshape(each.shape), each)
        assert_bit_exact(found.reshape(each.shape), each)


# --- parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mxfp4.mse", "mx9", "nvfp4", "nvfp4_2d", "fp8_block128x128_deepseek"])
def test_arrays_are_cut_where_whole_blocks_end(name: str) -> None:
    """In either axis, or both; where blocks are larger than the array, not at all."""
    format = load_format(name)
    assert isinstance(format, BlockFormat)
    plan = lower_block(format)
    programs, reference = Programs(plan), ReferenceBlockKernel(plan)
    is_flat = all(not isinstance(level.block, tuple) for level in format.scales)
    cases = [((150, 3), 0), ((2, 75, 5), 1), ((70,), 0)] if is_flat else [((130, 256), -1)]
    for shape, axis in ((3, 150), -1), ((133, 150), -1), ((2, 20, 33), -1), *cases:
        x = normal(*shape).numpy()
        x.reshape(-1)[:4] = [np.nan, 1e-40, -0.0, np.inf]
        geometry = Geometry.of(shape, axis, format)
        ours = parts.fake_quantized(torch.from_numpy(x), geometry, plan, programs)
        assert_bit_exact(ours, reference.fake_quantize(x, geometry))


EDGED = """
name: edged
element: {{kind: int, bits: 4}}
scales: [{{format: {}, block: [8, 16], rule: {}}}]
"""


@pytest.mark.parametrize(("rule", "filled"), [("absmax", True), ("signed_absmax", True), ("mse", False)])
def test_blocks_at_both_ends_are_filled_up_where_elements_may_lie_in_them_twice(rule: str, *, filled: bool) -> None:
    """Of equal elements with opposite signs the first one still is the largest; squared errors would count."""
    format = parse_format(EDGED.format("float8_e4m3fn", rule))
    assert isinstance(format, BlockFormat)
    plan = lower_block(format)
    programs, reference = Programs(plan), ReferenceBlockKernel(plan)
    assert parts._may_be_filled(programs.stages) == filled
    for shape in (45, 100), (3, 15, 17), (9, 33), (5, 100), (45, 7):
        x = np.random.default_rng(0).integers(-3, 4, shape).astype(np.float32)
        x.reshape(-1)[-2:] = [np.nan, -np.inf]
        geometry = Geometry.of(shape, -1, format)
        ours = parts.fake_quantized(torch.from_numpy(x), geometry, plan, programs)
        assert_bit_exact(ours, reference.fake_quantize(x, geometry))


def test_compiled_code_of_arrays_that_are_ragged_along_both_axes() -> None:
    format, x = parse_format(EDGED.format("float32", "absmax")), normal(300, 250)
    codec, wanted = (Codec(format, backend).fake_quantize for backend in ("torch", "numba"))
    (sliced,) = together(lambda: codec(x)[5:291, 3:245] * 1.0)
    assert_bit_exact(sliced, wanted(x.numpy())[5:291, 3:245])


@pytest.mark.long
@pytest.mark.parametrize("name", ["nvfp4_2d", "fp8_block128x128_deepseek"])
def test_compiled_blocks_of_two_axes_at_both_ends(name: str) -> None:
    x = normal(2, 300, 250)
    codec, wanted = (Codec(load_format(name), backend).fake_quantize for backend in ("torch", "numba"))
    sliced, whole = together(lambda: codec(x)[:, 5:291, 3:245] * 1.0, lambda: codec(x))
    assert_bit_exact(whole, wanted(x.numpy()))
    assert_bit_exact(sliced, wanted(x.numpy())[:, 5:291, 3:245])


@pytest.mark.long
def test_compiled_code_is_cut() -> None:
    codec, x = Codec(load_format("mxfp4"), "torch"), normal(700, 100)
    sliced, whole = together(lambda: codec.fake_quantize(x)[:, 5:99] * 1.0, lambda: codec.fake_quantize(x))
    wanted = Codec(load_format("mxfp4"), "numba").fake_quantize(x)
    assert_bit_exact(whole, wanted)
    assert_bit_exact(sliced, wanted[:, 5:99])


@pytest.mark.long
@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("name", [name for name in formats(kind="block") if not load_format(name).needs_scale])
def test_every_format_in_loops_that_matter(name: str, axis: int) -> None:
    """Of arrays as small ones never are: cut where whole blocks end, elements in memory, folded columns."""
    x, (codec, wanted) = normal(270, 310), (Codec(load_format(name), each).fake_quantize for each in ("torch", "numba"))
    x.view(-1)[:5] = torch.tensor([float("nan"), -float("inf"), 1e-40, -0.0, 3e38])
    (found,) = together(lambda: codec(x, axis=axis))
    assert_bit_exact(found, wanted(x.numpy(), axis=axis))
    assert_bit_exact(codec(x, axis=axis), found)


# --- vectors -----------------------------------------------------------------------------------------------------


FACTORS = normal(257, 1)
VECTORS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "computed": lambda x: x * FACTORS,
    "as it lies": lambda x: x,
    "one axis": lambda x: x.reshape(-1),
    "a slice": lambda x: x[:, 16:],
    "transposed": lambda x: x.T,
    "the last one cut off": lambda x: x[:, :-1],
    "one vector in a row": lambda x: x.reshape(257, 17, 16)[1:],
}


@pytest.mark.parametrize("cases", [["computed"], pytest.param(list(VECTORS), marks=pytest.mark.long)], ids=len)
def test_blocks_of_one_vector_in_compiled_code(cases: list[str]) -> None:
    codec, wanted = (Codec(load_format("nvfp4"), backend).fake_quantize for backend in ("torch", "numba"))
    x = normal(257, 272)
    x[:3, :3] = torch.tensor([np.nan, 1e-40, -0.0])
    results = together(*(partial(lambda case: codec(VECTORS[case](x)), case) for case in cases))
    for found, case in zip(results, cases, strict=True):
        assert_bit_exact(found, wanted(VECTORS[case](x).numpy()))


@pytest.mark.parametrize(
    ("name", "shape", "axis", "expected"),
    [
        ("nvfp4", (4, 48), -1, {16: 16}),
        ("nvfp4", (4, 40), -1, {16: 0}),
        ("nvfp4", (48, 4), 0, {16: 0}),
        ("nvfp4", (1, 16), -1, {16: 0}),  # one block
        ("nvfp4_2d", (4, 48), -1, {(16, 16): 0}),
        ("mx9", (4, 40), -1, {2: 0, 16: 0}),
        ("mx9", (4, 48), -1, {2: 2, 16: 16}),
        ("mxfp4", (4, 64), -1, {32: 32}),
        ("mxfp4", (4, 48), -1, {32: 0}),
        ("bfp16_amd", (4, 40), -1, {8: 8}),
        ("gguf_q4_k", (2, 256), -1, {32: 32, 256: 256}),
    ],
)
def test_elements_of_blocks_that_follow_each_other_in_rows(
    name: str, shape: tuple[int, int], axis: int, expected: dict[object, int]
) -> None:
    format = load_format(name)
    assert isinstance(format, BlockFormat)
    plan = lower_block(format)
    tiling = tiling_of(Geometry.of(shape, axis, format), plan)
    blocks = {stage.block for stage in plan.stages if not is_whole_array(stage.block)}
    assert {block: tiling.count_in_row(ELEMENT, block) for block in blocks} == expected


SHORT_OR_SIGNED = ["bfp16_amd", "gguf_q4_0", "gguf_q4_1", "mx9", "hif4", "gguf_q4_k"]
"""Of blocks shorter than vectors, or with statistics whose words may have any bits."""


@pytest.mark.parametrize(
    "names", [SHORT_OR_SIGNED[:3], pytest.param(SHORT_OR_SIGNED[3:], marks=pytest.mark.long)], ids=len
)
def test_short_blocks_and_signed_words_in_compiled_code(names: list[str]) -> None:
    x = normal(259, 288)  # 2,331 blocks of 32 and 9,324 of 8: the last tile of 16 blocks is not full
    x[:3, :3] = torch.tensor([np.nan, 1e-40, -0.0])
    x[4, :8] = -2.5
    found = together(*(partial(Codec(load_format(name), "torch").fake_quantize, x) for name in names))
    for ours, name in zip(found, names, strict=True):
        assert_bit_exact(ours, Codec(load_format(name), "numba").fake_quantize(x.numpy()))


SHORT = {
    "keys with indexes": "[{format: float16, block: 8, rule: signed_absmax}]",
    "vectors that no blocks fill": "[{format: float16, block: 5, rule: absmax}]",
    "words with any bits": """[{format: float16, block: 4, rule: minmax}],
  offset: {kind: minimum, scales: [{format: float16, block: 4}]}""",
    "blocks in blocks": """[{format: float32, block: 24, rule: absmax},
  {format: float8_e4m3fn, block: 2, rule: absmax}]""",
}


@pytest.mark.parametrize(
    ("case", "columns", "axis"),
    [
        ("keys with indexes", 240, -1),
        ("words with any bits", 240, -1),
        pytest.param("keys with indexes", 280, -1, marks=pytest.mark.long),  # a row ends within a vector
        pytest.param("keys with indexes", 240, 0, marks=pytest.mark.long),
        pytest.param("vectors that no blocks fill", 240, -1, marks=pytest.mark.long),
        pytest.param("blocks in blocks", 240, -1, marks=pytest.mark.long),
    ],
)
def test_blocks_shorter_than_vectors_in_compiled_code(case: str, columns: int, axis: int) -> None:
    format = parse_format(f"{{name: short, element: {{kind: int, bits: 4}}, scales: {SHORT[case]}}}")
    codec, wanted = (Codec(format, backend).fake_quantize for backend in ("torch", "numba"))
    x = normal(300, columns)
    x[:3, :3] = torch.tensor([np.nan, 1e-40, -0.0])
    x[4, :8] = -2.5
    (found,) = together(partial(codec, x, axis=axis))
    assert_bit_exact(found, wanted(x.numpy(), axis=axis))


# --- columns -----------------------------------------------------------------------------------------------------


LAYOUTS = {"even": ((512, 136), 0), "ragged": ((500, 136), 0), "inside": ((3, 150, 160), 1), "narrow": ((70000, 3), 0)}


@pytest.mark.parametrize(
    ("name", "layouts"),
    [
        ("mxfp4", ["even"]),
        pytest.param("mxfp4", list(LAYOUTS), marks=pytest.mark.long),
        pytest.param("nvfp4", list(LAYOUTS), marks=pytest.mark.long),
        pytest.param("gguf_q4_k", ["even", "ragged"], marks=pytest.mark.long),
    ],
)
def test_blocks_along_columns_in_compiled_code(name: str, layouts: list[str]) -> None:
    codec, wanted = (Codec(load_format(name), backend).fake_quantize for backend in ("torch", "numba"))
    arrays = [(normal(*shape), axis) for shape, axis in map(LAYOUTS.__getitem__, layouts)]
    for x, _ in arrays:
        x.view(-1)[:5] = torch.tensor([float("nan"), -float("inf"), 1e-40, -0.0, 3e38])
    found = together(*(partial(codec, x, axis=axis) for x, axis in arrays))
    for ours, (x, axis) in zip(found, arrays, strict=True):
        assert_bit_exact(ours, wanted(x.numpy(), axis=axis))
        assert_bit_exact(ours, codec(x, axis=axis))


@pytest.mark.long
@pytest.mark.parametrize("name", ["mxfp4", "nvfp4"])
def test_blocks_along_columns_are_cut_in_compiled_code(name: str) -> None:
    codec, wanted = (Codec(load_format(name), backend).fake_quantize for backend in ("torch", "numba"))
    for x in normal(512, 136), normal(500, 160):
        (found,) = together(lambda x=x: codec(x, axis=0)[5:99, 3:] * 1.0)  # type: ignore[misc]
        assert_bit_exact(found, wanted(x.numpy(), axis=0)[5:99, 3:])


# --- exported ----------------------------------------------------------------------------------------------------


def test_a_codec_is_used_first_by_an_exporter() -> None:
    """Its tables are not what the tracer made of them."""
    codec, x = Codec(load_format("posit8"), "torch"), normal(8, 5)

    class Module(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return codec.fake_quantize(x)

    exported = torch.export.export(Module(), (x,), strict=False).module()
    wanted = Codec(load_format("posit8"), "reference").fake_quantize(x)
    assert_bit_exact(codec.fake_quantize(x), wanted)
    assert_bit_exact(exported(x), wanted)
