"""Float8 tensors of checkpoints: times the scales beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import Run, commands, told
from safetensors.torch import save_file

import statqat_sim as sqs
from statqat_sim.cli.members import read_member

ROWS, COLUMNS = 200, 384
"""Two blocks of 128 rows, the second short, by three of 128 columns."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    return commands(capsys)


def float8(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(torch.float8_e4m3fn)


def scales(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) + 0.5


def dequantized(weight: torch.Tensor, scale: torch.Tensor) -> Any:
    """As `weight_dequant` of DeepSeek-V3 and `dequantize` of compressed-tensors have it: value times scale."""
    x, factors = weight.float(), scale.float()
    for axis, count in enumerate(factors.shape):
        if factors.ndim == x.ndim and 1 < count < x.shape[axis]:
            index = torch.arange(x.shape[axis]) // 128
            factors = factors.index_select(axis, index)
    if factors.numel() > 1 and factors.ndim < x.ndim:
        factors = factors[:, None]
    return (x * factors).numpy()


def saved(file: Path, tensors: dict[str, torch.Tensor]) -> str:
    if file.suffix == ".pt":
        torch.save(tensors, file)
    else:
        save_file(tensors, file)
    return str(file)


@pytest.mark.parametrize("file", ["m.safetensors", "m.pt"])
@pytest.mark.parametrize("suffix", ["_scale_inv", "_scale"])
@pytest.mark.parametrize(
    ("shape", "scale"),
    [
        ((ROWS, COLUMNS), scales()),
        ((ROWS, COLUMNS), scales(1)),
        ((ROWS, COLUMNS), scales(1, 1)),
        ((ROWS, COLUMNS), scales(ROWS)),
        ((ROWS, COLUMNS), scales(ROWS, 1)),
        ((ROWS, COLUMNS), scales(ROWS, 1).bfloat16()),
        ((ROWS, COLUMNS), scales(2, 3)),
        ((ROWS, COLUMNS), scales(2, 3).to(torch.float8_e8m0fnu)),
        ((ROWS, COLUMNS), scales(ROWS, 3)),
        ((4, ROWS, COLUMNS), scales(4, 2, 3)),
        ((4, ROWS, COLUMNS), scales(4, 1, 1)),
        ((100, 100), scales(1, 1)),
        ((0, COLUMNS), scales()),
    ],
    ids=lambda each: "x".join(map(str, each.shape)) if isinstance(each, torch.Tensor) else None,
)
def test_values_are_multiplied(
    tmp_path: Path, shape: tuple[int, ...], scale: torch.Tensor, suffix: str, file: str
) -> None:
    weight = float8(*shape)
    path = saved(tmp_path / file, {"a.weight": weight, f"a.weight{suffix}": scale})
    x = read_member(f"{path}:a.weight")
    assert x.dtype == np.float32
    assert np.array_equal(x, dequantized(weight, scale))
    assert np.array_equal(read_member(f"{path}:a.weight", unscaled=True), weight.float())
    assert read_member(f"{path}:a.weight{suffix}").tolist() == scale.tolist()
    assert np.array_equal(read_member(f"{path}:a.weight", codes=True), weight.view(torch.uint8))


def test_measure_and_rank_leave_the_scales_out_and_say_so(run: Run, tmp_path: Path) -> None:
    names, weight, scale = ("a", "b"), float8(ROWS, COLUMNS), scales(2, 3)
    pairs = {f"{name}.weight": weight for name in names} | {f"{name}.weight_scale_inv": scale for name in names}
    saved(tmp_path / "m.safetensors", {**{name: each.clone() for name, each in pairs.items()}, "norm": scales(9)})
    expected = {f"{name}.weight": dequantized(weight, scale) for name in names} | {"norm": scales(9).numpy()}
    note = "note: a.weight: float8, times a.weight_scale_inv (and 1 more); --unscaled reads float8 alone"
    for command, library in (("measure", sqs.measure), ("rank", sqs.rank)):
        answer = run(command, "int4", "--data", "m.safetensors", "--json", "-")
        assert answer.err.splitlines() == [note]
        assert answer.json == library(expected, ["int4"])
        raw = run(command, "int4", "--data", "m.safetensors", "--unscaled", "--json", "-")
        assert raw.err == ""
        assert {row["tensor"] for row in raw.json} == {*pairs, "norm"}


def test_scales_of_another_shard(run: Run, tmp_path: Path) -> None:
    """The own file's come first; those of another folder are another model's."""
    weight, scale = float8(ROWS, COLUMNS), scales(2, 3)
    for model in ("one", "two"):
        (tmp_path / model).mkdir()
    saved(tmp_path / "one/1.safetensors", {"a": weight, "b": weight.clone(), "c": weight.clone(), "c_scale": scales()})
    saved(tmp_path / "one/2.safetensors", {"a_scale_inv": scale, "c_scale": scales(1)})
    saved(tmp_path / "two/1.safetensors", {"b_scale_inv": scale})
    answer = run("measure", "int8", "--data", ".", "--json", "-")
    rows = {row["tensor"]: row["sqnr_db"] for row in answer.json}
    expected = {"a": dequantized(weight, scale), "b": weight.float().numpy(), "c": dequantized(weight, scales())}
    for name, x in expected.items():
        assert rows[f"one/1.safetensors:{name}"] == sqs.measure(x, "int8")[0]["sqnr_db"]
    assert "note: one/1.safetensors:b: float8 without scales, read as its values" in answer.err.splitlines()


def test_identify_finds_what_made_a_checkpoint(run: Run, tmp_path: Path) -> None:
    x = torch.randn(256, 256, generator=torch.Generator().manual_seed(0))
    q = sqs.Codec(sqs.load_format("deepseek_fp8_weight")).quantize(x.numpy())
    weight = torch.from_numpy(q.codes).view(torch.float8_e4m3fn)
    saved(tmp_path / "m.safetensors", {"w": weight, "w_scale_inv": torch.from_numpy(q.scales[0])})
    np.save(tmp_path / "x.npy", x.numpy())
    answer = run("identify", "x.npy", "--values", "m.safetensors:w")
    assert "\nfp8_block128x128_deepseek reproduces it.\n" in answer.out
    assert answer.err == "note: w: float8, times w_scale_inv; --unscaled reads float8 alone\n"
    assert run("identify", "x.npy", "--values", "m.safetensors:w", "--unscaled").code == 1


def test_encode_encodes_the_products(run: Run, tmp_path: Path) -> None:
    weight, scale = float8(ROWS, COLUMNS), scales(ROWS, 1)
    saved(tmp_path / "m.safetensors", {"w": weight, "w_scale": scale})
    for option, x in (((), dequantized(weight, scale)), (("--unscaled",), weight.float().numpy())):
        assert run("encode", "int8", "--data", "m.safetensors", *option, "--output", "c.npz").code == 0
        with np.load(tmp_path / "c.npz") as codes:
            assert np.array_equal(codes["w"], sqs.Codec(sqs.load_format("int8")).encode(x))
            assert ("w_scale" in codes) == bool(option)


UNCLEAR = {
    "shape": (
        {"w_scale": scales(3, 3)},
        "w_scale: scales of shape (3, 3) for a tensor of shape (200, 384); allowed: one, or along each axis one for "
        "all, for each 128, or for each element. --unscaled reads float8 alone",
    ),
    "axes": (
        {"w_scale": scales(1, 1, 2)},
        "w_scale: scales of shape (1, 1, 2) for a tensor of shape (200, 384); allowed",
    ),
    "integers": (
        {"w_scale": torch.ones(ROWS, 12, dtype=torch.uint8)},
        "w_scale: scales that are integers; allowed: floats. --unscaled reads float8 alone",
    ),
    "two": (
        {"w_scale": scales(1), "w_scale_inv": scales(1)},
        "w: has several scales, w_scale_inv and w_scale; --unscaled reads float8 alone",
    ),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_unclear_scales_are_not_guessed(run: Run, tmp_path: Path, name: str) -> None:
    beside, message = UNCLEAR[name]
    saved(tmp_path / "m.safetensors", {"w": float8(ROWS, COLUMNS), **beside})
    told(run("measure", "int8", "--data", "m.safetensors"), f"error: {message}")
    saved(tmp_path / "m.safetensors", {"w": float8(ROWS, COLUMNS), **beside, "norm": scales(9)})
    answer = run("measure", "int8", "--data", "m.safetensors", "--json", "-")
    assert [row["tensor"] for row in answer.json] == ["norm"]
    assert f"note: {message}" in answer.err
    assert "; skipped" in answer.err


def test_scales_of_a_file_with_a_tensor_of_its_own_are_not_another_files(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    weight = torch.randn(8, 8).to(torch.float8_e4m3fn)
    save_file({"w": weight}, "cast.safetensors")
    save_file({"w": weight, "w_scale": torch.tensor(3.0)}, "scaled.safetensors")
    answer = run("measure", "float8_e4m3fn", "--quantizer", "none", "--data", ".", "--json", "-")
    cast, times_three = json.loads(answer.out)
    assert cast["mse"] == 0
    assert cast["tensor"].startswith("cast.safetensors")
    assert times_three["mse"] > 0
    assert "scaled.safetensors:w: float8, times scaled.safetensors:w_scale;" in answer.err
    assert "cast.safetensors:w: float8 without scales, read as its values" in answer.err


def test_a_shard_whose_scales_lie_in_another_is_told(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_file({"w": torch.randn(8, 8).to(torch.float8_e4m3fn)}, "1.safetensors")
    save_file({"w_scale": torch.tensor(3.0)}, "2.safetensors")
    answer = run("measure", "int8", "--data", "1.safetensors")
    assert answer.err == "note: w: float8 without scales, read as its values\n"
