"""Configurations: Python, dicts and YAML say the same; what is wrong is told at its place, all of it at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import statqat_sim as sqs
from statqat_sim.qat.config import QATConfig
from statqat_sim.qat.config_reader import tensor_config
from statqat_sim.qat.rules import LayerConfig, Rule
from statqat_sim.qat.tensor_config import TensorConfig
from statqat_sim.quantizer import ACIQ, QUANTIZERS, PaperAnalytic

OF_THE_README = """\
exact: true
rules:
  - match: "*"
    type: Linear
    weight: {format: nvfp4, quantizer: search}
    input: {format: float8_e4m3fn, quantizer: iterative, dynamic: false}
  - {match: "lm_head|*.gate", skip: true}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "qat.yaml"
    path.write_text(text)
    return path


# --- what is read ------------------------------------------------------------------------------------------------


def test_ordered_rules_of_a_file(tmp_path: Path) -> None:
    config = QATConfig.from_yaml(written(tmp_path, OF_THE_README))
    first, second = config.rules
    assert config.exact
    assert (first.match, first.types, first.skip) == ("*", ("Linear",), False)
    assert (second.match, second.types, second.skip) == ("lm_head|*.gate", (), True)
    assert first.layer.input == TensorConfig(format=sqs.load_format("float8_e4m3fn"), quantizer=sqs.Iterative())
    assert first.layer.output is first.layer.grad_output is None


def test_the_search_of_a_block_format_is_its_variant_of_least_error() -> None:
    for name, found in (("nvfp4", "nvfp4.mse"), ("mxfp4.mse", "mxfp4.mse")):
        config = tensor_config("weight", {"format": name, "quantizer": "search"}, "here")
        assert config == TensorConfig(format=sqs.load_format(found))


def test_defaults_follow_the_role() -> None:
    found = QATConfig(weight="int4", input="int8", output="int8", grad_output="float8_e5m2").rules[0].layer
    expected = {
        "weight": ("int4", sqs.Analytic(), "channel", False),
        "input": ("int8", sqs.Iterative(), "tensor", False),
        "output": ("int8", sqs.Iterative(), "tensor", False),
        "grad_output": ("float8_e5m2", sqs.Iterative(), "tensor", True),
    }
    told = {role: (each.format.name, each.quantizer, each.per, each.dynamic) for role, each in found.tensors()}
    assert told == expected
    assert all((each.update_every, each.gradient) == (1, "clipped") for _, each in found.tensors())


@pytest.mark.parametrize(
    "spelled", ["mxfp4", {"format": "mxfp4"}, sqs.load_format("mxfp4")], ids=["name", "map", "format"]
)
def test_the_spellings_of_a_format(spelled: Any) -> None:
    expected = LayerConfig(weight=TensorConfig(format=sqs.load_format("mxfp4")))
    assert QATConfig(weight=spelled).rules == (Rule(layer=expected),)
    assert QATConfig([{"weight": spelled}]).rules == (Rule(layer=expected),)
    assert QATConfig.from_dict({"weight": spelled}).rules == (Rule(layer=expected),)
    assert QATConfig(weight=expected.weight).rules == (Rule(layer=expected),)


def test_all_the_keys_of_a_tensor() -> None:
    keys = {"quantizer": "search", "per": "tensor", "update_every": 10, "gradient": "lsq"}
    found = tensor_config("weight", {"format": "int4", **keys}, "here")
    expected = TensorConfig(format=sqs.load_format("int4"), **{**keys, "quantizer": sqs.Search()})  # type: ignore[arg-type]
    assert found == expected


def test_formats_lie_beside_the_file_that_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "formats").mkdir()
    (tmp_path / "formats" / "mine.yaml").write_text("name: mine\nelement: {kind: int, bits: 5}\n")
    text = 'rules: [{weight: formats/mine.yaml}, {match: "a", input: {format: formats/mine.yaml, dynamic: true}}]'
    path = written(tmp_path, text)
    monkeypatch.chdir(tmp_path.parent)
    first, second = QATConfig.from_yaml(path).rules
    assert first.layer.weight is not None
    assert second.layer.input is not None
    assert first.layer.weight.format == second.layer.input.format == sqs.load_format(tmp_path / "formats" / "mine.yaml")


