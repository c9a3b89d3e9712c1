"""Independent implementations of number formats, all behind one door.

An `oracle:` entry of a format file reads `library:name`, or `library==version:name` in a profile:

- without a version: the library gives every code the same value, and rounds alike inside the format's range (E8M0 is
  the exception: ml_dtypes and torch round its ties up);
- with a version: that release of the library encodes every input alike, Inf, NaN and overflow included. A comment
  above the file's `encode` tells the exceptions.

    oracle = resolve("ml_dtypes==0.6:float8_e4m3fn")
    oracle.decode()                     # the value of every code
    oracle.encode(np.float32([1.0]))    # codes, where the library has a cast; also of float16, bfloat16 and float64
    oracle.installed()                  # whether the release that the entry names can be asked

A library is either imported (`libraries.py`), or what one of its releases does is recorded (`recorded.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import version

from libraries import LIBRARIES, Decode, Encode, Interface
from recorded import Cast, recorded

ENTRY = re.compile(r"(?P<library>\w+)(==(?P<release>[\d.]+))?:(?P<name>\w+)")

RECORDED = ("cuda", "en_dtypes", "gguf", "libtakum", "pychop", "softposit", "universal")
"""No dependency of the tests holds them."""

NOT_RUN = ("gguf:Q4_0", "gguf:Q5_0", "gguf:TQ2_0")
"""Compared with by hand: these encode whole blocks only."""


@dataclass(frozen=True, slots=True)
class Oracle:
    """One format of one library, and the release that the entry names, if any. The rest is as in `Interface`."""

    library: str
    release: str
    name: str
    is_recorded: bool
    bits: int
    decode: Decode | None
    encode: Encode | None
    truncates: bool

    def installed(self) -> bool:
        """Whether the release that the entry names is at hand or recorded; True if it names none."""
        if self.is_recorded or not self.release:
            return True
        named = self.release.split(".")
        return re.split(r"[.+]", version(self.library))[: len(named)] == named


def is_run(entry: str) -> bool:
    """Whether tests can ask the library of this entry. Imports nothing."""
    return bool(_parts(entry)) and entry not in NOT_RUN


def resolve(entry: str) -> Oracle:
    """The implementation behind an entry for which `is_run`.

    Raises:
        ValueError: if the entry is no entry, or its library is unknown.
        AttributeError, KeyError: if the library has no such format.
    """
    parts = _parts(entry)
    library, release, name = parts["library"], parts["release"] or "", parts["name"]
    casts = recorded(library, release) if release or library in RECORDED else {}
    interface = _interface(casts[name]) if casts else LIBRARIES[library](name)
    return Oracle(library, release, name, bool(casts), *interface)


def _interface(cast: Cast) -> Interface:
    decode = None if cast.values is None else cast.decode
    return Interface(cast.bits, decode, None if cast.first is None else cast.encode)


def _parts(entry: str) -> re.Match[str]:
    parts = ENTRY.fullmatch(entry)
    libraries = (*LIBRARIES, *RECORDED)
    if parts is None or parts["library"] not in libraries:
        raise ValueError(f"{entry!r}; allowed: library:name, library==version:name of {', '.join(libraries)}")
    return parts
