"""Formats ranked by the SQNR they achieve on data, and the Pareto front of SQNR and bits."""

from statqat_sim.measurement import Per
from statqat_sim.ranking.row import RankRow, filled, in_order, quality
from statqat_sim.ranking.table import MOST_BITS, catalog_formats, fits, rank
from statqat_sim.spec.headers import Kind

__all__ = ["MOST_BITS", "Kind", "Per", "RankRow", "catalog_formats", "filled", "fits", "in_order", "quality", "rank"]
