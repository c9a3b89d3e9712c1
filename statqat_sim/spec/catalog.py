"""Names -> formats: the built-in files, the user's directories, and single files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TypeAlias

from statqat_sim.errors import SpecError, did_you_mean, shown
from statqat_sim.spec.inherit import Resolve
from statqat_sim.spec.located import MAX_BYTES, Document, Located, read_document
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.reader import NAME, read_format

Search: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

SEARCH_VARIABLE = "STATQAT_FORMATS"
"""Environment variable: directories of a user's own formats, separated like PATH."""

WIDER = frozenset({"float64", "fp64", "double", "binary64"})
"""What people ask for and no file can describe."""


@dataclass(frozen=True)
class Catalog:
    """Where each name leads: file stems are the canonical names. Looks at the disk when it is first asked."""

    directories: tuple[Path, ...]

    @cached_property
    def files(self) -> Mapping[str, Path]:
        """The file of each canonical name; the first directory to hold a name wins."""
        found: dict[str, Path] = {}
        for directory in self.directories:
            for path in sorted(directory.rglob("*.yaml")):
                if path.is_file():
                    found.setdefault(path.stem, path)
        return found

    def path(self, name: str) -> Path:
        """The file of a name or alias.

        Raises:
            LookupError: with the nearest names, or why there is none.
        """
        if name in self.files:
            return self.files[name]
        aliases = self.aliases
        if name in aliases:
            return self.files[aliases[name]]
        if name in WIDER:
            what = "it is what every value is told in, and wider than any format; allowed: codes of up to 32 bits"
            raise LookupError(f"{name} is not in the catalog: {what}")
        hint = did_you_mean(name, (*self.files, *aliases))
        raise LookupError(f"no format is named {shown(name)}{hint} (`statqat-sim formats` lists them all)")

    @property
    def aliases(self) -> Mapping[str, str]:
        """Every alias and the canonical name that it leads to; a broken file has none."""
        return _aliases(tuple((stem, path, *_version(path)) for stem, path in self.files.items()))


def catalog(search: Search = ()) -> Catalog:
    """All formats: of `search`, of `$STATQAT_FORMATS`, and built in, in this order.

    Raises:
        NotADirectoryError: if a directory does not exist.
    """
    return Catalog((*_directories(search), builtin_directory()))


def load_format(name: str | os.PathLike[str], search: Search = ()) -> NumberFormat:
    """A format by name, by alias, or from a file.

    Args:
        name: a built-in name or alias, or the path of a `.yaml` file whose stem is its `name`. What a file extends
            is looked up beside it first.
        search: directories of further formats; they come before `$STATQAT_FORMATS` and the built-in ones.

    Raises:
        LookupError: if no format has this name; the message suggests the nearest.
        SpecError: if the file is wrong.
        OSError: if the file cannot be read.
    """
    text = os.fsdecode(name)
    is_path = text.endswith((".yaml", ".yml")) or os.sep in text
    known = catalog(search)
    path = Path(text) if is_path else known.path(text)
    return read_format(_read(path), _resolver(known, beside=path))


def parse_format(text: str | bytes, *, file: str = "<string>", search: Search = ()) -> NumberFormat:
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


def _resolver(known: Catalog, beside: Path | None = None) -> Resolve:
    """Finds parents: in the folder of the file `beside`, then in the catalog."""

    def resolve(name: str) -> Located:
        if beside is not None and NAME.fullmatch(name):
            sibling = beside.with_name(f"{name}.yaml")
            if sibling != beside and sibling.is_file():
                return _read(sibling).sound()
        return _read(known.path(name)).sound()

    return resolve


def _read(path: Path) -> Document:
    """A file's text, with a problem if its `name` is not its stem.

    Raises:
        SpecError: if nothing can be read.
        OSError: if there is no such file.
    """
    if "\0" in str(path) or (path.exists() and not path.is_file()):
        raise OSError(f"{shown(str(path))}: not a file")
    with path.open("rb") as stream:
        document = read_document(stream.read(MAX_BYTES + 1), str(path))
    top = document.root.value
    name = top.get("name") if isinstance(top, dict) else None
    if name is None or not isinstance(name.value, str) or name.value == path.stem:
        return document
    misnamed = name.problem(f"{shown(name.value)} differs from the file's stem; allowed: {path.stem}")
    return Document(document.root, (*document.problems, misnamed))


def _version(path: Path) -> tuple[int, int]:
    """What changes when a file does."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=8)
def _aliases(entries: tuple[tuple[str, Path, int, int], ...]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for stem, path, *_ in entries:
        try:
            root = _read(path).root
        except (SpecError, OSError):
            continue
        listed = root.find(("aliases",)).value
        for alias in listed if isinstance(listed, list) else ():
            if isinstance(alias.value, str):
                found.setdefault(alias.value, stem)
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
