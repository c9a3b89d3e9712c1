"""Reading YAML: what every spelling means, where it stands, and what is refused."""

from __future__ import annotations

import math
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from statqat_sim.errors import Problem, SpecError
from statqat_sim.spec.located import MAX_DEPTH, UNREADABLE, Located, dotted, read_document


def value_of(text: str) -> object:
    """The value of one scalar."""
    return read_document(f"key: {text}", "file.yaml").sound().find(("key",)).value


def refusal_of(text: str) -> str:
    """Why one scalar is refused."""
    with pytest.raises(SpecError) as caught:
        value_of(text)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.path) == (1, 6, "key")
    return problem.message


# --- scalars ---------------------------------------------------------------------------------------------------

ACCEPTED = {
    "0": 0,
    "7": 7,
    "-7": -7,
    "+7": 7,
    "0x1F": 31,
    "0xff": 255,
    "9223372036854775807": 2**63 - 1,
    "-9223372036854775807": 1 - 2**63,
    "0.0": 0.0,
    "0.": 0.0,
    "1.": 1.0,
    ".5": 0.5,
    "-0.5": -0.5,
    "1.0e-3": 1e-3,
    "1.0e+3": 1e3,
    "1.5E-45": 1.5e-45,
    "5.0e-324": 5e-324,
    "1.7976931348623157e+308": 1.7976931348623157e308,
    ".inf": math.inf,
    "-.inf": -math.inf,
    ".Inf": math.inf,
    "true": True,
    "True": True,
    "FALSE": False,
    "~": None,
    "null": None,
    "": None,
    "nan": "nan",
    "inf": "inf",
    "none": "none",
    "float8_e4m3fn": "float8_e4m3fn",
    "e4m3": "e4m3",
    "'no'": "no",
    "'1e-3'": "1e-3",
    '"010"': "010",
    '"\\u00e9"': "é",
    "|\n  two\n  lines": "two\nlines",
    ">\n  one\n  line": "one line",
}

AMBIGUOUS = {
    "1e-3": "write 1.0e-3",
    "6e1": "write 6.0e+1",
    "1.0e5": "write 1.0e+5",
    "-2.5e7": "write -2.5e+7",
    "1e400": "write a plain decimal number",
    "yes": "write true or false",
    "No": "write true or false",
    "ON": "write true or false",
    "off": "write true or false",
    "y": "write true or false",
    "N": "write true or false",
    "010": "write 10",
    "-007": "write -7",
    "08": "write 8",
    "00.5": "write 0.5",
    "0o17": "write a plain decimal number",
    "0b11": "write a plain decimal number",
    "-0x10": "write a plain decimal number",
    "+.5": "write 0.5",
    "1_000": "write 1000",
    "1_0.5": "write 10.5",
    "1:30": "write a plain decimal number",
    "1:30.5": "write a plain decimal number",
    "2024-01-31": "write a plain decimal number",
    "=": "quote it",
    "<<": "quote it",
}


@pytest.mark.parametrize("text", ACCEPTED)
def test_a_spelling_without_doubt_is_read(text: str) -> None:
    value = value_of(text)
    assert (type(value), value) == (type(ACCEPTED[text]), ACCEPTED[text])


def test_signs_of_zero_and_nan_are_read() -> None:
    assert math.copysign(1, value_of("-0.0")) == -1
    assert math.isnan(value_of(".nan"))


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_a_doubtful_spelling_is_refused_with_what_to_write(text: str) -> None:
    message = refusal_of(text)
    assert message.startswith(f"{text!r} reads differently in YAML 1.1 and YAML 1.2; ")
    assert AMBIGUOUS[text] in message
    assert f"quote it: '{text}'" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-0", "'-0' is an integer, which has no sign at zero; write 0 or -0.0"),
        ("1.0e+309", "'1.0e+309' is beyond float64; allowed: up to 1.7976931348623157e+308"),
        ("-1.0e+309", "'-1.0e+309' is beyond float64; allowed: up to 1.7976931348623157e+308"),
        ("2.0e-324", "'2.0e-324' reads as 0 in float64; allowed: 0.0, or from 5.0e-324"),
        (
            "18446744073709551616",
            "'18446744073709551616' is beyond 64 bits; where a number may have a fraction, write a float",
        ),
        (
            "-9223372036854775808",
            "'-9223372036854775808' is beyond 64 bits; where a number may have a fraction, write a float",
        ),
        ("!!float 1", "tag '!!float' is not allowed; write the plain value"),
        ("!!str no", "tag '!!str' is not allowed; write the plain value"),
        ("!local 1", "tag '!local' is not allowed; write the plain value"),
        ("!!binary aGk=", "tag '!!binary' is not allowed; write the plain value"),
        ("!!timestamp '2024-01-31'", "tag '!!timestamp' is not allowed; write the plain value"),
        ("!!python/name:os.getcwd x", "tag '!!python/name:os.getcwd' is not allowed; write the plain value"),
    ],
)
def test_a_scalar_that_cannot_be_kept_is_refused(text: str, message: str) -> None:
    assert refusal_of(text) == message


