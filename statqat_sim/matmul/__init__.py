"""Matrix products bit-exact to an accelerator."""

from statqat_sim.matmul.accelerator import Accelerator, load_accelerator, parse_accelerator
from statqat_sim.spec.accelerator import GemmPlan
from statqat_sim.spec.accelerator_catalog import accelerators

__all__ = ["Accelerator", "GemmPlan", "accelerators", "load_accelerator", "parse_accelerator"]
