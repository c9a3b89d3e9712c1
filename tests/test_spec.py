"""Good specs: defaults, inheritance, names, derived properties; and that no text does more than be refused."""

from __future__ import annotations

import copy
import math
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from definitions import described, exact_value
from hypothesis import given, settings
from strategies import number_mappings, number_specs, to_yaml

from statqat_sim.errors import Problem, SpecError, UnsupportedError
from statqat_sim.spec.catalog import catalog, formats, load_format, parse_format
from statqat_sim.spec.encode import EncodePolicy, NanInput, Overflow, Rounding
from statqat_sim.spec.files import SEARCH_VARIABLE
from statqat_sim.spec.floating import FloatElement, Zero
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.pack import Pack

E4M3 = "{kind: float, exponent_bits: 4, mantissa_bits: 3, nan: all_ones}"


def element(text: str) -> Any:
    return parse_format(f"name: x\nelement: {text}\n").element


def write(folder: Path, **files: str) -> Path:
    """A folder of formats: stem = what follows the name."""
    folder.mkdir(exist_ok=True)
    for stem, text in files.items():
        (folder / f"{stem}.yaml").write_text(f"name: {stem}\n{text}\n", encoding="utf-8")
    return folder


# --- defaults --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("exponent_bits", "bias"), [(1, 0), (2, 1), (3, 3), (4, 7), (5, 15), (8, 127), (10, 511)])
def test_default_bias(exponent_bits: int, bias: int) -> None:
    assert element(f"{{kind: float, exponent_bits: {exponent_bits}, mantissa_bits: 2}}").bias == bias


@pytest.mark.parametrize(
    ("keys", "zero"),
    [
        ("", Zero.SIGNED),
        (", nan: all_ones", Zero.SIGNED),
        (", nan: ieee, inf: ieee", Zero.SIGNED),
        (", nan: negative_zero", Zero.POSITIVE),
        (", signed: false", Zero.POSITIVE),
        (", signed: false, subnormals: none", Zero.POSITIVE),
    ],
)
def test_default_zero(keys: str, zero: Zero) -> None:
    assert element(f"{{kind: float, exponent_bits: 4, mantissa_bits: 3{keys}}}").zero is zero


def test_default_policy() -> None:
    policy = parse_format(f"name: x\nelement: {E4M3}\n").encode
    assert policy == EncodePolicy(nan_input=NanInput.NAN)
    assert (policy.rounding, policy.overflow, policy.flush_inputs) == (Rounding.NEAREST_EVEN, Overflow.SATURATE, False)


def test_default_nan_input_depends_on_the_element() -> None:
    assert parse_format("name: x\nelement: {kind: int, bits: 4}\n").encode.nan_input is NanInput.MAX
    assert parse_format("name: x\nelement: {kind: codebook, bits: 2, values: [0, 1]}").encode.nan_input is NanInput.NAN


POSIT = "{kind: posit, bits: 8, es: 2}"


def words(policy: EncodePolicy) -> tuple[str, str, str]:
    return policy.tie_domain.value, policy.underflow.value, policy.inf_input.value


def test_posits_have_the_policy_of_their_standard() -> None:
    policy = parse_format(f"name: x\nelement: {POSIT}\n").encode
    assert (words(policy), policy.rounding, policy.nan_input) == (("bitstring", "min", "nan"), "nearest_even", "nan")


@pytest.mark.parametrize("kind", ["{kind: takum, bits: 8}", "{kind: lns, bits: 8, fraction_bits: 3}"])
def test_other_kinds_have_the_first_word_of_each_list(kind: str) -> None:
    assert words(parse_format(f"name: x\nelement: {kind}\n").encode) == ("arithmetic", "zero", "overflow")


def test_what_a_posit_says_holds_even_if_it_is_the_default_of_other_kinds() -> None:
    text = f"name: x\nelement: {POSIT}\nencode: {{tie_domain: arithmetic, underflow: zero, inf_input: overflow}}\n"
    assert words(parse_format(text).encode) == ("arithmetic", "zero", "overflow")
    mixed = parse_format(f"name: x\nelement: {POSIT}\nencode: {{underflow: zero, rounding: to_odd}}\n").encode
    assert words(mixed) == ("bitstring", "zero", "nan")


