"""`statqat-sim identify`: which format made a quantized tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from statqat_sim.cli.console import error_text, progress, show_table, types_told, write_json
from statqat_sim.cli.options import Axis, Json, Search, Unscaled

if TYPE_CHECKING:
    from statqat_sim.identification import Candidate, Compared
    from statqat_sim.spec.format import Format

NAMED = 6
"""The most formats, or keys, listed on one line."""

TENSOR = "FILE[:MEMBER]"
"""How a tensor is named."""

Original: TypeAlias = Annotated[
    str, typer.Argument(metavar="ORIGINAL", help="The original tensor: FILE, or FILE:MEMBER.")
]
Values: TypeAlias = Annotated[
    str | None, typer.Option("--values", metavar=TENSOR, help="The quantized tensor, as floats.")
]
Packed: TypeAlias = Annotated[
    str | None,
    typer.Option("--packed", metavar=TENSOR, help="The quantized tensor's bytes: uint8, or a .bin file of them."),
]
Codes: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--codes",
        metavar=TENSOR,
        help="The codes of its elements: one for each, or dense bytes, each row padded to a byte.",
    ),
]
Scales: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--scales",
        metavar=TENSOR,
        help="Its scales, as codes or floats; repeatable, outermost first. The innermost alone are enough.",
    ),
]
OutermostScale: TypeAlias = Annotated[
    float | None,
    typer.Option("--scale", metavar="VALUE", help="The outermost scale, if it was given and not found by a rule."),
]
First: TypeAlias = Annotated[int, typer.Option("--first", metavar="N", min=1, help="How many formats to list.")]


def identify(
    original: Original,
    values: Values = None,
    packed: Packed = None,
    codes: Codes = None,
    scales: Scales = None,
    scale: OutermostScale = None,
    unscaled: Unscaled = False,
    axis: Axis = -1,
    first: First = 10,
    json: Json = None,
    search: Search = None,
) -> None:
    r"""Find the formats that turn an original tensor into a quantized one.

    Every format whose sizes fit is tried: block formats on values, packed bytes, or codes and scales; number formats
    of up to 8 bits on values or codes, with scale 1, with MinMax, and with largest magnitude / largest value, of the
    tensor and of each slice along axis 0, or on codes with the floats of --scales; not with --scale. Values of 16 bits
    are compared with values rounded to 16 bits; zeros of either sign are equal. Float8 as numbers is read times its
    scales, if its file has a tensor MEMBER_scale_inv or MEMBER_scale.

    The table shows the share of identical elements, best format first, and the first difference. Left out are formats
    that reproduce less than half of a sample of the values, unless a sample's scales depend on the rest, and number
    formats that do so of the codes. The exit status is 0 if a format reproduces the whole tensor, 1 if none does.

    \b
    statqat-sim identify weights.npy --values dequantized.npy
    statqat-sim identify model.safetensors:w --packed quantized.safetensors:w_packed
    statqat-sim identify w.npy --codes q.safetensors:blocks --scales q.safetensors:scales
    statqat-sim identify w.npy --codes int8_codes.npy
    """
    from statqat_sim.cli.members import file_of, read_member
    from statqat_sim.cli.outputs import check_results

    check_results([file_of(text) for text in (original, values, packed, codes, *(scales or ())) if text], text=json)
    given = {"values": values, "packed": packed, "codes": codes}
    if sum(each is not None for each in given.values()) + (codes is None and bool(scales)) != 1:
        raise LookupError("allowed: --values, or --packed, or --codes with --scales: one of them")
    arrays: dict[str, Any] = {name: _read(name, text, unscaled) for name, text in given.items() if text is not None}
    arrays["scales"] = [read_member(text, codes=True) for text in scales or ()]
    x = read_member(original, unscaled=unscaled)
    found, broken = _found(x, {**arrays, "scale": scale, "axis": axis}, search or ())
    for error in broken:
        typer.echo(error_text(error), err=True)
    if json:
        write_json(map(_item, found), json)
    _tell(found, first, tuple(x.shape), quiet=json is not None)


def _read(name: str, text: str, unscaled: bool) -> Any:
    """The array or tensor that an option names."""
    from statqat_sim.cli.members import read_member
    from statqat_sim.cli.outputs import RAW

    if name == "packed" and Path(text).suffix == RAW:
        return Path(text).read_bytes()
    return read_member(text, codes=name != "values", unscaled=unscaled)


def _found(x: Any, given: dict[str, Any], search: Sequence[Path]) -> tuple[list[Candidate], list[Exception]]:
    """The candidates, searched under a progress bar; and the errors of invalid format files."""
    from statqat_sim.cli.formats import loaded
    from statqat_sim.identification import identify

    formats, broken = loaded(search)
    with types_told(), progress() as bar:
        task = bar.add_task("identifying", total=len(formats))

        def move(done: int, total: int) -> None:
            bar.update(task, completed=done)

        return identify(x, **given, formats=formats, progress=move), broken


def _tell(found: Sequence[Candidate], first: int, shape: tuple[int, ...], *, quiet: bool) -> None:
    """Print the candidates; exits with 1 unless one is exact."""
    if not found:
        told = f"no format fits an original of shape {shape}: none has such sizes, or gives half of its values"
        raise LookupError(f"{told} (`statqat-sim formats` lists them all; --axis says where blocks run)")
    if not quiet:
        _show(found[:first])
        for line in _summary(found, first):
            typer.echo(line)
    if not found[0].exact:
        typer.echo(f"error: {_nearest(found[0])}", err=True)
        raise typer.Exit(1)


def _nearest(candidate: Candidate) -> str:
    """What is told where no format is exact."""
    compared = candidate.compared[0]
    if not compared.identical:
        return "no format reproduces any of it"
    share = f"{_share(compared)} % of its {compared.name}"
    return f"no format reproduces it; the nearest is {_name(candidate)}, with {share}"


def _show(found: Sequence[Candidate]) -> None:
    from statqat_sim.report.table import plain_table

    table = plain_table()
    names = list(dict.fromkeys(each.name for candidate in found for each in candidate.compared))
    scales = len({candidate.scale for candidate in found}) > 1
    for column in ("format", *["scale"] * scales):
        table.add_column(column, overflow="fold")
    for name in names:
        table.add_column(f"{name}\n(%)", justify="right", no_wrap=True)
    table.add_column("first difference", overflow="fold")
    for candidate in found:
        shares = {each.name: _share(each) for each in candidate.compared}
        cells = [shares.get(name, "-") for name in names]
        table.add_row(candidate.format.name, *[candidate.scale] * scales, *cells, _first(candidate))
    show_table(table)


def _share(compared: Compared) -> str:
    """The share of identical elements in percent; 100 only if all are identical."""
    if compared.identical == compared.total:
        return "100"
    return f"{min(100 * compared.share, 99.999):.3f}"


def _first(candidate: Candidate) -> str:
    """The first difference; bytes are described by the fields that they hold."""
    wrong = [each for each in candidate.compared if each.first and each.name != "bytes"]
    return f"{wrong[0].name} {wrong[0].first}" if wrong else "none"


def _summary(found: Sequence[Candidate], first: int) -> Iterator[str]:
    """Closing lines: how many formats were left out, and the keys in which tied formats differ."""
    from statqat_sim.identification.given import ENOUGH

    if len(found) > first:
        yield f"... and {len(found) - first} more formats (--first N)"
    best = [each for each in found if (each.exact, each.shares) == (found[0].exact, found[0].shares)]
    if found[0].exact:
        yield f"\n{_name(found[0])} reproduces it."
    if len(best) > 1 and best[0].shares[0] >= ENOUGH:
        yield f"{len(best)} come equally near: {_listed([_name(each) for each in best])}."
        yield from _told_apart([each.format for each in best])


def _told_apart(formats: Sequence[Format]) -> Iterator[str]:
    from statqat_sim.report.keys import differing_keys

    keys = [key for key, _ in differing_keys(formats)]
    if keys:
        yield f"This tensor does not tell them apart; they differ in {_listed(keys)} (`statqat-sim diff A B`)."
    elif len({format.name for format in formats}) > 1:
        yield "They do not differ in any key."


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + f" and {more} more" * (more > 0)


def _name(candidate: Candidate) -> str:
    from statqat_sim.identification import BLOCK_RULES

    name = candidate.format.name
    return name if candidate.scale == BLOCK_RULES else f"{name} (scale {candidate.scale})"


def _item(candidate: Candidate) -> dict[str, Any]:
    """One format for JSON."""
    arrays = [
        {"name": each.name, "identical": each.identical, "total": each.total, "first_difference": each.first}
        for each in candidate.compared
    ]
    return {"format": candidate.format.name, "scale": candidate.scale, "exact": candidate.exact, "arrays": arrays}
