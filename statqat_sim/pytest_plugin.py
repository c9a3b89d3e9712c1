"""pytest fixtures; `statqat_sim.testing` has the same assertions without pytest.

pytest loads this module whenever the package is installed, so it imports the package only when a fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="session")
def assert_bit_exact() -> Callable[[Any, Any], None]:
    """Fail unless two arrays or tensors have the same dtype, shape and bits."""
    from statqat_sim import testing

    return testing.assert_bit_exact


@pytest.fixture(scope="session")
def assert_sqnr() -> Callable[[Any, Any, float], None]:
    """Fail unless the SQNR of two arrays, the original first, is at least so many dB."""
    from statqat_sim import testing

    return testing.assert_sqnr
