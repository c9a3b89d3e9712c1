"""Devices and streams as cupy has them, where there are none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class Device:
    """One of any number; None: the current one."""

    def __init__(self, device: int | None = None) -> None:
        self.id = WORKING[-1] if device is None else int(device)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    __hash__ = None  # type: ignore[assignment]  # as cupy's

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def __enter__(self) -> Device:
        WORKING.append(self.id)
        return self

    def __exit__(self, *error: object) -> None:
        WORKING.pop()


WORKING = [0]
"""Numbers of devices: the current one is last."""


@dataclass
class Stream:
    """Remembers what was queued on it."""

    ptr: int = 0
    launches: list[str] = field(default_factory=list)
    waits: int = 0
    non_blocking: bool = False

    def __enter__(self) -> Stream:
        CURRENT.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        CURRENT.pop()

    def synchronize(self) -> None:
        self.waits += 1

    @classmethod
    def from_external(cls, obj: Any) -> Stream:
        version, address = obj.__cuda_stream__()
        assert version == 0
        assert type(address) is int
        return cls(address)


CURRENT = [Stream()]


def get_current_stream(device_id: int = -1) -> Stream:
    return CURRENT[-1]
