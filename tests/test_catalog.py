"""The built-in files: each loads, names its source, and means what independent libraries say it means."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from oracles import is_run, resolve

from statqat_sim.errors import SpecError
from statqat_sim.matmul import load_accelerator
from statqat_sim.spec.catalog import Catalog, catalog, formats, load_format, parse_format
from statqat_sim.spec.files import builtin_directory
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.parts import KINDS

GOLDEN: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "golden" / "number_formats.json").read_text("utf-8")
)["formats"]
FILES = {path.stem: path for path in sorted((builtin_directory() / "number").glob("*.yaml"))}
TEXTS: dict[str, dict[str, Any]] = {stem: yaml.safe_load(path.read_text("utf-8")) for stem, path in FILES.items()}
SURVEYED = [key for key, facts in GOLDEN.items() if "derived" in facts]
LISTED = [key for key in SURVEYED if GOLDEN[key]["bits"] <= 16]
WIDE = [key for key in SURVEYED if GOLDEN[key]["bits"] > 16]
TABLED = [key for key, facts in GOLDEN.items() if "table" in facts]
ORACLES = [(stem, entry) for stem, text in TEXTS.items() for entry in text.get("oracle", ()) if is_run(entry)]
OPTIONAL_KEYS = [
    (stem, part, key)
    for stem, text in TEXTS.items()
    for part in ("element", "encode")
    for key in text.get(part, {})
    if key not in ("kind", "bits", "exponent_bits", "mantissa_bits", "values")
]


@cache
def loaded(name: str) -> NumberFormat:
    return load_format(name)


@cache
def table(name: str) -> NDArray[np.float64]:
    return loaded(name).table()


def finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The finite ones, -0.0 as 0.0."""
    return values[np.isfinite(values)] + 0.0


def same_values(ours: NDArray[Any], theirs: NDArray[Any]) -> bool:
    """Equal on every code: NaN with NaN, and the sign of zero counts."""
    signs = np.signbit(ours) == np.signbit(theirs)
    return np.array_equal(ours, theirs, equal_nan=True) and bool((signs | np.isnan(ours)).all())


# --- the files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stem", FILES)
def test_a_file_loads_under_its_stem_and_says_where_its_numbers_come_from(stem: str) -> None:
    assert TEXTS[stem]["name"] == loaded(stem).name == stem
    assert TEXTS[stem].get("source"), "a built-in file has its own source"
    assert loaded(stem).title
    assert parse_format(yaml.safe_dump(TEXTS[stem])) == loaded(stem)


def test_the_catalog_is_these_files() -> None:
    assert set(FILES) <= set(formats())


def test_the_survey_is_complete() -> None:
    assert (len(LISTED), WIDE) == (93, ["float32", "tf32", "fp24_amd", "pxr24"])
    assert {facts["kind"] for facts in GOLDEN.values()} == set(KINDS)


@pytest.mark.parametrize("name", ["float64", "fp64", "double", "binary64"])
def test_float64_is_what_values_are_told_in(name: str) -> None:
    with pytest.raises(LookupError, match=f"{name} is not in the catalog: it is what every value is told in"):
        load_format(name)
    with pytest.raises(SpecError, match="extends: .* is not in the catalog"):
        parse_format(f"name: x\nextends: {name}\n")


def test_no_two_formats_share_a_name_or_alias() -> None:
    names = Counter(name.lower() for stem, text in TEXTS.items() for name in (stem, *text.get("aliases", ())))
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("stem", FILES)
def test_every_alias_leads_to_its_file(stem: str) -> None:
    assert {load_format(alias).name for alias in TEXTS[stem].get("aliases", ())} <= {stem}


@pytest.mark.parametrize(("stem", "part", "key"), OPTIONAL_KEYS)
def test_no_key_says_what_holds_without_it(stem: str, part: str, key: str) -> None:
    rest = {name: value for name, value in TEXTS[stem][part].items() if name != key}
    text = {**TEXTS[stem], part: rest} if rest else {name: value for name, value in TEXTS[stem].items() if name != part}
    try:
        without = parse_format(yaml.safe_dump(text))
    except SpecError:
        return  # the key is needed
    assert without != loaded(stem)


@pytest.mark.parametrize("stem", [stem for stem in FILES if "." in stem])
def test_a_profile_extends_the_format_that_it_is_named_after_and_names_a_release(stem: str) -> None:
    assert TEXTS[stem]["extends"] == stem.partition(".")[0]
    assert "element" not in TEXTS[stem]
    assert all("==" in entry for entry in loaded(stem).oracle)
    assert loaded(stem).oracle or re.search(r"report v[\d.]+ .*, section [\d.]+", loaded(stem).source)


