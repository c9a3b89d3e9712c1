"""Names -> formats: the built-in files, the user's directories, and single files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import get_args

from statqat_sim.errors import SpecError, did_you_mean, none_of, shown
from statqat_sim.spec.files import (
    ACCELERATORS,
    Search,
    builtin_directory,
    check_text,
    file_of,
    parent_file,
    read_file,
    searched,
)
from statqat_sim.spec.format import Format
from statqat_sim.spec.headers import ACCELERATOR_KEYS, Kind, aliases_in, kinds_in, others_in
from statqat_sim.spec.inherit import Resolve
from statqat_sim.spec.located import Document, Located, read_document
from statqat_sim.spec.reader import read_format

WIDER = frozenset({"float64", "fp64", "double", "binary64"})
"""Names that users try but no file can describe."""


@dataclass(frozen=True)
class Catalog:
    """The file of each name; file stems are the canonical names. The disk is read on first use."""

    directories: tuple[Path, ...]

    @cached_property
    def files(self) -> Mapping[str, Path]:
        """The file of each canonical name; the first directory to hold a name wins."""
        found: dict[str, Path] = {}
        for directory in self.directories:
            for path in sorted(directory.rglob("*.yaml")):
                if _may_be_format(path):
                    found.setdefault(path.stem, path)
        return found

    def file(self, name: str) -> Path | None:
        """The file of this canonical name; ten times as fast as listing all `files`."""
        stored = f"{name}.yaml"
        for directory in self.directories:
            found = [Path(folder, stored) for folder, _, names in os.walk(directory) if stored in names]
            if candidates := [path for path in found if _may_be_format(path)]:
                return min(candidates)
        return None

    @property
    def formats(self) -> frozenset[str]:
        """Names of files that describe formats, or cannot be read; a user's folder may hold other YAML, too."""
        of_users = {stem: path for stem, path in self.files.items() if not path.is_relative_to(builtin_directory())}
        return frozenset(self.files.keys() - others_in(of_users))

    def path(self, name: str) -> Path:
        """The file of a name or alias.

        Raises:
            LookupError: with the nearest names, or why there is none.
        """
        if found := self.file(name):
            return found
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
        """Every alias, with its canonical name."""
        return aliases_in(self.files)

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """Whether each file describes numbers or blocks, as far as it can be read."""
        return kinds_in(self.files)


def catalog(search: Search = ()) -> Catalog:
    """All formats: of `search`, of `$STATQAT_FORMATS`, and built in, in this order.

    Raises:
        NotADirectoryError: if a directory does not exist.
    """
    return Catalog((*searched(search), builtin_directory()))


def load_format(name: str | os.PathLike[str], search: Search = ()) -> Format:
    """A format by name, by alias, or from a file.

    Args:
        name: a built-in name or alias, or the path of a `.yaml` file whose stem is its `name`. Parents of a file are
            first looked up in its folder.
        search: directories of further formats; they come before `$STATQAT_FORMATS` and the built-in ones.

    Raises:
        TypeError: if `name` is neither text nor a path.
        LookupError: if no format has this name; the message suggests the nearest.
        SpecError: if the file is wrong.
        OSError: if the file cannot be read.
    """
    known = catalog(search)
    path = file_of(name, known.path, "a format, such as 'int8'")
    return _format_of(read_file(path), resolver(known, beside=path))


def parse_format(text: str | bytes, *, file: str = "<string>", search: Search = ()) -> Format:
    """A format from YAML text; `extends` and named elements are looked up as in `load_format`.

    Raises:
        TypeError: if `text` is not text.
        SpecError: with every problem of the text.
    """
    check_text(text, reader="load_format")
    return _format_of(read_document(text, file), resolver(catalog(search)))


def _format_of(document: Document, resolve: Resolve) -> Format:
    """The format that a text describes; one of an accelerator is told as such, not key by key."""
    top = document.root.value
    for key in sorted(top.keys() & ACCELERATOR_KEYS) if isinstance(top, dict) else ():
        told = "only accelerators have this key; allowed: the text of a format (load_accelerator reads accelerators)"
        raise SpecError([document.root.key_problem(key, told)])
    return read_format(document, resolve)


def formats(search: Search = (), *, kind: Kind | None = None) -> tuple[str, ...]:
    """The canonical names of all formats, in alphabetical order.

    Args:
        search: directories of further formats, as in `load_format`.
        kind: "number" or "block": only formats of this kind. Files that cannot be read have neither kind.

    Raises:
        NotADirectoryError: if there is no such directory.
        ValueError: if there is no such kind.

    >>> [name for name in formats(kind="block") if "fp8_e4m3" in name and "." not in name]
    ['mxfp8_e4m3']
    """
    known = catalog(search)
    if kind is None:
        return tuple(sorted(known.formats))
    if kind not in get_args(Kind):
        raise ValueError(f"kind is {shown(kind)}{none_of(kind, get_args(Kind))}")
    kinds = known.kinds
    return tuple(sorted(stem for stem in known.formats if kinds.get(stem) == kind))


def resolver(known: Catalog, beside: Path | None = None) -> Resolve:
    """A function that finds parents in the folder of the file `beside`, then in the catalog; reads each once."""

    @cache
    def resolve(name: str) -> Located:
        return read_file(parent_file(name, known.path, beside)).sound()

    return resolve


def _may_be_format(path: Path) -> bool:
    return path.is_file() and path.parent.name != ACCELERATORS