def test_a_format_may_stand_in_the_file(tmp_path: Path) -> None:
    text = "weight: {name: mine, element: float4_e2m1fn, scales: [{format: float8_e4m3fn, block: 8}]}"
    found = QATConfig.from_yaml(written(tmp_path, text)).rules[0].layer.weight
    assert found is not None
    assert isinstance(found.format, sqs.BlockFormat)
    assert (found.format.name, found.format.bits_per_element) == ("mine", 5.0)


@pytest.mark.parametrize(
    "keys",
    [
        {"name": "mine", "extends": "mxfp4", "scales": [{"format": "float8_e8m0fnu", "block": 16}]},
        {"extends": "int4", "name": "mine"},
        {"name": "mine", "scales": [{"format": "float32", "block": "channel"}], "element": "int8"},
    ],
    ids=["blocks that extend", "numbers that extend", "scales first"],
)
@pytest.mark.parametrize("role", ["weight", "grad_output"])
def test_a_format_without_a_key_of_its_own_may_extend_another(role: str, keys: dict[str, Any]) -> None:
    assert QATConfig([{role: keys}]) == QATConfig([{role: {"format": keys}}])
    with pytest.raises(sqs.SpecError, match="^QATConfig: weight: required key 'element' is missing"):
        QATConfig(
            weight={key: value for key, value in keys.items() if key not in ("element", "extends")} | {"scales": []}
        )


@pytest.mark.parametrize("name", QUANTIZERS)
def test_quantizers_by_name(name: str) -> None:
    assert tensor_config("weight", {"format": "int4", "quantizer": name}, "here").quantizer == QUANTIZERS[name]()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"percentile": {"percentile": 99}}, sqs.Percentile(99)),
        ({"iterative": {"norm": 2.4}}, sqs.Iterative(norm=2.4)),
        (
            {"analytic": {"prior": "laplace", "scale_format": "float8_e8m0fnu"}},
            sqs.Analytic("laplace", scale_format="float8_e8m0fnu"),
        ),
        ({"aciq": {"prior": "normal"}}, ACIQ("normal")),
        ({"minmax": {}}, sqs.MinMax()),
    ],
    ids=lambda value: "",
)
def test_quantizers_with_options(options: Any, expected: Any) -> None:
    assert tensor_config("weight", {"format": "int4", "quantizer": options}, "here").quantizer == expected


# --- which rule decides ------------------------------------------------------------------------------------------


def test_the_last_rule_that_matches_decides_on_all_of_it() -> None:
    rules = [
        {"match": "*.up", "input": "int8"},
        {"match": "blocks.1.*", "skip": True},
        {"type": "Conv2d", "weight": "int2"},
    ]
    config = QATConfig(rules, weight="int4")
    linear, conv = nn.Linear(2, 2), nn.Conv2d(1, 1, 1)

    def told(name: str, module: nn.Module) -> dict[str, str] | None:
        layer = config.layer(name, module)
        return layer and {role: tensor.format.name for role, tensor in layer.tensors()}

    assert told("head", linear) == {"weight": "int4"}
    assert told("blocks.0.up", linear) == {"input": "int8"}
    assert told("blocks.1.up", linear) is None
    assert told("blocks.1.up", conv) == {"weight": "int2"}
    assert QATConfig([{"match": "a", "weight": "int4"}]).layer("b", linear) is None


def test_globs_are_joined_by_bars_and_know_case() -> None:
    rule = Rule(match="lm_head|*.gate|block?", skip=True)
    assert all(rule.matches(name, "Linear") for name in ("lm_head", "a.gate", "a.b.gate", "block1"))
    assert not any(rule.matches(name, "Linear") for name in ("LM_head", "gate", "lm_head.a", "block12"))
    assert not Rule(types=("Conv2d", "Embedding")).matches("a", "Linear")