def test_random_bits_are_drawn_where_the_rounding_is_stochastic() -> None:
    text = f"name: x\nelement: {E4M3}\nencode: {{rounding: ROUNDING, random_bits: 7}}\n"
    drawn = {mode: parse_format(text.replace("ROUNDING", mode)).encode.drawn_bits for mode in Rounding}
    assert drawn == dict.fromkeys(Rounding, 0) | {Rounding(f"stochastic_{letter}"): 7 for letter in "abc"}
    assert parse_format(f"name: x\nelement: {E4M3}\nencode: {{rounding: stochastic_b}}").encode.drawn_bits == 16


@pytest.mark.parametrize(
    ("text", "pack"),
    [
        ("", Pack()),
        ("pack: {nibbles: low_first, bit_order: lsb}", Pack()),
        ("pack: {nibbles: high_first}", Pack(nibbles="high_first", bit_order="lsb")),
        ("pack: {bit_order: msb}", Pack(nibbles="low_first", bit_order="msb")),
    ],
)
def test_packing(text: str, pack: Pack) -> None:
    assert parse_format(f"name: x\nelement: {{kind: int, bits: 4}}\n{text}\n").pack == pack


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("{kind: int, bits: 4}", -8, 7),
        ("{kind: int, bits: 4, encoding: unsigned}", 0, 15),
        ("{kind: int, bits: 4, encoding: sign_magnitude}", -7, 7),
        ("{kind: int, bits: 4, encoding: offset_binary}", -8, 7),
        ("{kind: int, bits: 4, encoding: offset_binary, offset: 3}", -3, 12),
        ("{kind: int, bits: 4, min: -7}", -7, 7),
        ("{kind: int, bits: 4, fraction_bits: 3}", -1, 0.875),
        ("{kind: int, bits: 4, fraction_bits: -2}", -32, 28),
        ("{kind: int, bits: 32}", -(2**31), 2**31 - 1),
    ],
)
def test_ranges_of_integers(text: str, low: float, high: float) -> None:
    format = parse_format(f"name: x\nelement: {text}\n")
    assert (format.min, format.max) == (low, high)


def test_a_hexadecimal_code_is_a_code() -> None:
    assert parse_format(f"name: x\nelement: {E4M3}\nencode: {{nan_input: 0x7F}}\n").encode.nan_input == 127


# --- equality --------------------------------------------------------------------------------------------------


def spelled_out(format: NumberFormat) -> str:
    """The same format with every default written."""
    plain = format.model_dump(mode="json")
    plain["element"] = without_none(plain["element"])
    return to_yaml({key: plain[key] for key in ("name", "element", "encode", "pack")})


def without_none(value: Any) -> Any:
    """Without the keys that are not written."""
    if isinstance(value, dict):
        return {key: without_none(entry) for key, entry in value.items() if entry is not None}
    return [without_none(entry) for entry in value] if isinstance(value, list) else value


@given(text=number_specs())
def test_defaults_written_or_not_give_equal_formats(text: str) -> None:
    format = parse_format(text)
    again = parse_format(spelled_out(format))
    assert again == format
    assert hash(again) == hash(format)
    assert {format: "cached"}[again] == "cached"


def test_what_was_computed_does_not_count_for_equality() -> None:
    text = "name: x\nelement: {kind: codebook, bits: 2, values: [0.0, 1.0]}\n"
    format, other = parse_format(text), parse_format(text)
    format.table()
    assert format.element.levels == (0.0, 1.0)
    assert (format, hash(format)) == (other, hash(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{kind: codebook, bits: 1, values: [0.0, 1.0]}", "{kind: codebook, bits: 1, values: [-0.0, 1.0]}"),
        ("{kind: codebook, bits: 1, values: [0.0, 1.0]}", "{kind: codebook, bits: 2, values: [0.0, 1.0]}"),
        ("{kind: codebook, bits: 1, values: [0.0, 1.0]}", "{kind: codebook, bits: 1, values: [1.0, 0.0]}"),
        ("{kind: int, bits: 4}", "{kind: int, bits: 4, encoding: offset_binary}"),
        ("{kind: int, bits: 4}", "{kind: int, bits: 4, min: -8}"),
        ("{kind: float, exponent_bits: 4, mantissa_bits: 3}", E4M3),
    ],
)
def test_what_encodes_differently_is_unequal(one: str, other: str) -> None:
    assert element(one) != element(other)
    assert element(one) != "a format"


