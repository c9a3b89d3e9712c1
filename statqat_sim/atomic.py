"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; at the end it takes the place and permissions of `path`, after an error it is removed.

    Links are followed. A `path` that is not a regular file, such as a device or a pipe, is written to directly.

    Raises:
        OSError: if it cannot be written.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        yield temporary
        with suppress(FileNotFoundError):  # a new file has the usual permissions
            shutil.copymode(target, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
