"""What data is like, whatever the format: a signed log-histogram that merges bit for bit."""

from statqat_sim.histogram.state import MANTISSA_BITS, Histogram, Moments, extremes
from statqat_sim.histogram.tails import Sample, Tail, Tails

__all__ = ["MANTISSA_BITS", "Histogram", "Moments", "Sample", "Tail", "Tails", "extremes"]
