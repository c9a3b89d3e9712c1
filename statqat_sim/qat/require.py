"""What functions want of a model that they are given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from statqat_sim.errors import of_type, shown


def require_module(model: object) -> None:
    """Check that a model is one.

    Raises:
        TypeError: if it is none.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is {told_value(model)}; allowed: a torch.nn.Module")


def told_value(value: object) -> str:
    """A value that is of a wrong type, on one line."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return shown(value) if isinstance(value, str | int | float | dict | list | None) else of_type(value)


def require_values(model: nn.Module) -> None:
    """Check that nothing of a model's state is a shape only.

    Raises:
        ValueError: if some of it is on torch's meta device.
    """
    shapes = [name for name, tensor in model.state_dict().items() if getattr(tensor, "is_meta", False)]
    if shapes:
        where = f"{shapes[0]} is on the meta device, where there are no values"
        raise ValueError(f"{where}; call model.to_empty, and load weights, or load them with assign=True, first")


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Let a format's refusal of values, such as NaN, begin with the name of what has them."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
