"""The CPU backend: plans printed as LLVM vectors, compiled by numba, cached on disk, run on several threads."""

from statqat_sim.backends.numba_cpu.backend import NumbaBackend

__all__ = ["NumbaBackend"]
