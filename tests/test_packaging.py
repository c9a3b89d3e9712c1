"""The wheel holds the tree, no more and no less, and the metadata says what the code needs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLACES = {"statqat_sim": "statqat_sim", "formats": "statqat_sim/formats", "backends": "statqat_sim/backends"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    for name in listed.stdout.splitlines():  # a copy, so that no build folder of the checkout plays a part
        if (ROOT / name).is_file() and not name.startswith(("tests/", "bench/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (path,) = target.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_the_tree(wheel: set[str]) -> None:
    tree = {
        f"{inside}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, inside in PLACES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wheel == tree


def test_every_package_is_listed() -> None:
    packages = set(PROJECT["tool"]["setuptools"]["packages"])
    found = {
        ".".join((inside.replace("/", "."), *path.parent.relative_to(ROOT / folder).parts))
        for folder, inside in PLACES.items()
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert packages == found


def test_the_base_install_needs_no_torch() -> None:
    assert not any("torch" in need or "cupy" in need for need in PROJECT["project"]["dependencies"])
