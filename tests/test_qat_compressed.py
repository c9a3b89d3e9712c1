"""Converted models in the layouts of compressed-tensors, which reads them and finds our codes and our values."""

from __future__ import annotations

import json
from collections import OrderedDict
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.compressors.format import infer_module_format
from compressed_tensors.compressors.nvfp4.helpers import pack_fp4_to_uint8
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from compressed_tensors.quantization import QuantizationConfig
from safetensors.torch import load_file
from torch import Tensor, nn

import statqat_sim as sqs
from statqat_sim import qat

COLUMNS = 256


def made() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(COLUMNS, 128), nn.ReLU(), nn.Linear(128, 10))


def saved(folder: Path, config: qat.QATConfig, **options: Any) -> nn.Module:
    model = qat.prepare(made(), config)
    with qat.calibrate(model):
        model(torch.randn(64, COLUMNS))
    qat.convert(model)
    assert qat.save_compressed_tensors(model, folder, **options) == folder
    return model


def read(folder: Path) -> tuple[dict[str, Tensor], QuantizationConfig]:
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    return load_file(folder / "model.safetensors"), QuantizationConfig.model_validate(config)


def own(name: str, element: str, scale: str, block: Any) -> sqs.BlockFormat:
    text = f"{{name: {name}, element: {element}, scales: [{{format: {scale}, block: {block}}}]}}"
    found = sqs.parse_format(text)
    assert isinstance(found, sqs.BlockFormat)
    return found


def with_zero_points(name: str, element: str, stored: str, block: Any) -> sqs.BlockFormat:
    found = sqs.parse_format(
        f"{{name: {name}, element: {element}, scales: [{{format: float32, block: {block}, rule: minmax}}],"
        f" offset: {{kind: zero_point, format: {stored}}}}}"
    )
    assert isinstance(found, sqs.BlockFormat)
    return found


WEIGHTS: dict[str, Any] = {
    "tensor": {"format": "int8_narrow", "quantizer": "minmax"},
    "channel": {"format": "int8", "quantizer": "minmax", "per": "channel"},
    "unscaled": {"format": "int4", "quantizer": "none"},
    **{f"int{bits}": {"format": f"int{bits}", "quantizer": "iterative", "per": "channel"} for bits in range(2, 8)},
    "e4m3": {"format": "float8_e4m3fn", "quantizer": "iterative", "per": "channel"},
    "e4m3_tensor": {"format": "float8_e4m3fn", "quantizer": "minmax"},
    "groups": own("g128", "int4", "float16", 128),
    "narrow_groups": own("g32", "int3_narrow", "bfloat16", 32),
    "from_least": own("g128", "q4_offset8", "float16", 128),
    "zero_points": with_zero_points("zp", "q4_offset8", "q4_offset8", 32),
    "zero_points_3": with_zero_points("zp3", "int3", "int3", 64),
    "zero_points_of_channels": with_zero_points("zpc", "int8", "int8", "channel"),
    **{name: name for name in ("int4_block128", "int4_block128_asym.gptq", "int8_channel")},
    "channel_blocks": own("c", "int8", "float32", "channel"),
    "blocks": "fp8_block128x128_deepseek",
    "mxfp4": "mxfp4",
    "mxfp4_even": "mxfp4.even",
    "mxfp8": "mxfp8_e4m3",
    "nvfp4": "nvfp4",
    "nvfp4_mse": "nvfp4.mse",
}
OF_16_BITS = {"groups", "narrow_groups", "from_least", "int4_block128", "int4_block128_asym.gptq"}
"""Weights whose scales are float16 or bfloat16, which the library decodes to."""

INPUTS: dict[str, Any] = {
    "none": None,
    "static": {"format": "float8_e4m3fn", "quantizer": "minmax"},
    "dynamic": {"format": "int8", "quantizer": "minmax", "dynamic": True},
    "tokens": own("token", "int8", "float32", "channel"),
    "mx": "mxfp8_e4m3",
}


PAIRS = [
    *((weight, "none") for weight in WEIGHTS),
    *product(("channel", "e4m3", "mxfp4", "nvfp4", "zero_points"), INPUTS.keys() - {"none"}),
]


