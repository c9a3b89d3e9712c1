"""The measuring method: ours and a peer called alternately in one process, and a description of the machine."""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeAlias

Call: TypeAlias = Callable[[], object]
Clock: TypeAlias = Callable[[], float]

PACKAGES = ("numpy", "numba", "torch", "ml_dtypes")
GPU_PACKAGES = ("cupy-cuda12x", "cupy-cuda13x", "torchao")


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and greatest of repeated measurements."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of at least one value."""
        listed = list(values)
        return cls(statistics.median(listed), min(listed), max(listed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How calls are timed."""

    pairs: int
    sample_seconds: float = 0.03
    """A sample repeats its call for about this long, so that a single interrupt hardly matters."""
    settle_seconds: float = 0.01
    """Pause before each sample: threads of the previous sample may still spin on a core, waiting for work."""
    clock: Clock = time.perf_counter
    """Wall time by default; `time.process_time` sums processor time over all threads."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Seconds per call of ours and of the peer; `ratio` is peer / ours of each pair: above 1, ours is faster."""

    ours: Spread
    peer: Spread
    ratio: Spread


def run_pairs(ours: Call, peer: Call, method: Method) -> Pairs:
    """Warm both up, then measure ours, peer, ours, peer, …, so that temporary slowdowns of the machine affect both."""
    our_calls, peer_calls = (_calls_per_sample(call, method) for call in (ours, peer))
    pairs = [(_sample(ours, our_calls, method), _sample(peer, peer_calls, method)) for _ in range(method.pairs)]
    return Pairs(
        ours=Spread.of(ours for ours, _ in pairs),
        peer=Spread.of(peer for _, peer in pairs),
        ratio=Spread.of(peer / ours for ours, peer in pairs),
    )


def seconds(call: Call, calls: int = 1, clock: Clock = time.perf_counter) -> float:
    """Seconds of one call, on average over `calls` in a row."""
    start = clock()
    for _ in range(calls):
        call()
    return (clock() - start) / calls


def _calls_per_sample(call: Call, method: Method) -> int:
    call()  # compiles, and maps the pages of its output
    return max(1, math.ceil(method.sample_seconds / seconds(call, clock=method.clock)))


def _sample(call: Call, calls: int, method: Method) -> float:
    time.sleep(method.settle_seconds)
    return seconds(call, calls, method.clock)


# --- the machine -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Machine:
    """The hardware and software that results depend on, without host names or paths."""

    cpu: str
    cores: int
    load: float | None
    """Load average of the minute before: other work on the machine."""
    system: str
    python: str
    versions: dict[str, str | None]
    date: str
    device: str | None = None
    """The GPU that is measured, if any."""

    @classmethod
    def here(cls, device: str | None = None) -> Machine:
        """This machine, now; `device`: the GPU that is measured, if any."""
        packages = PACKAGES if device is None else PACKAGES + GPU_PACKAGES
        return cls(
            cpu=_cpu(),
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
            system=f"{platform.system()} {platform.machine()}",
            python=platform.python_version(),
            versions={package: _version(package) for package in packages},
            date=datetime.now(UTC).date().isoformat(),
            device=device,
        )

    @classmethod
    def told(cls, device: str | None = None) -> Machine:
        """Like `here`, also printed, as the first line of a run."""
        machine = cls.here(device)
        print(machine, flush=True)
        return machine

    def __str__(self) -> str:
        versions = (f"{name} {number}" for name, number in self.versions.items() if number)
        device = "" if self.device is None else f"{self.device}, "
        system = f"{self.cpu}, {self.cores} cores, {self.system}"
        return f"{device}{system}, Python {self.python}, {', '.join(versions)}, {self.date}"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
