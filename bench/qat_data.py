"""The texts of the QAT study: the standard library's source, and sentences of its docstrings."""

from __future__ import annotations

import ast
import hashlib
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

CHARACTERS = 128
HELD_OUT = 5
"""Every fifth file is held out of training."""

SHORTEST, LONGEST = 30, 300
"""Limits of a sentence's length, in characters."""

NOT_SOURCE = {"site-packages", "test", "tests", "idle_test"}


@dataclass(frozen=True, slots=True)
class Text:
    """The ASCII characters of the training files and of the held-out files, int64, each with one axis."""

    train: Tensor
    held_out: Tensor

    @property
    def sha256(self) -> str:
        """A digest that identifies the text, which differs between versions of Python."""
        digest = hashlib.sha256()
        for part in (self.train, self.held_out):
            digest.update(part.to(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def source(most_files: int | None = None) -> Text:
    """The modules of the standard library, concatenated; at most `most_files` files."""
    return Text(*(_characters(_files(held_out=held_out)[:most_files]) for held_out in (False, True)))


def random_windows(text: Tensor, context: int, batch: int, generator: torch.Generator) -> Tensor:
    """Windows of `context` + 1 characters at random positions, shape `(batch, context + 1)`."""
    starts = torch.randint(len(text) - context - 1, (batch, 1), generator=generator)
    return text[starts + torch.arange(context + 1)]


def even_windows(text: Tensor, context: int, count: int) -> Tensor:
    """Evenly spaced windows, the same in every call."""
    starts = torch.arange(count)[:, None] * ((len(text) - context - 1) // count)
    return text[starts + torch.arange(context + 1)]


@cache
def sentences(*, held_out: bool, most_files: int | None = None) -> tuple[str, ...]:
    """First paragraphs of docstrings, shuffled; held-out ones occur in no training file."""
    found = {sentence for path in _files(held_out=held_out)[:most_files] for sentence in _documented(path)}
    if held_out:
        found -= set(sentences(held_out=False, most_files=most_files))
    return tuple(sorted(found, key=lambda sentence: hashlib.sha256(sentence.encode()).digest()))


def _documented(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            sentence = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
            if SHORTEST <= len(sentence) <= LONGEST:
                yield sentence


@cache
def _files(*, held_out: bool) -> tuple[Path, ...]:
    root = Path(sysconfig.get_path("stdlib"))
    found = sorted(path for pattern in ("*.py", "*/*.py") for path in root.glob(pattern))
    files = [path for path in found if not NOT_SOURCE & set(path.relative_to(root).parts)]
    return tuple(path for index, path in enumerate(files, 1) if (index % HELD_OUT == 0) == held_out)


def _characters(paths: tuple[Path, ...]) -> Tensor:
    text = np.frombuffer(b"".join(path.read_bytes() for path in paths), np.uint8)
    return torch.from_numpy(text[text < CHARACTERS].astype(np.int64))
