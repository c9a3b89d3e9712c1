"""`statqat-sim schema`: the language of format files as a JSON Schema, for editors."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from statqat_sim.cli.options import TO_FILE

OfAccelerators: TypeAlias = Annotated[
    bool, typer.Option("--accelerator", help="For accelerator files, not format files.")
]


def schema(
    output: Annotated[str | None, TO_FILE] = None,
    accelerator: OfAccelerators = False,
) -> None:
    r"""Print the JSON Schema of format or accelerator files, with which editors complete keys and mark errors.

    It is generated from the types that validate files. `statqat-sim check` also finds what a schema cannot express.

    \b
    statqat-sim schema --output my_formats/statqat_sim.schema.json
    statqat-sim schema --accelerator --output my_formats/accelerator/accelerator.schema.json

    The first line of a format file then reads:

    \b
    # yaml-language-server: $schema=statqat_sim.schema.json
    """
    import json

    from statqat_sim.cli.console import STDOUT, write_text
    from statqat_sim.cli.outputs import check_results
    from statqat_sim.spec.accelerator_schema import accelerator_schema
    from statqat_sim.spec.schema import json_schema

    check_results(text=output)
    text = json.dumps(
        accelerator_schema() if accelerator else json_schema(), indent=2, ensure_ascii=False, allow_nan=False
    )
    write_text(text, output or STDOUT)
    if output and output != STDOUT:
        typer.echo(f"{output}: written", err=True)
