"""Settings of all tests: repeatable random examples, kernels in pytest's cache, `long` tests only where asked for."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile("repeatable")  # `--hypothesis-profile=random` draws other examples each time


def pytest_configure(config: pytest.Config) -> None:
    """Kernels of random specs do not belong into the user's cache."""
    if config.pluginmanager.hasplugin("cacheprovider"):
        os.environ["STATQAT_CACHE_DIR"] = str(config.cache.mkdir("statqat_sim"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`pytest -m long` runs the long tests; without `-m` they are left out."""
    if config.option.markexpr:
        return
    chosen: dict[bool, list[pytest.Item]] = {False: [], True: []}
    for item in items:
        chosen[item.get_closest_marker("long") is not None].append(item)
    config.hook.pytest_deselected(items=chosen[True])
    items[:] = chosen[False]
