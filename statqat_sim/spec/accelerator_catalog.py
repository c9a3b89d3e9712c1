"""Names -> accelerators: the built-in files, the user's directories, and single files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from statqat_sim.errors import SpecError, did_you_mean, shown
from statqat_sim.spec.accelerator import AcceleratorSpec
from statqat_sim.spec.accelerator_inherit import Parent
from statqat_sim.spec.accelerator_reader import read_accelerator
from statqat_sim.spec.catalog import catalog, resolver
from statqat_sim.spec.files import (
    ACCELERATORS,
    Search,
    builtin_directory,
    check_text,
    directories_of,
    file_of,
    is_path,
    parent_file,
    read_file,
    searched,
)
from statqat_sim.spec.headers import ACCELERATOR_KEYS, aliases_in
from statqat_sim.spec.located import Document, read_document

SIZES = ("N",)
"""Words for any size in a shape, which some YAML readers take for false."""


def load_spec(name: str | os.PathLike[str], search: Search = ()) -> AcceleratorSpec:
    """An accelerator's spec by name, by alias, or from a file.

    Raises:
        TypeError: if `name` is neither text nor a path.
        LookupError: if no accelerator has this name; the message suggests the nearest.
        SpecError: if the file is wrong.
        OSError: if the file cannot be read.
    """
    search = directories_of(search)
    path = file_of(name, lambda text: _path(text, search), "an accelerator, such as 'nvidia_h100'")
    formats = resolver(catalog(search), beside=path)
    return read_accelerator(read_file(path, SIZES), _parent(search, beside=path), formats)


def parse_spec(
    text: str | bytes, *, file: str = "<string>", search: Search = (), beside: Path | None = None
) -> AcceleratorSpec:
    """An accelerator's spec from YAML text.

    Args:
        text: the text.
        file: what errors call it.
        search: as in `load_spec`.
        beside: the file that the text is meant for, in whose folder formats are looked for first.

    Raises:
        TypeError: if `text` is not text.
        SpecError: with every problem of the text.
    """
    check_text(text, reader="load_accelerator")
    search = directories_of(search)
    document, formats = read_document(text, file, words=SIZES), resolver(catalog(search), beside)
    return read_accelerator(document, _parent(search, beside), formats)


def accelerators(search: Search = ()) -> tuple[str, ...]:
    """The canonical names of all accelerators, in alphabetical order.

    Args:
        search: directories of further accelerators, in their folders called `accelerator`.
    """
    return tuple(sorted(_files(search)))


def is_accelerator(name: str, search: Search = ()) -> bool:
    """Whether a name belongs to an accelerator and not to a format, or a file has instructions or conversions."""
    search = directories_of(search)
    if not is_path(name):
        with suppress(LookupError):
            return bool(_path(name, search)) and catalog(search).file(name) is None
        return False
    with suppress(SpecError, OSError):
        top = read_file(Path(name), SIZES).root.value
        return isinstance(top, dict) and bool(top.keys() & ACCELERATOR_KEYS)
    return False


def _files(search: Search) -> Mapping[str, Path]:
    """The file of each canonical name; the first directory to hold a name wins."""
    found: dict[str, Path] = {}
    for directory in (*searched(search), builtin_directory()):
        for path in sorted(directory.rglob(f"{ACCELERATORS}/*.yaml")):
            if path.is_file():
                found.setdefault(path.stem, path)
    return found


def _path(name: str, search: Search) -> Path:
    files = _files(search)
    if name in files:
        return files[name]
    aliases = aliases_in(files)
    if name in aliases:
        return files[aliases[name]]
    hint = did_you_mean(name, (*files, *aliases))
    raise LookupError(f"no accelerator is named {shown(name)}{hint} (`statqat-sim accelerators` lists them all)")


def _parent(search: Search, beside: Path | None = None) -> Parent:
    """Finds parents: in the folder of the file `beside`, then by name."""

    def find(name: str) -> Document:
        return read_file(parent_file(name, lambda text: _path(text, search), beside), SIZES)

    return find
