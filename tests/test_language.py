"""`formats/LANGUAGE.md` is whole: what is cited exists, its words are the language's, and its examples run."""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import statqat_sim as sqs
from statqat_sim.spec.block import OffsetKeys
from statqat_sim.spec.encode import EncodePolicy
from statqat_sim.spec.meaning import MEANING, TOP
from statqat_sim.spec.pack import BlockPack, Pack
from statqat_sim.spec.parts import KINDS
from statqat_sim.spec.scale import ScaleKeys
from statqat_sim.spec.validate import words_of

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "formats" / "LANGUAGE.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
DEFINITION = re.compile(r"^### (\d+)\. .+$", re.MULTILINE)
SPAN = re.compile(r"`([^`]+)`")

# --- numbers ---------------------------------------------------------------------------------------------------

NUMBERS = r"\d+(?:(?:, | and | to )\d+)*"
CITED = re.compile(rf"\bDefinitions? ({NUMBERS})")
BARE = re.compile(r"(?<=\s)\((\d\d?(?:(?:, | and | to )\d\d?)*)\)")
"""In the oracle; a number of more digits is a year."""

DEFINED = [int(number) for number in DEFINITION.findall(TEXT)]


def cited(pattern: re.Pattern[str], text: str) -> set[int]:
    """All numbers of all citations, those within ranges too."""
    found: set[int] = set()
    for numbers in pattern.findall(text):
        for part in re.split(r", | and ", numbers):
            first, *last = map(int, part.split(" to "))
            found.update(range(first, max([first, *last]) + 1))
    return found


def prose(path: Path) -> str:
    """A source file's docstrings and comments, each on one line."""
    source = path.read_text(encoding="utf-8")
    strings = (node.value.value for node in ast.walk(ast.parse(source)) if is_text(node))
    comments = (
        token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    )
    return "\n".join(" ".join(text.split()) for text in (*strings, *comments))


def is_text(node: ast.AST) -> bool:
    """Whether a node is a string that stands by itself: a docstring, of a name too."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def sources(*folders: str) -> Iterator[Path]:
    return (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))


def undefined(pattern: re.Pattern[str], texts: Iterable[tuple[Path, str]]) -> dict[Path, set[int]]:
    """The numbers that each file cites, and that are no Definitions; there must be some citations."""
    found = {path: cited(pattern, text) for path, text in texts}
    assert sum(map(bool, found.values())) > 15
    return {path: numbers - set(DEFINED) for path, numbers in found.items() if numbers - set(DEFINED)}


def test_the_definitions_are_numbered_without_gaps() -> None:
    assert list(range(1, len(DEFINED) + 1)) == DEFINED


def test_cited_definitions_exist() -> None:
    citing = (path for path in sources("statqat_sim", "backends", "tests") if "Definition" in path.read_text("utf-8"))
    assert undefined(CITED, ((path, prose(path)) for path in citing)) == {}


def test_numbers_in_parentheses_exist() -> None:
    oracle = ((path, prose(path)) for path in sources("statqat_sim/reference"))
    assert undefined(BARE, [(DOCUMENT, without_code(TEXT)), *oracle]) == {}


def test_the_source_cites_the_document_by_its_place() -> None:
    texts = [path.read_text("utf-8") for path in sources("statqat_sim", "backends")]
    assert sum("`formats/LANGUAGE.md`" in text for text in texts) > 5
    assert not any("spec_language" in text for text in texts)


# --- words -----------------------------------------------------------------------------------------------------

MODELS = (*KINDS.values(), EncodePolicy, ScaleKeys, OffsetKeys, Pack, BlockPack)
KEYS = {*TOP, *MEANING}
NAMES = {*sqs.formats(kind="number"), *sqs.formats(kind="block")}


def words() -> Mapping[str, frozenset[str]]:
    """The words of each key, in whatever part of a spec it stands."""
    found: dict[str, frozenset[str]] = {"kind": frozenset(KINDS)}
    for model in MODELS:
        for key in model.model_fields:
            found[key] = found.get(key, frozenset()) | frozenset(words_of(model, key))
    return found


WORDS = words()
EVERY_WORD = frozenset[str]().union(*WORDS.values())
ARGUMENTS = {
    f"{name}="
    for method in (sqs.Codec.encode, sqs.Codec.decode, sqs.Codec.quantize, sqs.Codec.fake_quantize)
    for name in inspect.signature(method).parameters
}


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def spans(text: str) -> list[str]:
    """What stands in backticks, outside of examples."""
    return [" ".join(span.split()) for span in SPAN.findall(without_code(text))]


def sections() -> dict[str, list[str]]:
    """The spans of each Definition, by its number."""
    _, *parts = DEFINITION.split(TEXT)
    return {number: spans(body) for number, body in zip(parts[::2], parts[1::2], strict=True)}


def is_known(span: str) -> bool:
    """Whether a span is a key, a word, a key with its value, a name of the catalog, or something of the library."""
    if span in KEYS | EVERY_WORD | NAMES | ARGUMENTS:
        return True
    if ": " in span:
        return all(is_entry(key, value) for key, value in yaml.safe_load(span).items())
    return span.startswith("statqat-sim ") or (ROOT / span).exists() or is_of_library(span)


def is_entry(key: str, value: Any) -> bool:
    """Whether a key exists and takes such a value: a word of its own, keys again, or a number."""
    if isinstance(value, dict):
        return key in KEYS and all(is_entry(*item) for item in value.items())
    return value in WORDS.get(key, ()) if isinstance(value, str) else key in KEYS


def is_of_library(span: str) -> bool:
    """Whether `sqs` has it: `Scale`, `QuantizedTensor.codes`."""
    owner, *names = span.split(".")
    found = getattr(sqs, owner, None)
    known = {*dir(found), *getattr(found, "__dataclass_fields__", ())}
    return found is not None and known.issuperset(names)


def test_words_in_backticks_are_words_of_the_language() -> None:
    assert [span for span in spans(TEXT) if not is_known(span)] == []


def entries(span: str) -> Iterable[tuple[str, str]]:
    """The words that a span gives their keys."""
    pairs = yaml.safe_load(span).items() if ": " in span else ()
    return ((key, value) for key, value in pairs if isinstance(value, str))


def unmentioned() -> Iterator[tuple[str, str]]:
    """Keys with those of their words that no Definition has beside the key."""
    for key, allowed in WORDS.items():
        beside: set[str] = set()
        for found in sections().values():
            written = [entry for span in found for entry in entries(span)]
            beside |= {word for name, word in written if name == key}
            beside |= set(found) if key in found or key in {name for name, _ in written} else set()
        yield from ((key, word) for word in sorted(allowed - beside))


def test_every_word_of_the_language_is_mentioned_beside_its_key() -> None:
    assert list(unmentioned()) == []


def test_every_key_is_mentioned() -> None:
    mentioned = {span.partition(":")[0] for span in spans(TEXT)}
    header = {"name", "aliases", "title", "source", "oracle"}
    assert KEYS - mentioned - header == set()


# --- examples --------------------------------------------------------------------------------------------------


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def test_the_python_examples_run_in_order() -> None:
    names: dict[str, Any] = {}
    blocks = examples("python")
    for block in blocks:
        exec(compile(block, "LANGUAGE.md", "exec"), names)
    assert sum(block.count("assert") for block in blocks) > 10


@pytest.mark.parametrize("text", examples("yaml"))
def test_the_yaml_examples_are_formats(text: str) -> None:
    assert sqs.parse_format(text).name.startswith("example_")
