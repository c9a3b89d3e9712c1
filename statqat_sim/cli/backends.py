"""`statqat-sim backends`: the backends on which plans can run."""

from __future__ import annotations

from statqat_sim.cli.console import show_table, write_json
from statqat_sim.cli.options import Json


def backends(json: Json = None) -> None:
    """List the backends: can each run here, and on what, or why not."""
    from statqat_sim.cli.outputs import check_results
    from statqat_sim.report.table import plain_table
    from statqat_sim.runtime import backends

    check_results(text=json)
    known = sorted(backends().items())
    reasons = {name: backend.available() for name, backend in known}
    versions = {name: dict(backend.versions()) if reasons[name] is None else {} for name, backend in known}
    if json:
        keys = ("name", "available", "reason", "versions")
        rows = [(name, reason is None, reason, versions[name]) for name, reason in reasons.items()]
        write_json((dict(zip(keys, row, strict=True)) for row in rows), json)
        return
    table = plain_table("name", "available", "versions")
    for name, reason in reasons.items():
        runs_on = ", ".join(f"{what} {version}" for what, version in versions[name].items())
        table.add_row(name, "yes" if reason is None else f"no: {reason}", runs_on)
    show_table(table)
