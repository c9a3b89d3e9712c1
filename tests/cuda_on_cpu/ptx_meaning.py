"""What instructions of PTX do, in C++. Registers are unsigned integers, whatever they hold.

What is not known is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

COMPARED: Final = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "lo": "<", "ls": "<="}
COMPARED_EITHER: Final = {"equ": "==", "neu": "!=", "ltu": "<", "leu": "<=", "gtu": ">", "geu": ">="}
"""True of NaN, too."""

OPERATORS: Final = {"add": "+", "sub": "-", "mul": "*", "div": "/", "rem": "%", "and": "&", "or": "|", "xor": "^"}
ATOMIC: Final = {"add": "atomicAdd", "max": "atomicMax", "min": "atomicMin", "or": "atomicOr"}
ROUNDED: Final = {"rzi": "trunc", "rni": "rint", "rmi": "floor", "rpi": "ceil"}
C_FLOATS: Final = {"f32": "float", "f64": "double"}


@dataclass(frozen=True, slots=True)
class Instruction:
    """`@guard opcode operands;`."""

    guard: str
    opcode: str
    operands: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        return self.opcode.split(".")


def statements(instruction: Instruction) -> str:
    """What an instruction does."""
    name = instruction.words[0]
    match name:
        case "bra":
            return f"goto {instruction.operands[0]};"
        case "ret" | "exit":
            return "goto end;"
        case "bar":
            assert (instruction.opcode, instruction.operands) == ("bar.sync", ("0",)), instruction
            return "__syncthreads();"
        case "ld" | "st":
            return _access(instruction)
        case "atom" | "red":
            return _atomic(instruction)
        case "shfl":
            return _exchange(instruction)
        case "mov" if "," in "".join(instruction.operands):
            return _split(instruction)
    target, *arguments = instruction.operands
    return f"{target} = {_value(instruction, arguments)};"


def _access(instruction: Instruction) -> str:
    """Of memory: parameters are variables, shared addresses begin with 0."""
    _, space, *modes, kind = instruction.words
    bits, signed = int(kind[1:]), kind[0] == "s"
    places = instruction.operands if instruction.words[0] == "ld" else instruction.operands[::-1]
    registers, address = places[0].split(","), places[1]
    if space == "param":
        assert address.isidentifier(), instruction
        assert not modes, instruction
        return f"{places[0]} = {_widened(f'(u{bits}){address}', bits, signed)};"
    vector_of = [f"v{len(registers)}"] if len(registers) > 1 else []
    assert [mode for mode in modes if mode != "nc"] == vector_of, instruction
    base = _address(space, address)
    vector = f"is_misaligned |= ({base}) % {len(registers) * bits // 8} != 0;"
    lines = [vector]
    for index, register in enumerate(registers):
        at = f"{base} + {index * bits // 8}"
        if instruction.words[0] == "ld":
            lines.append(f"{register} = {_widened(f'load<u{bits}>({at})', bits, signed)};")
        else:
            lines.append(f"store<u{bits}>({at}, {register});")
    return " ".join(lines)


def _address(space: str, address: str) -> str:
    assert space in ("global", "shared", "local"), space
    return f"(u64)shared_memory + {address}" if space == "shared" else f"(u64)({address})"


def _widened(value: str, bits: int, signed: bool) -> str:
    return f"(s64)(s{bits}){value}" if signed else value


def _atomic(instruction: Instruction) -> str:
    name, space, operation, kind = (word for word in instruction.words if word != "relaxed")
    assert kind[0] in ("ubs" if operation == "add" else "ub"), instruction
    operands = instruction.operands if name == "atom" else ("", *instruction.operands)
    base = _address(space, operands[1])
    done = f"{ATOMIC[operation]}((u{kind[1:]} *)({base}), (u{kind[1:]})({operands[2]}));"
    return f"{operands[0]} = {done}" if name == "atom" else done


def _exchange(instruction: Instruction) -> str:
    """Between lanes of whole warps: the other one is always there."""
    assert instruction.opcode == "shfl.sync.bfly.b32", instruction
    target, word, other, width, mask = instruction.operands
    register, *is_there = target.split("|")
    told = "".join(f"{predicate} = true; " for predicate in is_there)
    return f"{told}is_misaligned |= ({width}) != 31; {register} = __shfl_xor_sync({mask}, {word}, (int){other});"


def _split(instruction: Instruction) -> str:
    """Registers as parts of one: the low one comes first."""
    (target, source), half = instruction.operands, int(instruction.words[1][1:]) // 2
    if "," in target:
        low, high = target.split(",")
        return f"{low} = (u{half}){source}; {high} = (u{half})({source} >> {half});"
    low, high = source.split(",")
    return f"{target} = (u{2 * half})({high}) << {half} | (u{half})({low});"


def _value(instruction: Instruction, arguments: Sequence[str]) -> str:
    """The expression of a result."""
    name, *further = instruction.words
    kind = further[-1] if further else ""
    if name == "cvt":
        return _converted(further, arguments[0])
    if name == "cvta":
        assert further == ["to", "global", "u64"], instruction
        return arguments[0]
    if name in ("setp", "selp"):
        return _chosen(name, further, arguments)
    if kind == "pred":
        return _of_predicates(name, arguments)
    if kind[0] == "f" and name != "mov":
        return _of_floats(name, further, arguments)
    return _of_integers(name, further, arguments)


def _of_predicates(name: str, arguments: Sequence[str]) -> str:
    symbols = {"and": "&&", "or": "||", "xor": "!="}
    if name in symbols:
        return f" {symbols[name]} ".join(arguments)
    assert name in ("mov", "not"), name
    return f"{'!' * (name == 'not')}{arguments[0]}"


def _of_floats(name: str, further: Sequence[str], arguments: Sequence[str]) -> str:
    *modes, kind = further
    numbers = [f"as_{kind}({argument})" for argument in arguments]
    sign = f"((u{kind[1:]})1 << {int(kind[1:]) - 1})"
    match name, modes:
        case (("add" | "sub" | "mul" | "div"), ["rn"]):  # without, a product and a sum may become one
            return f"of_{kind}({numbers[0]} {OPERATORS[name]} {numbers[1]})"
        case "fma", ["rn"]:
            return f"of_{kind}(__builtin_fma{'f' * (kind == 'f32')}({', '.join(numbers)}))"
        case "abs", []:
            return f"({arguments[0]} & ~{sign})"
        case "neg", []:
            return f"({arguments[0]} ^ {sign})"
        case "copysign", []:
            return f"({arguments[0]} & {sign} | {arguments[1]} & ~{sign})"
    raise AssertionError((name, further))


def _of_integers(name: str, further: Sequence[str], arguments: Sequence[str]) -> str:
    *modes, kind = further
    bits, c_type = int(kind[1:]), f"{'s' if kind[0] == 's' else 'u'}{kind[1:]}"
    typed = [f"({c_type})({argument})" for argument in arguments]
    plain = [f"(u{bits})({argument})" for argument in arguments]
    match name, modes, kind:
        case "mov", [], _:
            return plain[0]
        case (("add" | "sub" | "and" | "or" | "xor"), [], _):
            return f"(u{bits})({plain[0]} {OPERATORS[name]} {plain[1]})"
        case "mul", ["lo"], _:
            return f"(u{bits})({plain[0]} * {plain[1]})"
        case (("mul" | "mad"), ["wide"], _):
            wide = f"{c_type[0]}{2 * bits}"
            product = f"(u{2 * bits})(({wide}){typed[0]} * ({wide}){typed[1]})"
            return " + ".join([product, *arguments[2:]])
        case "mul", ["hi"], ("u32" | "u64"):
            return f"(u{bits})((unsigned __int128){plain[0]} * {plain[1]} >> {bits})"
        case "mad", ["lo"], _:
            return f"(u{bits})({plain[0]} * {plain[1]} + {plain[2]})"
        case (("div" | "rem"), [], _):
            return f"(u{bits})({typed[0]} {OPERATORS[name]} {typed[1]})"
        case (("min" | "max"), [], _):
            return f"(u{bits}){name}({typed[0]}, {typed[1]})"
        case "neg", [], _:
            return f"(u{bits})-{plain[0]}"
        case "not", [], _:
            return f"(u{bits})~{plain[0]}"
        case "shl", [], _:
            return f"left({plain[0]}, {arguments[1]})"
        case "shr", [], _:
            return f"(u{bits})right({typed[0]}, {arguments[1]})"
        case "bfi", [], _:
            return f"insert({plain[0]}, {plain[1]}, {arguments[2]}, {arguments[3]})"
        case "bfe", [], ("u32" | "u64"):
            return f"extract({plain[0]}, {arguments[1]}, {arguments[2]})"
        case "prmt", [], "b32":
            return f"permuted({', '.join(plain)})"
        case "shf", [("l" | "r") as way, "wrap"], "b32":
            return f"__funnelshift_{way}({', '.join(plain)})"
        case (("clz" | "popc"), [], "b32"):
            return f"__{name}({plain[0]})"
    raise AssertionError((name, further))


def _chosen(name: str, further: Sequence[str], arguments: Sequence[str]) -> str:
    if name == "selp":
        (kind,) = further
        return f"{arguments[2]} ? (u{kind[1:]})({arguments[0]}) : (u{kind[1:]})({arguments[1]})"
    comparison, *joined, kind = further
    c_type = {"f": kind, "s": kind}.get(kind[0], f"u{kind[1:]}")
    a, b = (f"({c_type})({argument})" if kind[0] != "f" else f"as_{kind}({argument})" for argument in arguments[:2])
    is_nan = f"({a} != {a} || {b} != {b})"
    if comparison == "nan":
        found = is_nan
    elif comparison in COMPARED_EITHER:
        found = f"({is_nan} || {a} {COMPARED_EITHER[comparison]} {b})"
    else:
        found = f"{a} {COMPARED[comparison]} {b}"
        if kind[0] == "f" and comparison == "ne":
            found = f"(!{is_nan} && {found})"
    if not joined:
        return found
    (join,) = joined
    return f"({found}) {dict(zip(('and', 'or'), ('&&', '||'), strict=True))[join]} {arguments[2]}"


def _converted(further: Sequence[str], argument: str) -> str:
    *modes, to, source = further
    match to[0], source[0], modes:
        case "f", "f", [("rzi" | "rni" | "rmi" | "rpi") as mode]:
            return f"of_{to}(({C_FLOATS[to]}){ROUNDED[mode]}(as_{source}({argument})))"
        case "f", "f", ([] | ["rn"]):
            return f"of_{to}(({C_FLOATS[to]})as_{source}({argument}))"
        case "f", ("u" | "s"), ["rn"]:
            return f"of_{to}(({C_FLOATS[to]})({source})({argument}))"
        case (("u" | "s"), ("u" | "s"), []):
            bits = int(to[1:])
            return _widened(f"(u{bits})({source})({argument})", bits, to[0] == "s")
        case "s", "f", ["rzi", "ftz"] if (to, source) == ("s32", "f32"):  # cut off or flushed: zero
            return f"(u32)truncated(as_f32({argument}))"
    raise AssertionError(further)
