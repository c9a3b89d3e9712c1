"""The text of CUDA kernels, compiled by g++ and run thread by thread: proves a GPU's arithmetic where there is none."""

from cuda_on_cpu.backend import CudaOnCpu
from cuda_on_cpu.launcher import GccLauncher

__all__ = ["CudaOnCpu", "GccLauncher"]
