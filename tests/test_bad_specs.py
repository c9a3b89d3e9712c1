"""Every file of `bad_specs` is refused with exactly the problems that its first comments announce, in order."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import statqat_sim.spec.located as located
from statqat_sim.errors import SpecError
from statqat_sim.spec.catalog import load_format

FOLDER = Path(__file__).parent / "bad_specs"
PARENTS = FOLDER / "parents"
FILES = sorted(FOLDER.glob("*.yaml"))
ANNOUNCED = "# expect: "


def problems(path: Path) -> list[str]:
    """What is told about a file: without its own name, and without the folders of other files."""
    with pytest.raises(SpecError) as caught:
        load_format(path, search=[PARENTS, path.parent])
    lines = [str(problem) for problem in caught.value.problems]
    assert str(caught.value) == "\n".join(lines)
    return [line.removeprefix(f"{path}:").replace(f"{PARENTS}/", "") for line in lines]


def assert_problems(path: Path, expected: list[str]) -> None:
    if "not valid YAML" in " ".join(expected) and not hasattr(yaml, "CSafeLoader"):
        pytest.skip("PyYAML without libyaml words its errors in another way")
    assert problems(path) == expected


def written(folder: Path, text: str | bytes) -> Path:
    """A file of this text, whose stem is `generated`."""
    path = folder / "generated.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_bad_file_is_refused_with_what_it_announces(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    announced = [line.removeprefix(ANNOUNCED) for line in lines if line.startswith(ANNOUNCED)]
    assert announced
    assert_problems(path, announced)


def test_no_file_lacks_its_fault() -> None:
    assert len(FILES) > 150


GOOD = "name: generated\nelement: {kind: int, bits: 8}\n"
CONTROL = "is not allowed in YAML; remove it"
GENERATED = {
    "empty": ("", ["1:1: the file is empty; expected a mapping of keys"]),
    "comments_only": ("# one\n# two\n", ["1:1: the file is empty; expected a mapping of keys"]),
    "spaces_only": (" \n \n", ["1:1: the file is empty; expected a mapping of keys"]),
    "byte_order_mark_only": (b"\xef\xbb\xbf", ["1:1: the file is empty; expected a mapping of keys"]),
    "document_start_only": ("---\n", ["2:1: expected a mapping of keys, got nothing"]),
    "two_documents": (f"{GOOD}---\n{GOOD}", ["3:1: a second document starts here; allowed: one per file"]),
    "three_documents": ("--- a\n--- b\n--- c\n", ["2:1: a second document starts here; allowed: one per file"]),
    "latin_1": (GOOD.encode() + b"title: caf\xe9\n", ["3:11: byte 0xe9 is not UTF-8; save the file as UTF-8"]),
    "cut_utf_8": (GOOD.encode() + "title: é".encode()[:-1], ["3:8: byte 0xc3 is not UTF-8; save the file as UTF-8"]),
    "column_counts_characters": (
        b"title: \xc3\xa9\xc3\xa9\xff",
        ["1:10: byte 0xff is not UTF-8; save the file as UTF-8"],
    ),
    "surrogate_in_utf_8": (b"title: \xed\xa0\x80", ["1:8: byte 0xed is not UTF-8; save the file as UTF-8"]),
    "utf_16": (GOOD.encode("utf-16"), ["1:1: the file is UTF-16; save it as UTF-8"]),
    "utf_16_without_mark": (GOOD.encode("utf-16-le"), [f"1:2: character U+0000 {CONTROL}"]),
    "nul": (GOOD + "title: \0\n", [f"3:8: character U+0000 {CONTROL}"]),
    "escape": (GOOD + "title: \x1b[0m\n", [f"3:8: character U+001B {CONTROL}"]),
    "control_after_crlf": ("name: generated\r\ntitle: \x07\r\n", [f"2:8: character U+0007 {CONTROL}"]),
    "noncharacter": (GOOD + "title: \uffff\n", [f"3:8: character U+FFFF {CONTROL}"]),
    "second_byte_order_mark": ("\ufeff\ufeffname: generated\n", [f"1:1: character U+FEFF {CONTROL}"]),
    "crlf_columns": (
        GOOD.replace("\n", "\r\n").replace("8}", "x}"),
        ["2:28: element.bits: expected an integer from 1 to 32, got 'x'"],
    ),
    "byte_order_mark_columns": (
        b"\xef\xbb\xbf" + GOOD.replace("8}", "x}").encode(),
        ["2:28: element.bits: expected an integer from 1 to 32, got 'x'"],
    ),
    "too_large": (
        GOOD + "# " + "x" * located.MAX_BYTES,
        [f"1:1: the file is too large: {located.MAX_BYTES + 1} bytes; allowed: {located.MAX_BYTES}"],
    ),
    "integer_of_5000_digits": (
        GOOD.replace("8", "9" * 5000),
        ["2:28: element.bits: a number of 5000 characters; allowed: 1200"],
    ),
    "float_of_5000_digits": (
        GOOD.replace("8", f"0.{'9' * 5000}"),
        ["2:28: element.bits: a number of 5002 characters; allowed: 1200"],
    ),
    "integer_of_1000_digits": (
        GOOD.replace("8", "9" * 1000),
        [f"2:28: element.bits: '{'9' * 60}...' is beyond 64 bits; where a number may have a fraction, write a float"],
    ),
    "long_text_is_cut": (
        GOOD.replace("8", "x" * 5000),
        [f"2:28: element.bits: expected an integer from 1 to 32, got '{'x' * 60}...'"],
    ),
    "long_key_is_cut": (
        GOOD + f'"{"k" * 500}": 1\n',
        [
            f"3:1: '{'k' * 60}...': unknown key "
            "(allowed: aliases, element, encode, extends, name, offset, oracle, pack, scales, source, title)"
        ],
    ),
    "too_many_keys": (
        GOOD + "".join(f"k{index}: 1\n" for index in range(located.MAX_KEYS)),
        [f"1:1: {located.MAX_KEYS + 2} keys; allowed: {located.MAX_KEYS}"],
    ),
    "too_many_values": (
        GOOD + f"title: [{'1,' * 2 * located.MAX_NODES}]",
        [f"3:{9 + 2 * (2 * located.MAX_NODES - 13)}: too many values; allowed: {located.MAX_NODES}"],
    ),
    "recursion_of_the_parser": ("[" * 100_000, ["1:33: nested too deeply; allowed: 32 levels"]),
    "key_beyond_1024_characters": (
        f"{'k' * 2000}: 1\n",
        ["1:2001: not valid YAML: mapping values are not allowed in this context"],
    ),
    "yaml_2": (f"%YAML 2.0\n---\n{GOOD}", ["1:1: not valid YAML: found incompatible YAML document"]),
}


@pytest.mark.parametrize("case", GENERATED)
def test_a_file_that_cannot_announce_its_fault_is_refused(case: str, tmp_path: Path) -> None:
    text, expected = GENERATED[case]
    assert_problems(written(tmp_path, text), expected)


def test_a_long_list_of_problems_is_cut_in_the_text_only(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace("int, bits: 8", f"codebook, bits: 8, values: [{', '.join('x' * 150)}]"))
    with pytest.raises(SpecError) as caught:
        load_format(path)
    assert len(caught.value.problems) == 150
    lines = str(caught.value).splitlines()
    assert len(lines) == 101
    assert lines[-1] == "... and 50 more"