def test_a_rule_without_a_module_is_told_with_what_it_may_mean() -> None:
    modules = {"blocks.0.mlp.up": "Linear", "stem": "Conv2d"}
    config = QATConfig([{"match": "blocks.*", "weight": "int4"}, {"match": "stem", "type": "Conv2d", "skip": True}])
    config.require_matches(modules)
    rules = [
        {"match": "block.0.mlp.up", "skip": True},
        {"type": "Conv3d", "skip": True},
        {"match": "xyz", "skip": True},
    ]
    with pytest.raises(ValueError, match="^no module that can") as caught:
        QATConfig(rules, weight="int4").require_matches(modules)
    what = "no module that can be quantized is meant by the rule match:"
    assert str(caught.value).splitlines() == [
        f"{what} 'block.0.mlp.up'; did you mean 'blocks.0.mlp.up'?",
        f"{what} '*', type: Conv3d; did you mean 'Conv2d'? (there are: Conv2d, Linear)",
        f"{what} 'xyz' (there are: 'blocks.0.mlp.up, stem')",
    ]


# --- what is written ---------------------------------------------------------------------------------------------

WRITTEN = [
    {"weight": "mxfp4", "input": "mxfp4"},
    {"weight": {"format": "bfloat16", "quantizer": "none"}, "input": {"format": "tf32", "quantizer": "none"}},
    {"rules": [{"match": "a|b.*", "type": ["Linear", "Conv2d"], "weight": {"format": "int4", "per": "tensor"}}]},
    {"rules": [{"weight": "int4"}, {"match": "x", "type": "Linear", "skip": True}], "exact": False},
    {
        "weight": {
            "format": "int4",
            "quantizer": {"percentile": {"percentile": 99.0}},
            "update_every": 0,
            "gradient": "lsq",
        }
    },
    {"grad_output": {"format": "int8", "dynamic": False}, "input": {"format": "int8", "quantizer": "octav"}},
]


@pytest.mark.parametrize("values", WRITTEN, ids=range(len(WRITTEN)))
def test_what_is_written_is_read_back(values: dict[str, Any], tmp_path: Path) -> None:
    config = QATConfig.from_dict(values)
    assert QATConfig.from_dict(config.to_dict()) == config
    assert QATConfig.from_yaml(written(tmp_path, config.to_yaml())) == config


def test_a_format_of_ones_own_is_written_out(tmp_path: Path) -> None:
    mine = sqs.parse_format("name: int4\nelement: {kind: int, bits: 5}")  # a name that the catalog knows otherwise
    blocks = sqs.parse_format("name: b\nelement: int4\nscales: [{format: float8_e8m0fnu, block: 8, rule: ceil}]")
    config = QATConfig(weight=mine, input=blocks)
    again = QATConfig.from_yaml(written(tmp_path, config.to_yaml()))
    assert again.rules[0].layer.weight == config.rules[0].layer.weight
    assert again.to_dict() == config.to_dict()


def test_only_what_a_name_describes_is_written() -> None:
    class Mine:
        def fit(self, x: Any, format: Any, *, channel_axis: int | None = None) -> Any: ...
        def choose(self, histogram: Any, format: Any) -> Any: ...

    config = QATConfig(weight={"format": "int4", "quantizer": Mine()})
    with pytest.raises(TypeError, match="is no quantizer that a name describes; allowed: minmax, "):
        config.to_dict()
    weighted = QATConfig(weight={"format": "int4", "quantizer": sqs.Iterative(weights=[1.0])})
    with pytest.raises(TypeError, match="weights of Iterative.* is of type list; allowed: a name or a number"):
        weighted.to_dict()
    assert QATConfig(weight={"format": "int4", "quantizer": PaperAnalytic()}).to_dict()


# --- what is refused ---------------------------------------------------------------------------------------------

