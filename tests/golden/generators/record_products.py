"""Records the gradients that microxcaling's Linear gives, whose backward pass multiplies operands of its own.

Run in `tests`, with a checkout of microxcaling on the path:

    PYTHONPATH=CHECKOUT python golden/generators/record_products.py golden/products/microxcaling-1.1.npz

Arrays of the file: `input`, `weight`, `grad_output`, and `CASE.grad_input`, `CASE.grad_weight` of the cases below.
Nothing of statqat_sim is imported.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pack import write

FORWARD = {"w_elem_format": "fp4_e2m1", "a_elem_format": "fp4_e2m1", "block_size": 32, "custom_cuda": False}
OPERANDS = {
    "grad_input.grad_output": "a_elem_format_bp_os",
    "grad_input.weight": "w_elem_format_bp",
    "grad_weight.grad_output": "a_elem_format_bp_ex",
    "grad_weight.input": "a_elem_format_bp",
}
"""What microxcaling calls the operands of the backward pass."""
CASES = {
    "same": dict.fromkeys(OPERANDS, "fp4_e2m1"),
    "others": dict(zip(OPERANDS, ("fp6_e2m3", "fp4_e2m1", "fp6_e3m2", "int8"), strict=True)),
}


def main(target: str) -> None:
    import torch
    from mx.linear import linear
    from mx.specs import finalize_mx_specs

    draw = np.random.default_rng(20261122)
    shapes = {"input": (2, 32, 64), "weight": (96, 64), "grad_output": (2, 32, 96)}
    arrays: dict[str, NDArray[Any]] = {name: draw.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    given = dict(arrays)
    for case, formats in CASES.items():
        specs = {**FORWARD, **{OPERANDS[role]: format for role, format in formats.items()}, "round": "even"}
        x, weight = (torch.from_numpy(given[name].copy()).requires_grad_() for name in ("input", "weight"))
        y = linear(x, weight, mx_specs=finalize_mx_specs(specs))
        y.backward(torch.from_numpy(given["grad_output"]))
        assert x.grad is not None
        assert weight.grad is not None
        arrays |= {f"{case}.grad_input": x.grad.numpy(), f"{case}.grad_weight": weight.grad.numpy()}
    write(Path(target), arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