def test_numbers_of_a_codebook_may_be_written_as_integers() -> None:
    assert element("{kind: codebook, bits: 1, values: [0, 1]}") == element(
        "{kind: codebook, bits: 1, values: [0.0, 1.0]}"
    )


def test_formats_are_frozen_and_survive_copies() -> None:
    format = parse_format(f"name: x\nelement: {E4M3}\n")
    with pytest.raises(ValueError, match="frozen"):
        format.name = "y"
    assert copy.deepcopy(format) == pickle.loads(pickle.dumps(format)) == format


def test_errors_survive_pickling() -> None:
    error = SpecError([Problem("f", 2, 1, "b", "wrong"), Problem("f", 1, 1, "a", "wrong")])
    again = pickle.loads(pickle.dumps(error))
    assert (again.problems, str(again)) == (error.problems, "f:1:1: a: wrong\nf:2:1: b: wrong")


# --- inheritance -----------------------------------------------------------------------------------------------


@pytest.fixture
def family(tmp_path: Path) -> Path:
    return write(
        tmp_path / "family",
        base="aliases: [ancestor]\ntitle: Base\nsource: a document\noracle: [o]\n"
        f"element: {E4M3}\nencode: {{overflow: nan, via: float32}}",
        small="element: {kind: int, bits: 4}\nencode: {rounding: to_odd}",
        heir="extends: base\nencode: {rounding: to_odd}",
    )


def child(family: Path, text: str) -> NumberFormat:
    return parse_format(f"name: child\n{text}\n", search=family)


def test_a_child_inherits_what_it_does_not_say(family: Path) -> None:
    format = child(family, "extends: base")
    base = load_format("base", search=family)
    assert (format.name, format.aliases, format.oracle) == ("child", (), ())
    assert (format.title, format.source) == ("Base", "a document")
    assert (format.element, format.encode) == (base.element, base.encode)


def test_a_child_overrides_key_by_key(family: Path) -> None:
    format = child(family, "extends: base\ntitle: Child\nelement: {bias: 5}\nencode: {overflow: saturate}")
    assert format.title == "Child"
    assert format.element == element(E4M3.replace("}", ", bias: 5}"))
    assert (format.encode.overflow, format.encode.via) == ("saturate", "float32")


def test_the_same_kind_written_again_still_overrides_key_by_key(family: Path) -> None:
    assert child(family, "extends: base\nelement: {kind: float, bias: 5}").element.exponent_bits == 4


def test_inherited_keys_of_a_posit_count_as_written(tmp_path: Path) -> None:
    write(tmp_path, parent=f"element: {POSIT}\nencode: {{underflow: zero}}", other="element: {kind: int, bits: 8}")
    assert words(parse_format("name: x\nextends: parent\n", search=tmp_path).encode) == ("bitstring", "zero", "nan")
    turned = parse_format(f"name: x\nextends: other\nelement: {POSIT}\n", search=tmp_path)
    assert words(turned.encode) == ("bitstring", "min", "nan")


def test_packing_is_inherited_key_by_key(tmp_path: Path) -> None:
    write(tmp_path, parent="element: {kind: int, bits: 4}\npack: {nibbles: high_first}")
    assert parse_format("name: x\nextends: parent\n", search=tmp_path).pack.nibbles == "high_first"
    turned = parse_format("name: x\nextends: parent\npack: {nibbles: low_first, bit_order: msb}\n", search=tmp_path)
    assert turned.pack == Pack(nibbles="low_first", bit_order="msb")
    assert parse_format("name: x\nelement: parent\n", search=tmp_path).pack == Pack()


