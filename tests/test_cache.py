"""Kernels on disk, seen from fresh processes; and what importing the package loads."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from statqat_sim import Codec, cache, load_format
from statqat_sim.backends.numba_cpu import cache as kernels
from statqat_sim.backends.numba_cpu import entries, mma, row_loops
from statqat_sim.backends.numba_cpu.vector import Feed, Variant
from statqat_sim.plan.lower import Purpose, lower

PROGRAM = """
import json, sys, warnings
import numpy as np
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import statqat_sim as sqs
    x = np.float32([1.0, -0.3, 1e9, np.nan])
    results = []
    for name in sys.argv[1:]:
        format = sqs.parse_format(name) if "{" in name else sqs.load_format(name)
        codec, reference = sqs.Codec(format, "numba"), sqs.Codec(format, "reference")
        results.append(bool((codec.encode(x) == reference.encode(x)).all()))
        codec.fake_quantize(x, scale=np.nan_to_num(x))
from numba.core.ccallback import CFunc
from statqat_sim.backends.numba_cpu.cache import _loaded
hits = sum(run.cache_hits if isinstance(run, CFunc) else sum(run.stats.cache_hits.values()) for run in _loaded.values())
warned = [str(one.message) for one in caught if one.category is RuntimeWarning]
print(json.dumps({"hits": hits, "loaded": len(_loaded), "right": all(results), "warned": warned}))
"""
LOOPS = 3  # encode, scaled by one scale, scaled by one per element
LOADED = 2 + LOOPS  # what the first enters through, and the others
NEW = "name: new\nelement: {kind: float, exponent_bits: 2, mantissa_bits: 5, bias: 3, nan: all_ones}\n"


def started(directory: Path, *formats: str, **variables: str) -> subprocess.Popen[str]:
    environment = os.environ | {"STATQAT_CACHE_DIR": str(directory)} | variables
    command = [sys.executable, "-c", PROGRAM, *formats]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def outcome(process: subprocess.Popen[str]) -> Mapping[str, Any]:
    out, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    result: Mapping[str, Any] = json.loads(out)
    assert result["right"]
    return result


def run(directory: Path, *formats: str, **variables: str) -> Mapping[str, Any]:
    return outcome(started(directory, *formats, **variables))


def files(directory: Path) -> dict[str, int]:
    """Every file and when it was written."""
    found = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.stat().st_mtime_ns for path in found}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that another process filled."""
    directory = tmp_path_factory.mktemp("filled") / "cache"
    result = run(directory, "float8_e4m3fn")
    assert result == {"hits": 0, "loaded": LOADED, "right": True, "warned": []}
    return directory


@pytest.fixture
def warm(filled: Path, tmp_path: Path) -> Path:
    """A copy of it, down to the times that numba compares."""
    return shutil.copytree(filled, tmp_path / "cache")


def test_the_second_process_compiles_nothing(warm: Path) -> None:
    before = files(warm)
    second = run(warm, "float8_e4m3fn")
    assert (second["hits"], second["loaded"], second["warned"]) == (LOADED, LOADED, [])
    assert files(warm) == before
    assert all(name.startswith("kernels/") for name in before)


def test_a_new_format_of_a_known_shape_compiles_nothing_in_a_new_process(warm: Path) -> None:
    before = files(warm)
    result = run(warm, NEW, "float8_e5m2")
    assert (result["loaded"], result["hits"]) == (LOADED, LOADED)
    assert files(warm) == before


def test_a_new_shape_adds_files(warm: Path) -> None:
    before = files(warm)
    assert run(warm, "int4") == {"hits": LOADED - LOOPS, "loaded": LOADED, "right": True, "warned": []}
    assert len(files(warm)) == len(before) * (LOADED + LOOPS) / LOADED


# --- where nothing can be kept -----------------------------------------------------------------------------------


def test_a_directory_that_cannot_be_made_costs_one_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    result = run(tmp_path / "file" / "cache", "float8_e4m3fn", "int4")
    (warned,) = result["warned"]
    assert str(tmp_path / "file" / "cache" / "kernels") in warned
    assert result["hits"] == 0
    assert files(tmp_path).keys() == {"file"}


