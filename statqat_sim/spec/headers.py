"""What the tops of many format files tell: their aliases, their kinds, and whether they are formats."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

from statqat_sim.errors import SpecError
from statqat_sim.spec.files import read_file
from statqat_sim.spec.inherit import MAX_GENERATIONS
from statqat_sim.spec.located import Located

FORMAT_KEYS = frozenset({"element", "extends", "scales"})
"""Every format has one of these keys."""

ACCELERATOR_KEYS = frozenset({"instructions", "conversions"})
"""No format has one of these."""

Kind: TypeAlias = Literal["number", "block"]


@dataclass(frozen=True, slots=True)
class _Header:
    """A file's own aliases and kind."""

    aliases: tuple[str, ...]
    extends: str
    has_scales: bool
    is_format: bool


_Versions: TypeAlias = tuple[tuple[str, Path, int, int], ...]
"""Every file, with its modification time and size."""


def aliases_in(files: Mapping[str, Path]) -> Mapping[str, str]:
    """Every alias, with its canonical name; broken files have none."""
    return _aliases(_versions(files))


def kinds_in(files: Mapping[str, Path]) -> Mapping[str, Kind]:
    """Whether each file describes numbers or blocks, as far as it can be read."""
    return _kinds(_versions(files))


def others_in(files: Mapping[str, Path]) -> frozenset[str]:
    """The names of the files that can be read and describe no format."""
    return frozenset(stem for stem, header in _headers(_versions(files)).items() if not header.is_format)


def _versions(files: Mapping[str, Path]) -> _Versions:
    return tuple((stem, path, *_version(path)) for stem, path in files.items())


def _version(path: Path) -> tuple[int, int]:
    """A file's modification time and size, which change when the file does."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return status.st_mtime_ns, status.st_size


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