def test_another_kind_replaces_the_element_as_a_whole(family: Path) -> None:
    format = child(family, "extends: base\nelement: {kind: int, bits: 4}\nencode: {overflow: saturate}")
    assert format.element == element("{kind: int, bits: 4}")
    assert format.encode.via == "float32"


def test_defaults_are_taken_after_inheritance(family: Path) -> None:
    format = child(family, "extends: base\nelement: {exponent_bits: 5, nan: negative_zero}")
    assert (format.element.bias, format.element.zero) == (15, Zero.POSITIVE)
    assert child(family, "extends: base\nelement: {nan: none}\nencode: {overflow: saturate}").encode.nan_input == "max"


def test_inheritance_goes_on_over_generations(family: Path) -> None:
    policy = child(family, "extends: heir\nencode: {underflow: min}").encode
    assert (policy.overflow, policy.via, policy.rounding, policy.underflow) == ("nan", "float32", "to_odd", "min")


def test_an_element_by_name_brings_its_policy(family: Path) -> None:
    format = child(family, "element: small")
    assert (format.element, format.encode.rounding) == (element("{kind: int, bits: 4}"), "to_odd")
    assert child(family, "element: small\nencode: {rounding: nearest_up}").encode.rounding == "nearest_up"


def test_an_element_by_name_replaces_that_of_the_parent(family: Path) -> None:
    format = child(family, "extends: base\nelement: small\nencode: {overflow: wrap}")
    assert format.element == element("{kind: int, bits: 4}")
    assert (format.encode.rounding, format.encode.overflow, format.encode.via) == ("to_odd", "wrap", "float32")


def test_parents_are_found_by_alias(family: Path) -> None:
    assert child(family, "extends: ancestor").title == "Base"


def test_a_text_may_extend_a_format_of_its_own_name(family: Path) -> None:
    assert parse_format("name: base\nextends: base\n", search=family).title == "Base"


def test_a_profile_is_a_file_whose_name_has_a_dot(family: Path) -> None:
    (family / "base.vendor.yaml").write_text("name: base.vendor\nextends: base\nencode: {overflow: saturate}\n")
    assert load_format("base.vendor", search=family).encode.overflow == "saturate"
    assert load_format(family / "base.vendor.yaml", search=family).name == "base.vendor"


def test_a_wide_family_is_read_once_each(tmp_path: Path) -> None:
    files = {f"f{index}": f"extends: f{index + 1}\nelement: f{index + 1}" for index in range(15)}
    write(tmp_path, f15=f"element: {E4M3}", **files)
    assert load_format("f0", search=tmp_path).element == element(E4M3)


def test_too_many_generations_are_refused(tmp_path: Path) -> None:
    write(tmp_path, **{f"f{index}": f"extends: f{index + 1}" for index in range(200)}, f200=f"element: {E4M3}")
    with pytest.raises(SpecError, match="too many files in a row; allowed: 16"):
        load_format("f0", search=tmp_path)


