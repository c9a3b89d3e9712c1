"""Measure block formats: `python -m bench.blocks --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

if not __package__:  # run as a file: python put this folder on its path, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.block_cases import BlockData, limits, of_microxcaling, ourselves, torchao
from bench.cases import Case
from bench.comparing import compare
from bench.loops import Threads
from bench.options import Job, bench_parser, parsed
from bench.pairs import Machine
from bench.report import Report

MICROXCALING = "microxcaling"
FEWEST = 1 << 10

Peer: TypeAlias = Callable[[int], Iterator[Case]]
"""A library's cases, on the given number of threads."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every case, print a line for each, and write JSON if asked to."""
    parser = bench_parser("bench.blocks", "Measure block formats beside their peers and limits.")
    parser.add_argument(
        "--peer", metavar=f"{MICROXCALING}=DIR", help="a checkout of github.com/microsoft/microxcaling to compare with"
    )
    options, job = parsed(parser, arguments)
    if job.elements < FEWEST or job.elements & (job.elements - 1):
        parser.error(f"--elements must be a power of two, {FEWEST} or more")
    report = run(job, has_microxcaling=_found(options.peer, parser))
    if options.json:
        report.write(options.json)


def run(job: Job, *, has_microxcaling: bool) -> Report:
    """All comparisons."""
    machine = Machine.told()
    data = BlockData(job.elements)
    peers: dict[str, Peer] = {"torchao": lambda threads: torchao(data, threads)}
    skipped: list[str] = []
    if has_microxcaling:
        peers[MICROXCALING] = lambda threads: iter([of_microxcaling(data, threads)])
    else:
        _skip(f"{MICROXCALING}: no checkout, --peer {MICROXCALING}=DIR", skipped)

    def cases(pool: Threads) -> Iterator[Case]:
        for name, peer in peers.items():
            yield from _installed(name, peer, pool.count, skipped)
        yield from limits(data, pool)
        yield from ourselves(data)

    comparisons = tuple(compare(cases, job))
    return Report.of(machine, job, comparisons, skipped=tuple(dict.fromkeys(skipped)))


def _installed(name: str, peer: Peer, threads: int, skipped: list[str]) -> Iterator[Case]:
    """A peer's cases; if it or a dependency is not installed, none, with the reason in `skipped`."""
    try:
        yield from peer(threads)
    except ImportError as error:
        _skip(f"{name}: {error}", skipped)


def _skip(reason: str, skipped: list[str]) -> None:
    skipped.append(reason)
    print(f"skipped: {reason}", flush=True)


def _found(peer: str | None, parser: argparse.ArgumentParser) -> bool:
    """Whether a checkout is given; if so, add it to `sys.path`."""
    if peer is None:
        return False
    name, _, folder = peer.partition("=")
    if name != MICROXCALING or not Path(folder, "mx").is_dir():
        parser.error(f"--peer {peer}: allowed: {MICROXCALING}=DIR, where DIR holds the package mx")
    sys.path.append(folder)
    return True


if __name__ == "__main__":
    main()
