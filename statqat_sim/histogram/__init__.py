"""The distribution of data, independent of formats: a signed log-histogram whose merging is exact to the bit."""

from statqat_sim.histogram.devices import lies_elsewhere, on_cpu
from statqat_sim.histogram.extremes import extremes
from statqat_sim.histogram.rows import checked_channel_axis, extremes_elsewhere
from statqat_sim.histogram.state import BIN_MANTISSA_BITS, Histogram, Moments
from statqat_sim.histogram.tables import Counter, Tables
from statqat_sim.histogram.tails import Sample, Tail, Tails

__all__ = [
    "BIN_MANTISSA_BITS",
    "Counter",
    "Histogram",
    "Moments",
    "Sample",
    "Tables",
    "Tail",
    "Tails",
    "checked_channel_axis",
    "extremes",
    "extremes_elsewhere",
    "lies_elsewhere",
    "on_cpu",
]
