"""No text at all, however wrong, does more than be refused: no other error, no endless work.

`fuzz_corpus` holds what broke a reader somewhere, or might: each file a few hundred bytes, named after what it does.
"""

from __future__ import annotations

import contextlib
import copy
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from strategies import inline, number_mappings, number_specs, to_yaml

from statqat_sim.errors import Problem, SpecError, shown
from statqat_sim.spec.block import BlockFormat, Offset
from statqat_sim.spec.catalog import formats, load_format, parse_format
from statqat_sim.spec.encode import EncodePolicy
from statqat_sim.spec.files import builtin_directory, is_path
from statqat_sim.spec.pack import BlockPack, Pack
from statqat_sim.spec.parts import KINDS
from statqat_sim.spec.reader import TOP_KEYS
from statqat_sim.spec.scale import Candidates, ScaleLevel
from statqat_sim.spec.tapered import Regime

CORPUS = sorted((Path(__file__).parent / "fuzz_corpus").iterdir())


def problems_of(text: str | bytes) -> tuple[Problem, ...]:
    """Those of a text, or none if it is a format."""
    try:
        format = parse_format(text)
    except SpecError as error:
        return error.problems or (Problem("", 0, 0, "", "an error without problems"),)
    element = format.element if isinstance(format, BlockFormat) else format
    assert math.isfinite(element.dynamic_range_db)
    assert element.min <= element.max
    if isinstance(format, BlockFormat) and not format.block_map:  # five digits of base 3 share a byte in TQ1_0's
        assert 0 < format.bits <= format.bits_per_element
    assert format == parse_format(text)
    return ()


def refused_or_read(text: str | bytes) -> None:
    """A format, or a SpecError with problems, each told on a line of its own that a terminal can show."""
    for problem in problems_of(text):
        assert str(problem).startswith(f"<string>:{problem.line}:{problem.column}: ")
        assert len(str(problem).splitlines()) == 1
        assert str(problem).encode()
        assert "object at 0x" not in str(problem)


WORDS = re.findall(
    r"\S+",
    """
    name: element: {kind: encode: extends: aliases: values: rounding: overflow: scales: nan_input: random_bits: bits:
    : ? - , [ ] { } & * ! | > ' " % @ ` # --- ... <<: &a *a !!str !x %YAML 8 float int codebook posit takum lns tapered
    hif8 float8_e4m3fn scales: format: block: rule: floor 32 tensor offset: candidates: regimes: prefix: "01" pack: es:
    ~ null no yes true 010 0x10 1e3 1.0e+5 1_0 1:2 .inf .nan -0
    """,
)
INVISIBLE = ["\n", "\n  ", " ", "\t", "\r\n", "\0", "\x85", "\u2028", "\ufeff", "\ud800", "é"]
PIECES = st.sampled_from(WORDS) | st.sampled_from(INVISIBLE) | st.text(max_size=3)


@given(text=st.one_of(st.binary(max_size=200), st.text(max_size=200), st.lists(PIECES, max_size=40).map("".join)))
def test_any_text_is_read_or_refused(text: str | bytes) -> None:
    refused_or_read(text)