OPTIONS = "allowed: dynamic, format, gradient, per, quantizer, update_every"
TENSORS = "weight, input, output, grad_output, grad_input, grad_weight"
KEYS = "allowed: grad_input, grad_output, grad_weight, input, match, matmul, output, skip, type, weight"
BAD = {
    "no_mapping": ("[1]", ["1:1: expected a mapping of keys, got a list"]),
    "nothing": ("exact: true", [f"1:1: required key 'rules' is missing; or one of {TENSORS}"]),
    "keys": (
        "exakt: true\nrules: [{wait: int4}]",
        [
            "1:1: exakt: unknown key; did you mean 'exact'? "
            "(allowed: exact, grad_input, grad_output, grad_weight, input, matmul, output, rules, weight)",
            f"2:10: rules.0.wait: unknown key; did you mean 'weight'? ({KEYS})",
        ],
    ),
    "values": (
        'exact: 1\nrules: [7, {match: "a||b", type: [], weight: int4}, {skip: "yes", weight: int4}]',
        [
            "1:8: exact: expected true or false, got 1",
            "2:9: rules.0: expected a mapping of keys, got 7",
            "2:20: rules.1.match: expected globs on the names of modules, joined by |, got 'a||b'",
            "2:34: rules.1.type: expected the name of a class, or a list of them, got an empty list",
            "2:60: rules.2.skip: expected true or false, got 'yes'",
        ],
    ),
    "rules": ("rules: {}", ["1:8: rules: expected a list of rules, got a mapping"]),
    "matmul": (
        "rules: [{matmull: nvidia_h100/wgmma.e4m3.f32}]",
        [f"1:10: rules.0.matmull: unknown key; did you mean 'matmul'? ({KEYS})"],
    ),
    "says_nothing": (
        'rules: [{match: "a"}, {weight: null}]',
        [
            f"1:9: rules.0: the rule says nothing; allowed: skip: true, or {TENSORS}",
            f"1:23: rules.1: the rule says nothing; allowed: skip: true, or {TENSORS}",
        ],
    ),
    "skips": (
        "rules: [{skip: true, input: int4}]",
        ["1:22: rules.0.input: a rule that skips quantizes nothing; leave it out"],
    ),
    "format": (
        "weight: int44\ninput: {}\noutput: {formt: int4}\ngrad_output: [1]",
        [
            "1:9: weight: no format is named 'int44'; did you mean 'int4'? (`statqat-sim formats` lists them all)",
            "2:8: input: required key 'format' is missing",
            f"3:10: output.formt: unknown key; did you mean 'format'? ({OPTIONS})",
            "4:14: grad_output: expected the name of a format, the path of its file, or a mapping, got a list",
        ],
    ),
    "inline": (
        "weight: {element: {kind: int, bts: 4}}",
        [
            "1:9: weight: required key 'name' is missing",
            "1:31: weight.element.bts: unknown key; did you mean 'bits'? "
            "(allowed: bits, encoding, fraction_bits, kind, max, min, offset)",
        ],
    ),
    "given": (
        "weight: {name: g, element: int4, scales: [{format: float32, block: 8, rule: given}]}",
        ["1:9: weight.format: the scales of g are given by the caller; allowed: formats that find their own"],
    ),
    "of_weights": (
        "weight: {format: int4, per: chanel, dynamic: true, update_every: -1, gradient: none}",
        [
            "1:29: weight.per: expected one of tensor, channel, got 'chanel'; did you mean 'channel'?",
            "1:46: weight.dynamic: it has no meaning for weight; leave it out",
            "1:66: weight.update_every: expected an integer, at least 0, got -1",
            "1:80: weight.gradient: expected one of clipped, ste, lsq, got 'none'",
        ],
    ),
    "of_inputs": (
        "input: {format: int4, update_every: 2, gradient: lsq, dynamic: true}\n"
        "grad_output: {format: int4, gradient: ste, dynamic: 1}",
        [
            "1:37: input.update_every: it has no meaning for input; leave it out",
            "1:50: input.gradient: 'lsq' learns a scale, and a dynamic one is found anew each time; "
            "allowed: clipped, ste",
            "2:39: grad_output.gradient: it has no meaning for grad_output; leave it out",
            "2:53: grad_output.dynamic: expected true or false, got 1",
        ],
    ),
    "of_blocks": (
        "weight: {format: mxfp4, per: channel, gradient: lsq, quantizer: minmax}\n"
        "input: {format: gguf_q4_k, dynamic: false, quantizer: search}",
        [
            "1:30: weight.per: it has no meaning for mxfp4, a block format; leave it out",
            "1:49: weight.gradient: 'lsq' learns a scale, and mxfp4 finds its own; allowed: clipped, ste",
            "1:65: weight.quantizer: mxfp4 is a block format, which finds its own scales, got 'minmax'; "
            "leave it out, or write search, for mxfp4.mse",
            "2:37: input.dynamic: it has no meaning for gguf_q4_k, a block format; leave it out",
            "2:55: input.quantizer: gguf_q4_k is a block format, which finds its own scales, got 'search'; "
            "leave it out",
        ],
    ),
    "quantizers": (
        "weight: {format: int4, quantizer: serch}\n"
        "input: {format: int4, quantizer: {percentile: {percentil: 3}}}\n"
        "output: {format: int4, quantizer: {percentile: {percentile: 101}}}\n"
        "grad_output: {format: int4, quantizer: {aciq: {prior: laplac, steps: 1}}}",
        [
            "1:35: weight.quantizer: no quantizer is named 'serch'; did you mean 'search'? "
            f"(allowed: {', '.join(QUANTIZERS)})",
            "2:48: input.quantizer.percentile.percentil: unknown option; did you mean 'percentile'? "
            "(allowed: percentile, scale_format, zero_point)",
            "3:48: output.quantizer.percentile: percentile is 101; allowed: above 0 and below 100",
            "4:55: grad_output.quantizer.aciq.prior: expected 'laplace' or 'normal', got 'laplac'",
            "4:63: grad_output.quantizer.aciq.steps: unknown option (allowed: prior)",
        ],
    ),
    "options": (
        "weight: {format: int4, quantizer: {a: {}, b: {}}}\n"
        "input: {format: int4, quantizer: {minmax: 3}}\n"
        "output: {format: int4, quantizer: {iterative: {norm: big, weights: [1]}}}\n",
        [
            "1:35: weight.quantizer: expected the name of a quantizer, or its name with options, "
            "as {percentile: {percentile: 99.9}}, got a mapping",
            "2:43: input.quantizer.minmax: expected a mapping of options, got 3",
            "3:54: output.quantizer.iterative.norm: expected a number, got 'big'",
            "3:68: output.quantizer.iterative.weights: expected what only Python can say, got a list",
        ],
    ),
    "zero_points": (
        "input: {format: int4, quantizer: {minmax: {zero_point: true}}}",
        ["1:34: input.quantizer: zero-points are not for training; allowed: scales alone, zero_point=False"],
    ),
    "of_data": (
        "input: {format: int4, quantizer: {iterative: {norm: 1.5}}}\n"
        "output: {format: int4, quantizer: {search: {norm: 1}}, gradient: lsq}\n"
        "grad_output: {format: int4, quantizer: {iterative: {norm: 3}}, dynamic: false}",
        [
            "1:34: input.quantizer: norm of Iterative(norm=1.5) cannot be heeded for input, whose scale is for a "
            "histogram; allowed: dynamic: true, or a quantizer without",
            "2:35: output.quantizer: norm of Search(norm=1) cannot be heeded for output, whose scale is for a "
            "histogram; allowed: dynamic: true, or a quantizer without",
            "3:40: grad_output.quantizer: norm of Iterative(norm=3) cannot be heeded for grad_output, whose scale is "
            "for a histogram; allowed: dynamic: true, or a quantizer without",
        ],
    ),
    "wide": (
        "weight: tf32\ninput: {format: float32, quantizer: search}",
        [
            "1:9: weight.quantizer: Analytic() lists a format's values, up to 16 bits; tf32 has 19; "
            "allowed: none, which is a cast, or minmax",
            "2:37: input.quantizer: Search() lists a format's values, up to 16 bits; float32 has 32; "
            "allowed: none, which is a cast, or minmax",
        ],
    ),
    "unscaled": (
        "weight: {format: int4, quantizer: none, gradient: lsq}",
        ["1:51: weight.gradient: 'lsq' learns a scale, and the quantizer none has none; allowed: clipped, ste"],
    ),
    "spelling": (
        "weight: int4\nweight: int8\nexact: yes",
        [
            "2:1: weight: key written twice; first at 1:1",
            "3:8: exact: 'yes' reads differently in YAML 1.1 and YAML 1.2; write true or false; where text is meant, "
            "quote it: 'yes'",
        ],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_with_all_its_problems(case: str, tmp_path: Path) -> None:
    text, expected = BAD[case]
    path = written(tmp_path, text)
    with pytest.raises(sqs.SpecError) as caught:
        QATConfig.from_yaml(path)
    assert [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems] == expected


def test_what_is_wrong_with_a_format_file_is_told_in_that_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nelement: {kind: int, bits: 99}\n")
    with pytest.raises(sqs.SpecError, match=r"mine\.yaml:2:28: element\.bits: expected an integer"):
        QATConfig.from_yaml(written(tmp_path, "weight: ./mine.yaml"))
    with pytest.raises(sqs.SpecError, match=r"qat\.yaml:1:9: weight: the file of 'other\.yaml' cannot be read: "):
        QATConfig.from_yaml(written(tmp_path, "weight: other.yaml"))


def test_what_is_wrong_with_python_values_is_told_by_its_keys() -> None:
    with pytest.raises(sqs.SpecError, match=r"^QATConfig: weight: no format is named 'int44'"):
        QATConfig(weight="int44")
    with pytest.raises(sqs.SpecError, match=r"^<dict>: rules\.0\.input\.quantizer: expected the name of"):
        QATConfig.from_dict({"rules": [{"input": {"format": "int4", "quantizer": 3}}]})
    with pytest.raises(sqs.SpecError, match=r"^QATConfig: rules\.0\.output\.per: expected one of tensor, channel"):
        QATConfig([{"output": {"format": "int4", "per": "row"}}], weight="int4")
    with pytest.raises(sqs.SpecError, match="expected a mapping of keys, got 3"):
        QATConfig([3])  # type: ignore[list-item]


INT4, MXFP4 = sqs.load_format("int4"), sqs.load_format("mxfp4")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"format": INT4}, r"quantizer: int4 needs one, such as statqat_sim.Iterative\(\), got nothing"),
        (
            {"format": MXFP4, "quantizer": sqs.MinMax()},
            "quantizer: mxfp4 is a block format, which finds its own scales",
        ),
        ({"format": INT4, "quantizer": sqs.MinMax(zero_point=True)}, "quantizer: zero-points are not for training"),
        ({"format": MXFP4, "gradient": "lsq"}, "gradient: 'lsq' learns a scale, and mxfp4 finds its own"),
        ({"format": INT4, "quantizer": sqs.Unscaled(), "gradient": "lsq"}, "gradient: .* the quantizer none has none"),
        ({"format": sqs.load_format("tf32"), "quantizer": sqs.Search()}, r"quantizer: Search\(\) lists .* tf32 has 19"),
        ({"format": MXFP4, "per": "row", "update_every": True}, "per: expected .*; update_every: expected an integer"),
    ],
    ids=["no_quantizer", "useless_quantizer", "zero_point", "lsq", "lsq_unscaled", "wide", "values"],
)
def test_a_tensor_is_checked_when_it_is_made(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TensorConfig(**keys)


def test_a_layer_is_checked_when_it_is_made() -> None:
    with pytest.raises(ValueError, match=r"^weight\.dynamic: it has no meaning for weight; leave it out$"):
        LayerConfig(weight=TensorConfig(format=INT4, quantizer=sqs.MinMax(), per="channel", dynamic=True))
    with pytest.raises(TypeError, match="format is of type str; allowed"):
        TensorConfig(format="int4")  # type: ignore[arg-type]
    weighted = TensorConfig(format=INT4, quantizer=sqs.Iterative(weights=[1.0, 2.0]))
    with pytest.raises(ValueError, match=r"^input\.quantizer: weights of Iterative.* cannot be heeded for input"):
        LayerConfig(input=weighted)
    assert LayerConfig(input=dataclasses.replace(weighted, dynamic=True)).input is not None
    assert LayerConfig(weight=dataclasses.replace(weighted, per="channel")).weight is not None


def test_configurations_are_frozen_values() -> None:
    config = QATConfig(weight="mxfp4")
    assert config == QATConfig(weight="mxfp4")
    assert hash(config) == hash(QATConfig(weight="mxfp4"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.exact = False  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QATConfig("mxfp4"), "rules is 'mxfp4'; allowed: a list of rules, or weight="),
        (lambda: QATConfig({"weight": "mxfp4"}), "rules is .*; allowed: a list of rules, or weight="),  # type: ignore[arg-type]
        (lambda: QATConfig(weight="mxfp4", exact="no"), "exact is 'no'; allowed: True or False"),  # type: ignore[arg-type]
        (lambda: LayerConfig(weight="int4"), "weight is 'int4'; allowed: a TensorConfig"),  # type: ignore[arg-type]
        (lambda: Rule(match=3), "match is 3; allowed: globs"),  # type: ignore[arg-type]
        (lambda: Rule(types="Linear"), r"types is 'Linear'; allowed: several names, \('Linear',\)"),  # type: ignore[arg-type]
    ],
)
def test_values_of_other_types_are_refused(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()
