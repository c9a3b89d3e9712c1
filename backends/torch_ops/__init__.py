"""Plans as torch operations on any device. torch's compiler traces them and fuses them with surrounding operations."""

from statqat_sim.backends.torch_ops.backend import TorchBackend

__all__ = ["TorchBackend"]