@pytest.mark.parametrize(("weight", "inputs"), sorted(PAIRS))
def test_the_library_decodes_our_values(weight: str, inputs: str, tmp_path: Path) -> None:
    model = saved(tmp_path, qat.QATConfig(weight=WEIGHTS[weight], input=INPUTS[inputs]))
    tensors, config = read(tmp_path)
    (group,) = config.config_groups.values()
    assert group.targets == ["0", "2"]
    assert config.ignore == []
    assert config.format == group.format
    inferred = infer_module_format(nn.Linear, group)
    assert group.format == ("float-quantized" if inferred == "naive-quantized" else inferred)  # names of one layout
    compressor = BaseCompressor.get_value_from_registry(group.format)
    expected_names = {*compressor.compression_param_names(group), "bias"} - {"input_global_scale"}
    expected_names |= {"input_scale"} if inputs == "static" else set()
    for name in ("0", "2"):
        layer = model.get_submodule(name)
        state = {key.removeprefix(f"{name}."): each for key, each in tensors.items() if key.startswith(f"{name}.")}
        assert set(state) == expected_names
        assert torch.equal(state["bias"], layer.bias)
        decoded = compressor.decompress(state, group)["weight"]
        assert decoded.shape == layer.weight.shape
        if weight in OF_16_BITS:
            assert torch.equal(decoded, layer.weight.to(decoded.dtype))
        elif weight.startswith("nvfp4"):  # in bfloat16
            torch.testing.assert_close(decoded.float(), layer.weight, rtol=2**-7, atol=0)
        else:
            assert torch.equal(decoded.float(), layer.weight)


@pytest.mark.parametrize("bits", range(2, 8))
def test_integers_are_packed_as_the_library_packs_them(bits: int, tmp_path: Path) -> None:
    config = {"format": f"int{bits}", "quantizer": "none"}
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(77, 5))
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    integers = torch.randint(low, high + 1, (5, 77))
    model[0].weight.data = integers.float()
    qat.save_compressed_tensors(qat.convert(qat.prepare(model, qat.QATConfig(weight=config))), tmp_path)
    tensors, _ = read(tmp_path)
    assert torch.equal(tensors["0.weight_packed"], pack_to_int32(integers.to(torch.int8), bits))
    assert tensors["0.weight_shape"].tolist() == [5, 77]


def test_four_bit_floats_are_packed_as_the_library_packs_them(tmp_path: Path) -> None:
    model = saved(tmp_path, qat.QATConfig(weight="nvfp4"))
    tensors, _ = read(tmp_path)
    layer = model.get_submodule("0")
    q = sqs.Codec(sqs.load_format("nvfp4")).quantize(made()[0].weight.detach())
    assert torch.equal(sqs.Codec(sqs.load_format("nvfp4")).dequantize(q), layer.weight)
    elements = torch.from_numpy(sqs.load_format("float4_e2m1fn").table())[q.codes.long()].float()
    assert torch.equal(tensors["0.weight_packed"], pack_fp4_to_uint8(elements))
    assert torch.equal(tensors["0.weight_scale"].view(torch.uint8), q.scales[1])
    assert torch.equal(tensors["0.weight_global_scale"], 1 / q.scales[0].reshape(1))


def test_what_enters_is_said(tmp_path: Path) -> None:
    model = saved(tmp_path, qat.QATConfig(weight="int8", input=INPUTS["static"]))
    tensors, config = read(tmp_path)
    (group,) = config.config_groups.values()
    assert (group.input_activations.strategy, group.input_activations.dynamic) == ("tensor", False)
    assert torch.equal(tensors["0.input_scale"], model.get_submodule("0").input_quantizer.scale)
    saved(tmp_path, qat.QATConfig(weight="int8", input=INPUTS["tokens"]))
    (group,) = read(tmp_path)[1].config_groups.values()
    assert (group.input_activations.strategy, group.input_activations.dynamic) == ("token", True)
    saved(tmp_path, qat.QATConfig(weight="int8", input="nvfp4"), inputs=False)
    (group,) = read(tmp_path)[1].config_groups.values()
    assert group.input_activations is None
    assert group.format == "pack-quantized"


def test_layers_of_several_kinds_are_groups(tmp_path: Path) -> None:
    rules = [{"match": "0", "weight": "mxfp4"}, {"match": "2", "weight": {"format": "int8", "quantizer": "minmax"}}]
    saved(tmp_path, qat.QATConfig.from_dict({"rules": rules}))
    _, config = read(tmp_path)
    targets = [group.targets for group in config.config_groups.values()]
    assert targets == [["0"], ["2"]]
    assert config.format == "mixed-precision"
    assert config.ignore == []


def test_layers_that_stay_floats_are_left_out(tmp_path: Path) -> None:
    model = saved(tmp_path, qat.QATConfig.from_dict({"rules": [{"match": "0", "weight": "mxfp4"}]}))
    tensors, config = read(tmp_path)
    assert config.ignore == ["2"]
    assert torch.equal(tensors["2.weight"], model.get_submodule("2").weight)


