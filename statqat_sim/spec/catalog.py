"""Names -> formats: the built-in files, the user's directories, and single files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TypeAlias

from statqat_sim.errors import Problem, SpecError, did_you_mean
from statqat_sim.spec.located import MAX_BYTES, Document, read_document
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.reader import Resolve, read_format

Search: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

SEARCH_VARIABLE = "STATQAT_FORMATS"
"""Environment variable: directories of a user's own formats, separated like PATH."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """Where each name leads: file stems are the canonical names, aliases are read from the files when asked for."""

    files: Mapping[str, Path]

    def path(self, name: str) -> Path:
        """The file of a name or alias.

        Raises:
            LookupError: with the nearest names.
        """
        if name in self.files:
            return self.files[name]
        aliases = self.aliases
        if name in aliases:
            return self.files[aliases[name]]
        hint = did_you_mean(name, (*self.files, *aliases))
        raise LookupError(f"no format is named {name!r}{hint} (`statqat-sim formats` lists {len(self.files)})")

    @property
    def aliases(self) -> Mapping[str, str]:
        """Every alias and the canonical name that it leads to; a broken file has none."""
        return _aliases(tuple((stem, path, path.stat().st_mtime_ns) for stem, path in self.files.items()))


def catalog(search: Search = ()) -> Catalog:
    """All formats: of `search`, of `$STATQAT_FORMATS`, and built in; the first to hold a name wins.

    Raises:
        NotADirectoryError: if a directory does not exist.
    """
    found: dict[str, Path] = {}
    for directory in (*_directories(search), builtin_directory()):
        for path in sorted(directory.rglob("*.yaml")):
            found.setdefault(path.stem, path)
    return Catalog(found)


def load_format(name: str | os.PathLike[str], search: Search = ()) -> NumberFormat:
    """A format by name, by alias, or from a file.

    Args:
        name: a built-in name or alias, or the path of a `.yaml` file whose stem is its `name`.
        search: directories of further formats; they come before `$STATQAT_FORMATS` and the built-in ones.

    Raises:
        LookupError: if no format has this name; the message suggests the nearest.
        SpecError: if the file is wrong.
        OSError: if the file cannot be read.
    """
    text = os.fspath(name)
    is_path = text.endswith((".yaml", ".yml")) or os.sep in text
    known = catalog(search)
    return _load(Path(text) if is_path else known.path(text), known)


def parse_format(text: str, *, file: str = "<string>", search: Search = ()) -> NumberFormat:
    """A format from YAML text; `extends` and named elements are looked up as in `load_format`.

    Raises:
        SpecError: with every problem of the text.
    """
    return read_format(read_document(text, file), _resolver(catalog(search)))


def formats(search: Search = ()) -> tuple[str, ...]:
    """The canonical names of all formats, in alphabetical order."""
    return tuple(sorted(catalog(search).files))


def builtin_directory() -> Path:
    """Where the built-in files lie."""
    return Path(str(files("statqat_sim.formats")))


def _load(path: Path, known: Catalog) -> NumberFormat:
    document = _read(path)
    format = read_format(document, _resolver(known))
    if format.name != path.stem:
        message = f"{format.name!r} differs from the file's stem; allowed: {path.stem}"
        raise SpecError([document.root.find(("name",)).problem(message)])
    return format


def _resolver(known: Catalog) -> Resolve:
    return lambda name: _read(known.path(name)).sound()


def _read(path: Path) -> Document:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise SpecError([Problem(str(path), 1, 1, "", f"the file is too large: {size} bytes; allowed: {MAX_BYTES}")])
    return read_document(path.read_bytes(), str(path))


@lru_cache(maxsize=8)
def _aliases(entries: tuple[tuple[str, Path, int], ...]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for stem, path, _ in entries:
        try:
            listed = _read(path).root.find(("aliases",)).plain()
        except SpecError:
            continue
        for alias in listed if isinstance(listed, list) else ():
            found.setdefault(str(alias), stem)
    return found


def _directories(search: Search) -> tuple[Path, ...]:
    if isinstance(search, str | os.PathLike):
        search = (search,)
    named = (entry for entry in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep) if entry)
    directories = tuple(Path(directory) for directory in (*search, *named))
    for directory in directories:
        if not directory.is_dir():
            raise NotADirectoryError(f"{directory}: not a directory of formats")
    return directories
