"""Modules of PTX, the instructions that nvcc makes of kernels, as C++. See `ptx_meaning`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from cuda_on_cpu.ptx_meaning import Instruction, statements

RUNTIME: Final = r"""
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef short s16;
typedef int s32;
typedef long long s64;
alignas(16) static unsigned char shared_memory[SHARED];
static float as_f32(u32 a) { return cast_bits<float>(a); }
static double as_f64(u64 a) { return cast_bits<double>(a); }
static u32 of_f32(float a) { return cast_bits<u32>(of_device(a)); }
static u64 of_f64(double a) { return cast_bits<u64>(of_device(a)); }
template <class T> static T load(u64 address)
{
    is_misaligned |= address % sizeof(T) != 0;
    T value;
    __builtin_memcpy(&value, (const void *)address, sizeof value);
    return value;
}
template <class T> static void store(u64 address, T value)
{
    is_misaligned |= address % sizeof(T) != 0;
    __builtin_memcpy((void *)address, &value, sizeof value);
}
static s32 truncated(float a)
{
    return a != a ? 0 : a >= 0x1p31f ? 0x7fffffff : a < -0x1p31f ? -0x7fffffff - 1 : (s32)a;
}
template <class T> static T left(T a, u32 by) { return by < 8 * sizeof a ? a << by : 0; }
template <class T> static T right(T a, u32 by) { return by < 8 * sizeof a ? a >> by : a < 0 ? -1 : 0; }
template <class T> static T ones(u32 length) { return ~left(~(T)0, length & 255); }
template <class T> static T insert(T a, T b, u32 at, u32 length)
{
    T mask = left(ones<T>(length), at & 255);
    return (b & ~mask) | (left(a, at & 255) & mask);
}
template <class T> static T extract(T a, u32 at, u32 length) { return right(a, at & 255) & ones<T>(length); }
static u32 permuted(u32 a, u32 b, u32 selector)
{
    u32 result = 0;
    for (u32 i = 0; i < 4; i++, selector >>= 4) {
        u32 byte = (u8)(((u64)b << 32 | a) >> 8 * (selector & 7));
        result |= (selector & 8 ? (byte >> 7) * 255 : byte) << 8 * i;
    }
    return result;
}
"""

SHARED: Final = 1 << 18
"""Bytes of shared memory."""

STATEMENT: Final = re.compile(r"\s*([{}]|[$\w]+:|(?:[^;{}]|\{[^;{}]*\})+;)")

PLAIN: Final = {"tid": "threadIdx", "ctaid": "blockIdx", "ntid": "blockDim", "nctaid": "gridDim"}
"""Special registers."""


def as_cpp(ptx: str) -> str:
    """Every kernel of a module as a function of its name."""
    text = re.sub(r"//[^\n]*", "", ptx)
    shared = _shared(text)
    entries = re.finditer(r"\.entry\s+(\w+)\s*\(([^)]*)\)[^{]*\{", text)
    functions = [_function(entry, text, shared) for entry in entries]
    return "\n".join([f"enum {{ SHARED = {SHARED} }};", RUNTIME, *functions])


def _shared(text: str) -> dict[str, int]:
    """Where variables lie in shared memory, by name; all kernels' together."""
    found, end = {}, 0
    declared = r"\.shared\s+\.align\s+(\d+)\s+\.[bu](\d+)\s+(\w+)(?:\[(\d+)\])?;"
    for align, bits, name, count in re.findall(declared, text):
        found[name] = -(-end // int(align)) * int(align)
        end = found[name] + int(count or 1) * int(bits) // 8
    assert end <= SHARED, end
    return found


def _function(entry: re.Match[str], text: str, shared: dict[str, int]) -> str:
    name, declared = entry.groups()
    parameters = re.findall(r"\.param\s+\.[ubs](\d+)\s+(\w+)", declared)
    arguments = ", ".join(f"u{bits} {parameter}" for bits, parameter in parameters)
    body = text[entry.end() : _closing(text, entry.end())]
    lines = [line for statement in _statements(body) for line in _lines(statement, shared)]
    return "\n".join([f"static void {name}({arguments})", "{", *lines, "end:;", "}"])


def _closing(text: str, begin: int) -> int:
    """Where the brace that was opened before is closed."""
    depth = 1
    for found in re.finditer(r"[{}]", text[begin:]):
        depth += 1 if found[0] == "{" else -1
        if depth == 0:
            return begin + found.start()
    raise AssertionError("a brace is not closed")


def _statements(body: str) -> Iterator[str]:
    """Labels, braces and what ends with a semicolon. Braces among operands belong to these."""
    place = 0
    while found := STATEMENT.match(body, place):
        yield found[1]
        place = found.end()
    assert not body[place:].strip(), body[place:][:200]


def _lines(statement: str, shared: dict[str, int]) -> Iterator[str]:
    if statement in "{}":
        yield statement
    elif statement.endswith(":"):
        yield f"{statement.removeprefix('$')};"
    elif statement.startswith(".reg"):
        yield _registers(statement)
    elif statement.startswith(".local"):
        yield _local(statement)
    elif not statement.startswith((".pragma", ".shared")):
        instruction = _parsed(statement, shared)
        done = statements(instruction)
        yield f"if ({instruction.guard}) {{ {done} }}" if instruction.guard else done


def _registers(statement: str) -> str:
    """Declarations: `%r<7>` are r0 to r6."""
    found = re.fullmatch(r"\.reg\s+\.(\w+)\s+%?(\w+)(?:<(\d+)>)?;", statement)
    assert found is not None, statement
    kind, name, count = found.groups()
    names = [name] if count is None else [f"{name}{index}" for index in range(int(count))]
    return f"{'bool' if kind == 'pred' else 'u' + kind[1:]} {', '.join(names)};"


def _local(statement: str) -> str:
    """Memory of a thread. It holds bytes that no kernel may take for what it wrote."""
    found = re.fullmatch(r"\.local\s+\.align\s+(\d+)\s+\.b8\s+(\w+)\[(\d+)\];", statement)
    assert found is not None, statement
    align, name, count = found.groups()
    return f"alignas({align}) u8 {name}[{count}]; __builtin_memset({name}, 0xdb, {count});"


def _parsed(statement: str, shared: dict[str, int]) -> Instruction:
    found = re.fullmatch(r"(?:@(!?)%?(\w+)\s+)?([a-z][\w.:]*)\s*(.*);", statement, re.S)
    assert found is not None, statement
    negated, guard, opcode, rest = found.groups()
    operands = re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s][^,]*", rest)
    return Instruction(f"{negated}{guard}" if guard else "", opcode, tuple(_operand(one, shared) for one in operands))


def _operand(text: str, shared: dict[str, int]) -> str:
    """In C++; those in braces or brackets without these, the former with commas."""
    text = re.sub(r"[{}\[\]\s]", "", text)
    text = re.sub(r"%(n?(?:tid|ctaid))\.([xyz])", lambda found: f"{PLAIN[found[1]]}.{found[2]}", text)
    text = re.sub(r"\b0[fF]([0-9a-fA-F]{8})\b", r"0x\1u", text)
    text = re.sub(r"\b0[dD]([0-9a-fA-F]{16})\b", r"0x\1ull", text)
    text = re.sub(r"[A-Za-z_]\w*", lambda found: str(shared.get(found[0], found[0])), text)
    return text.replace("%", "").replace("$", "")
