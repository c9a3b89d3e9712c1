"""Formats as text: what is read back means the same, for the whole catalog and for formats at random."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings

import statqat_sim as sqs
from statqat_sim.spec.format import Format
from statqat_sim.spec.located import read_document
from statqat_sim.spec.text import format_hash, format_text, yaml_text
from tests.block_strategies import block_specs
from tests.strategies import number_specs

DESCRIPTIVE = ("name", "aliases", "title", "source", "oracle")


def meaning(value: Any) -> Any:
    """All that decides on codes: values without the keys that describe, which formats within others lose."""
    if isinstance(value, dict):
        return {key: meaning(child) for key, child in value.items() if key not in DESCRIPTIVE}
    return [meaning(child) for child in value] if isinstance(value, list | tuple) else value


def assert_round_trip(format: Format) -> None:
    text = format_text(format)
    read = sqs.parse_format(text)
    assert read.name == format.name
    assert meaning(read.model_dump()) == meaning(format.model_dump())
    assert format_text(read) == text
    assert format_hash(read) == format_hash(format)


@pytest.mark.parametrize("name", sqs.formats())
def test_the_text_of_a_format_means_the_format(name: str) -> None:
    format = sqs.load_format(name)
    assert_round_trip(format)
    if isinstance(format, sqs.NumberFormat):
        read = sqs.parse_format(format_text(format))
        described = {key: getattr(format, key) for key in DESCRIPTIVE}
        assert read.model_copy(update=described) == format


def test_no_two_formats_of_the_catalog_share_a_hash() -> None:
    hashes = {format_hash(sqs.load_format(name)) for name in sqs.formats()}
    assert len(hashes) == len(sqs.formats())


def test_the_text_names_no_other_format() -> None:
    text = format_text(sqs.load_format("nvfp4.mse"))
    assert set(yaml.safe_load(text)) == {"name", "element", "encode", "scales"}
    assert "float8" not in text
    assert "extends" not in text


def test_the_hash_follows_the_meaning_and_not_the_words() -> None:
    plain = sqs.parse_format("name: a\nelement: {kind: int, bits: 4}")
    described = sqs.parse_format("name: a\ntitle: of mine\nsource: me\nelement: {kind: int, bits: 4, fraction_bits: 0}")
    other = sqs.parse_format("name: a\nelement: {kind: int, bits: 4}\nencode: {rounding: nearest_away}")
    assert format_hash(plain) == format_hash(described)
    assert format_hash(plain) != format_hash(other)


def test_a_hash_stays_what_it_is() -> None:
    """Files that were saved hold it."""
    assert format_hash(sqs.load_format("int4")) == "d826023feb99dd8dc5b5f7f191408a1d805bb647d51868ac084ba7a3abc83e4d"


def test_minus_zero_and_small_numbers_survive() -> None:
    written = "name: a\nelement: {kind: codebook, bits: 2, values: [-0.0, 1.0e-30, 0.1, 1.0e+20]}"
    read = sqs.parse_format(format_text(sqs.parse_format(written)))
    assert isinstance(read, sqs.NumberFormat)
    assert [value.hex() for value in read.table()] == [value.hex() for value in np.array([-0.0, 1e-30, 0.1, 1e20])]


@given(number_specs() | block_specs())
@settings(max_examples=150, deadline=None)
def test_formats_at_random(spec: str) -> None:
    assert_round_trip(sqs.parse_format(spec))


@pytest.mark.parametrize("word", ["y", "no", "1e3", "0b1", "1_0", "01", "", "null", "*", "a: b", "x", "1:30", "é\n"])
def test_texts_are_read_back_as_texts(word: str) -> None:
    assert read_document(yaml_text({"key": word}), "file").sound().plain() == {"key": word}
