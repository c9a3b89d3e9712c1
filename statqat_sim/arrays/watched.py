"""What torch watches: its compiler and its tracers record torch's operations alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from types import SimpleNamespace
from typing import Any, Final, ParamSpec, TypeVar

from statqat_sim.arrays.kinds import is_tensor
from statqat_sim.arrays.loaded import compiler_is_loaded, loaded_torch
from statqat_sim.errors import UnsupportedError

P = ParamSpec("P")
R = TypeVar("R")

TOLD: Final = (
    "torch compiles, traces or vectorises its own operations alone, and this is not made of them; allowed: for codecs "
    "backend 'torch', as in Codec(format, 'torch'), made before"
)

_calls: Final = SimpleNamespace()  # torch's compiler sees attributes that are added while it traces


def is_compiling() -> bool:
    """Whether torch's compiler traces this code; `torch.compiler.is_compiling` is true while another thread's does."""
    return compiler_is_loaded() and bool(loaded_torch().compiler.is_dynamo_compiling())


def left_out(function: Callable[P, R]) -> Callable[P, R]:
    """A function whose calls torch's compiler leaves out of its graphs; it would take numpy's operations for torch's.

    That is so wherever the compiler is loaded. It does not trace a function without a tensor or an array among its
    variables, whose `is_compiling` is false therefore, and does trace what that function calls.
    """

    @wraps(function)
    def called(*arguments: P.args, **options: P.kwargs) -> R:
        if compiler_is_loaded():
            return outside_graphs(function)(*arguments, **options)
        return function(*arguments, **options)

    return called


def outside_graphs(function: Callable[P, R]) -> Callable[P, R]:
    """A function that torch's compiler leaves out as a whole, with all that it calls.

    Under `fullgraph=True`, where it may leave out nothing, it refuses and says why.
    """
    return partial(getattr(_calls, _prepared()), function)


def _prepared() -> str:
    """The name of the function that calls others, in `_calls`."""
    if not hasattr(_calls, "call"):
        _calls.call = loaded_torch().compiler.disable(untraced, reason=TOLD)
    return "call"


_prepared._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch's compiler runs it while it traces


def untraced(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a function; torch's messages name this one."""
    return function(*arguments, **options)


def refuse_watched(array: object) -> None:
    """Raise UnsupportedError for a tensor whose operations torch records."""
    if not is_tensor(array):
        return
    torch = loaded_torch()
    if (
        torch.compiler.is_dynamo_compiling()
        or torch._C._is_tracing()
        or torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.PROXY) is not None
        or torch._C._functorch.is_functorch_wrapped_tensor(array)
    ):
        raise UnsupportedError(TOLD)
