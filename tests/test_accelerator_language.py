"""`formats/ACCELERATORS.md` is whole: its examples run, and it tells of every key and word, and of no others."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import pytest

from statqat_sim.spec import accelerator, accelerator_dot
from statqat_sim.spec.accelerator_meaning import ACCELERATOR_MEANING, ACCELERATOR_TOP, INSTRUCTION
from statqat_sim.spec.encode import Rounding

TEXT = (Path(__file__).parent.parent / "formats" / "ACCELERATORS.md").read_text(encoding="utf-8")
PROSE = re.sub(r"^```.*?^```$", "", TEXT, flags=re.DOTALL | re.MULTILINE)
SPANS = {" ".join(span.split()) for span in re.findall(r"`([^`]+)`", PROSE)}
SAID = {word for span in SPANS for word in re.findall(r"[a-z_]+[a-z]", span)} | {"a", "b", "c", "d", "k"}

KEYS = {key.rpartition(".")[2] for key in (*ACCELERATOR_TOP, *INSTRUCTION, *ACCELERATOR_MEANING)}
ENUMS = [
    each
    for room in (accelerator, accelerator_dot)
    for each in vars(room).values()
    if isinstance(each, type) and issubclass(each, StrEnum) and each not in (StrEnum, Rounding)
]
WORDS = {word.value for each in ENUMS for word in each}
OTHERS = {"plan", "lowest", "even_odd", "in", "add", "float", *(mode.value for mode in Rounding)}
"""An argument, and words that no enumeration has."""


def test_its_examples_run() -> None:
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE):
        exec(compile(block, "ACCELERATORS.md", "exec"), names)
    assert "chain" in names


@pytest.mark.parametrize("kind", ["keys", "words"])
def test_it_tells_of_every_key_and_word(kind: str) -> None:
    assert {"keys": KEYS, "words": WORDS}[kind] - SAID == set()


def test_it_has_no_words_of_its_own() -> None:
    spoken = {span for span in SPANS if re.fullmatch(r"[a-z_]+(: [a-z_]+)?", span)}
    assert {word for span in spoken for word in span.split(": ")} - KEYS - WORDS - OTHERS == set()