@pytest.mark.parametrize("weight", ["channel_blocks", "e4m3", "channel", "int4_block128", "blocks", "nvfp4"])
def test_layers_that_share_a_weight_have_codes_each(weight: str, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(128, 128), nn.Linear(128, 128))
    model[1].weight = model[0].weight
    qat.convert(qat.prepare(model, qat.QATConfig(weight=WEIGHTS[weight])))
    qat.save_compressed_tensors(model, tmp_path)
    tensors, _ = read(tmp_path)
    for name in (key.removeprefix("0.") for key in tensors if key.startswith("0.weight")):
        assert torch.equal(tensors[f"0.{name}"].view(torch.uint8), tensors[f"1.{name}"].view(torch.uint8))


def test_what_holds_matrices_and_stays_float_is_told(tmp_path: Path) -> None:
    class Router(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.ones(4, 32)), nn.Parameter(torch.ones(4))

    model = nn.Sequential(OrderedDict(up=nn.Linear(32, 128), gate=Router(), norm=nn.LayerNorm(4)))
    qat.save_compressed_tensors(qat.convert(qat.prepare(model, qat.QATConfig(weight="mxfp4"))), tmp_path)
    assert read(tmp_path)[1].ignore == ["gate"]


def test_folders_of_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ValueError, match="index.json: it names other files, which would be read; allowed: a folder"):
        saved(tmp_path, qat.QATConfig(weight="mxfp4"))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's compiler warns of torch
def test_a_layer_alone_and_without_values(tmp_path: Path) -> None:
    layer = nn.Linear(64, 4)
    layer.weight.data.zero_()
    qat.convert(qat.prepare(layer, qat.QATConfig(weight="nvfp4")))
    qat.save_compressed_tensors(torch.compile(layer), tmp_path)
    tensors, config = read(tmp_path)
    (group,) = config.config_groups.values()
    assert set(tensors) == {"weight_packed", "weight_scale", "weight_global_scale", "bias"}
    decoded = BaseCompressor.get_value_from_registry(group.format).decompress(tensors, group)["weight"]
    assert torch.equal(decoded.float(), layer.weight)


def test_other_keys_of_the_configuration_stay(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"hidden_size": 64, "quantization_config": 1}')
    saved(tmp_path, qat.QATConfig(weight="mxfp4"))
    document = json.loads((tmp_path / "config.json").read_text())
    assert document["hidden_size"] == 64
    assert document["quantization_config"]["quant_method"] == "compressed-tensors"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"weight": "nf4"}, "0: weight: no nf4; allowed: signed integers of up to 8 bits"),
        ({"weight": {"format": "uint8", "quantizer": "minmax"}}, "0: weight: no uint8; "),
        ({"weight": "gguf_q4_1"}, "0: weight: no gguf_q4_1; "),
        ({"weight": with_zero_points("wider", "int4", "int8", 32)}, "0: weight: no wider; "),
        ({"weight": with_zero_points("blocks", "int4", "int4", [32, 32])}, "0: weight: no blocks; "),
        ({"weight": "mxfp4", "input": with_zero_points("tokens", "int8", "int8", "channel")}, "0: input: no tokens; "),
        ({"weight": "mxint8"}, "0: weight: no mxint8; "),
        ({"weight": "bfp16_amd"}, "0: weight: no bfp16_amd; "),
        ({"weight": {"format": "float4_e2m1fn", "quantizer": "minmax"}}, "0: weight: no float4_e2m1fn; "),
        ({"weight": "nvfp4_2d"}, "0: weight: no nvfp4_2d; "),
        ({"weight": own("wide", "int4", "float32", 96)}, "0: weight: 256 columns are no whole groups of 96; "),
        ({"weight": "mxfp4", "input": own("wide", "int8", "float32", 96)}, "0: input: 256 columns are no whole groups"),
        ({"weight": "mxfp4", "input": "nvfp4"}, "0: input: no nvfp4; allowed: one scale for the tensor, or dynamic"),
        ({"weight": "mxfp4", "output": "mxfp4"}, "0: output: it is quantized, too; allowed: weights and inputs"),
        ({"input": "mxfp4"}, "0: its weight stays float; allowed: layers whose weights are quantized"),
    ],
)
def test_what_has_no_place_is_refused(config: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="compressed-tensors has no place for some layers") as error:
        saved(tmp_path / "new", qat.QATConfig(**config))
    assert message in str(error.value)
    assert "\n2: " in str(error.value)
    assert not (tmp_path / "new").exists()


