"""Who may import whom: floors, rooms that are blind to each other, and libraries that have one place each."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FLOORS = {
    "errors": 0,
    "atomic": 0,
    "rebuilt": 0,
    "spec": 1,
    "plan": 2,
    "export": 3,
    "reference": 2,
    "geometry": 2,
    "runtime": 3,
    "threads": 3,
    "arrays": 3,
    "packing": 3,
    "layouts": 3,
    "cache": 3,
    "quantized": 4,
    "scale": 4,
    "refusals": 4,
    "block_codec": 4,
    "codec": 4,
    "metrics": 4,
    "histogram": 4,
    "testing": 7,
    "prior": 5,
    "theory": 5,
    "quantizer": 6,
    "matmul": 6,
    "measurement": 7,
    "qat": 8,
    "pytest_plugin": 8,
    "identification": 7,
    "ranking": 7,
    "report": 8,
    "cli": 8,
}
ONE_PLACE = {  # libraries, and the modules that may import them
    "torch": (
        "statqat_sim.backends.torch_ops",
        "statqat_sim.qat",
        "statqat_sim.cli.tensors",  # reads its files
        "statqat_sim.arrays.loaded",  # once a caller has imported it
    ),
    "cupy": ("statqat_sim.backends.cupy_gpu",),
    "numba": ("statqat_sim.backends.numba_cpu",),
    "llvmlite": ("statqat_sim.backends.numba_cpu",),
    "ml_dtypes": ("statqat_sim.cli.tensors",),  # elsewhere its bfloat16 is known by name
    "safetensors": ("statqat_sim.cli.tensors", "statqat_sim.qat.saving", "statqat_sim.qat.loading"),
    "yaml": ("statqat_sim.spec",),
    "pydantic": ("statqat_sim.spec", "statqat_sim.cli.template"),
    "platformdirs": ("statqat_sim.cache", "statqat_sim.cli"),
    "typer": ("statqat_sim.cli",),
    "pytest": ("statqat_sim.pytest_plugin",),
    "rich": ("statqat_sim.cli", "statqat_sim.report"),
    "matplotlib": ("statqat_sim.report",),
}


def module_of(path: Path) -> str:
    """The name that a file is imported under; `backends` and `formats` lie outside the package's folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    inside = parts if parts[0] == "statqat_sim" else ("statqat_sim", *parts)
    return ".".join(inside).removesuffix(".__init__")


MODULES = {
    module_of(path): path for folder in ("statqat_sim", "backends", "formats") for path in (ROOT / folder).rglob("*.py")
}
CORE = [name for name in MODULES if name.split(".")[1:2] not in ([], ["backends"], ["formats"])]
BACKENDS = [name for name in MODULES if name.startswith("statqat_sim.backends.")]
RUNS_PLANS = ("backend", "block_backend", "block_tiles", "dense", "interpret", "reduction", "streams")
ORACLE = [
    path.stem for path in sorted((ROOT / "statqat_sim/reference").glob("[!_]*.py")) if path.stem not in RUNS_PLANS
]
"""What the plans are checked against: it sees the spec and nothing else of the house."""


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text("utf-8"))


def imported(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Full names of imported modules; of `from a import b` both `a.b` if that is a module, and else `a`."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used here"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else str(node.module)


def imports(module: str) -> set[str]:
    """All that a module imports anywhere."""
    return set(imported(ast.walk(tree(module))))


def imports_when_loaded(module: str) -> set[str]:
    """What importing a module imports: not what its functions and its type checker do."""

    def reached(nodes: list[ast.stmt]) -> Iterator[ast.AST]:
        for node in nodes:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            yield node
            if isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
                yield from reached(node.body)

    return set(imported(reached(tree(module).body)))


def room(module: str) -> str:
    return module.split(".")[1]


def in_house(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] == "statqat_sim"}


# --- floors ------------------------------------------------------------------------------------------------------


def test_every_room_has_a_floor() -> None:
    assert {room(name) for name in CORE} == set(FLOORS)


@pytest.mark.parametrize("module", CORE)
def test_imports_go_downwards(module: str) -> None:
    floor = FLOORS[room(module)]
    if module == "statqat_sim.reference.backend":  # a backend, which lives with its interpreter
        floor = FLOORS["runtime"]
    for name in in_house(imports(module)):
        if name == "statqat_sim":  # the whole house, for `__version__`
            assert room(module) == "cli", name
        else:
            assert FLOORS[room(name)] <= floor, f"{module} imports {name}"


@pytest.mark.parametrize("module", [name for name in CORE if room(name) == "plan"])
def test_plans_do_not_know_the_oracle(module: str) -> None:
    assert {room(name) for name in in_house(imports(module))} <= {"errors", "spec", "plan"}


@pytest.mark.parametrize("name", ORACLE)
def test_the_oracle_does_not_know_the_plans(name: str) -> None:
    names = in_house(imports(f"statqat_sim.reference.{name}"))
    rooms = {room(other) for other in names}
    assert rooms <= {"errors", "spec", "reference"}
    assert {other.rpartition(".")[2] for other in names if room(other) == "reference"} <= set(ORACLE)


def test_the_oracle_is_all_there() -> None:
    assert {"exact", "grid", "ieee", "philox", "policies", "prove", "rounding", "steps", "ties"} <= set(ORACLE)
    assert len(MODULES) > len(ORACLE) > 15


