"""`statqat-sim verify`: the exhaustive proof of a format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from statqat_sim.cli.console import console, error_text, write_json
from statqat_sim.cli.options import Json, Search
from statqat_sim.cli.outputs import check_results, paths_in

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from statqat_sim.report.verification import Verification
    from statqat_sim.spec.number import NumberFormat

AUTO = "auto"
COLUMNS = (("inputs", 10), ("changes", 9), ("wrong inputs", 12), ("codes", 6), ("wrong codes", 11), ("seconds", 7))
"""Names and widths of the columns."""

Result: TypeAlias = "Verification | str"
"""A verification, or the reason why there is none."""

Formats: TypeAlias = Annotated[
    list[str] | None, typer.Argument(metavar="FORMAT", help="Names, aliases or .yaml files; with --all, filters.")
]
Every: TypeAlias = Annotated[
    bool, typer.Option("--all", help="Every format; with words, those with one in name, aliases, title or kind.")
]
Roundings: TypeAlias = Annotated[
    bool, typer.Option("--roundings", help="Each format under every other deterministic rounding, too.")
]
OnBackend: TypeAlias = Annotated[
    str, typer.Option("--backend", metavar="NAME", help="The backend to verify; see `backends`.")
]


def verify(
    formats: Formats = None,
    every: Every = False,
    roundings: Roundings = False,
    backend: OnBackend = AUTO,
    json: Json = None,
    search: Search = None,
) -> None:
    r"""Prove formats: encode all 2^32 float32 inputs, decode all codes, and compare each with exact arithmetic.

    Nothing is sampled. The exact encoder is a step function of its input; its steps are found in rational arithmetic,
    and between two of them every input must have the same code. Decoders are compared in float32 and in float64. This
    takes some seconds for each format. The exit status is 1 if anything is wrong. `changes` counts where the code
    changes from one input to the next.

    Formats of more than 16 bits, with stochastic rounding, or with overflow: wrap have no such steps: they are refused,
    and --all leaves them out and says so. --all takes bfloat16, float8_e4m3fn, float8_e5m2, int8, nf4 and posit8 under
    every deterministic rounding. Block formats are not proven, but the formats of their elements and scales are.

    \b
    statqat-sim verify float8_e4m3fn my_format.yaml
    statqat-sim verify my_format.yaml --roundings
    statqat-sim verify --all
    statqat-sim verify --all posit takum --json proof.json
    """
    from statqat_sim.report.verification import why_not
    from statqat_sim.runtime import backend_named

    words = formats or []
    if not words and not every:
        raise LookupError("no format is named; allowed: names, aliases and .yaml files, or --all")
    if backend != AUTO:
        backend_named(backend)
    check_results(paths_in(words), text=json)
    found, broken = _chosen(words, every, search or ())
    chosen = list(_rounded(found, every, roundings))
    for fmt in chosen:
        if not every and (reason := why_not(fmt)):
            raise ValueError(f"{fmt.name} cannot be proven: {reason}")
    results = _verified(chosen, backend, quiet=json is not None)
    if json:
        write_json([_item(fmt, result) for fmt, result in zip(chosen, results, strict=True)], json)
    for error in broken:
        typer.echo(error_text(error), err=True)
    if broken or not _all_hold(chosen, results):
        raise typer.Exit(1)


def _all_hold(chosen: Sequence[NumberFormat], results: Sequence[Result]) -> bool:
    """Whether no result is wrong; otherwise prints the failures."""
    wrong = [
        fmt.name for fmt, result in zip(chosen, results, strict=True) if not (isinstance(result, str) or result.holds)
    ]
    if wrong:
        typer.echo(f"error: {len(wrong)} of {len(chosen)} formats are not proven: {', '.join(wrong)}", err=True)
    return not wrong


def _chosen(words: Sequence[str], every: bool, search: Sequence[Path]) -> tuple[list[NumberFormat], list[Exception]]:
    """The requested formats, and the errors of invalid files."""
    from statqat_sim.cli.formats import loaded, matches
    from statqat_sim.cli.number_formats import load_number_format
    from statqat_sim.spec.number import NumberFormat

    if not every:
        return [load_number_format(word, search, "verify") for word in words], []
    found, broken = loaded(search)
    numbers = [fmt for fmt in found if isinstance(fmt, NumberFormat)]
    chosen = [fmt for fmt in numbers if not words or any(matches(fmt, word) for word in words)]
    if not chosen and numbers:
        raise LookupError(f"no format has {' or '.join(map(repr, words))} in its name, aliases, title or kind")
    return chosen, broken


def _rounded(chosen: Iterable[NumberFormat], every: bool, roundings: bool) -> Iterator[NumberFormat]:
    """The formats, each followed by its other roundings if requested."""
    from statqat_sim.report.verification import ROUNDED, other_roundings

    for fmt in chosen:
        yield fmt
        if roundings or (every and fmt.name in ROUNDED):
            yield from other_roundings(fmt)


def _verified(chosen: Sequence[NumberFormat], backend: str, *, quiet: bool) -> list[Result]:
    """Each format's result, printed as soon as it is available."""
    from statqat_sim.report.verification import INPUTS, verify, why_not

    width = max(len("format"), *(len(fmt.name) for fmt in chosen))
    tell: Callable[[str], None] = (lambda text: None) if quiet else typer.echo
    tell(_line("format", [head for head, _ in COLUMNS], width))
    reasons = list(map(why_not, chosen))
    provable = reasons.count(None)
    results: list[Result] = []
    bar = _progress()
    task = bar.add_task("", total=provable * INPUTS)
    for fmt, reason in zip(chosen, reasons, strict=True):
        result: Result | None = reason
        if result is None:
            place = sum(not isinstance(each, str) for each in results)
            bar.update(task, description=f"{fmt.name}, {place + 1} of {provable}")
            with bar:
                result = verify(fmt, backend, partial(_move, bar, task, place * INPUTS))
        results.append(result)
        tell("\n".join(_lines(fmt.name, result, width)))
    if len(chosen) > 1:
        tell(_total(results))
    return results


