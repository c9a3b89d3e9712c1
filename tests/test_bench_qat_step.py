"""The bench of training steps runs, and its figures are what they are called."""

from __future__ import annotations

import copy
import json
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from bench import qat_step
from bench.pairs import Machine, Spread
from bench.qat_models import CharGPT
from statqat_sim import qat


def test_a_quick_run_writes_its_figures(tmp_path: Path) -> None:
    qat_step.main(["--quick", "--json", str(tmp_path / "step.json")])
    report = json.loads((tmp_path / "step.json").read_text("utf-8"))
    assert report["quick"]
    assert report["rounds"] == 2
    assert set(report["seconds"]) == {"float32", "prepared"}
    assert set(report["ratios"]) == {"prepared"}
    assert set(report["added"]) == {"prepared"}
    assert report["share"] is None


def test_the_products_of_the_backward_pass_are_another_run(tmp_path: Path) -> None:
    qat_step.main(["--quick", "--backward", "--json", str(tmp_path / "step.json")])
    assert json.loads((tmp_path / "step.json").read_text("utf-8"))["backward"]
    model = qat_step.prepared(CharGPT(qat_step.QUICK), backward=True)
    assert any("grad_weight_input_quantizer" in name for name, _ in qat.quantizers(model))


def test_it_is_told_which_promises_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    spread = {name: Spread(median, median, median) for name, median in (("prepared", 1.4), (qat_step.PEER, 2.0))}
    report = qat_step.StepReport(
        machine=Machine.here(),
        shape=qat_step.QUICK,
        tokens=1,
        parameters=1,
        rounds=1,
        quick=True,
        backward=False,
        seconds=spread,
        ratios=spread,
        added=spread,
        share=qat_step.Share(0.04, 0.02, 0.1),
        kept_bytes=dict.fromkeys(spread, 0),
    )
    qat_step.show(report)
    ours, peer, share = capsys.readouterr().out.splitlines()
    assert ours.endswith(", promised ≤ 1.35 **missed**")
    assert "promised" not in peer
    assert share == "microxcaling adds 25 (10 to 50) times what ours adds, promised ≥ 20 ✓"


def test_a_prepared_step_keeps_what_products_have_read() -> None:
    """Quantized inputs take the place of float ones, but of what attention gives, which it keeps for itself too."""
    shape = qat_step.QUICK
    model, codes = CharGPT(shape), torch.zeros(2, shape.context + 1, dtype=torch.int64)
    kept = [qat_step.kept_bytes(each, codes) for each in (model, qat_step.prepared(copy.deepcopy(model)))]
    weights = [layer.weight for layer in model.blocks.modules() if isinstance(layer, nn.Linear)]
    attended = shape.blocks * codes[:, 1:].numel() * shape.width * torch.float32.itemsize
    assert kept[1] - kept[0] == sum(weight.nbytes for weight in weights) + attended


def test_ratios_are_of_the_same_round() -> None:
    taken = {"float32": [1.0, 2.0], "prepared": [1.1, 2.6], qat_step.PEER: [3.0, 8.0]}
    assert qat_step.ratios(taken, "prepared") == [1.1, 1.3]
    assert qat_step.added(taken, qat_step.PEER) == [2.0, 6.0]


def test_the_share_is_of_medians() -> None:
    """A round in which something else ran, for ours or for the float32 step, does not decide it."""
    even = {"float32": [1.0] * 9, "prepared": [1.1] * 9, qat_step.PEER: [3.0] * 9}
    share = qat_step.share(even)
    assert share.low == share.estimate == share.high == pytest.approx(0.05)
    noisy = {"float32": [*[1.0] * 8, 1.2], "prepared": [1.9, *[1.1] * 7, 1.1], qat_step.PEER: [3.0] * 9}
    share = qat_step.share(noisy)
    assert share.low <= share.estimate == pytest.approx(0.05)
    assert share.estimate <= share.high
    assert str(qat_step.Share(0.05, -0.01, 0.1)) == "20 (10 to any number) times what ours adds"


def test_steps_take_turns_there_and_back() -> None:
    calls: list[str] = []
    steps = {name: partial(calls.append, name) for name in "abc"}
    taken = qat_step.measured(steps, 2)
    assert "".join(calls) == "abcabccba"
    assert [len(taken[name]) for name in "abc"] == [2, 2, 2]


@pytest.mark.parametrize("wrong", [["--rounds", "0"], ["--peer", "other=."], ["--peer", "microxcaling=nowhere"]])
def test_wrong_options_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        qat_step.main(wrong)
    assert "allowed: --rounds of at least 1, --peer microxcaling=FOLDER" in capsys.readouterr().err
