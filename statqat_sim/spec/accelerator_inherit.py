"""`extends` in accelerator files, and instructions that recipes use from the built-in accelerator of the same name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias

from statqat_sim.errors import Problem, SpecError
from statqat_sim.spec.accelerator_recipe import ADD
from statqat_sim.spec.inherit import MAX_GENERATIONS
from statqat_sim.spec.located import Document, Located
from statqat_sim.spec.parts import is_mapping

INHERITED: Final = ("source", "evidence", "instructions", "conversions")
LISTS: Final = ("instructions", "conversions")
"""Keys whose entries are inherited one by one, each as a whole."""

Parent: TypeAlias = Callable[[str], Document]
"""A function that returns the text of an accelerator by name; raises LookupError or SpecError."""


def merged(own: Located, parent: Parent, problems: list[Problem], line: tuple[str, ...] = ()) -> Located:
    """The mapping laid over that of the file it extends. `line`: the names of the files that led here."""
    extends = own.value.get("extends")
    if extends is None or not isinstance(extends.value, str):
        return own
    if extends.value in line or len(line) >= MAX_GENERATIONS:
        circle = " -> ".join((*line, extends.value))
        problems.append(extends.problem(f"an accelerator cannot extend itself: {circle}"))
        return own
    found = _text(extends, parent, problems)
    if found is None:
        return own
    node = merged(found, parent, problems, (*line, extends.value))
    entries = {key: entry for key, entry in node.value.items() if key in INHERITED and key not in own.value}
    for key, entry in own.value.items():
        entries[key] = _over(node.value[key], entry) if key in LISTS and key in node.value else entry
    return Located(entries, own.file, own.line, own.column, own.path, own.keys)


def namesake(own: Located, parent: Parent, problems: list[Problem]) -> Located | None:
    """The built-in accelerator of the file's name, reduced to instructions that recipes use and the file lacks."""
    wanted = _missing(own)
    named = own.value.get("name")
    if not wanted or named is None or not isinstance(named.value, str):
        return None
    try:
        root = parent(named.value).sound()
    except (LookupError, SpecError):
        return None
    if root.file == own.file or not isinstance(root.value, dict):
        return None
    node = merged(root, parent, problems)
    listed = node.value.get("instructions")
    if listed is None or not isinstance(listed.value, dict):
        return None
    kept = {name: listed.value[name] for name in wanted if name in listed.value}
    return replace(node, value={**node.value, "instructions": replace(listed, value=kept)})


def _text(named: Located, parent: Parent, problems: list[Problem]) -> Located | None:
    try:
        root = parent(named.value).sound()
    except LookupError as error:
        problems.append(named.problem(str(error.args[0])))
        return None
    except SpecError as error:
        problems.extend(error.problems)
        return None
    return root if is_mapping(root, problems) else None


def _missing(own: Located) -> list[str]:
    """The instructions that recipes use and the file lacks."""
    entries = own.value.get("instructions")
    if entries is None or not isinstance(entries.value, dict):
        return []
    wanted: list[str] = []
    for entry in entries.value.values():
        recipe = entry.value.get("recipe") if isinstance(entry.value, dict) else None
        steps = recipe.value if recipe is not None and isinstance(recipe.value, list) else []
        named = [step.value.get("instruction") for step in steps if isinstance(step.value, dict)]
        wanted += [each.value for each in named if each is not None and isinstance(each.value, str)]
    return [name for name in dict.fromkeys(wanted) if name not in entries.value and not name.startswith(ADD)]


def _over(parent: Located, child: Located) -> Located:
    """Entries of both; the child's take precedence."""
    if not (isinstance(parent.value, dict) and isinstance(child.value, dict)):
        return child
    return Located({**parent.value, **child.value}, child.file, child.line, child.column, child.path, child.keys)
