"""Accelerators <-> plain values: all that one instruction means, so that no catalog is needed to read it back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from statqat_sim.spec.accelerator import AcceleratorSpec


def instruction_keys(accelerator: AcceleratorSpec, instruction: str) -> dict[str, Any]:
    """The accelerator with one instruction, and those that its recipe is made of.

    Raises:
        LookupError: if there is no such instruction.
    """
    chosen = accelerator.instruction(instruction)
    wanted = {instruction, *(step.instruction for step in chosen.recipe)}
    kept = tuple(each for each in accelerator.instructions if each.name in wanted)
    changes = {"instructions": kept, "conversions": (), "aliases": (), "title": "", "source": ""}
    return accelerator.model_copy(update=changes).model_dump(mode="json")


def from_instruction_keys(keys: Mapping[str, Any]) -> AcceleratorSpec:
    """What `instruction_keys` wrote.

    Raises:
        ValueError: if it is something else.
    """
    try:
        return AcceleratorSpec.model_validate_json(json.dumps(keys))
    except ValidationError as error:
        raise ValueError(f"no accelerator's keys, as to_dict writes them: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    """The first of the problems, and where it is."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
