"""YAML and dicts -> configurations: strict, every problem at its place, all of them at once."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from statqat_sim.errors import Problem, SpecError, shown
from statqat_sim.qat.config_rules import (
    PRODUCTS,
    TENSORS,
    Role,
    calibration_problems,
    default_quantizer,
    format_problems,
    lsq_problems,
    operand_problems,
    quantizer_problems,
    role_defaults,
    role_problems,
    value_problems,
)
from statqat_sim.qat.matmul_config import config_problems
from statqat_sim.qat.matmul_keys import read_matmul
from statqat_sim.qat.product_config import HADAMARD, ProductConfig, hadamard_problem
from statqat_sim.qat.quantizer_keys import read_quantizer
from statqat_sim.qat.rules import LayerConfig, Rule
from statqat_sim.qat.tensor_config import TensorConfig
from statqat_sim.quantizer import StateQuantizer
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.catalog import catalog, formats, load_format, resolver
from statqat_sim.spec.files import is_path
from statqat_sim.spec.format import Format
from statqat_sim.spec.located import MAX_BYTES, UNREADABLE, Document, Located, read_document
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.parts import is_mapping
from statqat_sim.spec.reader import read_format
from statqat_sim.spec.scale import Rule as ScaleRule
from statqat_sim.spec.validate import meant, placed, unknown_keys

MATMUL = "matmul"
QUANTIZED = (*TENSORS, *PRODUCTS)
LAYER_KEYS = (*QUANTIZED, MATMUL)
CONFIG_KEYS = ("exact", "rules", *LAYER_KEYS)
RULE_KEYS = ("match", "type", "skip", *LAYER_KEYS)
TENSOR_KEYS = ("format", "quantizer", "per", "dynamic", "update_every", "gradient")
FORMAT_KEYS = ("element", "scales", "extends")
"""Of formats: one of them stands in each, and none in a tensor's mapping."""

Value = TypeVar("Value")


def read_file(path: str | os.PathLike[str]) -> tuple[tuple[Rule, ...], bool]:
    """The rules of a file, and what `exact` is; see `QATConfig.from_yaml`."""
    file = Path(path)
    with file.open("rb") as stream:
        document = read_document(stream.read(MAX_BYTES + 1), str(file))
    return _config(document.root, Reader(file.parent, list(document.problems)))


def read_mapping(values: Mapping[str, Any]) -> tuple[tuple[Rule, ...], bool]:
    """Likewise of a mapping; see `QATConfig.from_dict`."""
    return _config(Located.of(values), Reader())


def rules_of(everything: Mapping[str, Any], rules: Iterable[Any]) -> tuple[Rule, ...]:
    """The rule that keywords make for every module, if there are any, and others: objects or mappings.

    Raises:
        SpecError: with every problem found.
    """
    reader, file = Reader(), "QATConfig"
    first = [reader.rule(Located.of(everything, file=file))] if everything else []
    listed = reader.rules(Located.of(list(rules), ("rules",), file))
    read = reader.sound((*first, *(listed or ())))
    return tuple(rule for rule in read if rule is not None)


def tensor_config(role: Role, spelled: Any, caller: str, *path: str) -> TensorConfig:
    """One tensor's configuration, of all that `QATConfig` takes for it.

    Args:
        role: of the tensor.
        spelled: what the user wrote.
        caller: the function that was given it, for errors.
        path: where it stands among the function's arguments, likewise.

    Raises:
        SpecError: with every problem found.
    """
    reader = Reader()
    read = reader.tensor(Located.of(spelled, path, caller), role)
    return reader.sound(read)


def _config(root: Located, reader: Reader) -> tuple[tuple[Rule, ...], bool]:
    if not reader.is_mapping(root, CONFIG_KEYS):
        raise SpecError(reader.problems)
    exact = reader.flag(root, "exact", default=True)
    everything = [reader.rule(_of_everything(root))] if root.value.keys() & {*LAYER_KEYS} else []
    listed = reader.rules(root.value["rules"]) if "rules" in root.value else ()
    if not everything and "rules" not in root.value and "rules" not in meant(root, CONFIG_KEYS):
        reader.problems.append(root.problem(f"required key 'rules' is missing; or one of {', '.join(QUANTIZED)}"))
    rules = reader.sound((*everything, *(listed or ())))
    return tuple(rule for rule in rules if rule is not None), exact


def _is_format(keys: Collection[str]) -> bool:
    """Whether a mapping is a format itself, not a tensor's that names one."""
    return "format" not in keys and any(key in keys for key in FORMAT_KEYS)