@pytest.mark.parametrize(("name", "known"), [("interpret", {"program", "step"}), ("dense", {"program"})])
def test_the_interpreter_knows_the_program_and_nothing_else(name: str, known: set[str]) -> None:
    assert in_house(imports(f"statqat_sim.reference.{name}")) == {f"statqat_sim.plan.{each}" for each in known}


BELOW_BACKENDS = ("errors", "atomic", "plan", "geometry", "runtime", "threads", "arrays", "packing", "cache")
WORDS_OF_SPECS = ("statqat_sim.spec.base", "statqat_sim.spec.scale")
"""Where the bits of a `BYTE` stand, and the `Block` in which plans say how large blocks are."""


@pytest.mark.parametrize("module", BACKENDS)
def test_backends_know_plans_and_the_runtime_only(module: str) -> None:
    own = ".".join(module.split(".")[:3])
    for name in in_house(imports(module)):
        assert name.startswith(own) or room(name) in BELOW_BACKENDS or name in WORDS_OF_SPECS, name
        assert name != "statqat_sim.plan.lower", "a backend sees programs, never formats"


@pytest.mark.parametrize("module", CORE)
def test_the_core_names_no_backend(module: str) -> None:
    assert not [name for name in imports(module) if name.startswith("statqat_sim.backends")]
    for folder in {name.split(".")[2] for name in BACKENDS}:
        assert folder not in MODULES[module].read_text("utf-8")


def test_no_module_is_imported_in_a_circle() -> None:
    graph = {name: in_house(imports_when_loaded(name)) & MODULES.keys() for name in MODULES}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert len(order) == len(MODULES)


# --- libraries ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ONE_PLACE)
def test_a_library_has_its_place(library: str) -> None:
    users = {name for name in MODULES if library in {other.split(".")[0] for other in imports(name)}}
    assert not {name for name in users if not name.startswith(ONE_PLACE[library])}


@pytest.mark.parametrize("module", [name for name in CORE if FLOORS[room(name)] <= 1])
def test_specs_are_read_without_numpy(module: str) -> None:
    assert "numpy" not in {name.split(".")[0] for name in imports_when_loaded(module)}


@pytest.mark.parametrize("library", ["torch", "cupy", "numba", "matplotlib", "scipy"])
def test_heavy_libraries_are_loaded_when_they_are_needed(library: str) -> None:
    eager = {name for name in CORE if library in {other.split(".")[0] for other in imports_when_loaded(name)}}
    assert {room(name) for name in eager} <= ({"qat"} if library == "torch" else set())


SOURCES = [*MODULES.values(), *(ROOT / "tests").glob("*.py"), *(ROOT / "bench").rglob("*.py")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_one_file_has_one_name(path: Path) -> None:
    """`import backends` would load a second copy of what `statqat_sim.backends` is."""
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    assert not {name.split(".")[0] for name in imported(nodes)} & {"backends", "formats"}


# --- habits ------------------------------------------------------------------------------------------------------


def test_modules_are_named_for_what_they_do() -> None:
    assert not {name.rpartition(".")[2] for name in MODULES} & {"util", "utils", "common", "helper", "helpers", "misc"}


def test_no_test_module_imports_another() -> None:
    """What they share lies in plain modules beside them."""
    for path in sorted((ROOT / "tests").glob("*.py")):
        names = imported(ast.walk(ast.parse(path.read_text("utf-8"))))
        assert not [name for name in names if name.startswith("test_")], path.name


@pytest.mark.parametrize("module", [name for name in MODULES if room(f"{name}.") in ("plan", "backends")])
def test_exponents_are_read_from_bits(module: str) -> None:
    """log2 is wrong just below a power of two; nothing that emulates a format may ask it."""
    names = {node.attr for node in ast.walk(tree(module)) if isinstance(node, ast.Attribute)}
    names |= {node.id for node in ast.walk(tree(module)) if isinstance(node, ast.Name)}
    assert not names & {"log2", "frexp", "exp2", "log"}


@pytest.mark.parametrize("module", BACKENDS)
def test_no_backend_asks_for_fast_math(module: str) -> None:
    """Nor do the texts of the modules that it writes."""
    assert not re.search(r"fast_?math|reassoc", MODULES[module].read_text("utf-8"))


@pytest.mark.parametrize("module", MODULES)
def test_no_message_takes_an_article_before_the_name_of_a_type(module: str) -> None:
    """Neither `a` nor `an` is right before every name: see `errors.of_type`."""
    assert not re.search(r"\ban? \{type\(", MODULES[module].read_text("utf-8"))


# --- the rules themselves ----------------------------------------------------------------------------------------


def test_the_reader_of_imports_sees_them_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = (
        "import a.b, c as d\nfrom e import f\nfrom statqat_sim.plan import lower\n"
        "if TYPE_CHECKING:\n    import g\nclass K:\n    import h\ndef k():\n    import i\n"
        "try:\n    import j\nfinally: pass\n"
    )
    (tmp_path / "sample.py").write_text(source)
    monkeypatch.setitem(MODULES, "sample", tmp_path / "sample.py")
    always = {"a.b", "c", "e", "statqat_sim.plan.lower", "h", "j"}
    assert imports("sample") == always | {"g", "i"}
    assert imports_when_loaded("sample") == always
