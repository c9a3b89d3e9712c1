"""The GPU backend: plans printed as CUDA C, compiled by NVRTC through cupy."""

from statqat_sim.backends.cupy_gpu.backend import CupyBackend

__all__ = ["CupyBackend"]
