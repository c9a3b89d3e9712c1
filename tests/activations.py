"""What flows through a net: inputs and hidden values of MiniLM's fourth MLP, of text that the standard library has."""

from __future__ import annotations

import argparse
import inspect
import statistics
import textwrap
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bench.minilm import folder
from bench.qat_models import minilm

LAYER, TOKENS = 3, 256
DOCUMENTED = (statistics, textwrap.TextWrapper, textwrap.indent, argparse, argparse.Namespace, inspect.getsource)


@cache
def activations() -> Mapping[str, NDArray[np.float32]]:
    """`mlp_inputs` have a few channels of outliers; `mlp_gelu`, which GELU gives, are mostly just below zero."""
    tokenizer = Tokenizer.from_file(str(folder() / "tokenizer.json"))
    tokenizer.enable_truncation(TOKENS)
    tokens = torch.tensor([tokenizer.encode("\n".join(map(str, map(inspect.getdoc, DOCUMENTED)))).ids])
    model, kept = minilm(), dict[str, NDArray[np.float32]]()
    layer: Any = model.encoder["layer"][LAYER]  # type: ignore[index]
    for name, module in (("mlp_inputs", layer.intermediate["dense"]), ("mlp_gelu", layer.output["dense"])):
        module.register_forward_pre_hook(lambda _, x, name=name: kept.update({name: x[0].numpy()}))
    with torch.no_grad():
        model(tokens, torch.ones_like(tokens).bool())
    return kept
