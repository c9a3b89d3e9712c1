"""Plans as torch operations: on any device, and traced by torch's compiler, which fuses them with their neighbours."""

from statqat_sim.backends.torch_ops.backend import TorchBackend

__all__ = ["TorchBackend"]
