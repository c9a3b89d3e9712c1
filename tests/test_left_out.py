"""What torch's compiler cannot trace runs between its graphs, as a whole and as it was written."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch_compiled import normal

import statqat_sim as sqs
from statqat_sim.identification import identify
from statqat_sim.prior import Empirical
from statqat_sim.testing import assert_bit_exact

X = normal(16, 64)
H100 = sqs.load_accelerator("nvidia_h100")
NUMBERS = "{{name: {}, element: {{kind: float, exponent_bits: 4, mantissa_bits: 2}}}}"
BLOCKS = """name: {}
element: {{kind: float, exponent_bits: 2, mantissa_bits: 1}}
scales: [{{block: 32, format: float8_e8m0fnu, rule: floor}}]"""

Call = Callable[[Any, sqs.NumberFormat, sqs.BlockFormat, str], Any]
"""Of an array, formats that no test has used before, and the name of a backend."""


def _there_and_back(x: Any, numbers: sqs.NumberFormat, blocks: sqs.BlockFormat, backend: str) -> Any:
    codec = sqs.Codec(blocks, backend)
    return codec.dequantize(codec.quantize(x))


def _streamed(x: Any, numbers: sqs.NumberFormat, blocks: sqs.BlockFormat, backend: str) -> Any:
    return sqs.Stream(numbers).update(x).scale


CODECS: dict[str, Call] = {
    "encode": lambda x, numbers, blocks, backend: sqs.Codec(numbers, backend).encode(x),
    "decode": lambda x, numbers, blocks, backend: sqs.Codec(numbers, backend).decode(sqs.Codec(numbers).encode(x)),
    "fake_quantize": lambda x, numbers, blocks, backend: sqs.Codec(numbers, backend).fake_quantize(x, scale=0.5),
    "quantize": lambda x, numbers, blocks, backend: sqs.Codec(blocks, backend).quantize(x).codes,
    "there and back": _there_and_back,
    "fake_quantize by blocks": lambda x, numbers, blocks, backend: sqs.Codec(blocks, backend).fake_quantize(x),
    "pack": lambda x, numbers, blocks, backend: sqs.Codec(blocks, backend).pack(x),
    "scale_values": lambda x, numbers, blocks, backend: sqs.Codec(blocks, backend).quantize(x).scale_values()[0],
    "pack what is quantized": lambda x, numbers, blocks, backend: sqs.Codec(blocks, backend).quantize(x).pack(),
    "fields": lambda x, numbers, blocks, backend: sqs.Codec(blocks, backend).quantize(x).fields()["elements"],
    "==": lambda x, numbers, blocks, backend: sqs.Codec(blocks, backend).quantize(x) == sqs.Codec(blocks).quantize(x),
    "unpack": lambda x, numbers, blocks, backend: sqs.unpack(sqs.Codec(blocks).pack(x), blocks, x.shape).codes,
}
REST: dict[str, Call] = {
    "mse": lambda x, *_: sqs.mse(x, 1.5 * x),
    "sqnr_db": lambda x, *_: sqs.sqnr_db(x, 1.5 * x),
    "Histogram": lambda x, *_: sqs.Histogram.of(x).merge(sqs.Histogram.of(2 * x)).counts,
    "folded": lambda x, *_: repr(sqs.Histogram.of(x).folded()),
    "sides": lambda x, *_: repr(sqs.Histogram.of(x).sides()),
    "Empirical": lambda x, *_: repr(Empirical.of(x)),
    "MinMax": lambda x, numbers, *_: sqs.MinMax().fit(x, numbers),
    "Analytic": lambda x, numbers, *_: sqs.Analytic().fit(x, numbers),
    "Iterative": lambda x, numbers, *_: sqs.Iterative().fit(x, numbers, channel_axis=0),
    "Percentile": lambda x, numbers, *_: sqs.Percentile(99).fit(x, numbers),
    "Search": lambda x, numbers, *_: sqs.Search().fit(x, numbers),
    "Unscaled": lambda x, numbers, *_: sqs.Unscaled().fit(x, numbers),
    "choose": lambda x, numbers, *_: sqs.MinMax().choose(sqs.Histogram.of(x), numbers),
    "Stream": _streamed,
    "measure": lambda x, numbers, blocks, _: repr(sqs.measure(x, [numbers, blocks])),
    "rank": lambda x, numbers, blocks, _: repr(sqs.rank(x, [numbers, blocks])),
    "expected_error": lambda x, numbers, *_: sqs.expected_error(numbers, prior="gaussian").mse,
    "matmul": lambda x, *_: H100.matmul(x.half(), x.half().T, instruction="mma.f16.f32"),
    "identify": lambda x, numbers, *_: repr(identify(x, values=sqs.Codec(numbers).fake_quantize(x))),
    "assert_bit_exact": lambda x, *_: repr(assert_bit_exact(x, x.clone())),
    "to_c": lambda x, numbers, *_: sqs.to_c(numbers),
    "to_systemverilog": lambda x, numbers, *_: sqs.to_systemverilog(numbers),
    "convert": lambda x, *_: H100.convert(x, "cvt.rn.satfinite.e4m3x2.f32"),
}


def _plain(found: Any) -> Any:
    """A scale as its values, a number as an array."""
    found = getattr(found, "value", found)
    return found if isinstance(found, torch.Tensor | np.ndarray | str | bytes) else np.asarray(found)


def _between_graphs(call: Call, backend: str, x: Any, formats: list[Any]) -> tuple[Any, int]:
    """What it gives between two torch operations, and how many graphs torch's compiler made."""
    graphs = []

    def count(graph: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        graphs.append(graph)
        return graph

    def step(x: Any) -> tuple[Any, Any]:
        found = call(x + 1, *formats, backend)
        return found, x * 2

    torch.compiler.reset()
    found, doubled = torch.compile(step, backend=count)(x)
    assert_bit_exact(doubled, x * 2)
    return found, len(graphs)


def _formats(*named: str) -> list[Any]:
    """Formats of a name of their own, of which nothing is cached."""
    name = re.sub(r"\W+", "_", "_".join(("for", *named)))
    return [sqs.parse_format(text.format(name)) for text in (NUMBERS, BLOCKS)]


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("name", CODECS)
def test_codecs_run_between_two_graphs(name: str, backend: str) -> None:
    """The backend's, and what is made of their results, whatever the backend."""
    formats = _formats(name, backend)
    found, graphs = _between_graphs(CODECS[name], backend, X, formats)
    _assert_same(found, CODECS[name](X + 1, *formats, backend))
    assert graphs == 2


@pytest.mark.parametrize("name", ["pack", "scale_values", "pack what is quantized", "fields", "==", "unpack"])
def test_what_follows_a_traced_codec_runs_behind_its_graph(name: str) -> None:
    formats = _formats(name, "behind a graph")
    found, _ = _between_graphs(CODECS[name], "torch", X, formats)
    _assert_same(found, CODECS[name](X + 1, *formats, "numba"))


@pytest.mark.parametrize("name", REST)
def test_statistics_and_products_run_between_graphs(name: str) -> None:
    formats = _formats(name)
    found, graphs = _between_graphs(REST[name], "auto", X, formats)
    _assert_same(found, REST[name](X + 1, *formats, "auto"))
    assert graphs <= 3


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("name", ["encode", "fake_quantize", "quantize", "there and back", "pack"])
def test_numpy_arrays_are_not_taken_for_tensors(name: str, backend: str) -> None:
    formats = _formats(name, backend, "of numpy")
    found, _ = _between_graphs(CODECS[name], backend, X.numpy(), formats)
    _assert_same(found, CODECS[name](X.numpy() + 1, *formats, backend))


class Doubled(sqs.Codec):
    """A codec with methods of its own."""

    def encode(self, x: Any, **options: Any) -> Any:
        return super().encode(2 * x, **options)

    def decode(self, codes: Any, **options: Any) -> Any:
        return super().decode(codes, **options) / 2

    def fake_quantize(self, x: Any, **options: Any) -> Any:
        return super().fake_quantize(2 * x, **options) / 2


def test_methods_of_a_subclass_run_once() -> None:
    codec = Doubled(sqs.load_format("float8_e4m3fn"))
    found, _ = _between_graphs(lambda x, *_: codec.fake_quantize(x) + codec.decode(codec.encode(x)), "auto", X, [])
    _assert_same(found, codec.fake_quantize(X + 1) + codec.decode(codec.encode(X + 1)))


@pytest.mark.parametrize("stance", ["eager_on_recompile", "force_eager", "fail_on_recompile"])
def test_torch_may_compile_nothing_more(stance: str) -> None:
    codecs = [sqs.Codec(sqs.load_format(name)) for name in ("float8_e4m3fn", "mxfp4")]

    def step(x: Any) -> tuple[Any, ...]:
        q = codecs[1].quantize(x + 1)
        return *(codec.fake_quantize(x + 1) for codec in codecs), codecs[0].encode(x), q.codes, codecs[1].dequantize(q)

    torch.compiler.reset()
    compiled = torch.compile(step, backend="eager")
    compiled(X)
    with torch.compiler.set_stance(stance):
        for found, wanted in zip(compiled(X), step(X), strict=True):
            assert_bit_exact(found, wanted)


def _assert_same(found: Any, wanted: Any) -> None:
    found, wanted = _plain(found), _plain(wanted)
    assert type(found) is type(wanted)
    if isinstance(found, str | bytes):
        assert found == wanted
    else:
        assert_bit_exact(found, wanted)