def test_other_layers_are_refused(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv1d(4, 4, 3), nn.Embedding(8, 32))
    qat.convert(qat.prepare(model, qat.QATConfig.from_dict({"rules": [{"match": "*", "weight": "int8"}]})))
    with pytest.raises(ValueError, match=r"0: it is of type \w*Conv1d; .*\n1: it is of type \w*Embedding; "):
        qat.save_compressed_tensors(model, tmp_path)


def test_what_is_no_converted_model_or_folder_is_refused(tmp_path: Path) -> None:
    model = qat.prepare(made(), qat.QATConfig(weight="mxfp4"))
    with pytest.raises(ValueError, match=r"the model is not converted; call qat.convert\(model\) first"):
        qat.save_compressed_tensors(model, tmp_path)
    qat.convert(model)
    with pytest.raises(TypeError, match="folder is 3; allowed: the path of a folder"):
        qat.save_compressed_tensors(model, 3)  # type: ignore[arg-type]
    for text, told in (("{", "it is no JSON"), ("[]", "it is no JSON object")):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match=told):
            qat.save_compressed_tensors(model, tmp_path)
        assert (tmp_path / "config.json").read_text() == text
        assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("weight", "inputs", "most"),
    [
        ("e4m3", "none", 1e-6),
        ("e4m3", "static", 1e-6),
        ("groups", "none", 1e-3),
        ("mxfp4", "none", 0.02),
        ("nvfp4", "none", 0.02),
    ],
)
def test_transformers_loads_what_was_trained(weight: str, inputs: str, most: float, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(**sizes, vocab_size=64, max_position_embeddings=32, dtype="float32")
    model = LlamaForCausalLM(config)
    tokens = torch.arange(32).reshape(1, 32)
    rule = {"match": "*", "type": "Linear", "weight": WEIGHTS[weight], "input": INPUTS[inputs]}
    rules = [{key: value for key, value in rule.items() if value}, {"match": "lm_head", "skip": True}]
    qat.prepare(model, qat.QATConfig.from_dict({"rules": rules}))
    with qat.calibrate(model):
        model(tokens)
    model(tokens, labels=tokens).loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    model.eval()
    qat.convert(model)
    model.config.save_pretrained(tmp_path)
    qat.save_compressed_tensors(model, tmp_path)
    dtype = torch.bfloat16 if "fp4" in weight else torch.float32  # which it decodes them to
    document = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**document, "tie_word_embeddings": True}))
    assert qat.save_compressed_tensors(model, tmp_path)  # the output layer stays float here
    (tmp_path / "config.json").write_text(json.dumps(document))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype)
    with torch.no_grad():
        ours, theirs = model(tokens).logits, loaded(tokens).logits
    assert loaded.lm_head.weight.equal(model.lm_head.weight.to(dtype))
    assert (theirs.float() - ours).norm() <= most * ours.norm()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_transformers_loads_several_groups_bit_for_bit(dtype: str, tmp_path: Path) -> None:
    """In bfloat16, too, where that holds the scales; MX is decoded to it, whatever the model's dtype."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(**sizes, vocab_size=64, max_position_embeddings=32)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    weights = {
        "*.mlp.*": "mxfp4" if dtype == "bfloat16" else own("rows", "int8", "bfloat16", "channel"),
        "*.self_attn.*": own("g128", "int4", "bfloat16", 128),
        "*.q_proj": own("e4m3", "float8_e4m3fn", "bfloat16", "channel"),
    }
    rules = [{"match": match, "type": "Linear", "weight": weight} for match, weight in weights.items()]
    qat.convert(qat.prepare(model, qat.QATConfig.from_dict({"rules": rules})))
    model.config.save_pretrained(tmp_path)
    _, written = read(qat.save_compressed_tensors(model, tmp_path))
    assert [len(group.targets) for group in written.config_groups.values()] == [2, 6, 6]
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype)
    tokens = torch.arange(32).reshape(1, 32)
    with torch.no_grad():
        assert torch.equal(loaded(tokens).logits, model(tokens).logits)
    for name, layer in qat.layers(model):  # decoded by then
        assert torch.equal(loaded.get_submodule(name).weight, layer.weight)


def test_an_output_layer_that_is_tied_to_the_embedding_is_refused(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=32, tie_word_embeddings=True))
    rules = {"rules": [{"match": "*", "type": "Linear", "weight": "mxfp4"}]}
    qat.convert(qat.prepare(model, qat.QATConfig.from_dict(rules)))
    model.config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="tie_word_embeddings gives the output layer the embedding's weight"):
        qat.save_compressed_tensors(model, tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
