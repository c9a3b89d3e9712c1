"""What an accumulator costs an FP8 layer: SQNR in dB against the exact product, `python accumulator_error.py --quick`.

The layer is a Linear whose product runs through an accelerator's instruction, on Gaussian input and weights in E4M3.
One column is a Hopper's, which keeps 13 bits below the largest product; one a Blackwell's, which keeps 25; `ideal`
rounds the exact sum once. Promoted: what 128 products come to is added up in float32, as DeepGEMM does.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import nn

import statqat_sim as sqs
from statqat_sim import qat

H100, B200 = "nvidia_h100/wgmma.e4m3.f32", "nvidia_b200/f8f6f4.e4m3.f32"
ACCUMULATORS: dict[str, Any] = {
    "13 bits": H100,
    "13, promoted": {"accelerator": "nvidia_h100", "instruction": "wgmma.e4m3.f32", "promote_every": 128},
    "25 bits": B200,
    "25, promoted": {"accelerator": "nvidia_b200", "instruction": "f8f6f4.e4m3.f32", "promote_every": 128},
    "ideal": "ideal/dot.e4m3.f32",
}
E4M3 = {"format": "float8_e4m3fn", "quantizer": "minmax", "per": "tensor"}
ROWS = 64


def layer(size: int, matmul: Any = None) -> nn.Module:
    """A layer with `size` inputs and the same weights for all accumulators; None: torch's product."""
    torch.manual_seed(size)
    model = nn.Linear(size, ROWS, bias=False)
    nn.init.normal_(model.weight)
    return qat.prepare(model, qat.QATConfig(weight=E4M3, input={**E4M3, "dynamic": True}, matmul=matmul)).eval()


@torch.no_grad()
def sqnr_db(size: int, matmul: Any) -> float:
    """Of the layer's product, against the exact one of the same codes."""
    model, x = layer(size, matmul), torch.randn(ROWS, size, generator=torch.Generator().manual_seed(size))
    exact = model.quantized_input(x).double() @ model.quantized_weight().double().T
    return sqs.sqnr_db(exact.numpy(), model(x).numpy())


def table(sizes: list[int]) -> dict[int, dict[str, float]]:
    """SQNR in dB by the length of the sum and the accumulator."""
    return {size: {name: sqnr_db(size, matmul) for name, matmul in ACCUMULATORS.items()} for size in sizes}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="sums of 128 to 1024 products")
    longest = 11 if parser.parse_args().quick else 15
    print(f"{'K':>6}", *(f"{name:>13}" for name in ACCUMULATORS))
    for size, row in table([2**power for power in range(7, longest)]).items():
        print(f"{size:>6}", *(f"{value:>13.2f}" for value in row.values()))


if __name__ == "__main__":
    main()