def test_a_parent_that_cannot_be_read_is_a_problem_of_the_child(family: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no permission")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SpecError, match="extends: the file of 'base' cannot be read: no permission"):
        child(family, "extends: base")


# --- names -----------------------------------------------------------------------------------------------------


def test_a_format_is_found_by_name_alias_and_path(family: Path) -> None:
    by_name = load_format("base", search=family)
    assert load_format("ancestor", search=[family]) == by_name
    assert load_format(family / "base.yaml") == by_name
    assert load_format(str(family / "base.yaml")) == by_name
    assert load_format(os.fsencode(family / "base.yaml")) == by_name
    assert set(formats(search=family)) >= {"base", "small", "heir"}
    assert list(formats(search=family)) == sorted(formats(search=family))


def test_user_directories_come_before_the_environment_and_the_built_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (write(tmp_path / name, float16=f"title: {name}\nelement: {E4M3}") for name in "abc")
    assert load_format("float16").title not in {"a", "b", "c"}
    monkeypatch.setenv(SEARCH_VARIABLE, f"{second}{os.pathsep}{os.pathsep}{third}")
    assert load_format("float16").title == "b"
    assert load_format("float16", search=first).title == "a"
    assert load_format("float16", search=[third, first]).title == "c"
    monkeypatch.setenv(SEARCH_VARIABLE, "")
    assert load_format("float16").title not in {"a", "b", "c"}


def test_formats_in_subfolders_are_found(family: Path, tmp_path: Path) -> None:
    assert load_format("small", search=tmp_path).name == "small"


def test_a_name_comes_before_an_alias(tmp_path: Path) -> None:
    write(tmp_path, one=f"aliases: [two]\nelement: {E4M3}", two="element: {kind: int, bits: 4}")
    assert load_format("two", search=tmp_path).name == "two"


def test_an_alias_follows_its_file(tmp_path: Path) -> None:
    write(tmp_path, one=f"aliases: [first_alias]\nelement: {E4M3}")
    assert load_format("first_alias", search=tmp_path).name == "one"
    write(tmp_path, one=f"aliases: [another_alias]\nelement: {E4M3}")
    assert load_format("another_alias", search=tmp_path).name == "one"
    with pytest.raises(LookupError):
        load_format("first_alias", search=tmp_path)


def test_broken_files_do_not_hide_the_aliases_of_others(family: Path) -> None:
    for stem, text in {"bad": "[", "odd": "aliases: {a: b}", "list": "- a", "no": "aliases: [no, 5, [x]]"}.items():
        (family / f"{stem}.yaml").write_text(text)
    (family / "folder.yaml").mkdir()
    (family / "nowhere.yaml").symlink_to(family / "absent")
    assert load_format("ancestor", search=family).name == "base"
    assert "folder" not in catalog(family).files


def test_a_missing_name_suggests_the_nearest(family: Path) -> None:
    with pytest.raises(LookupError, match="no format is named 'bass'; did you mean 'base'\\?"):
        load_format("bass", search=family)
    with pytest.raises(LookupError, match="did you mean 'ancestor'\\?"):
        load_format("ancestro", search=family)
    with pytest.raises(LookupError, match="no format is named 'zzzzzz' \\("):
        load_format("zzzzzz", search=family)


@pytest.mark.parametrize("name", ["", " ", "a\0b", "\ud800", "x" * 100_000, "é", "..", "a\nb"])
def test_an_odd_name_is_a_missing_name(name: str) -> None:
    with pytest.raises(LookupError, match="no format is named"):
        load_format(name)


@pytest.mark.parametrize(
    "path", ["nowhere/x.yaml", "nowhere.yaml", "a\0/b.yaml", "/", f"{'x' * 5000}/y.yaml", os.devnull]
)
def test_an_odd_path_is_an_operating_system_error(path: str) -> None:
    with pytest.raises(OSError, match="."):
        load_format(path)


def test_a_missing_directory_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotADirectoryError, match="nowhere"):
        load_format("float16", search=tmp_path / "nowhere")
    monkeypatch.setenv(SEARCH_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(NotADirectoryError, match="nowhere"):
        formats()


# --- properties ------------------------------------------------------------------------------------------------


SMALL = number_mappings(max_bits=9)


@settings(deadline=None)
@given(spec=SMALL)
def test_every_code_means_what_the_definitions_say(spec: dict[str, Any]) -> None:
    table = parse_format(to_yaml(spec)).table()
    assert table.dtype == np.float64
    expected = [exact_value(spec["element"], code) for code in range(len(table))]
    assert [described(value) for value in table.tolist()] == expected


def produced(spec: dict[str, Any], table: np.ndarray) -> np.ndarray:
    """The finite values that an encoder may produce, ascending: those between `min` and `max`."""
    unit = 2.0 ** -spec["element"].get("fraction_bits", 0)
    low, high = spec["element"].get("min", -math.inf) * unit, spec["element"].get("max", math.inf) * unit
    return np.unique([value for value in table if math.isfinite(value) and low <= value <= high]) + 0.0


@settings(deadline=None)
@given(spec=SMALL)
def test_properties_follow_from_the_table(spec: dict[str, Any]) -> None:
    format = parse_format(to_yaml(spec))
    table, grid = format.table(), format.grid()
    values = produced(spec, table)
    assert grid.dtype == np.float64
    assert grid.tolist() == values.tolist()
    assert not np.signbit(grid[grid == 0]).any()
    assert (format.max, format.min) == (values[-1], values[0])
    above = values[values > 0]
    assert format.smallest == (above[0] if len(above) else values[values < 0][-1])
    largest = values[-1] if len(above) else -values[0]
    assert format.dynamic_range_db == pytest.approx(20 * math.log10(largest) - 20 * math.log10(abs(format.smallest)))
    assert (format.nan_codes, format.inf_codes) == (np.isnan(table).sum(), np.isinf(table).sum())
    assert format.finite_codes == np.isfinite(table).sum()
    next_to_one = values[values > 1]
    has_step = 1 in values and len(next_to_one)
    assert format.ulp_at_one == (next_to_one[0] - 1 if has_step else None)


@settings(deadline=None)
@given(spec=number_mappings(["float"], max_bits=9))
def test_the_ranges_of_a_float_follow_from_its_codes(spec: dict[str, Any]) -> None:
    format = parse_format(to_yaml(spec))
    e, m = spec["element"]["exponent_bits"], spec["element"]["mantissa_bits"]
    positive = {
        magnitude: value for magnitude, value in enumerate(format.table()[: 2 ** (e + m)]) if 0 < value < math.inf
    }
    first_normal = 0 if format.element.subnormals == "none" else 2**m
    normal = [value for magnitude, value in positive.items() if magnitude >= first_normal]
    subnormal = [value for magnitude, value in positive.items() if magnitude < first_normal]
    assert format.min_subnormal == (subnormal[0] if subnormal else None)
    if normal:
        assert format.min_normal == normal[0]
    else:
        assert format.min_normal > format.max


@given(spec=number_mappings(["int", "codebook", "posit", "takum", "lns"], max_bits=9))
def test_other_kinds_have_no_subnormals(spec: dict[str, Any]) -> None:
    format = parse_format(to_yaml(spec))
    assert (format.min_normal, format.min_subnormal) == (format.smallest, None)


@settings(deadline=None)
@given(spec=SMALL)
def test_what_an_element_says_of_its_codes_is_in_the_table(spec: dict[str, Any]) -> None:
    format = parse_format(to_yaml(spec))
    table, element = format.table(), format.element
    assert (element.nan_code is None) == (format.nan_codes == 0)
    assert element.nan_code is None or math.isnan(table[element.nan_code])
    assert element.inf_code is None or table[element.inf_code] == math.inf
    assert element.has_zero == (0 in format.grid())
    assert element.has_negative == (format.grid()[0] < 0)
    assert element.signed_nan == (
        element.nan_code is not None and bool(math.isnan(table[-1])) and is_signed_float(element)
    )
    assert len(table) == 2**format.bits


def is_signed_float(element: object) -> bool:
    return isinstance(element, FloatElement) and element.signed and element.nan != "negative_zero"


@settings(deadline=None)
@given(text=number_specs(["int"]))
def test_codes_of_integers_decode_to_them(text: str) -> None:
    element = parse_format(text).element
    low, high = element.full_range
    for n in {low, high, 0, *element.range, max(low, -1), min(high, 1)}:
        assert element.integer(element.code(n)) == n
        assert 0 <= element.code(n) < 2**element.bits


@given(text=number_specs(["codebook"], max_bits=8))
def test_levels_of_a_codebook_have_their_lowest_codes(text: str) -> None:
    element = parse_format(text).element
    for level in element.levels:
        code = element.level_code(level)
        same = [other for other, value in enumerate(element.values) if value == level]
        assert code == same[0] or (level == 0 and math.copysign(1, element.values[code]) == 1)
        if level == 0:
            negative = element.level_code(level, negative_zero=True)
            assert negative == code or math.copysign(1, element.values[negative]) == -1


def test_a_table_of_more_than_16_bits_is_refused() -> None:
    format = parse_format("name: wide\nelement: {kind: int, bits: 17}\n")
    for listing in (format.table, format.grid):
        with pytest.raises(UnsupportedError, match="wide: a table of 2\\^17 values; allowed: formats of up to 16 bits"):
            listing()
    assert len(parse_format("name: x\nelement: {kind: int, bits: 16}\n").table()) == 65536


@pytest.mark.parametrize(
    ("keys", "step"),
    [
        ("exponent_bits: 4, mantissa_bits: 3", 0.125),
        ("exponent_bits: 4, mantissa_bits: 0", 1.0),
        ("exponent_bits: 1, mantissa_bits: 3, bias: 1", 0.125),
        ("exponent_bits: 1, mantissa_bits: 3, bias: 0", 0.25),  # 1 is subnormal
        ("exponent_bits: 1, mantissa_bits: 3, bias: -2", 1.0),
        ("exponent_bits: 1, mantissa_bits: 3, bias: -3", None),  # the quantum is 2
        ("exponent_bits: 2, mantissa_bits: 3, bias: 0, subnormals: raw", None),  # in the gap above the subnormals
        ("exponent_bits: 2, mantissa_bits: 3, bias: -1, subnormals: raw", 0.25),
        ("exponent_bits: 2, mantissa_bits: 1, bias: -1, subnormals: raw", 3.0),  # over the gap
        ("exponent_bits: 2, mantissa_bits: 3, bias: 0, subnormals: flush", None),
        ("exponent_bits: 2, mantissa_bits: 3, bias: 0, subnormals: none", None),
        ("exponent_bits: 2, mantissa_bits: 3, bias: 0, subnormals: none, zero: none", 0.125),
        ("exponent_bits: 2, mantissa_bits: 0, bias: 3", None),  # 1 is the largest
        ("exponent_bits: 2, mantissa_bits: 1, bias: 3, nan: all_ones", None),  # 1.5 is NaN
        ("exponent_bits: 4, mantissa_bits: 3, bias: 100", None),
        ("exponent_bits: 4, mantissa_bits: 3, bias: -100", None),
    ],
)
def test_ulp_at_one(keys: str, step: float | None) -> None:
    assert element(f"{{kind: float, {keys}}}").ulp_at_one == step


@pytest.mark.parametrize(
    ("text", "largest", "smallest"),
    [
        (
            "{kind: float, exponent_bits: 11, mantissa_bits: 20, nan: ieee, inf: ieee}",
            2.0**1023 * (2 - 2.0**-20),
            2.0**-1042,
        ),
        ("{kind: float, exponent_bits: 1, mantissa_bits: 0, bias: -1022}", 2.0**1023, 2.0**1023),
        ("{kind: float, exponent_bits: 1, mantissa_bits: 0, bias: 1075}", 2.0**-1074, 2.0**-1074),
        ("{kind: float, exponent_bits: 1, mantissa_bits: 1, nan: ieee, inf: ieee}", 1.0, 1.0),
        ("{kind: float, exponent_bits: 8, mantissa_bits: 0, bias: 127, signed: false}", 2.0**128, 2.0**-126),
        ("{kind: int, bits: 1}", 0.0, -1.0),
        ("{kind: int, bits: 32, fraction_bits: -64}", 2.0**95 - 2.0**64, 2.0**64),
        ("{kind: codebook, bits: 2, values: [-2.0, -1.0]}", -1.0, -1.0),
        ("{kind: codebook, bits: 2, values: [-2.0, 0.0]}", 0.0, -2.0),
        ("{kind: codebook, bits: 1, values: [5.0e-324, 1.7976931348623157e+308]}", 1.7976931348623157e308, 5e-324),
    ],
)
def test_extreme_formats_have_finite_properties(text: str, largest: float, smallest: float) -> None:
    format = parse_format(f"name: x\nelement: {text}\n")
    assert (format.max, format.smallest) == (largest, smallest)
    assert math.isfinite(format.dynamic_range_db)
