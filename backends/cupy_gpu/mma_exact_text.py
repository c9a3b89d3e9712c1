"""C of exact sums in multi-word integers, with any rounding of terms, of sums, and of results.

A number is an array of 32-bit words, lowest first, in units of 2^BASE. Each word is held in 64 bits, so that carries
can be propagated after many additions.
"""

from __future__ import annotations

from typing import Final

EXACT: Final = r"""
const int BASE = -896; /* float32 products end at 2^-298; terms may be cut finer */
const int WORDS = 48, NO_EXPONENT = -4096;
const long long WORD = 0xffffffffll;

struct Words {
    long long at[WORDS];
};

DEVICE void clear(Words &sum)
{
    for (int i = 0; i < WORDS; i++) sum.at[i] = 0;
}

/* Add or subtract magnitude * 2^(BASE + place), of up to 53 bits. */
DEVICE void add_integer(Words &sum, u64 magnitude, int place, bool negative)
{
    const int i = place >> 5, shift = place & 31;
    const u64 low = (magnitude & WORD) << shift, high = ((magnitude >> 32) << shift) + (low >> 32);
    const long long parts[3] = {(long long)(low & WORD), (long long)(high & WORD), (long long)(high >> 32)};
    for (int j = 0; j < 3; j++) sum.at[i + j] += negative ? -parts[j] : parts[j];
}

/* Whether a magnitude that is cut off is raised by one; `half`: its first lost bit, `below`: any other. */
DEVICE bool goes_up(int mode, bool negative, bool is_odd, bool half, bool below)
{
    if (!half && !below) return false;
    switch (mode) {
    case TO_POSITIVE: return !negative;
    case TO_NEGATIVE: return negative;
    case TO_ODD: return !is_odd;
    case NEAREST_EVEN: return half && (below || is_odd);
    case NEAREST_AWAY: return half;
    case NEAREST_ZERO: return half && below;
    case NEAREST_UP: return half && (below || !negative);
    default: return false;
    }
}

/* Add x, rounded to a multiple of 2^unit unless that is NO_EXPONENT. */
DEVICE void add_term(Words &sum, double x, int unit, int mode)
{
    if (x == 0.0) return;
    const u64 hidden = 1ull << 52;
    u64 magnitude = (bits_of(x) & (hidden - 1)) | hidden;
    int place = exponent_of(x) - 52;
    if (unit != NO_EXPONENT && place < unit) {
        const int lost = min(unit - place, 62);
        const u64 kept = magnitude >> lost, first = magnitude >> (lost - 1) & 1, rest = (1ull << (lost - 1)) - 1;
        magnitude = kept + goes_up(mode, x < 0.0, kept & 1, first, magnitude & rest);
        place = unit;
    }
    if (magnitude) add_integer(sum, magnitude, place - BASE, x < 0.0);
}

/* Take carries; of a negative number too, whose complement it leaves if told to. Gives the carry that is left. */
DEVICE long long carried(Words &sum, bool complement)
{
    long long carry = complement;
    for (int i = 0; i < WORDS; i++) {
        const long long total = (complement ? ~sum.at[i] & WORD : sum.at[i]) + carry;
        sum.at[i] = total & WORD, carry = total >> 32;
    }
    return carry;
}

/* Take carries, and the sign out: whether the number is negative. */
DEVICE bool settled(Words &sum)
{
    if (carried(sum, false) >= 0) return false;
    carried(sum, true);
    return true;
}

/* How many bits a settled number has. */
DEVICE int length_of(const Words &sum)
{
    for (int i = WORDS - 1; i >= 0; i--)
        if (sum.at[i]) return 32 * i + 32 - __clz((int)sum.at[i]);
    return 0;
}

/* Round a settled number to a multiple of 2^(BASE + place). */
DEVICE void round_at(Words &sum, int place, int mode, bool negative)
{
    if (place <= 0) return;
    place = min(place, 32 * (WORDS - 1));
    const int i = (place - 1) >> 5, shift = (place - 1) & 31;
    const bool half = sum.at[i] >> shift & 1, is_odd = sum.at[place >> 5] >> (place & 31) & 1;
    bool below = (sum.at[i] & ((1ll << shift) - 1)) != 0;
    for (int j = 0; j < i; j++) {
        below |= sum.at[j] != 0;
        sum.at[j] = 0;
    }
    sum.at[i] &= ~((2ll << shift) - 1);
    if (!goes_up(mode, negative, is_odd, half, below)) return;
    add_integer(sum, 1, place, false);
    settled(sum);
}

/* A settled number of up to 53 significant bits. */
DEVICE double value_of(const Words &sum, bool negative)
{
    double value = 0.0;
    for (int i = WORDS - 1; i >= 0; i--)
        if (sum.at[i]) value += (double)sum.at[i] * power_of(32 * i + BASE);
    return negative ? -value : value;
}

/* What D holds in place of a sum; `all_negative`: whether every term has a sign. */
DEVICE double result_of(Words &sum, bool all_negative, const Result &to)
{
    const bool negative = settled(sum);
    const int length = length_of(sum);
    round_at(sum, max(length - 1 - to.mantissa_bits, to.emin - to.mantissa_bits - BASE), to.mode, negative);
    const double x = in_range(value_of(sum, false), to);
    const bool is_negative = length ? negative : all_negative && to.keeps_zeros;
    return is_negative && !(x == 0.0 && to.is_positive) ? -x : x;
}

/* The exponent of the last bit of a term, NO_EXPONENT where nothing is cut. */
DEVICE int unit_of(const Side &a, const Side &b, u64 first, u64 end, double c, int emin, const Exact &plan)
{
    if (!plan.is_aligned) return NO_EXPONENT;
    int top = NO_EXPONENT;
    for (u64 k = first; k < end; k++) {
        const u32 x = word_at(a, k), y = word_at(b, k);
        const int e = field_of(x, a.factor.emin) + field_of(y, b.factor.emin);
        top = max(top, is_zero(x) || is_zero(y) ? plan.zero : is_special(x) || is_special(y) ? NO_EXPONENT : e);
    }
    if (plan.enter == TERM && is_finite(c)) top = max(top, c != 0.0 ? max(exponent_of(c), emin) : plan.zero);
    return max(top - plan.fraction, BASE);
}

/* What the terms of a step are, besides their sum. */
struct Terms {
    double infinite; /* the sum of Inf and NaN */
    bool all_negative, all_zero;
};
DEVICE void add(Words &sum, Terms &terms, double x, int cut, int mode)
{
    terms.all_negative &= bits_of(x) >> 63;
    terms.all_zero &= x == 0.0;
    if (is_finite(x)) add_term(sum, x, cut, mode);
    else terms.infinite += x;
}

/* Round the sum of terms itself; whether it was zero. */
DEVICE bool cut_sum(Words &sum, int unit, int mode)
{
    const bool negative = settled(sum), is_nothing = length_of(sum) == 0;
    round_at(sum, unit - BASE, mode, negative);
    if (negative)
        for (int i = 0; i < WORDS; i++) sum.at[i] = -sum.at[i];
    return is_nothing;
}

DEVICE double next(const Side &a, const Side &b, u64 first, u64 step, double given, const Start &start,
                   const Exact &plan, const Result &to)
{
    const u64 end = first + step;
    const double c = flushed(given, first, start);
    const int unit = unit_of(a, b, first, end, c, first ? start.later_emin : start.emin, plan);
    const int cut = plan.per_sum ? NO_EXPONENT : unit;
    Words sum;
    clear(sum);
    Terms terms = {0.0, true, true};
    for (u64 k = first; k < end; k++)
        add(sum, terms, single_of(word_at(a, k)) * single_of(word_at(b, k)), cut, plan.mode);
    if (plan.enter == TERM) add(sum, terms, c, cut, plan.mode);
    if (terms.infinite != 0.0) return plan.enter == LAST ? terms.infinite + c : terms.infinite;
    if (plan.is_aligned) terms.all_negative &= plan.per_sum ? cut_sum(sum, unit, plan.mode) : terms.all_zero;
    const double result = result_of(sum, terms.all_negative, to);
    if (plan.enter != LAST) return result;
    if (!is_finite(result) || !is_finite(c)) return result + c;
    clear(sum);
    add_term(sum, result, NO_EXPONENT, plan.mode);
    add_term(sum, c, NO_EXPONENT, plan.mode);
    return result_of(sum, bits_of(result) >> 63 && bits_of(c) >> 63, to);
}
"""
