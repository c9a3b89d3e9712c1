"""The random bits of stochastic rounding, from a counter (17).

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, Philox4x32-10.
"""

from __future__ import annotations

WORD = (1 << 32) - 1
MULTIPLIERS = (0xD251_1F53, 0xCD9E_8D57)
KEY_STEPS = (0x9E37_79B9, 0xBB67_AE85)
ROUNDS = 10

Counter = tuple[int, int, int, int]
Key = tuple[int, int]


def random_field(seed: int, index: int, random_bits: int) -> int:
    """R of element `index`: the top `random_bits` bits (1 to 32) of its field in the stream of `seed`."""
    width = next(width for width in (8, 16, 32) if width >= random_bits)
    block, place = divmod(index, 128 // width)
    words = philox4x32((block & WORD, block >> 32, 0, 0), (seed & WORD, seed >> 32))
    bits = sum(word << 32 * i for i, word in enumerate(words))
    field = bits >> width * place & (1 << width) - 1
    return field >> width - random_bits


def philox4x32(counter: Counter, key: Key) -> Counter:
    """Four random words, all 32 bits wide."""
    for _ in range(ROUNDS):
        counter = _mixed(counter, key)
        key = (key[0] + KEY_STEPS[0] & WORD, key[1] + KEY_STEPS[1] & WORD)
    return counter


def _mixed(counter: Counter, key: Key) -> Counter:
    first, second = MULTIPLIERS[0] * counter[0], MULTIPLIERS[1] * counter[2]
    return (
        second >> 32 ^ counter[1] ^ key[0],
        second & WORD,
        first >> 32 ^ counter[3] ^ key[1],
        first & WORD,
    )
