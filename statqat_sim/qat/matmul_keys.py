"""Matrix products <-> plain values: ACCELERATOR/INSTRUCTION, or a mapping where there is more to say."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from typing import Any

from statqat_sim.errors import Problem, SpecError, UnsupportedError, shown
from statqat_sim.matmul import Accelerator, load_accelerator
from statqat_sim.plan.lower_mma import check_mma
from statqat_sim.qat.matmul_config import MatmulConfig
from statqat_sim.spec.accelerator import AcceleratorSpec, GemmPlan
from statqat_sim.spec.accelerator_catalog import accelerators, load_spec
from statqat_sim.spec.accelerator_text import from_instruction_keys, instruction_keys
from statqat_sim.spec.files import ACCELERATORS, builtin_directory
from statqat_sim.spec.located import UNREADABLE, Located
from statqat_sim.spec.validate import meant, validate

PLAN_KEYS = tuple(key for key in GemmPlan.model_fields if key != "instruction")
REQUIRED = ("accelerator", "instruction")
KEYS = (*REQUIRED, *PLAN_KEYS)
EXPECTED = "ACCELERATOR/INSTRUCTION, such as nvidia_h100/wgmma.e4m3.f32, or a mapping with both keys"


def read_matmul(node: Located, problems: list[Problem], place: Callable[[str], str] = str) -> MatmulConfig | None:
    """What multiplies, of a text, a mapping or an object; None for null, and where something is wrong.

    Args:
        node: where it stands.
        problems: what is wrong goes there.
        place: gives the path of a file that a text names.
    """
    if node.value is None or isinstance(node.value, MatmulConfig) or node.value is UNREADABLE:
        return node.value if isinstance(node.value, MatmulConfig) else None
    mapping, known = _parted(node), len(problems)
    if mapping is None:
        problems.append(node.problem(f"expected {EXPECTED}, got {shown(node.plain())}"))
        return None
    missing = [key for key in REQUIRED if key not in mapping.value and key not in meant(mapping, KEYS)]
    problems.extend(mapping.problem(f"required key {key!r} is missing") for key in missing)
    plan = _plan(mapping, problems)
    accelerator = (
        _accelerator(mapping.value["accelerator"], problems, place) if "accelerator" in mapping.value else None
    )
    if accelerator is None or len(problems) > known:
        return None
    named = mapping.value["instruction"]
    try:
        return MatmulConfig(accelerator=accelerator, instruction=named.value, plan=plan)
    except LookupError as error:
        problems.append(named.problem(str(error.args[0])))
        return None


def matmul_keys(matmul: MatmulConfig) -> Any:
    """What `read_matmul` reads; an accelerator that is no built-in one is written out."""
    accelerator, plan = matmul.accelerator, matmul.plan
    is_named = _is_built_in(accelerator)
    if is_named and plan is None:
        return f"{accelerator.name}/{matmul.instruction}"
    written = accelerator.name if is_named else instruction_keys(accelerator, matmul.instruction)
    return {"accelerator": written, "instruction": matmul.instruction, **_plan_keys(plan)}


@cache
def matmul_key(matmul: MatmulConfig) -> str:
    """What operations and other processes know it by."""
    return json.dumps(matmul_keys(matmul), sort_keys=True)


@cache
def matmul_text(matmul: MatmulConfig) -> str:
    """All that it means, so that no catalog is needed to read it back with `matmul_of`."""
    accelerator = instruction_keys(matmul.accelerator, matmul.instruction)
    keys = {"accelerator": accelerator, "instruction": matmul.instruction, **_plan_keys(matmul.plan)}
    return json.dumps(keys, sort_keys=True)


def matmul_hash(matmul: MatmulConfig) -> str:
    """SHA-256 of the text, in hex."""
    return sha256(matmul_text(matmul).encode()).hexdigest()


@cache
def matmul_of(key: str) -> MatmulConfig:
    """What `matmul_key` or `matmul_text` stands for.

    Raises:
        ValueError: if it is something else.
    """
    problems: list[Problem] = []
    found = read_matmul(Located.of(json.loads(key), file="<json>"), problems)
    if found is None:
        raise SpecError(problems)
    return _with_known_accelerator(found)


def _with_known_accelerator(matmul: MatmulConfig) -> MatmulConfig:
    """The built-in accelerator in place of what was written of it, where it means the same."""
    name = matmul.accelerator.name
    if name not in accelerators():
        return matmul
    known = MatmulConfig(accelerator=load_spec(name), instruction=matmul.instruction, plan=matmul.plan)
    return known if matmul_text(known) == matmul_text(matmul) else matmul


# --- parts -------------------------------------------------------------------------------------------------------


def _parted(node: Located) -> Located | None:
    """The mapping that a text stands for: what comes after its last slash is the instruction."""
    if isinstance(node.value, dict):
        return node
    if not isinstance(node.value, str):
        return None
    name, slash, instruction = node.value.rpartition("/")
    if not (name and slash and instruction):
        return None
    words = {"accelerator": name, "instruction": instruction}
    parts = {key: Located(word, node.file, node.line, node.column, node.path) for key, word in words.items()}
    return Located(parts, node.file, node.line, node.column, node.path)


def _plan(mapping: Located, problems: list[Problem]) -> GemmPlan | None:
    """The plan that the other keys are; None of none."""
    said = {key: child for key, child in mapping.value.items() if key != "accelerator"}
    if said.keys() == {"instruction"}:
        return None
    node = Located(said, mapping.file, mapping.line, mapping.column, mapping.path, mapping.keys)
    plan = validate(GemmPlan, node, problems, allowed=KEYS)
    return None if plan is None else plan.model_copy(update={"instruction": None})


def _accelerator(node: Located, problems: list[Problem], place: Callable[[str], str]) -> AcceleratorSpec | None:
    """By name, from a file, of what `matmul_keys` wrote, or as an object."""
    try:
        match node.value:
            case str() | os.PathLike():
                return load_accelerator(place(os.fspath(node.value))).spec
            case (AcceleratorSpec() as spec) | Accelerator(spec=spec):
                pass
            case dict():
                spec = from_instruction_keys(node.plain())
            case _:
                if node.value is not UNREADABLE:
                    told = "expected the name of an accelerator, the path of its file, or a mapping"
                    problems.append(node.problem(f"{told}, got {shown(node.value)}"))
                return None
        check_mma(spec.instructions)
        return spec
    except SpecError as error:
        problems.extend(error.problems)
    except (LookupError, ValueError, UnsupportedError) as error:
        problems.append(node.problem(str(error.args[0])))
    except OSError as error:
        problems.append(node.problem(f"the file of {shown(str(node.value))} cannot be read: {error}"))
    return None


def _plan_keys(plan: GemmPlan | None) -> dict[str, Any]:
    """What the plan says; of one that says nothing the number of its parts."""
    if plan is None:
        return {}
    keys: dict[str, Any] = plan.model_dump(mode="json", include=set(PLAN_KEYS), exclude_defaults=True)
    return keys or {"split_k": plan.split_k}


def _is_built_in(accelerator: AcceleratorSpec) -> bool:
    """Whether its name leads to it, here and wherever this package is."""
    name = accelerator.name
    return _built_in(name) == accelerator and load_spec(name) == accelerator


@cache
def _built_in(name: str) -> AcceleratorSpec | None:
    path = builtin_directory() / ACCELERATORS / f"{name}.yaml"
    return load_spec(path) if path.is_file() else None
