"""One tensor of a file: `FILE`, or `FILE:MEMBER` if it holds several."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_member(text: str, *, codes: bool = False) -> Any:
    """The array or tensor that `text` names; `codes`: elements such as float8 are read as unsigned integers.

    Raises:
        OSError: if the file cannot be read.
        LookupError: if it has no such member, or several and none is named.
        ValueError: if its type is not supported, or it is broken.
        UnsupportedError: for torch files without torch.
    """
    from statqat_sim.cli.tensors import Kind

    path, member = _split(text)
    return _load(path, member, Kind.EITHER if codes else Kind.NUMBERS)()


def file_of(text: str) -> Path:
    """The file part of `FILE:MEMBER`."""
    return _split(text)[0]


def _split(text: str) -> tuple[Path, str | None]:
    """The file and the member after the colon that follows its suffix; None without a colon."""
    if Path(text).exists():
        return Path(text), None
    for end in _colons(text):
        if Path(text[:end]).is_file():
            return Path(text[:end]), text[end + 1 :]
    return Path(text), None


def _colons(text: str) -> Iterator[int]:
    return (index for index, letter in enumerate(text) if letter == ":")


def _load(path: Path, member: str | None, kind: Any) -> Any:
    from statqat_sim.cli.tensors import tensors
    from statqat_sim.errors import did_you_mean, shown

    if path.is_dir():
        raise ValueError(f"{path}: a folder; allowed: FILE, or FILE:MEMBER")
    found = {tensor.name: tensor.load for tensor in tensors([path], kind)}
    if member is None and len(found) == 1:
        return next(iter(found.values()))
    names = ", ".join([*list(found)[:8], *["..."] * (len(found) > 8)])
    if member is None:
        raise LookupError(f"{path}: holds {len(found)} tensors; write {path}:MEMBER (allowed: {names or 'none'})")
    if member not in found:
        hint = did_you_mean(member, found)
        raise LookupError(f"{path}: no tensor is named {shown(member)}{hint} (allowed: {names or 'none'})")
    return found[member]
