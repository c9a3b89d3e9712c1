"""What profiles are for, input by input: where libraries and chips disagree outside the plain range.

The table names what stands out; `test_oracles.py` compares each profile with the software that its `oracle:` names, and
`test_oracles_p3109.py` those of P3109 with the report.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

import statqat_sim as sqs
from statqat_sim.spec.files import builtin_directory

NAN, MINUS_NAN = np.uint32([0x7FC00000, 0xFFC00000]).view(np.float32)
INF = np.float32(np.inf)

FACTS = {
    "float8_e4m3fn.ml_dtypes": {464.0: 0x7E, 464.01: 0x7F, INF: 0x7F, -INF: 0xFF},
    "float8_e4m3fn.torch": {464.01: 0x7E, INF: 0x7E, -INF: 0xFE},
    "float8_e4m3fn.torch_2_12": {464.0: 0x7E, 464.01: 0x7F, INF: 0x7F, -INF: 0xFF},
    "float8_e4m3fn.onnx_saturate": {464.01: 0x7E, INF: 0x7E, -INF: 0xFE, NAN: 0x7F},
    "float8_e4m3fn.onnx_nosat": {464.01: 0x7F, INF: 0x7F, -INF: 0xFF},
    "float8_e4m3fn.nvidia": {464.01: 0x7E, INF: 0x7E, -INF: 0xFE, NAN: 0x7F},
    "float8_e4m3fn.nvidia_nosat": {464.01: 0x7F, -464.01: 0xFF, INF: 0x7F, -INF: 0xFF, NAN: 0x7F},
    "float8_e4m3fnuz.ml_dtypes": {INF: 0x80, -INF: 0x80},
    "float8_e4m3fnuz.torch": {INF: 0x80, -INF: 0x80},
    "float8_e4m3fnuz.onnx_saturate": {1e9: 0x7F, INF: 0x7F, -INF: 0xFF, NAN: 0x80, -1e-9: 0x00},
    "float8_e4m3fnuz.onnx_nosat": {1e9: 0x80, INF: 0x80, -INF: 0x80},
    "float8_e5m2.ml_dtypes": {1e9: 0x7C, NAN: 0x7E, MINUS_NAN: 0xFE},
    "float8_e5m2.torch": {1e9: 0x7C, NAN: 0x7F, MINUS_NAN: 0xFF},
    "float8_e5m2.onnx_saturate": {1e9: 0x7B, -1e9: 0xFB, INF: 0x7B},
    "float8_e5m2.onnx_nosat": {1e9: 0x7C, -1e9: 0xFC, INF: 0x7C},
    "float8_e5m2.nvidia": {1e9: 0x7B, INF: 0x7B, NAN: 0x7F},
    "float8_e5m2.nvidia_nosat": {1e9: 0x7C, INF: 0x7C, NAN: 0x7F},
    "float8_e5m2fnuz.onnx_saturate": {1e9: 0x7F, INF: 0x7F, -INF: 0xFF, NAN: 0x80},
    "float8_e5m2fnuz.onnx_nosat": {1e9: 0x80, INF: 0x80, -INF: 0x80, NAN: 0x80},
    "float8_e8m0fnu": {0.0: 0x00, -1.0: 0x00, 1.5: 128, 3.0: 128, 6.0: 130, INF: 0xFE},
    "float8_e8m0fnu.ml_dtypes": {0.0: 0xFF, -1.0: 0xFF, 1.5: 128, 3.0: 129, 6.0: 130, INF: 0xFF},
    "float8_e8m0fnu.gfloat": {0.0: 0xFF, -1.0: 0xFF, 1.5: 128, 3.0: 128, 6.0: 130, INF: 0xFE},
    "float8_e8m0fnu.torch": {0.0: 0x00, -1.0: 0x7F, 1.5: 128, 3.0: 129, 6.0: 130, INF: 0xFF},
    "float8_e8m0fnu.onnx_up": {0.0: 0x00, -1.0: 0x7F, 1.01: 128, 1.9e38: 0xFE, 3e38: 0xFE, INF: 0xFF},
    "float8_e8m0fnu.onnx_up_nosat": {1.01: 128, 1.6e38: 0xFE, 3e38: 0xFF, INF: 0xFF},
    "float8_e8m0fnu.onnx_down": {1.99: 127, -1.0: 0x7F, 3e38: 0xFE, INF: 0xFF},
    "float8_e8m0fnu.onnx_nearest": {1.49: 127, 1.5: 128, 3.0: 129, 3e38: 0xFE, INF: 0xFF},
    "float8_e8m0fnu.onnx_nearest_nosat": {1.5: 128, 3e38: 0xFF, INF: 0xFF},
    "float8_e8m0fnu.nvidia_rp": {1.0: 127, 1.0000001: 128, 1.5: 128, INF: 0xFE, -INF: 0xFE, NAN: 0xFF},
    "float8_e8m0fnu.nvidia_rp_nosat": {1.0: 127, 1.5: 128, 3e38: 0xFF, INF: 0xFF, -INF: 0xFF, NAN: 0xFF},
    "float8_e8m0fnu.nvidia_rz": {1.0: 127, 1.99: 127, -2.0: 128, INF: 0xFE, NAN: 0xFF},
    "float8_e8m0fnu.nvidia_rz_nosat": {1.99: 127, 3e38: 0xFE, INF: 0xFF, NAN: 0xFF},
    "float6_e2m3fn.nvidia": {NAN: 0x1F, MINUS_NAN: 0x1F, -INF: 0x3F},
    "float6_e3m2fn.nvidia": {NAN: 0x1F, MINUS_NAN: 0x1F, -INF: 0x3F},
    "float4_e2m1fn.nvidia": {NAN: 0x7, MINUS_NAN: 0x7, INF: 0x7, -INF: 0xF, 5.0: 0x6},
    "float4_e2m1fn.ml_dtypes": {NAN: 0x8, MINUS_NAN: 0x0},
    "float4_e2m1fn.onnx": {NAN: 0x8, MINUS_NAN: 0x0},
    "ue4m3.ggml": {-1.0: 0, 0.0625 * 1.0625: 0x19, 1e9: 0x7E},
    "hif8": {32768.0: 0x6E, 49152.0: 0x6E, INF: 0x6E, 1.0625: 0x09},
    "hif8.en_dtypes": {32768.0: 0x6E, 40959.0: 0x6E, 40960.0: 0x6F, -INF: 0xEF, NAN: 0x80, 1.0625: 0x09},
    "p3109_binary8p3se": {1e9: 0x7E, INF: 0x7E},
    "p3109_binary8p3se.sat_finite": {1e9: 0x7E, INF: 0x7E, -INF: 0xFE},
    "p3109_binary8p3se.sat_propagate": {1e9: 0x7E, INF: 0x7F, -INF: 0xFF},
    "p3109_binary8p3se.sat_none": {1e9: 0x7F, INF: 0x7F, -1e9: 0xFF},
    "p3109_binary8p3sf.sat_none": {1e9: 0x7F, INF: 0x7F, -INF: 0xFF},
    "p3109_binary8p3sf.gfloat": {1e9: 0x80, INF: 0x80, -INF: 0x80},
    "p3109_binary8p3ue.sat_none": {1e19: 0xFE, INF: 0xFE, -1.0: 0xFF, -INF: 0xFF},
    "p3109_binary8p3uf.sat_none": {1e19: 0xFE, INF: 0xFE, -1.0: 0xFF},
    "int4": {9.0: 0x7, -9.0: 0x8, 1.5: 0x2, NAN: 0x7},
    "int4.ml_dtypes": {9.0: 0x9, -9.0: 0x7, 1.9: 0x1, -1.9: 0xF, NAN: 0x0},
    "uint4.ml_dtypes": {17.0: 0x1, 1.9: 0x1, -0.9: 0x0, NAN: 0x0},
}

FILES = sorted(path for path in (builtin_directory() / "number").glob("*.*.yaml"))


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("name", FACTS)
def test_a_profile_does_what_it_names(name: str, backend: str) -> None:
    codec = sqs.Codec(sqs.load_format(name), backend)
    inputs = np.array(list(FACTS[name]), np.float32)
    assert [f"{code:#x}" for code in codec.encode(inputs)] == [f"{code:#x}" for code in FACTS[name].values()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_profile_extends_its_stem_and_names_a_version(path: Path) -> None:
    text = yaml.safe_load(path.read_text("utf-8"))
    stem, _, reproduced = path.stem.partition(".")
    assert text["extends"] == stem
    assert "element" not in text
    assert re.search(r"\d+\.\d+", text["source"])
    assert text.get("oracle") or reproduced == "sat_none", "what do tests compare it with?"
    assert all("==" in entry for entry in text.get("oracle", ()))
