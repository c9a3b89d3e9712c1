"""Which format produced a quantized tensor: every format that fits its size is tried on the original."""

from statqat_sim.identification.result import BLOCK_RULES, Candidate, Compared
from statqat_sim.identification.search import Progress, identify

__all__ = ["BLOCK_RULES", "Candidate", "Compared", "Progress", "identify"]