def _move(bar: Progress, task: TaskID, before: int, done: int) -> None:
    bar.update(task, completed=before + done)


def _total(results: Sequence[Result]) -> str:
    found = [result for result in results if not isinstance(result, str)]
    proven, seconds = sum(each.holds for each in found), sum(each.seconds for each in found)
    return f"\n{proven} proven, {len(found) - proven} wrong, {len(results) - len(found)} skipped, {seconds:.1f} seconds"


def _progress() -> Progress:
    """A progress bar with the time left on standard error, erased when it stops; none if that is not a terminal."""
    from rich.progress import Progress

    screen = console(error=True)
    return Progress(*Progress.get_default_columns(), console=screen, transient=True, disable=not screen.is_terminal)


def _lines(name: str, result: Result, width: int) -> Iterator[str]:
    if isinstance(result, str):
        yield f"{name:{width}}  skipped: {result}"
        return
    proof = result.encoder
    cells = (proof.inputs, proof.change_points, proof.wrong, result.codes, result.wrong_codes, f"{result.seconds:.1f}")
    yield _line(name, map(str, cells), width)
    yield from (f"  {mismatch}" for mismatch in (*proof.mismatches, *result.wrong_values))


def _line(name: str, cells: Iterable[str], width: int) -> str:
    texts = (f"{cell:>{column}}" for cell, (_, column) in zip(cells, COLUMNS, strict=True))
    return "  ".join((f"{name:{width}}", *texts))


def _item(fmt: NumberFormat, result: Result) -> dict[str, Any]:
    """One format's result for JSON; `skipped` is the reason why there is none."""
    item: dict[str, Any] = {"format": fmt.name, "bits": fmt.bits, "skipped": None, "holds": None}
    if isinstance(result, str):
        return item | {"skipped": result}
    proof = result.encoder
    return item | {
        "holds": result.holds,
        "inputs": proof.inputs,
        "change_points": proof.change_points,
        "wrong": proof.wrong,
        "mismatches": [asdict(mismatch) for mismatch in proof.mismatches],
        "codes": result.codes,
        "wrong_codes": result.wrong_codes,
        "wrong_values": [asdict(value) for value in result.wrong_values],
        "seconds": round(result.seconds, 3),
    }
