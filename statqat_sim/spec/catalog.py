"""Names -> formats: the built-in files, the user's directories, and single files."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from statqat_sim.errors import SpecError, did_you_mean, none_of, of_type, shown
from statqat_sim.spec.format import Format
from statqat_sim.spec.inherit import MAX_GENERATIONS, Resolve
from statqat_sim.spec.located import MAX_BYTES, Document, Located, read_document
from statqat_sim.spec.reader import NAME, read_format

Search: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

SEARCH_VARIABLE = "STATQAT_FORMATS"
"""Environment variable: directories of a user's own formats, separated like PATH."""

ACCELERATORS = "accelerator"
"""The name of folders, built in and the user's, whose files describe accelerators."""

FORMAT_KEYS = frozenset({"element", "extends", "scales"})
"""Every format has one of these keys."""

ACCELERATOR_KEYS = frozenset({"instructions", "conversions"})
"""No format has one of these."""

Kind: TypeAlias = Literal["number", "block"]

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
        others = {stem for stem, header in _headers(_versions(of_users)).items() if not header.is_format}
        return frozenset(self.files.keys() - others)

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
        return _kinds(_versions(self.files))


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


def resolver(known: Catalog, beside: Path | None = None) -> Resolve:
    """A function that finds parents in the folder of the file `beside`, then in the catalog; reads each once."""

    @cache
    def resolve(name: str) -> Located:
        return read_file(parent_file(name, known.path, beside)).sound()

    return resolve


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


def aliases_in(files: Mapping[str, Path]) -> Mapping[str, str]:
    """Every alias, with its canonical name; broken files have none."""
    return _aliases(_versions(files))


def _may_be_format(path: Path) -> bool:
    return path.is_file() and path.parent.name != ACCELERATORS


def _versions(files: Mapping[str, Path]) -> _Versions:
    return tuple((stem, path, *_version(path)) for stem, path in files.items())


def _version(path: Path) -> tuple[int, int]:
    """A file's modification time and size, which change when the file does."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return status.st_mtime_ns, status.st_size


@dataclass(frozen=True, slots=True)
class _Header:
    """A file's own aliases and kind."""

    aliases: tuple[str, ...]
    extends: str
    has_scales: bool
    is_format: bool


_Versions: TypeAlias = tuple[tuple[str, Path, int, int], ...]
"""Every file, with its modification time and size."""


@lru_cache(maxsize=8)
def _headers(versions: _Versions) -> Mapping[str, _Header]:
    """The headers of all readable files."""
    found: dict[str, _Header] = {}
    for stem, path, *_ in versions:
        with suppress(SpecError, OSError):
            found[stem] = _header(read_file(path).root, stem)
    return found


def _header(root: Located, stem: str) -> _Header:
    top = root.value if isinstance(root.value, dict) else {}
    listed = top["aliases"].value if "aliases" in top else ()
    aliases = [alias.value for alias in listed] if isinstance(listed, list) else []
    extends = top["extends"].value if "extends" in top else ""
    return _Header(
        aliases=tuple(alias for alias in aliases if isinstance(alias, str)),
        extends=extends if isinstance(extends, str) else "",
        has_scales="scales" in top,
        is_format=_is_format(top, stem),
    )


def _is_format(top: Mapping[str, Located], stem: str) -> bool:
    if top.keys() & ACCELERATOR_KEYS:
        return False
    return bool(top.keys() & FORMAT_KEYS) or ("name" in top and top["name"].value == stem)


@lru_cache(maxsize=8)
def _aliases(versions: _Versions) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for stem, header in _headers(versions).items():
        for alias in header.aliases:
            found.setdefault(alias, stem)
    return found


@lru_cache(maxsize=8)
def _kinds(versions: _Versions) -> Mapping[str, Kind]:
    headers, aliases = _headers(versions), _aliases(versions)

    def kind(stem: str, generations: int = MAX_GENERATIONS) -> Kind:
        header = headers.get(aliases.get(stem, stem))
        if header is None or header.has_scales or not header.extends or not generations:
            return "block" if header and header.has_scales else "number"
        return kind(header.extends, generations - 1)

    return {stem: kind(stem) for stem in headers}


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
