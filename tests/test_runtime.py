"""Backends are found by their entry points and chosen by the type of an array; threads are counted."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from statqat_sim import Codec, UnsupportedError, load_format, runtime, threads
from statqat_sim.plan.program import CodecPlan


class Mine:
    """A third party's list of numbers."""

    dtype = "float32"

    def __init__(self, *values: float) -> None:
        self.values = list(values)
        self.shape = (len(values),)


class ThirdParty:
    """Owns `Mine`; its kernel counts the steps of the plan."""

    name = "third"
    reason: str | None = None

    def available(self) -> str | None:
        return self.reason

    def versions(self) -> Mapping[str, str]:
        return {"third": "1.0"}

    def owns(self, array: object) -> bool:
        return isinstance(array, Mine)

    def compile(self, plan: CodecPlan) -> Any:
        return lambda x, *, out=None, scale=None, **_: (self.name, len(x.values), len(plan.shape.steps), scale)


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[ThirdParty]]:
    """Installed beside the house's own backends."""
    module = ModuleType("third_party_backend")
    module.__dict__["Backend"] = ThirdParty
    monkeypatch.setitem(sys.modules, module.__name__, module)
    mine = EntryPoint("third", "third_party_backend:Backend", runtime.GROUP)
    monkeypatch.setattr(runtime, "entry_points", lambda group: [*entry_points(group=group), mine])
    runtime.backends.cache_clear()
    yield ThirdParty
    runtime.backends.cache_clear()


# --- backends ----------------------------------------------------------------------------------------------------


def test_the_house_has_two_backends_and_both_run_here() -> None:
    found = runtime.backends()
    assert found.keys() >= {"numba", "reference"}
    for name in ("numba", "reference"):
        assert isinstance(found[name], runtime.Backend)
        assert found[name].name == name
        assert found[name].available() is None
        assert found[name].versions()["numpy"] == np.__version__


def test_a_backend_owns_its_arrays_by_type() -> None:
    for array in (
        np.zeros(3),
        np.float32(1),
        torch.zeros(3),
        torch.nn.Parameter(torch.zeros(3)),
        np.zeros(3).view(np.memmap),
    ):
        assert runtime.backend_for(array).name == "numba"
    for array in ([1.0], 1.0, None, torch.zeros(3, device="meta"), Mine()):
        with pytest.raises(TypeError, match="no backend owns"):
            runtime.backend_for(array)


def test_names_are_looked_up() -> None:
    assert runtime.backend_named("reference") is runtime.backends()["reference"]
    with pytest.raises(LookupError, match="no backend is named 'refrence'; did you mean 'reference'?.*allowed: auto, "):
        runtime.backend_named("refrence")
    with pytest.raises(LookupError, match="no backend is named 'auto'"):
        runtime.backend_named("auto")


def test_a_checkout_that_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "entry_points", lambda group: [])
    monkeypatch.setattr(runtime, "backends", runtime.backends.__wrapped__)
    for call in (lambda: runtime.backend_for(np.zeros(3)), lambda: runtime.backend_named("numba")):
        with pytest.raises(UnsupportedError, match=r"statqat_sim is not installed.*allowed: pip install -e \."):
            call()


def test_a_third_party_plugs_in(third_party: type[ThirdParty]) -> None:
    codec = Codec(load_format("int4"))
    name, count, steps, scale = codec.fake_quantize(Mine(1, 2), scale=0.5)
    assert (name, count, scale) == ("third", 2, 0.5)
    assert steps > 5
    assert Codec(load_format("int4"), "third").encode(Mine(1))[:2] == ("third", 1)
    assert isinstance(codec.encode(np.zeros(3, np.float32)), np.ndarray)