# --- facts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", GOLDEN)
def test_kind_and_bits(key: str) -> None:
    assert loaded(key).element.kind == GOLDEN[key]["kind"]
    assert loaded(key).bits == GOLDEN[key]["bits"]


@pytest.mark.parametrize("key", [key for key in GOLDEN if key not in WIDE])
def test_a_table_holds_every_code(key: str) -> None:
    assert table(key).shape == (1 << GOLDEN[key]["bits"],)


@pytest.mark.parametrize("key", LISTED)
def test_extremes(key: str) -> None:
    facts, format = GOLDEN[key]["derived"], loaded(key)
    values = finite(table(key))
    assert (values.min(), values.max()) == (facts["min_finite"], facts["max_finite"])
    assert format.smallest == facts["min_positive"]
    assert values[values > 0].min() == facts["min_positive"]
    if not encoder_is_narrower(format):
        assert (format.min, format.max) == (facts["min_finite"], facts["max_finite"])


@pytest.mark.parametrize("key", [key for key in SURVEYED if GOLDEN[key]["kind"] == "float"])
def test_the_ranges_of_floats(key: str) -> None:
    facts, format = GOLDEN[key]["derived"], loaded(key)
    assert (format.max, format.min_normal) == (facts["max_finite"], facts["min_normal"])
    assert format.min_subnormal == facts["min_subnormal"]


@pytest.mark.parametrize("key", WIDE)
def test_floats_of_more_than_16_bits_have_the_specials_of_ieee(key: str) -> None:
    facts, element = GOLDEN[key]["derived"], loaded(key).element
    assert (facts["codes_nan"], facts["negative_zero"]) == ("ieee", True)
    exponents = ((1 << element.exponent_bits) - 1) << element.mantissa_bits
    assert element.value(exponents) == math.inf
    assert element.value(element.sign_bit | exponents) == -math.inf
    assert all(math.isnan(element.value(exponents | mantissa)) for mantissa in (1, 2, (1 << element.mantissa_bits) - 1))
    assert math.copysign(1, element.value(element.sign_bit)) == -1
    assert loaded(key).nan_codes == 2 * ((1 << element.mantissa_bits) - 1)


@pytest.mark.parametrize("name", ["float32", "tf32", "pxr24"])
def test_formats_with_the_exponent_of_float32_are_its_upper_bits(name: str) -> None:
    element = loaded(name).element
    random = np.random.default_rng(0).integers(0, 1 << element.bits, 2000).tolist()
    edges = [code + step for code in (0, 1 << element.mantissa_bits, 1 << (element.bits - 1)) for step in (0, 1, 2)]
    codes = np.array([*random, *edges, (1 << element.bits) - 1], np.uint32)
    theirs = (codes << np.uint32(32 - element.bits)).view(np.float32)
    assert same_values(np.array(list(map(element.value, codes.tolist())), np.float32), theirs)


@pytest.mark.parametrize("key", LISTED)
def test_special_codes(key: str) -> None:
    facts, format, values = GOLDEN[key]["derived"], loaded(key), table(key)
    nans, infs = np.flatnonzero(np.isnan(values)), np.flatnonzero(np.isinf(values))
    assert len(nans) == format.nan_codes == facts["num_nan"]
    assert len(infs) == format.inf_codes == facts["num_inf"]
    assert nans[:8].tolist() == [int(code, 16) for code in facts["nan_codes"]]
    assert infs[:8].tolist() == [int(code, 16) for code in facts["inf_codes"]]


@pytest.mark.parametrize("key", LISTED)
def test_zeros_and_distinct_values(key: str) -> None:
    facts, values = GOLDEN[key]["derived"], table(key)
    zeros = values == 0
    assert zeros.any() == facts["has_zero"]
    assert np.signbit(values[zeros]).any() == facts["negative_zero"]
    assert len(np.unique(finite(values))) == facts["num_finite_distinct"]
    assert loaded(key).finite_codes == np.isfinite(values).sum()


@pytest.mark.parametrize("stem", [stem for stem in FILES if stem not in WIDE])
def test_the_grid_is_what_the_encoder_produces(stem: str) -> None:
    format, grid = loaded(stem), loaded(stem).grid()
    assert (np.diff(grid) > 0).all()
    assert (grid[0], grid[-1]) == (format.min, format.max)
    assert grid[grid > 0][0] == format.smallest
    assert np.isin(grid, finite(table(stem))).all()
    if not encoder_is_narrower(format):
        assert np.array_equal(grid, np.unique(finite(table(stem))))


@pytest.mark.parametrize("bits", range(2, 9))
def test_narrow_integers_are_symmetric(bits: int) -> None:
    top = 2 ** (bits - 1) - 1
    assert loaded(f"int{bits}_narrow").grid().tolist() == list(range(-top, top + 1))