def test_a_directory_that_cannot_be_written_to_costs_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each failure has a message of its own, as the names of temporary files are."""
    numbers = iter(range(100))

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(f"temporary file {next(numbers)}")

    monkeypatch.setenv("STATQAT_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(Path, "write_bytes", refuse)
    monkeypatch.setattr(kernels, "_loaded", {})

    def compile_three() -> None:
        for name in ("int4", "nf4", "float8_e4m3fn"):
            Codec(load_format(name), "numba").encode(np.zeros(3, np.float32))

    with pytest.warns(RuntimeWarning) as caught:
        compile_three()
    assert [str(warning.message).rpartition(": ")[2] for warning in caught] == ["temporary file 0"]


def test_numba_without_a_place_for_its_index_compiles_in_memory(warm: Path) -> None:
    """The sources are there, but neither their directory nor the user's takes a file."""
    for path in sorted((warm / "kernels").rglob("*"), reverse=True):
        if path.suffix != ".py":
            path.rmdir() if path.is_dir() else path.unlink()
    nowhere = warm / "file"
    nowhere.write_text("not a directory")
    (warm / "kernels" / "__pycache__").write_text("not a directory")
    elsewhere = {name: str(nowhere / "x") for name in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")}
    result = run(warm, "float8_e4m3fn", **elsewhere)
    assert len(result["warned"]) == 1
    assert result["loaded"] == LOADED


# --- what lies there ---------------------------------------------------------------------------------------------


def test_spoiled_sources_are_replaced(warm: Path) -> None:
    sources = sorted((warm / "kernels").glob("*.py"))
    texts = [source.read_bytes() for source in sources]
    assert len(sources) == LOADED
    for source, content in zip(sources, cycle((b"raise SystemExit('spoiled')\n", b"", b"\xff\xfe\x00\x80"))):  # noqa: B905
        source.write_bytes(content)
    assert run(warm, "float8_e4m3fn")["warned"] == []
    assert [source.read_bytes() for source in sources] == texts
    assert run(warm, "float8_e4m3fn")["hits"] == LOADED


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_spoiled_machine_code_does_not_stop_anyone(warm: Path, suffix: str) -> None:
    for path in (warm / "kernels").rglob(f"*{suffix}"):
        path.write_bytes(path.read_bytes()[:40])
    assert run(warm, "float8_e4m3fn")["loaded"] == LOADED


@pytest.mark.parametrize("suffix", [".nbi", ".nbc", ".py"])
def test_deleting_anything_is_safe(warm: Path, suffix: str) -> None:
    for path in (warm / "kernels").rglob(f"*{suffix}"):
        path.unlink()
    assert run(warm, "float8_e4m3fn")["warned"] == []


def test_processes_that_start_together_on_an_empty_cache(tmp_path: Path) -> None:
    together = [started(tmp_path, "float8_e4m3fn", "int4") for _ in range(4)]
    assert [outcome(process)["warned"] for process in together] == [[]] * 4
    again = run(tmp_path, "float8_e4m3fn", "int4")
    assert again["hits"] == again["loaded"] == LOADED + LOOPS
    assert not list(tmp_path.rglob("*.tmp"))


def test_another_printer_has_kernels_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = lower(load_format("int4"), Purpose.ENCODE).shape
    variant = Variant((Feed.ARRAY,))
    name = kernels._name(shape, variant)
    monkeypatch.setattr(kernels, "_printer", lambda: "changed")
    assert kernels._name(shape, variant) != name


HERE = Path(kernels.__file__).parent


@pytest.mark.parametrize(
    ("digested", "texts"),
    [
        (kernels.PRINTER, [kernels._SOURCE, entries._SOURCE]),
        (mma._SHARED, [path.read_text("utf-8") for path in HERE.glob("mma_*_loops.py")]),
        (row_loops._SHARED, [path.read_text("utf-8") for path in HERE.glob("row_*_loops.py")]),
    ],
    ids=["loops", "mma", "rows"],
)
def test_sources_that_others_import_determine_their_kernels(digested: tuple[str, ...], texts: list[str]) -> None:
    unread, imported = [*texts], set[str]()
    while unread:
        names = {*re.findall(r"from statqat_sim\.backends\.numba_cpu\.(\w+) import", unread.pop())}
        unread += [(HERE / f"{name}.py").read_text("utf-8") for name in names - imported]
        imported |= names
    assert imported == {Path(name).stem for name in digested} - {"cache"}  # which has a text of its own


def test_a_source_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError("no room")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no room"):
        kernels._written(tmp_path, "loop", "text")
    assert not files(tmp_path)


# --- the directory -----------------------------------------------------------------------------------------------


def test_the_directory_is_the_named_one_or_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STATQAT_CACHE_DIR", str(tmp_path))
    assert cache.cache_directory() == tmp_path
    for unset in ("", None):
        monkeypatch.setenv("STATQAT_CACHE_DIR", "") if unset == "" else monkeypatch.delenv("STATQAT_CACHE_DIR")
        assert cache.cache_directory().name == "statqat_sim"


def test_clearing_deletes_the_kernels_and_nothing_else(warm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (warm / "mine.txt").write_text("mine")
    (warm / "other").mkdir()
    (warm / "other" / "file").write_text("other")
    monkeypatch.setenv("STATQAT_CACHE_DIR", str(warm))
    count = len(list(cache.cached_files()))
    assert count > LOADED
    assert cache.clear_cache() == count
    assert files(warm).keys() == {"mine.txt", "other/file"}
    assert list(cache.cached_files()) == []
    assert cache.clear_cache() == 0


def test_clearing_counts_what_went_alone(warm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATQAT_CACHE_DIR", str(warm))
    monkeypatch.setattr(cache.shutil, "rmtree", lambda path, *, ignore_errors: next(cache.cached_files()).unlink())
    count = len(list(cache.cached_files()))
    assert cache.clear_cache() == 1
    assert len(list(cache.cached_files())) == count - 1


def test_clearing_does_not_follow_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine")
    (tmp_path / "kernels").symlink_to(tmp_path / "precious", target_is_directory=True)
    monkeypatch.setenv("STATQAT_CACHE_DIR", str(tmp_path))
    cache.clear_cache()
    assert (tmp_path / "precious" / "file").exists()


def test_clearing_what_does_not_exist_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATQAT_CACHE_DIR", str(tmp_path / "none"))
    assert cache.clear_cache() == 0
    assert not (tmp_path / "none").exists()


# --- imports -----------------------------------------------------------------------------------------------------


def loaded_by(program: str) -> set[str]:
    """Top-level packages that a fresh process loads."""
    code = f"import sys\n{program}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split()) - set(sys.stdlib_module_names)


LIBRARIES = {"torch", "cupy", "numba", "llvmlite", "scipy", "matplotlib", "ml_dtypes", "safetensors", "typer", "rich"}


def test_importing_the_package_loads_no_library() -> None:
    loaded = loaded_by("import statqat_sim")
    assert not loaded & LIBRARIES
    assert not loaded & {"numpy", "pydantic", "yaml"}


def test_reading_a_format_loads_no_array_library() -> None:
    loaded = loaded_by("import statqat_sim as sqs; sqs.load_format('nf4').max; sqs.formats()")
    assert not loaded & LIBRARIES
    assert "numpy" not in loaded


def test_a_codec_loads_its_compiler_when_it_runs_and_no_more() -> None:
    program = "import numpy as np, statqat_sim as sqs; codec = sqs.Codec(sqs.load_format('nf4'), 'numba')"
    assert not loaded_by(program) & LIBRARIES
    assert not loaded_by(f"{program}; sqs.measure; sqs.MinMax; sqs.mse") & (LIBRARIES - {"safetensors"})
    run_too = loaded_by(f"{program}; codec.encode(np.zeros(3, np.float32))")
    assert "numba" in run_too
    assert not run_too & (LIBRARIES - {"numba", "llvmlite", "scipy"})  # scipy: numba's own


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_damaged_kernel_is_compiled_once_more_and_kept(warm: Path, suffix: str) -> None:
    for path in (warm / "kernels").rglob(f"*.{suffix}"):
        path.write_bytes(b"damaged")
    first, second = run(warm, "float8_e4m3fn"), run(warm, "float8_e4m3fn")
    assert (first["hits"], first["warned"], first["right"]) == (0, [], True)
    assert (second["hits"], second["loaded"], second["warned"]) == (LOADED, LOADED, [])


PRODUCT = """
import numpy as np, statqat_sim as sqs
ones = np.ones((2, 64), np.int8)
print(sqs.load_accelerator("nvidia_a100").matmul(ones, ones.T, instruction="mma.s8.s32").tolist())
"""


def test_a_damaged_kernel_of_a_matrix_instruction_is_compiled_once_more(tmp_path: Path) -> None:
    command, variables = (
        [sys.executable, "-W", "error", "-c", PRODUCT],
        {**os.environ, "STATQAT_CACHE_DIR": str(tmp_path)},
    )
    for _ in range(2):
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        assert done.stdout.strip() == "[[64, 64], [64, 64]]", done.stderr
        kept = list((tmp_path / "kernels").rglob("*_mma_*.nbi"))
        assert kept
        for path in kept:
            path.write_bytes(b"damaged")
