"""One tensor of a file: `FILE`, or `FILE:MEMBER` if it holds several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from statqat_sim.cli.tensors import Tensor


def read_member(text: str, *, codes: bool = False, unscaled: bool = False) -> Any:
    """The array or tensor that `text` names.

    Args:
        text: `FILE`, or `FILE:MEMBER`.
        codes: read elements such as float8 as unsigned integers.
        unscaled: read float8 as its values alone; otherwise times the scales that the file holds for it.

    Raises:
        OSError: if the file cannot be read.
        LookupError: if it has no such member, or several and none is named.
        ValueError: if its type is not supported, or it is broken.
        UnsupportedError: for torch files without torch.
    """
    from statqat_sim.cli.float8_scales import scaled_one
    from statqat_sim.cli.tensors import Kind, tensors

    path, member = _split(text)
    if path.is_dir():
        raise ValueError(f"{path}: a folder; allowed: FILE, or FILE:MEMBER")
    found = tensors([path], Kind.EITHER if codes else Kind.NUMBERS)
    chosen = _chosen(path, member, found)
    return (chosen if codes or unscaled else scaled_one(chosen, found)).load()


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


def _chosen(path: Path, member: str | None, tensors: Sequence[Tensor]) -> Tensor:
    from statqat_sim.errors import did_you_mean, shown

    found = {tensor.name: tensor for tensor in tensors}
    if member is None and len(found) == 1:
        return next(iter(found.values()))
    names = ", ".join([*list(found)[:8], *["..."] * (len(found) > 8)])
    if member is None:
        raise LookupError(f"{path}: holds {len(found)} tensors; write {path}:MEMBER (allowed: {names or 'none'})")
    if member not in found:
        hint = did_you_mean(member, found)
        raise LookupError(f"{path}: no tensor is named {shown(member)}{hint} (allowed: {names or 'none'})")
    return found[member]