@pytest.mark.parametrize("text", ["0.0e+999", "-0.000", "0.0e-999"])
def test_a_zero_is_a_zero_whatever_its_exponent(text: str) -> None:
    assert value_of(text) == 0


SCALAR_TEXT = st.one_of(
    st.from_regex(r"[-+]?[0-9._]{1,6}([eE][-+]?[0-9]{1,3})?", fullmatch=True),
    st.from_regex(r"[-+]?0[xob][0-9a-fA-F_]{1,5}", fullmatch=True),
    st.from_regex(r"[0-9]{1,2}(:[0-9]{1,2}){1,2}(\.[0-9])?", fullmatch=True),
    st.sampled_from(["yes", "NO", "True", "null", "~", "y", ".inf", "-.INF", ".NaN", "+.inf", "-.nan", "Off"]),
    st.text("0123456789+-._eExo:nyNY~ ", min_size=1, max_size=6).map(str.strip).filter(bool),
)


@given(text=SCALAR_TEXT)
def test_what_is_read_is_what_yaml_1_1_reads(text: str) -> None:
    try:
        value = value_of(text)
    except SpecError:
        return
    (expected,) = yaml.safe_load(f"key: {text}").values()
    assert type(value) is type(expected)
    assert value == expected or (math.isnan(value) and math.isnan(expected))


@given(text=SCALAR_TEXT)
def test_the_advised_spelling_is_read_as_the_number_that_was_meant(text: str) -> None:
    try:
        value_of(text)
    except SpecError as error:
        advice = re.search(r"write ([-+0-9.e]+),", str(error))
        if advice and "not valid" not in str(error):
            assert value_of(advice[1]) == float(text.replace("_", ""))


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_in_python_spelling_is_read_or_advised(value: float) -> None:
    text = repr(value)
    try:
        read = value_of(text)
    except SpecError as error:
        advice = re.search(r"write ([^;]+);", str(error))
        assert advice
        read = value_of(advice[1])
    assert (read, math.copysign(1, read)) == (value, math.copysign(1, value))


# --- places ----------------------------------------------------------------------------------------------------

TEXT = """\
# a comment
name: x
element:
  values: [1, {deep: 2.0}]
  "quoted key": 3
"""


def test_every_value_knows_its_place_and_path() -> None:
    root = read_document(TEXT, "file.yaml").sound()
    places = {
        path: root.find(path) for path in [("name",), ("element", "values", 1, "deep"), ("element", "quoted key")]
    }
    assert {path: (node.line, node.column, node.value) for path, node in places.items()} == {
        ("name",): (2, 7, "x"),
        ("element", "values", 1, "deep"): (4, 22, 2.0),
        ("element", "quoted key"): (5, 17, 3),
    }
    assert places["element", "values", 1, "deep"].path == ("element", "values", "1", "deep")
    assert root.keys == {"name": (2, 1), "element": (3, 1)}
    assert root.plain() == {"name": "x", "element": {"values": [1, {"deep": 2.0}], "quoted key": 3}}