@pytest.mark.parametrize("bits", [*range(1, 9), 16])
def test_integers_use_every_code(bits: int) -> None:
    assert loaded(f"uint{bits}").grid().tolist() == list(range(2**bits))
    if bits > 1:
        half = 2 ** (bits - 1)
        assert loaded(f"int{bits}").table().tolist() == [*range(half), *range(-half, 0)]


def test_code_3_of_the_ternary_format_is_read_and_never_produced() -> None:
    assert table("ternary_b158").tolist() == [-1, 0, 1, 2]
    assert loaded("ternary_b158").grid().tolist() == [-1, 0, 1]


def encoder_is_narrower(format: NumberFormat) -> bool:
    return isinstance(format.element, IntElement) and (format.element.min, format.element.max) != (None, None)


@pytest.mark.parametrize("stem", [stem for stem in FILES if "." not in stem])
def test_formats_of_up_to_8_bits_saturate_and_wider_floats_overflow_as_their_documents_say(stem: str) -> None:
    elsewhere = dict.fromkeys(("float32", "tf32", "fp24_amd", "float16", "bfloat16"), "inf") | {"dlfloat16": "nan"}
    assert loaded(stem).encode.overflow == elsewhere.get(stem, "saturate")


# --- independent libraries -------------------------------------------------------------------------------------------


DECODED_OTHERWISE = {"ue4m3.ggml": [0x7F]}
"""Codes of profiles, which are about encoding, that their library reads as something else."""

WITHOUT_VALUES = {"universal:takum_log16"}
"""Libraries whose values are not the nearest float64."""


