"""Running the command line in tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from statqat_sim.cli import main


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        rows = json.loads(self.out)
        assert isinstance(rows, list)
        return rows


Run = Callable[..., Answer]


def commands(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs commands in this process."""

    def invoke(*arguments: str | Path) -> Answer:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Answer(int(stop.value.code or 0), printed.out, printed.err)

    return invoke


def told(answer: Answer, *parts: str) -> None:
    """A user's error: one line or more on the standard error, and nothing else."""
    assert answer.code == 1
    assert answer.out == ""
    assert "Traceback" not in answer.err
    for part in parts:
        assert part in answer.err