def test_find_stops_at_the_deepest_node_that_exists() -> None:
    root = read_document(TEXT, "file.yaml").sound()
    values = root.find(("element", "values"))
    assert root.find(()) is root
    for path in [(2,), (-1,), ("0",), (10**9,), ("deep",), (0, 0)]:
        assert values.find(path) in (values, values.find((0,)))
    assert root.find((0, "name")) is root
    assert root.find(("name", 0)) is root.find(("name",))
    assert root.find(("", "nothing")) is root


def test_problems_say_file_place_and_path() -> None:
    root = read_document(TEXT, "file.yaml").sound()
    element = root.find(("element",))
    assert str(element.problem("wrong")) == "file.yaml:4:3: element: wrong"
    assert str(element.key_problem("values", "wrong")) == "file.yaml:4:3: element.values: wrong"
    assert str(element.key_problem("absent", "wrong")) == "file.yaml:4:3: element.absent: wrong"
    assert str(root.problem("wrong")) == "file.yaml:2:1: wrong"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("element", "bits"), "element.bits"),
        (("a-b", "c+d", "0"), "a-b.c+d.0"),
        (("a b",), "'a b'"),
        (("a\nb", ""), "'a\\nb'.''"),
        (("x" * 100,), f"'{'x' * 60}...'"),
    ],
)
def test_a_path_stays_on_one_line(path: tuple[str, ...], expected: str) -> None:
    assert dotted(path) == expected


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_lines_count_with_every_line_break(line_break: str) -> None:
    root = read_document(f"a: 1{line_break}b:{line_break}  c: 2{line_break}".encode(), "file.yaml").sound()
    assert (root.find(("b", "c")).line, root.find(("b", "c")).column) == (3, 6)


@pytest.mark.parametrize("text", ["\ufeffa: 1", b"\xef\xbb\xbfa: 1", b"a: 1", "a: 1"])
def test_a_byte_order_mark_is_no_part_of_the_text(text: str | bytes) -> None:
    root = read_document(text, "file.yaml").sound()
    assert (root.plain(), root.keys) == ({"a": 1}, {"a": (1, 1)})


def test_columns_count_characters() -> None:
    assert read_document("é𝄞: [ü, 1]", "file.yaml").sound().find(("é𝄞", 1)).column == 9


# --- structure -------------------------------------------------------------------------------------------------


def test_anchors_and_aliases_are_expanded() -> None:
    root = read_document("a: &x {b: [1, 2]}\nc: *x\nd: [*x, *x]", "file.yaml").sound()
    assert root.plain() == {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}, "d": [{"b": [1, 2]}, {"b": [1, 2]}]}
    assert root.find(("c", "b", 1)).path == ("c", "b", "1")


def test_nesting_is_allowed_up_to_the_bound() -> None:
    deep = MAX_DEPTH - 1
    assert read_document(f"a: {'[' * deep}1{']' * deep}", "file.yaml").problems == ()
    with pytest.raises(SpecError, match="nested too deeply"):
        read_document(f"a: {'[' * (deep + 1)}1{']' * (deep + 1)}", "file.yaml")


def test_all_problems_of_spelling_are_collected() -> None:
    document = read_document("a: no\nb: 010\na: 1\nc: !x 1\n? [d]\n: 1\n<<: {e: 1}\n", "f")
    places = [(problem.line, problem.column) for problem in document.problems]
    assert places == [(1, 4), (2, 4), (3, 1), (4, 4), (5, 3), (7, 1)]
    assert document.root.find(("a",)).value is UNREADABLE
    with pytest.raises(SpecError) as caught:
        document.sound()
    assert caught.value.problems == document.problems


def test_a_tagged_collection_is_unreadable() -> None:
    document = read_document("a: !!set {x}\nb: !y [no]\n", "f")
    assert [document.root.find((key,)).value for key in "ab"] == [UNREADABLE, UNREADABLE]
    assert [problem.column for problem in document.problems] == [4, 8, 4]


def test_a_quoted_merge_sign_is_a_key_like_any_other() -> None:
    assert read_document("'<<': 1", "f").sound().plain() == {"<<": 1}


def test_locating_by_hand_needs_no_keys() -> None:
    node = Located({}, "f", 3, 4, ("a",))
    assert node.key_problem("b", "wrong") == Problem("f", 3, 4, "a.b", "wrong")
