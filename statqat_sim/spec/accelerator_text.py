"""Accelerators <-> plain values: the full meaning of one instruction, so that no catalog is needed to read it back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from statqat_sim.spec.accelerator import AcceleratorSpec


def instruction_keys(accelerator: AcceleratorSpec, instruction: str) -> dict[str, Any]:
    """The accelerator's keys, with one instruction and those that its recipe uses.

    Raises:
        LookupError: if there is no such instruction.
    """
    chosen = accelerator.instruction(instruction)
    wanted = {instruction, *(step.instruction for step in chosen.recipe)}
    kept = tuple(each for each in accelerator.instructions if each.name in wanted)
    changes = {"instructions": kept, "conversions": (), "aliases": (), "title": "", "source": ""}
    return accelerator.model_copy(update=changes).model_dump(mode="json")


def from_instruction_keys(keys: Mapping[str, Any]) -> AcceleratorSpec:
    """The accelerator from the result of `instruction_keys`.

    Raises:
        ValueError: if the keys are wrong.
    """
    try:
        return AcceleratorSpec.model_validate_json(json.dumps(keys))
    except ValidationError as error:
        raise ValueError(f"no accelerator's keys, as to_dict writes them: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    """The first problem, and its place."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