@pytest.mark.parametrize(("stem", "entry"), [(stem, entry) for stem, entry in ORACLES if entry not in WITHOUT_VALUES])
def test_every_code_has_the_value_that_the_library_gives_it(stem: str, entry: str) -> None:
    theirs = resolve(entry).decode()
    if stem == "ue4m3":  # the non-negative half of the library's type
        theirs = theirs[: len(theirs) // 2]
    with np.errstate(over="ignore"):
        ours = table(stem).astype(theirs.dtype)
    for code in DECODED_OTHERWISE.get(stem, ()):
        assert not same_values(ours[code], theirs[code])
        ours[code] = theirs[code]
    assert same_values(ours, theirs)


@pytest.mark.parametrize("key", TABLED)
def test_every_code_has_the_value_of_the_golden_table(key: str) -> None:
    golden = np.array([float.fromhex(value) for value in GOLDEN[key]["table"].split()])
    assert same_values(table(key), golden)


@pytest.mark.parametrize("stem", [stem for stem in FILES if stem.startswith("p3109_") and "." not in stem])
def test_p3109_names_say_what_the_format_is(stem: str) -> None:
    element = loaded(stem).element
    bits, precision, sign, domain = int(stem[12]), int(stem[14]), stem[15], stem[16]
    assert (element.bits, element.mantissa_bits) == (bits, precision - 1)
    assert (loaded(stem).min < 0, loaded(stem).inf_codes > 0) == (sign == "s", domain == "e")
    assert loaded(stem).oracle == (f"gfloat:p3109_k{bits}p{precision}{sign}{domain}",)


def test_the_8_bit_p3109_family_is_complete() -> None:
    family = {
        f"p3109_binary8p{p}{sign}{domain}"
        for sign, most in (("s", 7), ("u", 8))
        for p in range(1, most + 1)
        for domain in "ef"
    }
    assert family <= FILES.keys()


# --- facts that no library holds -------------------------------------------------------------------------------------


def powers_of_two(low: int, high: int) -> Iterator[float]:
    return (math.ldexp(1.0, exponent) for exponent in range(low, high + 1))


def test_float4_e3m0fn_holds_the_powers_of_two_of_onednn() -> None:
    assert loaded("float4_e3m0fn").grid()[8:].tolist() == list(powers_of_two(-2, 4))


@pytest.mark.parametrize(
    ("name", "step", "count"), [("float4_e1m2fn", 0.25, 7), ("float3_e1m1fn", 0.5, 3), ("bfp_sm4", 0.25, 7)]
)
def test_formats_with_one_exponent_bit_are_sign_and_magnitude(name: str, step: float, count: int) -> None:
    assert loaded(name).grid().tolist() == [step * n for n in range(-count, count + 1)]


def test_the_subnormals_of_cfloat8_are_half_as_large_as_those_of_ieee() -> None:
    assert table("cfloat8_143")[1] == 2.0**-10
    assert table("float8_e4m3fn")[1] == 2.0**-9
    assert np.array_equal(table("cfloat8_143")[8:120], table("float8_e4m3fn")[8:120])


@pytest.mark.parametrize("bits", [4, 6, 8, 16])
def test_the_extremes_of_posits_are_those_of_the_standard(bits: int) -> None:
    """Posit Standard (2022), section 3.3: minPos = 2^(-4n + 8), maxPos = 2^(4n - 8)."""
    format = loaded(f"posit{bits}")
    assert (format.smallest, format.max) == (2.0 ** (8 - 4 * bits), 2.0 ** (4 * bits - 8))


def test_hif8_has_the_binades_of_its_paper() -> None:
    """arXiv 2409.16626, abstract: 7 exponents with 3 mantissa bits, 8 with 2, 16 with 1, and 7 subnormal binades."""
    grid = loaded("hif8").grid()
    values_in_binade = Counter(Counter(math.frexp(value)[1] for value in grid[grid > 0]).values())
    assert values_in_binade == {8: 7, 4: 8, 2: 15, 1: 8}  # the largest binade has lost 1.5 * 2^15 to Inf


@pytest.mark.parametrize("name", [None, 3, ["int8"], NumberFormat])
def test_a_format_is_loaded_by_name_or_path(name: Any) -> None:
    with pytest.raises(
        TypeError, match=f"name is of type {type(name).__name__}; allowed: the name of a format, such as 'int8'"
    ):
        load_format(name)


@pytest.mark.parametrize("text", [None, 3, {"name": "x"}])
def test_a_format_is_parsed_from_text(text: Any) -> None:
    with pytest.raises(TypeError, match=f"text is of type {type(text).__name__}; allowed: YAML text, as str or bytes$"):
        parse_format(text)
    with pytest.raises(TypeError, match="text is of type .*Path; .*; load_format reads files"):
        parse_format(Path("x.yaml"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("mxfp8", "'mxfp8_e4m3' or 'mxfp8_e5m2'"),
        ("MXFP8", "'mxfp8_e4m3' or 'mxfp8_e5m2'"),
        ("fp8", "'fp8_e4m3', 'fp8_e5m2' or 'fp8_block128_deepseek'"),
        ("deepseek", "'deepseek_fp8_weight' or 'deepseek_fp8_activation'"),
        ("nvfp", "'nvfp4'"),
        ("mxpf4", "'mxfp4'"),
    ],
)
def test_names_of_which_a_word_is_a_part_are_nearest(word: str, names: str) -> None:
    with pytest.raises(LookupError, match=rf"no format is named '{word}'; did you mean {names}\? "):
        load_format(word)


def test_a_part_of_a_name_is_no_folder() -> None:
    with pytest.raises(NotADirectoryError, match="e4m3: not a directory of formats; .* folders .* not parts of names"):
        formats("e4m3")


def test_a_folder_that_is_missing_is_told_with_what_named_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATQAT_FORMATS", f"{tmp_path / 'none'}")
    with pytest.raises(NotADirectoryError, match=r"none: not a directory of formats; allowed in \$STATQAT_FORMATS: "):
        formats()
    with pytest.raises(NotADirectoryError, match="here: not a directory of formats; allowed in `search`: "):
        formats("here")


@pytest.mark.parametrize("kind", ["format", "accelerator"])
@pytest.mark.parametrize("parent", ["a", "b"])
def test_a_file_that_extends_itself_is_told_so_wherever_it_lies(tmp_path: Path, kind: str, parent: str) -> None:
    (tmp_path / "a.yaml").write_text(f"name: a\nextends: {parent}\n")
    (tmp_path / "b.yaml").write_text("name: b\nextends: a\n")
    load = load_format if kind == "format" else load_accelerator
    with pytest.raises(SpecError, match=f"an? {kind} cannot extend itself: .*{parent} -> a"):
        load(tmp_path / "a.yaml")


def test_a_name_leads_to_its_file_among_several(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for stored in ("b/x.yaml", "a/b/x.yaml", "accelerator/z.yaml", "y.yaml/int8.yaml"):
        (first / stored).parent.mkdir(parents=True, exist_ok=True)
        (first / stored).write_text("")
    second.mkdir()
    (second / "x.yaml").write_text("")
    (second / "y.yaml").write_text("")
    (second / "lost.yaml").symlink_to(second / "nowhere")
    known = catalog([first, second])
    assert {name: known.file(name) for name in known.files} == known.files
    assert known.file("x") == first / "a/b/x.yaml"
    assert known.file("y") == second / "y.yaml"
    assert known.file("int8") == first / "y.yaml/int8.yaml"
    assert known.file("z") is known.file("lost") is known.file("*") is known.file("") is None


def test_a_file_is_found_without_a_list_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Catalog, "files", property(lambda self: pytest.fail("all files are listed")))
    assert load_format("mxfp4").name == "mxfp4"
    assert load_format("float8_e4m3fn.ml_dtypes").name == "float8_e4m3fn.ml_dtypes"


def test_accelerators_beside_formats_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nextends: nvidia_h100\ninstructions: {}\n")
    assert "mine" not in formats(tmp_path)
