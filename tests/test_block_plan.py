"""Block plans are checked when they are made: each plan reads what is there before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

import statqat_sim as sqs
from statqat_sim.plan.block import BlockPlan, Stage, Statistic
from statqat_sim.plan.block_statistics import amax, peak
from statqat_sim.plan.lower_block import lower_block
from statqat_sim.spec.block import BlockFormat


def lowered(name: str) -> BlockPlan:
    format = sqs.load_format(name)
    assert isinstance(format, BlockFormat)
    return lower_block(format)


def with_first(plan: BlockPlan, *statistics: Statistic) -> BlockPlan:
    """The plan whose first stage has these statistics."""
    first, *others = plan.stages
    return replace(plan, stages=(Stage(first.block, statistics, first.plans, first.results), *others))


NVFP4, Q4_K, Q4_0 = (lowered(name) for name in ("nvfp4", "gguf_q4_k", "gguf_q4_0"))

WRONG: dict[str, tuple[Callable[[], BlockPlan], str]] = {
    "inner scales first": (
        lambda: replace(NVFP4, stages=NVFP4.stages[::-1]),
        "stage 0 reads scale0 product; allowed: amax, given",
    ),
    "a scale without its statistic": (lambda: with_first(NVFP4), "stage 0 reads amax; allowed: given"),
    "a statistic before the one that it reads": (
        lambda: with_first(Q4_0, peak("x"), amax("x", finite=True)),
        "stage 0, peak reads amax; allowed: index, x",
    ),
    "a statistic of what comes later": (
        lambda: with_first(NVFP4, amax("scale1", finite=True)),
        "stage 0, amax is of scale1; allowed: x",
    ),
    "a nested scale without its raw one": (
        lambda: replace(Q4_K, stages=Q4_K.stages[1:]),
        "stage 0, amax is of raw scale 0; allowed: x",
    ),
    "fewer words than results": (
        lambda: replace(NVFP4, stages=(replace(NVFP4.stages[0], results=("scale0",)), NVFP4.stages[1])),
        "stage 0 gives [0-9]+ words; allowed: scale0",
    ),
    "what no stage stores": (
        lambda: replace(NVFP4, scales=(replace(NVFP4.scales[0], result="scale2"), NVFP4.scales[1])),
        "what is stored reads scale2; allowed: scale0, ",
    ),
    "elements of another format": (
        lambda: replace(NVFP4, encode=Q4_K.encode),
        "encode reads centre; allowed: random, scale0, ",
    ),
    "values of codes": (lambda: replace(NVFP4, fake_quantize=NVFP4.decode), "fake_quantize reads codes; allowed: "),
    "codes of values": (lambda: replace(NVFP4, decode=NVFP4.encode), "decode reads .*x; allowed: codes, "),
    "scales of another format": (
        lambda: replace(NVFP4, decoding=Q4_K.decoding),
        "decoding reads offset0, offset1; allowed: scale0, scale1",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_plan_reads_what_is_there(wrong: str) -> None:
    made, message = WRONG[wrong]
    with pytest.raises(ValueError, match=message):
        made()
