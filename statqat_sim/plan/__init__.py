"""Specs lowered to straight-line programs over 32-bit words: the one place that knows how formats compute."""
