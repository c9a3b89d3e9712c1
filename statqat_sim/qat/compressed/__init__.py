"""Converted models in the layouts of compressed-tensors, which vLLM and transformers load."""

from statqat_sim.qat.compressed.saving import save_compressed_tensors

__all__ = ["save_compressed_tensors"]
