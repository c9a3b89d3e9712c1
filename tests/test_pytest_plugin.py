"""The fixtures that users' own tests get."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

USERS_TEST = """
import numpy as np

def test_bits(assert_bit_exact):
    assert_bit_exact(np.float32([1, 2]), np.float32([1, 2]))

def test_other_bits(assert_bit_exact):
    assert_bit_exact(np.float32([0.0]), np.float32([-0.0]))

def test_ratio(assert_sqnr):
    assert_sqnr(np.float32([1.0]), np.float32([1.01]), 39)

def test_lower_ratio(assert_sqnr):
    assert_sqnr(np.float32([1.0]), np.float32([1.01]), 41)
"""


def test_fixtures_in_tests_of_users(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(USERS_TEST)
    result = pytester.runpytest_subprocess("-p", "statqat_sim.pytest_plugin", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        ["*1 of 1 elements differ, the first at [[]0[]]:", "*SQNR is 40.00 dB; expected at least *"]
    )


def test_pytest_finds_the_plugin_by_its_entry_point() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"statqat_sim": "statqat_sim.pytest_plugin"}


def test_the_plugin_costs_next_to_nothing() -> None:
    program = (
        "import sys, statqat_sim.pytest_plugin; print(*{'numpy', 'torch', 'numba', 'pydantic'} & sys.modules.keys())"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == ""