def _of_everything(root: Located) -> Located:
    """The rule that the top of a file is."""
    keys = {key: root.value[key] for key in LAYER_KEYS if key in root.value}
    return Located(keys, root.file, root.line, root.column, root.path, root.keys)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads located values; what is wrong goes to `problems`, and None comes in its place.

    Args:
        folder: where the paths of format files start; None: the working directory.
        problems: all that were found so far.
    """

    folder: Path | None = None
    problems: list[Problem] = field(default_factory=list)

    def sound(self, value: Value | None) -> Value:
        """The value.

        Raises:
            SpecError: if there are problems.
        """
        if self.problems or value is None:
            raise SpecError(self.problems)
        return value

    def rules(self, node: Located) -> tuple[Rule, ...] | None:
        if not isinstance(node.value, list):
            self._expected(node, "a list of rules")
            return None
        rules = [self.rule(child) for child in node.value]
        return tuple(rule for rule in rules if rule is not None)

    def rule(self, node: Located) -> Rule | None:
        if isinstance(node.value, Rule):
            return node.value
        if not self.is_mapping(node, RULE_KEYS):
            return None
        match, types, skip = self._match(node), self._types(node), self.flag(node, "skip", default=False)
        said = [key for key in LAYER_KEYS if key in node.value]
        if skip and said:
            self.problems.append(node.key_problem(said[0], "a rule that skips quantizes nothing; leave it out"))
        elif not skip and not any(node.value[key].value is not None for key in said) and not self._misspelt(node):
            self.problems.append(node.problem(f"the rule says nothing; allowed: skip: true, or {', '.join(QUANTIZED)}"))
        return Rule(match=match, types=types, skip=skip, layer=self._layer(node))

    def _layer(self, node: Located) -> LayerConfig:
        """The tensors that a rule names, and what multiplies where that goes with them."""
        known = len(self.problems)
        found: dict[str, Any] = {role: self.tensor(node.value[role], role) for role in TENSORS if role in node.value}
        found |= {key: self.product(node.value[key], PRODUCTS[key]) for key in PRODUCTS if key in node.value}
        matmul = read_matmul(node.value[MATMUL], self.problems, self._place) if MATMUL in node.value else None
        if matmul is not None and len(self.problems) == known:
            wrong = config_problems(matmul, found.get("weight"), found.get("input"))
            self.problems.extend(node.value[MATMUL].problem(each) for each in wrong)
        return LayerConfig(**found, matmul=matmul if len(self.problems) == known else None)

    def product(self, node: Located, operands: Mapping[str, Role]) -> ProductConfig | None:
        """A product of the backward pass: null, a tensor for all its operands, or a mapping of these."""
        if node.value is None or isinstance(node.value, ProductConfig):
            return node.value
        hadamard, node = self._hadamard(node)
        found: dict[str, Any] = {}
        if not isinstance(node.value, dict) or "format" in node.value or _is_format(node.value):
            for key, role in operands.items():
                found[key] = self.tensor(node, role)
                if found[key] is None:
                    return None  # of the others the problems would be the same
        elif self.is_mapping(node, operands):
            found = {key: self.tensor(node.value[key], role) for key, role in operands.items() if key in node.value}
            if not any(node.value[key].value is not None for key in found) and not meant(node, operands):
                self.problems.append(node.problem(f"no operand is quantized; allowed: {', '.join(operands)}"))
        return ProductConfig(**found, hadamard=hadamard) if any(found.values()) else None

    def tensor(self, node: Located, role: Role) -> TensorConfig | None:
        """One tensor: null, a format, or a mapping."""
        if node.value is None or isinstance(node.value, TensorConfig):
            return node.value
        if not isinstance(node.value, dict) or _is_format(node.value):
            node = Located({"format": node}, node.file, node.line, node.column, node.path)
        if not self.is_mapping(node, TENSOR_KEYS):
            return None
        if "format" not in node.value:
            if "format" not in meant(node, TENSOR_KEYS):
                self.problems.append(node.problem("required key 'format' is missing"))
            return None
        format = self.format(node.value["format"])
        return self._tensor(node, role, format) if format is not None else None

    def format(self, node: Located) -> Format | None:
        """A format by name or path, as a mapping with the keys of a format file, or as an object."""
        try:
            match node.value:
                case NumberFormat() | BlockFormat():
                    return node.value
                case dict():
                    return read_format(Document(node, ()), resolver(catalog()))
                case str() | os.PathLike():
                    return load_format(self._place(os.fspath(node.value)))
        except SpecError as error:
            self.problems.extend(error.problems)
            return None
        except LookupError as error:
            self.problems.append(node.problem(str(error.args[0])))
            return None
        except OSError as error:
            self.problems.append(node.problem(f"the file of {shown(str(node.value))} cannot be read: {error}"))
            return None
        self._expected(node, "the name of a format, the path of its file, or a mapping")
        return None

    def flag(self, node: Located, key: str, *, default: bool) -> bool:
        child = node.value.get(key)
        if child is None:
            return default
        if not isinstance(child.value, bool):
            self._expected(child, "true or false")
        return child.value is True

    def is_mapping(self, node: Located, allowed: Collection[str]) -> bool:
        """Whether it is; otherwise that is a problem, and so is each key that is not allowed."""
        if not is_mapping(node, self.problems):
            return False
        self.problems.extend(unknown_keys(node, allowed))
        return True

    # --- parts -----------------------------------------------------------------------------------------------------

    def _tensor(self, node: Located, role: Role, format: Format) -> TensorConfig | None:
        said = {key: child.value for key, child in node.value.items() if key in TENSOR_KEYS[2:]}
        said = {key: value for key, value in said.items() if value is not UNREADABLE}
        found = [*value_problems(said), *format_problems(format), *role_problems(role, format, said)]
        known = len(self.problems)
        self.problems.extend(placed(node, found, node))
        quantizer, format = self._quantizer(node, role, format)
        keys = {**role_defaults(role, format), **said}
        found = [*lsq_problems(format, quantizer, keys), *calibration_problems(role, quantizer, keys)]
        found += operand_problems(role, format, keys)
        self.problems.extend(placed(node, found, node))
        return TensorConfig(format=format, quantizer=quantizer, **keys) if len(self.problems) == known else None

    def _quantizer(self, node: Located, role: Role, format: Format) -> tuple[StateQuantizer | None, Format]:
        """What chooses the scales; of a block format, which finds its own, only `search` may be asked for."""
        child = node.value.get("quantizer")
        if isinstance(format, BlockFormat):
            return None, self._searched(child, format) if child else format
        quantizer = read_quantizer(child, self.problems) if child else default_quantizer(role)
        self.problems.extend(placed(node, quantizer_problems(quantizer, format), node))
        return quantizer, format

    def _searched(self, node: Located, format: BlockFormat) -> Format:
        """The format's variant that takes each block's best scale."""
        variant = f"{format.name}.mse"
        has_variant = variant in formats()
        if node.value == "search" and (has_variant or format.anchor.rule is ScaleRule.MSE):
            return format if format.anchor.rule is ScaleRule.MSE else load_format(variant)
        allowed = f"leave it out, or write search, for {variant}" if has_variant else "leave it out"
        what = f"{format.name} is a block format, which finds its own scales"
        self.problems.append(node.problem(f"{what}, got {shown(node.value)}; {allowed}"))
        return format

    def _place(self, name: str) -> str:
        return str(self.folder / name) if self.folder is not None and is_path(name) else name

    def _hadamard(self, node: Located) -> tuple[int, Located]:
        """The size of a product's transform, and what else is said of it."""
        if not isinstance(node.value, dict) or HADAMARD not in node.value:
            return 0, node
        others = {key: child for key, child in node.value.items() if key != HADAMARD}
        rest, size = Located(others, node.file, node.line, node.column, node.path, node.keys), node.value[HADAMARD]
        told = hadamard_problem(size.value)
        if told and size.value is not UNREADABLE:
            self.problems.append(size.problem(told))
        return 0 if told else size.value, rest

    def _match(self, node: Located) -> str:
        child = node.value.get("match")
        if child is None:
            return "*"
        if not isinstance(child.value, str) or not all(child.value.split("|")):
            self._expected(child, "globs on the names of modules, joined by |")
            return "*"
        return child.value

    def _types(self, node: Located) -> tuple[str, ...]:
        child = node.value.get("type")
        if child is None:
            return ()
        names = child.plain() if isinstance(child.value, list) else [child.value]
        if not names or not all(isinstance(name, str) and name for name in names):
            self._expected(child, "the name of a class, or a list of them")
            return ()
        return tuple(names)

    def _misspelt(self, node: Located) -> bool:
        return bool(meant(node, RULE_KEYS) & {*LAYER_KEYS, "skip"})

    def _expected(self, node: Located, what: str) -> None:
        if node.value is not UNREADABLE:
            self.problems.append(node.problem(f"expected {what}, got {shown(node.value)}"))
