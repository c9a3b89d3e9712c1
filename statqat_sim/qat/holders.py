"""Which modules hold a parameter: looked up each time, as weights are tied and untied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias
from weakref import ref

from torch import Tensor, nn

Place: TypeAlias = tuple[nn.Module, str]
"""A module, and what it calls a parameter."""


def places_of(parameter: Tensor | None, modules: Iterable[nn.Module]) -> list[Place]:
    """Where these modules hold a parameter now."""
    return [(module, name) for module in modules for name, each in module._parameters.items() if each is parameter]


def holders_of_all(model: nn.Module) -> dict[int, list[nn.Module]]:
    """The modules of a model that hold each parameter, by its `id`."""
    found: dict[int, list[nn.Module]] = {}
    for module in model.modules():
        for each in dict.fromkeys(module._parameters.values()):
            found.setdefault(id(each), []).append(module)
    return found


class Holders:
    """Modules that held a parameter once, for as long as something else keeps them.

    A part of a model cannot be asked who else holds its parameters: these can. A copy, or a pickle, of the model has
    its own; for that the copy of a part copies them along, and lets go of those that nothing in it keeps.
    """

    def __init__(self, modules: Iterable[nn.Module] = ()) -> None:
        self._known = [ref(module) for module in modules]

    def __iter__(self) -> Iterator[nn.Module]:
        found = (known() for known in self._known)
        return (module for module in found if module is not None)

    def __reduce__(self) -> tuple[Any, ...]:
        return Holders, ([*self],)
