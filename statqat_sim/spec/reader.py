"""Located YAML -> a format: inheritance, strict validation, and every problem of a file at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from statqat_sim.errors import Problem, SpecError, shown
from statqat_sim.spec.base import Spec
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.block_reader import BlockReader
from statqat_sim.spec.format import Format
from statqat_sim.spec.inherit import Heritage, Merged, Resolve, subset
from statqat_sim.spec.located import Document, Located
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.pack import BlockPack, Pack
from statqat_sim.spec.pack_rules import pack_problems
from statqat_sim.spec.parts import impossible, read_element, read_part, read_policy
from statqat_sim.spec.validate import meant, validate

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
BLOCK_KEYS = ("scales", "offset")
"""A file with one of these describes a block format."""


def name_problem(text: str) -> str | None:
    """The problem with a name; None if it is valid."""
    return None if NAME.fullmatch(text) else f"{shown(text)} is not a plain name; allowed: letters, digits, and . _ + -"


class Header(Spec):
    """The descriptive keys of a file."""

    name: str
    aliases: Annotated[tuple[str, ...], Field(strict=False)] = ()
    title: str = ""
    source: str = ""
    oracle: Annotated[tuple[str, ...], Field(strict=False)] = ()
    extends: str | None = None


TOP_KEYS = (*Header.model_fields, "element", "encode", *BLOCK_KEYS, "pack")


def read_format(document: Document, resolve: Resolve) -> Format:
    """Validate one file's text, with all files that it names.

    Raises:
        SpecError: with every problem found.
    """
    problems = list(document.problems)
    heritage = Heritage(resolve, _format)
    merged = heritage.merge(document.root, problems)
    return _format(merged, heritage, problems)


def _format(merged: Merged, heritage: Heritage, problems: list[Problem]) -> Format:
    """The format; raises SpecError with `problems` and those found here."""
    header = _header(merged.node, problems) if isinstance(merged.own.value, dict) else None
    _require_element(merged, problems)
    if any(key in merged.node.value for key in BLOCK_KEYS):
        format: Format | None = _block(merged, heritage, header, problems)
    else:
        format = _number(merged, header, problems)
    if problems or format is None:
        raise SpecError(problems)
    return format


def _number(merged: Merged, header: Header | None, problems: list[Problem]) -> NumberFormat | None:
    element = read_element(merged, problems)
    policy = read_policy(merged, element, problems)
    pack = _number_pack(merged, problems)
    if element is not None and pack is not None:
        problems += impossible(merged, "pack", pack.problems(element.bits))
    if header is None or element is None or policy is None or pack is None:
        return None
    return NumberFormat(element=element, encode=policy, pack=pack, **header.model_dump(exclude={"extends"}))


def _number_pack(merged: Merged, problems: list[Problem]) -> Pack | None:
    """The pack part; its keys for block formats are rejected by name."""
    node = merged.node.value.get("pack")
    if node is None or not isinstance(node.value, dict):
        return read_part(merged.node, "pack", Pack, problems)
    of_blocks = [key for key in node.value if key in BlockPack.model_fields.keys() - Pack.model_fields.keys()]
    problems += [node.key_problem(key, "only a format with 'scales' has this key") for key in of_blocks]
    return validate(Pack, subset(node, node.value.keys() - of_blocks), problems)


def _block(merged: Merged, heritage: Heritage, header: Header | None, problems: list[Problem]) -> BlockFormat | None:
    name = header.name if header else ""
    found = len(problems)
    format = BlockReader(heritage, merged.line, problems).read(merged, name)
    pack = read_part(merged.node, "pack", BlockPack, problems)
    if header is None or format is None or pack is None or len(problems) > found:
        return None
    format = format.model_copy(update={"pack": pack, **header.model_dump(exclude={"extends", "name"})})
    problems += impossible(merged, "pack", pack_problems(format))
    return format


def _require_element(merged: Merged, problems: list[Problem]) -> None:
    if "element" not in merged.node.value and merged.whole and "element" not in meant(merged.node, TOP_KEYS):
        problems.append(merged.node.problem("required key 'element' is missing"))


def _header(node: Located, problems: list[Problem]) -> Header | None:
    problems += misnamed(node)
    parts = set(TOP_KEYS) - set(Header.model_fields)
    return validate(Header, subset(node, node.value.keys() - parts), problems, allowed=TOP_KEYS)


def misnamed(node: Located) -> Iterator[Problem]:
    """Names and aliases of a file that are not plain words, which people could not type."""
    aliases = node.value["aliases"].value if "aliases" in node.value else ()
    for named in (node.value.get("name"), *(aliases if isinstance(aliases, list) else ())):
        if named is not None and isinstance(named.value, str) and (told := name_problem(named.value)):
            yield named.problem(told)
