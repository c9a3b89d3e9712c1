"""Every instruction that MMA-Sim has, bit for bit as MMA-Sim has it."""

from __future__ import annotations

import warnings
import zlib

import numpy as np
import pytest
from mma_cases import FAMILIES, Array, bits_of, distinct, drawn, families_of, loaded, random_codes

from statqat_sim.spec.accelerator import Instruction, OperandFormat

pytest.importorskip("mmasim")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of torch's, while it builds an extension
    try:
        import mmasim.nv_ptx  # noqa: F401  # builds it
    except RuntimeError as error:
        pytest.skip(f"MMA-Sim's extension cannot be built: {error}", allow_module_level=True)

from mma_sim import ARCHITECTURES, Model, model, results

LONG_OUTPUTS = 100_000
ROWS, COLUMNS = 24, 16
NVIDIA = "nvidia"


def cases() -> list[tuple[str, str, str, str]]:
    """Device, instruction, and the formats of A and B: all pairs."""
    found = []
    for device in ARCHITECTURES:
        for name, each in loaded(device).instructions.items():
            pairs = [(a.name, b.name) for a in each.a[:1] for b in each.b]
            known = () if each.recipe else [pair for pair in pairs if model(device, name, *pair)]
            found += [(device, name, *pair) for pair in known]
    return found


CASES = cases()
SAMPLE = distinct(case for case in CASES if case[2] == case[3] or case[2:] == ("float8_e4m3fn", "float8_e5m2"))


def words(found: Array, d: OperandFormat, instruction: Instruction) -> Array:
    """Results to compare: all NaN alike where MMA-Sim gives those of the processor it runs on."""
    return found if instruction.special.nan is not None else _same_nan(found, d)


def _same_nan(found: Array, d: OperandFormat) -> Array:
    infinity = {16: 0x7C00, 32: 0x7F800000, 64: 0x7FF << 52}[d.bits]
    is_nan = (found & np.uint64((1 << d.bits - 1) - 1)) > infinity
    return np.where(is_nan, np.uint64(infinity + 1), found)


def compare(case: tuple[str, str, str, str], family: str, rows: int, columns: int) -> None:
    device, name, a_name, b_name = case
    accelerator = loaded(device)
    instruction = accelerator.instructions[name]
    a_format = next(each for each in instruction.a if each.name == a_name)
    b_format = next(each for each in instruction.b if each.name == b_name)
    found = model(*case)
    assert isinstance(found, Model)
    rng = np.random.default_rng(zlib.crc32(f"{case} {family}".encode()))
    size = 2 * max(found.k, instruction.k or 1)
    a, b, c = drawn(family, rng, (rows, size, columns), (a_format, b_format, instruction.c))
    scales: list[Array] = []
    formats: tuple[OperandFormat, ...] = (a_format, b_format, instruction.c)
    if instruction.scale:
        shape = size // instruction.scale.block
        scales = [random_codes(rng, instruction.scale.format, each) for each in ((rows, shape), (shape, columns))]
        scales = scales if family == "bits" else [each % 96 + 24 for each in scales]
        formats += (instruction.scale.format,)
    given = dict(zip(("a_scale", "b_scale"), scales, strict=False))
    d = accelerator.matmul(a, b, c, instruction=name, a_format=a_name, b_format=b_name, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = words(results(found, a, b, c, formats, *scales), instruction.d, instruction)
    ours = words(bits_of(d), instruction.d, instruction)
    wrong = np.argwhere(ours != theirs)
    assert not len(wrong), f"{family}: {len(wrong)} of {c.size}, at {wrong[0]}: {_shown(ours, theirs, wrong[0])}"


def _shown(ours: Array, theirs: Array, place: Array) -> str:
    return f"{ours[tuple(place)]:#x}, MMA-Sim {theirs[tuple(place)]:#x}"


@pytest.mark.parametrize("case", SAMPLE, ids="-".join)
def test_an_instruction_is_what_mma_sim_says(case: tuple[str, str, str, str]) -> None:
    for family in families_of(case, 2):
        compare(case, family, ROWS, COLUMNS)


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_many_results_are_what_mma_sim_says(case: tuple[str, str, str, str], family: str) -> None:
    compare(case, family, 320, -(-LONG_OUTPUTS // 320))


def test_all_that_mma_sim_has_is_compared() -> None:
    assert {case[0] for case in CASES} == set(ARCHITECTURES)
    assert len(CASES) > 100
