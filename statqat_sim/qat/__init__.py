"""Training with any format, and converting without a changed bit. torch is needed here, and nowhere else in the core.

>>> import torch
>>> from statqat_sim import qat
>>> model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
>>> _ = qat.prepare(model, qat.QATConfig(weight="mxfp4", input="mxfp4"))
>>> model(torch.zeros(2, 64)).shape
torch.Size([2, 10])
"""

from importlib.util import find_spec

from statqat_sim.errors import to_install

if find_spec("torch") is None:
    raise ModuleNotFoundError(f"statqat_sim.qat needs torch; {to_install('torch')}", name="torch")

from statqat_sim.qat.assignment import assign
from statqat_sim.qat.calibration import calibrate, choose_weight_scales, step
from statqat_sim.qat.checkpoints import Checkpointed
from statqat_sim.qat.compressed import save_compressed_tensors
from statqat_sim.qat.config import QATConfig
from statqat_sim.qat.conversion import convert
from statqat_sim.qat.decoding import decoded
from statqat_sim.qat.layout import Layout
from statqat_sim.qat.loading import load
from statqat_sim.qat.matmul_config import MatmulConfig
from statqat_sim.qat.modes import layers, quantizers, set_mode
from statqat_sim.qat.modules import Quantized
from statqat_sim.qat.prepare import prepare
from statqat_sim.qat.product_config import ProductConfig
from statqat_sim.qat.registry import register
from statqat_sim.qat.rules import LayerConfig, Rule
from statqat_sim.qat.saving import save
from statqat_sim.qat.sensitivity import sensitivity
from statqat_sim.qat.sensitivity_table import Sensitivity, SensitivityRow
from statqat_sim.qat.state import load_state_dict, state_dict
from statqat_sim.qat.summary import Summary, SummaryRow, summary
from statqat_sim.qat.tensor_config import TensorConfig
from statqat_sim.qat.tensor_quantizer import TensorQuantizer

__all__ = [
    "Checkpointed",
    "LayerConfig",
    "Layout",
    "MatmulConfig",
    "ProductConfig",
    "QATConfig",
    "Quantized",
    "Rule",
    "Sensitivity",
    "SensitivityRow",
    "Summary",
    "SummaryRow",
    "TensorConfig",
    "TensorQuantizer",
    "assign",
    "calibrate",
    "choose_weight_scales",
    "convert",
    "decoded",
    "layers",
    "load",
    "load_state_dict",
    "prepare",
    "quantizers",
    "register",
    "save",
    "save_compressed_tensors",
    "sensitivity",
    "set_mode",
    "state_dict",
    "step",
    "summary",
]
