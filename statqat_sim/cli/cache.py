"""`statqat-sim cache`: the compiled kernels on disk."""

from __future__ import annotations

from typing import Annotated

import typer


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete them; they are compiled again when needed.")] = False,
) -> None:
    """Show where compiled kernels are stored, or delete them, which is always safe."""
    from statqat_sim.cache import cache_directory, cached_files, clear_cache

    if clear:
        typer.echo(f"{cache_directory()}: {clear_cache()} files deleted")
        return
    sizes = [path.stat().st_size for path in cached_files()]
    typer.echo(f"{cache_directory()}: {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB")
