"""The README and its pages are true: code runs, tables are what commands print, links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bench.pages import CATALOG, RESULTS, TABLES, Table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRAINING = "statqat_sim/qat/README.md"
PAGES = ("README.md", TRAINING, RESULTS, CATALOG, "bench/README.md", "formats/LANGUAGE.md", "formats/ACCELERATORS.md")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current one, with the README's YAML files: their first lines have their names."""
    monkeypatch.chdir(tmp_path)
    for text in blocks("yaml"):
        name = re.match(r"# (\w+\.yaml)\n", text)
        assert name
        (tmp_path / name[1]).write_text(text, "utf-8")
    return tmp_path


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's compiler warns of torch
def test_the_python_blocks_run_in_order_and_then_the_commands(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert capsys.readouterr().out.startswith(blocks("text")[0])
    measure, identify = map(printed_by, commands("block-commands"))
    assert {"my_blocks", "mxfp4", "nvfp4"} <= set(measure.split())
    assert "my_blocks reproduces it." in identify
    for command in (*commands("accelerator-commands"), *commands("export-commands")):
        printed_by(command)
    assert {"float8_e4m3fn_pkg.sv", "nf4.h"} <= {path.name for path in folder.iterdir()}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_the_page_on_training_runs_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks("python", (ROOT / TRAINING).read_text("utf-8")):
        exec(compile(block, TRAINING, "exec"), names)
    assert (tmp_path / "sensitivity.png").exists()


def commands(marker: str) -> list[str]:
    found = re.search(rf"<!-- {marker} -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert found
    return found[1].splitlines()


def printed_by(command: str) -> str:
    program, *arguments = command.split()
    assert program == "statqat-sim"
    run = [sys.executable, "-m", "statqat_sim.cli", *arguments]
    return subprocess.run(run, check=True, capture_output=True, encoding="utf-8").stdout


def test_the_yaml_blocks_are_formats(folder: Path) -> None:
    import statqat_sim as sqs

    assert sqs.load_format("my_format.yaml").max == 30.0
    made_up = sqs.load_format("my_blocks.yaml")
    outer, inner = made_up.scales
    assert outer.target == made_up.element.max * inner.format.max


def test_the_errors_shown_are_the_errors_given() -> None:
    import statqat_sim as sqs

    text = """name: my_format
element: {kind: float, exponent_bits: 3, exponent_bit: 3, mantissa_bits: 4, nan: all_one}
encode: {rounding: stochastic}
"""
    with pytest.raises(sqs.SpecError) as error:
        sqs.parse_format(text, file="my_format.yaml")
    assert str(error.value) == blocks("text")[1].strip()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.marker)
def test_the_tables_are_what_the_commands_print(table: Table) -> None:
    stands = table.in_text((ROOT / table.page).read_text("utf-8"))
    assert stands == table.printed(), "python -m bench.pages writes it anew"


def test_the_catalog_is_as_large_as_is_said() -> None:
    import statqat_sim as sqs

    numbers, of_blocks = (len(sqs.formats(kind=kind)) for kind in ("number", "block"))
    assert f"{numbers} number formats and {of_blocks} block formats" in README


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        path, _, heading = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        if heading:
            assert heading in map(anchor, re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE)), target


def anchor(heading: str) -> str:
    """The name that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("name", ["main-command", "test-command"])
def test_both_commands_stand_on_one_line(name: str) -> None:
    command = re.search(rf"<!-- {name} -->\n```sh\n(.*)\n```", README)
    assert command
    assert "pip install" in command[1]


def test_the_changelog_and_the_package_agree_on_the_version() -> None:
    import tomllib

    import statqat_sim as sqs

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == sqs.__version__


def test_the_pre_commit_file_is_yaml() -> None:
    assert yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
