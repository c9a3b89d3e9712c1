"""The bench of quantizers runs and writes what it says; no time is judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_case_has_its_row(tmp_path: Path) -> None:
    path = tmp_path / "quantizers.json"
    command = [sys.executable, "bench/quantizers.py", "--quick", "--json", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert "error above brute force: " in done.stdout
    rows = json.loads(path.read_text("utf-8"))["comparisons"]
    assert {row["section"] for row in rows} == {"limits", "libraries", "ourselves"}
    assert {row["threads"] for row in rows} == {1, 2}
    assert len(rows) == 2 * 8
    assert all(row["ratio"]["median"] > 0 for row in rows)
