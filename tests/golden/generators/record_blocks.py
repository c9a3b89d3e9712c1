"""Records what Python software makes of the arrays of `block_data`.

Run in `tests`, with the software, or a checkout of it, on the path:

    PYTHONPATH=.:CHECKOUT python golden/generators/record_blocks.py microxcaling golden/blocks/microxcaling-1.1.npz
    PYTHONPATH=. python golden/generators/record_blocks.py inputs golden/blocks/inputs.npz

Arrays of a file: `CALL.DATA.NAME`, the names as in `block_libraries`. Nothing of statqat_sim is imported, and each
library only when it is asked for.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from block_data import FINITE, drawn
from numpy.typing import NDArray
from pack import write

Array = NDArray[Any]
Recorded = Iterator[tuple[str, dict[str, Array]]]

COLUMNS = 128
"""Of each array, which is enough, and small."""

RECORDED = (*FINITE, "corners")

ELEMENTS = ("fp4_e2m1", "fp6_e2m3", "fp6_e3m2", "fp8_e4m3", "fp8_e5m2", "int8")


def given(name: str) -> Array:
    return np.ascontiguousarray(drawn(name)[:, :COLUMNS])


def tensor(x: Array) -> Any:
    import torch

    return torch.from_numpy(x.copy())


def octets(tensor: Any) -> Array:
    import torch

    return np.asarray(tensor.contiguous().view(torch.uint8).numpy())


def microxcaling(x: Array) -> Recorded:
    """`quantize_mx_op` with its default ties, and with ties to even: values only, which is all it has."""
    from mx.mx_ops import quantize_mx_op
    from mx.specs import finalize_mx_specs

    specs = finalize_mx_specs({"w_elem_format": "fp4", "a_elem_format": "fp4", "block_size": 32, "custom_cuda": False})
    for element in ELEMENTS:
        for rounding in ("nearest", "even"):
            values = quantize_mx_op(tensor(x[:, :64]), specs, elem_format=element, axes=[-1], round=rounding)
            yield f"{element}_{rounding}", {"values": values.numpy()}


def modelopt(x: Array) -> Recorded:
    from modelopt.torch.quantization.qtensor.mxfp4_tensor import MXFP4QTensor
    from modelopt.torch.quantization.qtensor.mxfp8_tensor import MXFP8QTensor
    from modelopt.torch.quantization.qtensor.nvfp4_tensor import NVFP4QTensor

    data, scale, whole = NVFP4QTensor.quantize(tensor(x), 16)
    yield "nvfp4", {"scale0": whole.numpy(), "scale1": octets(scale), "elements": octets(data._quantized_data)}
    data, scale = MXFP4QTensor.quantize(tensor(x), 32)
    yield "mxfp4", {"scale": octets(scale), "elements": octets(data._quantized_data)}
    data, scale = MXFP8QTensor.quantize(tensor(x))
    yield "mxfp8", {"scale": octets(scale), "codes": octets(data._quantized_data)}


def transformer_engine(x: Array) -> Recorded:
    """The references that its own tests hold its kernels against; CHECKOUT is in the environment."""
    import torch

    nvfp4 = _file("transformer_engine/pytorch/custom_recipes/reference_nvfp4.py").NVFP4QuantizerRef
    for name, rows in (("nvfp4", 1), ("nvfp4_2d", 16)):
        amax = torch.max(torch.abs(tensor(x))).view(1)
        elements, scale = nvfp4._quantize_blockwise_reference(tensor(x), amax, 16, rows, pow_2_scales=False, eps=0.0)
        scale = scale[::rows]  # the same for all rows of a block
        yield name, {"scale1": octets(scale), "elements": octets(elements)}
    fp8 = _file("tests/pytorch/references/blockwise_quantizer_reference.py").BlockwiseQuantizerReference
    for name, only_powers in (("fp8_block128", False), ("fp8_block128_pow2", True)):
        codes, scale = fp8._quantize_vectorwise_reference(
            tensor(x), torch.float8_e4m3fn, 128, pow_2_scales=only_powers, eps=0.0
        )
        yield name, {"scale": scale.numpy(), "codes": octets(codes)}


def _file(path: str, module_name: str = "reference") -> Any:
    """A module by its file. What it imports of its package is left out: the arithmetic of its own uses none of it."""
    checkout = Path(os.environ["CHECKOUT"])
    sys.path.insert(0, str(checkout / "tests/pytorch"))
    for name in ("", ".pytorch", ".pytorch.custom_recipes", ".pytorch.quantized_tensor"):
        sys.modules.setdefault(f"transformer_engine{name}", _Absent(f"transformer_engine{name}"))
    spec = importlib.util.spec_from_file_location(module_name, checkout / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


class _Absent(types.ModuleType):
    """Stands in for a module: every name is a class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})


class _Anything(type):
    """A class of which every name is a class."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})


def fouroversix(x: Array) -> Recorded:
    """Its reference in PyTorch; CHECKOUT is in the environment. The packages' own imports, of kernels, are left out."""
    source = Path(os.environ["CHECKOUT"], "src")
    sys.path.insert(0, str(source))
    for name in ("fouroversix", "fouroversix.quantize", "fouroversix.quantize.pytorch", "fouroversix.kernels"):
        package = types.ModuleType(name)
        package.__path__ = [str(source / name.replace(".", "/"))]
        sys.modules.setdefault(name, package)
    from fouroversix.quantize.pytorch.reference import quantize
    from fouroversix.utils import ScaleRule

    for name, rule in (("nvfp4", ScaleRule.static_6), ("nvfp4_mse", ScaleRule.mse)):
        elements, scale, _ = quantize(tensor(x), scale_rule=rule, use_blackwell_scale_layout=False)
        yield name, {"scale1": octets(scale), "elements": octets(elements)}