@st.composite
def mutated(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """A good spec with a few pieces put in, taken out or moved."""
    text = draw(texts)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        stop = draw(st.integers(start, min(len(text), start + 12)))
        text = text[:start] + draw(st.one_of(PIECES, st.just(""), st.just(text[stop : stop + 20]))) + text[stop:]
    return text


@given(text=mutated(number_specs()))
def test_a_mutated_spec_is_read_or_refused(text: str) -> None:
    refused_or_read(text)


BUILT_IN = [path.read_text("utf-8") for path in sorted(builtin_directory().glob("[bn]*/*.yaml"))]


@given(text=mutated(st.sampled_from(BUILT_IN)))
def test_a_mutated_file_of_the_catalog_is_read_or_refused(text: str) -> None:
    refused_or_read(text)


@given(text=st.sampled_from(BUILT_IN), places=st.lists(st.floats(0, 1, exclude_max=True), min_size=1), byte=st.binary())
def test_a_file_of_the_catalog_with_other_bytes_is_read_or_refused(text: str, places: list[float], byte: bytes) -> None:
    data = bytearray(text.encode())
    for index, place in enumerate(places):
        data[int(place * len(data))] = byte[index % len(byte)] if byte else index
    refused_or_read(bytes(data))


NUMBERS = st.sampled_from([-(2**63), -1075, -1, 0, 1, 2, 3, 4, 8, 12, 14, 15, 16, 17, 24, 31, 32, 33, 64, 1023, 2**63])


@given(text=st.sampled_from(BUILT_IN), data=st.data())
def test_a_file_of_the_catalog_with_other_numbers_is_read_or_refused(text: str, data: st.DataObject) -> None:
    refused_or_read(re.sub(r"(?<=: )-?\d+", lambda number: str(data.draw(NUMBERS | st.just(number[0]))), text))


PARTS = (Pack, Regime, BlockPack, ScaleLevel, Candidates, Offset)
KEYS = st.sampled_from(
    sorted(
        {*TOP_KEYS, "kind"} | {key for model in (*KINDS.values(), EncodePolicy, *PARTS) for key in model.model_fields}
    )
)
VALUES = [
    "float",
    "int",
    "codebook",
    "posit",
    "takum",
    "tapered",
    "ieee",
    "all_ones",
    "none",
    "nan",
    "saturate",
    "wrap",
    "stochastic_a",
    "high_first",
    "logarithmic",
    "01",
    "float16",
    "float8_e8m0fnu",
    "uint1",
    "mxfp4",
    "gguf_q4_k",
    "floor",
    "mse",
    "minmax",
    "channel",
    "tensor",
    "exponent_add",
    "interleaved",
]
LEAVES = st.one_of(
    st.integers(-(2**65), 2**65),
    st.integers(-2, 40),
    st.floats(),
    st.booleans(),
    st.text(st.characters(codec="ascii", exclude_characters='"\\', exclude_categories=["C"]), max_size=8),
    st.sampled_from(VALUES),
)
TREES = st.recursive(LEAVES, lambda child: st.lists(child, max_size=3) | st.dictionaries(KEYS, child, max_size=5))


@given(spec=st.dictionaries(KEYS, TREES, max_size=6), element=st.dictionaries(KEYS, LEAVES, max_size=6))
def test_any_value_of_any_key_is_read_or_refused(spec: dict[str, Any], element: dict[str, Any]) -> None:
    refused_or_read(to_yaml(spec))
    refused_or_read(to_yaml({"name": "x"} | spec | {"element": element}))


@given(spec=number_mappings(), key=KEYS, value=TREES, part=st.sampled_from(["element", "encode", "pack", "regimes"]))
def test_one_wrong_value_is_read_or_refused(spec: dict[str, Any], key: str, value: Any, part: str) -> None:
    target = spec["element"].get("regimes", [{}])[0] if part == "regimes" else spec.setdefault(part, {})
    refused_or_read(to_yaml(spec))
    target[key] = value
    refused_or_read(to_yaml(spec))


@given(spec=number_mappings(), value=TREES, data=st.data())
def test_one_key_with_another_value_is_read_or_refused(spec: dict[str, Any], value: Any, data: st.DataObject) -> None:
    model, target = data.draw(st.sampled_from([(EncodePolicy, "encode"), (Pack, "pack"), (None, "element")]))
    keys = spec["element"].keys() if model is None else model.model_fields
    spec.setdefault(target, {})[data.draw(st.sampled_from(sorted(keys)))] = value
    refused_or_read(to_yaml(spec))


BLOCKS = [yaml.safe_load(text) for text in BUILT_IN if "\nscales:" in text]


@given(spec=st.sampled_from(BLOCKS), key=KEYS, value=TREES, data=st.data())
def test_a_block_format_with_another_value_is_read_or_refused(
    spec: dict[str, Any], key: str, value: Any, data: st.DataObject
) -> None:
    spec = copy.deepcopy(spec)
    levels = spec["scales"] + spec.get("offset", {}).get("scales", [])
    nested = [level["format"] for level in levels if isinstance(level["format"], dict)]
    target = data.draw(st.sampled_from([spec, spec.setdefault("pack", {}), *levels, *nested]))
    target[data.draw(st.sampled_from(sorted(target.keys() | {key})))] = value
    refused_or_read(to_yaml(spec))


@given(value=TREES)
def test_the_strategies_write_what_yaml_reads(value: Any) -> None:
    refused_or_read(f"title: {inline(value)}\n")


@given(name=st.text(max_size=20) | st.sampled_from(formats()) | st.text(max_size=8).map("{}.yaml".format))
def test_any_name_is_found_or_not(name: str) -> None:
    try:
        format = load_format(name)
    except (LookupError, OSError) as error:
        told = str(error)
    else:
        assert name in (format.name, *format.aliases)
        return
    assert shown(str(Path(name)) if is_path(name) else name) in told


# --- the corpus ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_a_nasty_file_is_read_or_refused(path: Path) -> None:
    data = path.read_bytes()
    refused_or_read(data)
    refused_or_read(data.decode("utf-8", "surrogateescape"))
    refused_or_read(data.decode("latin-1"))
    with contextlib.suppress(SpecError):
        load_format(path)


def test_the_corpus_is_small() -> None:
    assert len(CORPUS) > 70
    assert all(path.stat().st_size < 10_000 for path in CORPUS)


# --- large files ----------------------------------------------------------------------------------------------

ELEMENT = "name: x\nelement: "
CODEBOOK = ELEMENT + "{kind: codebook, bits: 16, values: ["
TAPERED = ELEMENT + "{kind: tapered, bits: 8, regimes: ["
UNKNOWN = ",".join(f"exponent_bit{index}: 1" for index in range(90))
HUGE = {
    "numbers": CODEBOOK + ",".join(str(index / 7) for index in range(20_000)) + "]}",
    "texts_for_numbers": CODEBOOK + "x," * 20_000 + "]}",
    "ambiguous_numbers": CODEBOOK + "1_0.5e5," * 20_000 + "]}",
    "numbers_of_many_digits": CODEBOOK + f"0.{'1' * 1190}," * 3300 + "]}",
    "no_numbers": CODEBOOK + ".nan," * 20_000 + "]}",
    "tags": CODEBOOK + "!x 1," * 20_000 + "]}",
    "anchors": CODEBOOK + ",".join(f"&a{index} 1" for index in range(20_000)) + "]}",
    "regimes": TAPERED + '{prefix: "0", mantissa_bits: 3, exponent_bits: 2},' * 5_000 + "]}",
    "unknown_keys_in_regimes": TAPERED + f"{{{UNKNOWN}}}," * 200 + "]}",
    "prefix": TAPERED + f'{{prefix: "{"01" * 500_000}", mantissa_bits: 3}}, {{prefix: "1", mantissa_bits: 3}}]}}',
    "aliases": ELEMENT + "int8\naliases: [" + '"a b",' * 20_000 + "]",
    "digits": ELEMENT + f"{{kind: int, bits: {'1' * 1_000_000}}}",
    "underscores": ELEMENT + f"{{kind: int, bits: {'1_' * 500_000}}}",
    "sexagesimals": ELEMENT + f"{{kind: int, bits: 1{':30' * 300_000}}}",
    "brackets": "[" * 1_000_000,
    "braces": "{" * 1_000_000,
    "dashes": "- " * 500_000,
    "questions": "? " * 500_000,
    "bangs": "!" * 1_000_000,
    "quotes": "name: '" + "''" * 500_000 + "'",
    "folded": "title: >\n" + "  a\n\n" * 200_000,
    "comments": "# x\n" * 300_000,
    "levels": f"{ELEMENT}int8\nscales: [{'{format: float16, block: 1},' * 10_000}]",
    "candidates": f"{ELEMENT}int8\nscales: [{{format: ue4m3, block: 1, rule: mse, candidates: [{'0,' * 20_000}]}}]",
    "fields": f"{ELEMENT}int8\nscales: [{{format: ue4m3, block: 1}}]\npack: {{fields: [{'scale,' * 20_000}]}}",
    "name_of_a_parent": "name: x\nextends: " + "a" * 1_000_000,
}
NEVER = 600
"""Seconds: what takes seconds ends, what takes longer than this does not."""


def test_large_files_are_read_or_refused_in_the_end() -> None:
    code = "import test_fuzz\nfor text in test_fuzz.HUGE.values(): test_fuzz.problems_of(text)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, timeout=NEVER, check=True)
