"""The references for all tests: two, which share no code.

The oracle is exact and reads only specs: numbers (`exact`, with grids, policies and rounding), blocks (`blocks`),
matrix instructions (`dot`), and the proof of encoders (`prove`). The interpreter runs plans, and so defines what they
mean: `interpret` the ops, `dense`, `streams` and `reduction` what is around them, `block_backend` with `block_tiles`
those of blocks; `backend` makes a backend of it.
"""