def compressed_tensors(x: Array) -> Recorded:
    import torch
    from compressed_tensors.compressors.nvfp4.helpers import pack_fp4_to_uint8
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import quantize
    from compressed_tensors.quantization.utils.helpers import calculate_qparams, generate_gparam

    def groups(size: int) -> tuple[Any, Any]:
        parts = tensor(x).unflatten(-1, (-1, size))
        return parts.amin(-1), parts.amax(-1)

    args = QuantizationArgs(
        num_bits=4, type="float", strategy="tensor_group", group_size=16, scale_dtype=torch.float8_e4m3fn
    )
    whole = generate_gparam(tensor(x).amin(), tensor(x).amax())
    scale, zero = calculate_qparams(*groups(16), args, global_scale=whole)
    data = quantize(tensor(x), scale, zero, args, global_scale=whole)
    packed = octets(pack_fp4_to_uint8(data))
    yield "nvfp4", {"global": whole.numpy(), "scale1": octets(scale.to(torch.float8_e4m3fn)), "elements": packed}
    for name, bits in (("mxfp4", 4), ("mxfp8", 8)):
        args = QuantizationArgs(num_bits=bits, type="float", strategy="group", group_size=32, scale_dtype=torch.uint8)
        scale, zero = calculate_qparams(*groups(32), args)
        data = quantize(tensor(x), scale, zero, args)
        yield name, {"factor": scale.numpy(), "quotients": data.to(torch.float32).numpy()}
    yield from _compressed_integers(x)


def _compressed_integers(x: Array) -> Recorded:
    """Integers of float32 and bfloat16 weights, of which groups of 128 share a scale, or rows, which are as long."""
    import torch
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import quantize
    from compressed_tensors.quantization.utils.helpers import calculate_qparams

    def quantized(dtype: torch.dtype, **keys: Any) -> tuple[Any, Any, Any]:
        args, weights = QuantizationArgs(type="int", **keys), tensor(x).to(dtype)
        groups = weights.unflatten(-1, (-1, 128))
        scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), args)
        return scale, zero, quantize(weights, scale, zero, args, dtype=torch.int8)

    group: dict[str, Any] = {"num_bits": 4, "strategy": "group", "group_size": 128}
    scale, _, codes = quantized(torch.float32, **group, scale_dtype=torch.float16)
    yield "int4_float16", {"scale": scale.numpy(), "elements": octets(pack_to_int32(codes, 4))}
    scale, _, codes = quantized(torch.bfloat16, **group)
    yield "int4_bfloat16", {"scale": octets(scale).view(np.uint16), "elements": octets(pack_to_int32(codes, 4))}
    scale, zero, codes = quantized(torch.float32, **group, symmetric=False)
    offset = octets(zero + 8)  # as pack_to_int32 writes it
    yield "int4_asym", {"scale": scale.numpy(), "offset": offset, "elements": octets(pack_to_int32(codes, 4))}
    scale, _, codes = quantized(torch.float32, num_bits=8, strategy="channel")
    yield "int8_channel", {"scale": scale.numpy(), "codes": octets(codes)}


def gptqmodel(x: Array) -> Recorded:
    """Its quantizer, of groups of 128; CHECKOUT is in the environment. Modules of settings and logs are left out."""
    import torch

    for name in ("gptqmodel.utils", "gptqmodel.utils.logger", "gptqmodel.quantization.config"):
        sys.modules.setdefault(name, _Absent(name))
    module = _file("gptqmodel/quantization/quantizer.py", "gptqmodel.quantization.quantizer")
    groups = tensor(x).reshape(-1, 128)
    for name, sym in (("sym", True), ("asym", False)):
        quantizer = module.Quantizer(types.SimpleNamespace(bits=4, sym=sym, mse=0.0))
        quantizer.configure(perchannel=True)
        quantizer.find_params(groups, weight=True)
        codes = torch.round(quantizer.quantize(groups) / quantizer.scale) + quantizer.zero
        found = {"scale": quantizer.scale.half().numpy(), "codes": octets(codes.to(torch.uint8))}
        yield name, found if sym else {**found, "offset": octets(quantizer.zero.to(torch.uint8))}


def optimum_quanto(x: Array) -> Recorded:
    """`qint4` in groups of 128, `qint8` in rows."""
    import torch
    from optimum.quanto import AbsmaxOptimizer, MaxOptimizer, qint4, qint8

    groups = tensor(x).reshape(-1, 128)
    scale, shift = MaxOptimizer()(groups, qint4, 0)
    codes = torch.ops.quanto.quantize_affine(groups, 4, 0, None, scale, shift)
    yield "qint4", {"scale": scale.numpy(), "offset": -shift.numpy(), "codes": codes.numpy()}
    scale = AbsmaxOptimizer()(tensor(x), qint8, 0)
    codes = torch.ops.quanto.quantize_symmetric(tensor(x), torch.int8, 0, scale)
    yield "qint8", {"scale": scale.numpy(), "codes": octets(codes)}


RECORDERS = {
    recorder.__name__: recorder
    for recorder in (
        *(microxcaling, modelopt, transformer_engine, fouroversix, compressed_tensors),
        *(gptqmodel, optimum_quanto),
    )
}


def main(library: str, target: str) -> None:
    if library == "inputs":
        write(Path(target), {name: given(name) for name in RECORDED})
        return
    arrays = {
        f"{call}.{data}.{name}": array
        for data in RECORDED
        for call, found in RECORDERS[library](given(data))
        for name, array in found.items()
    }
    write(Path(target), arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
