"""A backend of a third party comes in through its entry point alone, and the conformance checks hold for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
EXAMPLE = TESTS / "examples"
CHECKS = """
import numpy as np, statqat_sim as sqs
from checking import Draws, check, on_backend
from inputs import around, random_bits
from statqat_sim.runtime import block_kernel, backend_named
from statqat_sim.testing import assert_bit_exact

for name in "float8_e4m3fn float4_e3m0fn int8 bfloat16 nf4 posit8 float8_e8m0fnu takum_log8 uint4".split():
    format = sqs.load_format(name)
    for floats in ("float32", "float64", "float16"):
        check(format, on_backend("plain_c"), around(format, floats), floats)
policy = "{rounding: stochastic_b, random_bits: 9}"
drawn = sqs.parse_format("{name: drawn, element: {kind: int, bits: 4}, encode: %s}" % policy)
check(drawn, on_backend("plain_c"), random_bits(300), draws=Draws(7, 1234))
x = np.random.default_rng(0).standard_normal((5, 33), np.float32)[:, ::2]
ours, numba = (sqs.Codec(sqs.load_format("float8_e4m3fn"), name) for name in ("plain_c", "numba"))
assert_bit_exact(ours.fake_quantize(x, scale=0.1), numba.fake_quantize(x, scale=0.1))
for action in (lambda: ours.encode(x, packed=True), lambda: ours.decode(numba.encode(x), packed=True)):
    action()  # 8 bits are dense as they are
try:
    sqs.Codec(sqs.load_format("mxfp4"), "plain_c").quantize(x)
except sqs.UnsupportedError as error:
    assert "no block formats" in str(error)
else:
    raise AssertionError("block formats")
"""


def run(*command: str) -> str:
    path = os.pathsep.join(map(str, (EXAMPLE, TESTS, TESTS.parent)))
    variables = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, *command], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_listed() -> None:
    assert "plain_c" in run("-m", "statqat_sim.cli", "backends")


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_it_gives_the_oracle_s_bits() -> None:
    run("-c", CHECKS)


def test_the_core_does_not_know_it() -> None:
    for folder in ("statqat_sim", "backends"):
        for path in (TESTS.parent / folder).rglob("*.py"):
            assert "plain_c" not in path.read_text("utf-8")


def test_it_is_as_short_as_the_guide_says() -> None:
    assert len((EXAMPLE / "statqat_plain_c.py").read_text("utf-8").splitlines()) <= 120