def test_there_is_no_silent_fall_back(third_party: type[ThirdParty], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(third_party, "reason", "no such device; pip install third")
    monkeypatch.setattr(third_party, "owns", lambda self, array: True)
    monkeypatch.setattr(runtime.backends()["numba"], "owns", lambda array: False)
    with pytest.raises(UnsupportedError, match="backend 'third': no such device; pip install third"):
        Codec(load_format("int4")).encode(np.zeros(3, np.float32))
    with pytest.raises(UnsupportedError, match="backend 'third'"):
        Codec(load_format("int4"), "third")


def test_a_backend_of_the_required_parts_alone_is_one() -> None:
    assert isinstance(ThirdParty(), runtime.Backend)
    for compiled, what in ((runtime.block_kernel, "block formats"), (runtime.reduction_kernel, "reductions")):
        with pytest.raises(UnsupportedError, match=f"backend 'third' has no {what}; allowed: backends with compile_"):
            compiled(ThirdParty(), None)  # type: ignore[operator]
    with pytest.raises(UnsupportedError, match="no matrix instructions; allowed: backends with compile_mma"):
        runtime.mma_kernel(ThirdParty(), None)  # type: ignore[arg-type]
    assert runtime.row_scan_kernel(ThirdParty(), None) is None  # type: ignore[arg-type]
    assert runtime.row_sums_kernel(ThirdParty()) is None


def test_the_optional_parts_are_those_that_are_asked_for() -> None:
    parts = {name for name in vars(runtime.OptionalParts) if name == "library" or name.startswith("compile_")}
    source = inspect.getsource(runtime)
    assert parts == set(re.findall(r'_(?:part|required)\(backend, "(\w+)"', source))
    parts |= set(runtime.OptionalParts.__annotations__)
    guide = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text("utf-8")
    assert not [name for name in parts if f"`{name}`" not in guide]


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ({}, "broken_backend:Backend cannot be loaded: AttributeError: .*'Backend'"),
        ({"Backend": lambda: 1 / 0}, "broken_backend:Backend cannot be loaded: ZeroDivisionError: division by zero"),
        ({"Backend": ThirdParty}, "broken_backend:Backend calls itself 'third'; allowed: 'broken', as its entry point"),
    ],
    ids=["import", "call", "name"],
)
def test_a_backend_that_cannot_be_loaded_says_so_and_disables_no_other(
    module: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "broken_backend", ModuleType("broken_backend"))
    sys.modules["broken_backend"].__dict__.update(module)
    broken = EntryPoint("broken", "broken_backend:Backend", runtime.GROUP)
    monkeypatch.setattr(runtime, "entry_points", lambda group: [broken, *entry_points(group=group)])
    runtime.backends.cache_clear()
    try:
        assert isinstance(runtime.backends()["broken"], runtime.Backend)
        assert re.fullmatch(reason, runtime.backends()["broken"].available() or "")
        assert runtime.backends()["broken"].versions() == {}
        assert Codec(load_format("int4")).encode(np.ones(3, np.float32)).tolist() == [1, 1, 1]
        with pytest.raises(TypeError, match=f"no backend owns .*; {reason}$"):
            runtime.backend_for(Mine())
        with pytest.raises(UnsupportedError, match=f"backend 'broken': {reason}"):
            Codec(load_format("int4"), "broken")
        with pytest.raises(UnsupportedError, match=f"backend 'broken': {reason}"):
            runtime.backends()["broken"].compile(None)  # type: ignore[arg-type]
    finally:
        runtime.backends.cache_clear()


# --- threads -----------------------------------------------------------------------------------------------------


@pytest.fixture
def _unset(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(threads.THREADS_VARIABLE, raising=False)
    threads._default_threads.cache_clear()
    yield
    threads.set_threads(None)
    threads._default_threads.cache_clear()


@pytest.mark.usefixtures("_unset")
def test_threads_are_the_processors_at_hand_unless_set() -> None:
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert threads.get_threads() == here
    threads.set_threads(5)
    assert threads.get_threads() == 5
    threads.set_threads(None)
    assert threads.get_threads() == here


@pytest.mark.usefixtures("_unset")
def test_the_environment_sets_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(threads.THREADS_VARIABLE, "3")
    assert threads.get_threads() == 3
    threads.set_threads(2)
    assert threads.get_threads() == 2


@pytest.mark.usefixtures("_unset")
@pytest.mark.parametrize("count", [np.int64(2), np.uint8(2), np.array(2), torch.tensor(2)])
def test_a_count_may_be_any_librarys_integer(count: Any) -> None:
    threads.set_threads(count)
    assert type(threads.get_threads()) is int
    assert threads.get_threads() == 2


@pytest.mark.usefixtures("_unset")
@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2", np.bool_(True), np.float64(2), np.int64(0)])
def test_what_is_no_count_is_refused(count: Any) -> None:
    with pytest.raises(ValueError, match=rf"{re.escape(repr(count))} threads; allowed: a whole number of at least 1"):
        threads.set_threads(count)
    assert threads.get_threads() >= 1


@pytest.mark.usefixtures("_unset")
@pytest.mark.parametrize("text", ["0", "-1", "many", "2.0", " 2"])
def test_an_unreadable_count_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(threads.THREADS_VARIABLE, text)
    with pytest.raises(ValueError, match="allowed: a whole number of at least 1"):
        threads.get_threads()


def test_without_torch_it_is_told_what_to_install() -> None:
    code = """
import sys
sys.modules["torch"] = None
import statqat_sim as sqs
try:
    sqs.Codec(sqs.load_format("int4"), backend="torch")
except sqs.UnsupportedError as error:
    print(error)
try:
    from statqat_sim import qat
except ModuleNotFoundError as error:
    print(error, error.name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "backend 'torch': torch is not installed; pip install -e \".[torch]\" in the repository of statqat_sim",
        'statqat_sim.qat needs torch; pip install -e ".[torch]" in the repository of statqat_sim torch',
    ]


def test_a_process_reads_the_environment() -> None:
    environment = os.environ | {threads.THREADS_VARIABLE: "7"}
    code = "import statqat_sim as sqs; print(sqs.get_threads()); sqs.set_threads(2); print(sqs.get_threads())"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["7", "2"]
