"""The files and folders in which formats and accelerators are found."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from importlib.resources import files
from pathlib import Path
from typing import TypeAlias

from statqat_sim.errors import of_type, shown
from statqat_sim.spec.located import MAX_BYTES, Document, read_document
from statqat_sim.spec.reader import NAME

Search: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

SEARCH_VARIABLE = "STATQAT_FORMATS"
"""Environment variable: directories of a user's own formats, separated like PATH."""

ACCELERATORS = "accelerator"
"""The name of folders, built in and the user's, whose files describe accelerators."""


def is_path(name: str) -> bool:
    """Whether `name` is the path of a file, not a name."""
    return name.endswith((".yaml", ".yml")) or os.sep in name


def file_of(name: object, by_name: Callable[[str], Path], example: str) -> Path:
    """The file of a name or a path.

    Args:
        name: the caller's name or path.
        by_name: finds the file of a name; raises LookupError.
        example: the kind of name, for error messages.

    Raises:
        TypeError: if it is neither text nor a path.
        LookupError: if nothing has this name.
    """
    if not isinstance(name, str | bytes | os.PathLike):
        what = f"name is {of_type(name)}"
        raise TypeError(f"{what}; allowed: the name of {example}, or the path of a .yaml file")
    text = os.fsdecode(name)
    return Path(text) if is_path(text) else by_name(text)


def check_text(text: object, *, reader: str) -> None:
    """Raises TypeError unless `text` is text; `reader`: the function for files, to suggest instead."""
    if not isinstance(text, str | bytes):
        hint = f"; {reader} reads files" if isinstance(text, os.PathLike) else ""
        raise TypeError(f"text is {of_type(text)}; allowed: YAML text, as str or bytes{hint}")


def builtin_directory() -> Path:
    """The directory of the built-in files."""
    return Path(str(files("statqat_sim.formats")))


def directories_of(search: Search) -> tuple[Path, ...]:
    """A caller's directories as a tuple: an iterator could be read only once."""
    if isinstance(search, str | os.PathLike):
        return (Path(search),)
    return tuple(Path(directory) for directory in search)


def searched(search: Search) -> tuple[Path, ...]:
    """The directories of `search` and of `$STATQAT_FORMATS`, checked to exist."""
    given = directories_of(search)
    named = tuple(Path(entry) for entry in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep) if entry)
    for place, directories in {"`search`": given, f"${SEARCH_VARIABLE}": named}.items():
        for directory in directories:
            if not directory.is_dir():
                allowed = f"allowed in {place}: folders of .yaml files, not parts of names"
                raise NotADirectoryError(f"{directory}: not a directory of formats; {allowed}")
    return (*given, *named)


def parent_file(name: str, by_name: Callable[[str], Path], beside: Path | None) -> Path:
    """The file of a parent: in the folder of the file `beside`, then by name.

    A name that only the file `beside` has is that file: it extends itself, which its reader tells.
    """
    if beside is None or not NAME.fullmatch(name):
        return by_name(name)
    near = beside.with_name(f"{name}.yaml")
    if near != beside and near.is_file():
        return near
    try:
        return by_name(name)
    except LookupError:
        if near == beside:
            return beside
        raise


def read_file(path: Path, words: Collection[str] = ()) -> Document:
    """A file's text, with a problem if its `name` is not its stem. `words`: see `read_document`.

    Raises:
        SpecError: if nothing can be read.
        OSError: if there is no such file.
    """
    if "\0" in str(path) or (path.exists() and not path.is_file()):
        raise OSError(f"{shown(str(path))}: not a file")
    with path.open("rb") as stream:
        document = read_document(stream.read(MAX_BYTES + 1), str(path), words=words)
    top = document.root.value
    name = top.get("name") if isinstance(top, dict) else None
    if name is None or not isinstance(name.value, str) or name.value == path.stem:
        return document
    misnamed = name.problem(f"{shown(name.value)} differs from the file's stem; allowed: {path.stem}")
    return Document(document.root, (*document.problems, misnamed))
