"""What profiles are for, input by input: where libraries and chips disagree outside the plain range.

The facts are of runs of the libraries that each profile names, recorded by hand: onnx 1.23.2 (`saturate=1`), the CUDA
13.0 headers compiled for the host, ml_dtypes 0.6, torch 2.13. Those that the tests install are also run in
`test_oracles.py`.
"""

from __future__ import annotations

import numpy as np
import pytest

import statqat_sim as sqs

NAN, MINUS_NAN = np.uint32([0x7FC00000, 0xFFC00000]).view(np.float32)
INF = np.float32(np.inf)

FACTS = {
    "float8_e4m3fn.onnx_saturate": {464.01: 0x7E, INF: 0x7E, -INF: 0xFE, NAN: 0x7F},
    "float8_e4m3fnuz.onnx_saturate": {1e9: 0x7F, INF: 0x7F, -INF: 0xFF, NAN: 0x80, -1e-9: 0x00},
    "float8_e5m2.onnx_saturate": {1e9: 0x7B, -1e9: 0xFB},
    "float8_e5m2fnuz.onnx_saturate": {1e9: 0x7F, INF: 0x7F, -INF: 0xFF, NAN: 0x80},
    "float4_e2m1fn.nvidia": {NAN: 0x7, MINUS_NAN: 0x7, INF: 0x7, -INF: 0xF, 5.0: 0x6},
    "float6_e2m3fn.nvidia": {NAN: 0x1F, MINUS_NAN: 0x1F, -INF: 0x3F},
    "float6_e3m2fn.nvidia": {NAN: 0x1F, MINUS_NAN: 0x1F, -INF: 0x3F},
    "float8_e8m0fnu.nvidia_rp": {1.0: 127, 1.0000001: 128, 1.5: 128, INF: 0xFE, -INF: 0xFE, NAN: 0xFF},
    "float4_e2m1fn.ml_dtypes": {NAN: 0x8, MINUS_NAN: 0x0},
    "float8_e4m3fn.ml_dtypes": {464.0: 0x7E, 464.01: 0x7F, INF: 0x7F, -INF: 0xFF},
    "float8_e4m3fn.torch": {464.01: 0x7E, INF: 0x7E, -INF: 0xFE},
    "float8_e5m2.torch": {NAN: 0x7F, MINUS_NAN: 0xFF},
    "float8_e8m0fnu.torch": {0.0: 0x00, -1.0: 0x7F, 1.5: 128, 3.0: 129, 6.0: 130},
    "float8_e8m0fnu.ml_dtypes": {0.0: 0xFF, -1.0: 0xFF, 1.5: 128, 3.0: 129, 6.0: 130},
    "float8_e8m0fnu": {1.5: 128, 3.0: 128, 6.0: 130},
}


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("name", FACTS)
def test_a_profile_does_what_it_names(name: str, backend: str) -> None:
    codec = sqs.Codec(sqs.load_format(name), backend)
    inputs = np.array(list(FACTS[name]), np.float32)
    assert [f"{code:#x}" for code in codec.encode(inputs)] == [f"{code:#x}" for code in FACTS[name].values()]
