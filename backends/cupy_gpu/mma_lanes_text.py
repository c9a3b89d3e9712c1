"""C of sums of aligned products, and of groups of products times their block scales.

A product in units of 2^(E - F), rounded to an integer, is its term; E is computed first. The formulas are those of
`plan.mma`, whose bounds prove that no operation here loses a bit.
"""

from __future__ import annotations

from typing import Final

OPERANDS: Final = r"""
/* Words of float32, or a zero where they count as one. */
DEVICE u32 word_at(const Side &side, u64 k)
{
    const u32 word = side.words[k * side.stride], is_small = (word & 0x7fffffffu) < (u32)side.factor.least;
    return is_small ? (side.factor.is_positive ? 0 : word & 0x80000000u) : word;
}
DEVICE bool is_zero(u32 word)
{
    return word << 1 == 0;
}
DEVICE bool is_special(u32 word)
{
    return (word & 0x7f800000u) == 0x7f800000u;
}
DEVICE int field_of(u32 word, int emin)
{
    return max((int)(word >> 23 & 255) - 127, emin);
}
DEVICE u32 scale_at(const Side &side, u64 block)
{
    return side.scales[block * side.scale_stride];
}
"""

LOW: Final = """
const int LOW = -900; /* an exponent below all that occur, whose power of two float64 still holds */
"""

ALIGNED: Final = r"""
DEVICE double value_at(const Side &side, u64 k)
{
    const double x = single_of(word_at(side, k));
    if constexpr (IS_SCALED) return x * single_of(scale_at(side, quotient(k, side.block)));
    return x;
}

/* The largest exponent of the products of every so many places. */
struct Top {
    int exponent;
    bool is_special;
};
DEVICE Top top_of(const Side &a, const Side &b, u64 first, u64 end, u32 stride, int zero)
{
    Top top = {LOW, false};
    for (u64 k = first; k < end; k += stride) {
        const u32 x = word_at(a, k), y = word_at(b, k);
        bool nothing = is_zero(x) || is_zero(y);
        int exponent = field_of(x, a.factor.emin) + field_of(y, b.factor.emin);
        top.is_special |= is_special(x) || is_special(y);
        if constexpr (IS_SCALED) {
            const u64 block = quotient(k, a.block);
            const u32 of_x = scale_at(a, block), of_y = scale_at(b, block);
            nothing |= is_zero(of_x) || is_zero(of_y);
            exponent += exponent_of(single_of(of_x)) + exponent_of(single_of(of_y));
            top.is_special |= is_special(of_x) || is_special(of_y);
        }
        top.exponent = max(top.exponent, nothing ? zero : exponent);
    }
    return top;
}

/* The sum of their terms, in units of 2^-power. Where float32 has no such power, no product reaches the unit. */
DEVICE double sum_of(const Side &a, const Side &b, u64 first, u64 end, u32 stride, int power)
{
    if constexpr (IS_NARROW) {
        const float unit = __uint_as_float((u32)(max(min(power, 127), -127) + 127) << 23);
        long long total = 0;
        for (u64 k = first; k < end; k += stride) {
            const float x = __uint_as_float(word_at(a, k)), y = __uint_as_float(word_at(b, k));
            total += (int)float_mul(float_mul(x, y), unit);
        }
        return (double)total;
    }
    const double unit = power_of(min(power, 1000));
    double total = 0.0;
    for (u64 k = first; k < end; k += stride) total += CUT(value_at(a, k) * value_at(b, k) * unit);
    return total;
}

struct Products {
    double total; /* in units of 2^(top - fraction bits) */
    int top;
    bool is_special;
};
DEVICE Products products_of(const Side &a, const Side &b, u64 first, u64 end, int of_c, const Aligned &plan)
{
    Top top = {of_c, false};
    for (u32 part = 0; part < plan.parts; part++) {
        const Top own = top_of(a, b, first + part, end, plan.parts, plan.zero);
        top = {max(top.exponent, own.exponent), top.is_special || own.is_special};
    }
    double total = 0.0;
    for (u32 part = 0; part < plan.parts; part++) {
        int own = top.exponent;
        if (plan.parts > 1) own = max(of_c, top_of(a, b, first + part, end, plan.parts, plan.zero).exponent);
        const double terms = sum_of(a, b, first + part, end, plan.parts, plan.fraction - own);
        if (plan.parts > 1) total += integer_of(terms * power_of(max(own - top.exponent, LOW)), plan.join_mode);
        else total = terms;
    }
    return {total, top.exponent, top.is_special};
}

/* C brought together with a sum of products, each cut at bits of its own. */
DEVICE double joined(const Products &dot, double c, int emin, int later_emin, const Aligned &plan)
{
    const int of_c = max(exponent_of(c), emin), e = max(dot.top, of_c);
    const int shift = dot.top - plan.fraction - e + plan.dot_bits;
    const double terms = integer_of(dot.total * power_of(max(shift, LOW)), plan.join_mode);
    const double near_c = of_c >= e - plan.reach ? c * power_of(plan.c_bits - e) : 0.0;
    const double kept_c = integer_of(near_c, plan.join_mode);
    const double x = odd_sum(terms * power_of(e - plan.dot_bits), kept_c * power_of(e - plan.c_bits));
    if (plan.kept_bits < 0) return x;
    const int last = max(exponent_of(x), later_emin);
    return integer_of(x * power_of(plan.kept_bits - last), plan.join_mode) * power_of(last - plan.kept_bits);
}

/* The sum of the products that are Inf or NaN; 0 if none is. */
DEVICE double infinite_products(const Side &a, const Side &b, u64 first, u64 end, double limit)
{
    double total = 0.0;
    for (u64 k = first; k < end; k++) {
        const double x = value_at(a, k) * value_at(b, k);
        if (!(fabs(x) < limit)) total += x * infinity();
    }
    return total;
}

/* A sum that is zero: -0 where all that was summed is. */
DEVICE double signed_zero(const Side &a, const Side &b, u64 first, u64 end, double c, int enter)
{
    double zero = enter >= LAST ? -0.0 : c == 0.0 ? c : 0.0;
    for (u64 k = first; k < end; k++) {
        const double x = value_at(a, k) * value_at(b, k);
        zero += x == 0.0 ? x : 0.0;
    }
    return zero;
}

/* What Inf and NaN make of a result; `infinite`: the sum of such products. */
DEVICE double put_right(double result, double infinite, double products, double c, const Aligned &plan)
{
    if (plan.enter < LAST && !is_finite(c)) infinite += c;
    if (plan.enter != LAST) return infinite != 0.0 ? infinite : result;
    const double sum = (infinite != 0.0 ? infinite : products) + c;
    return is_finite(sum) ? result : sum;
}

DEVICE double next(const Side &a, const Side &b, u64 first, u64 step, double given, const Start &start,
                   const Aligned &plan, const Result &to)
{
    const u64 end = first + step;
    const int emin = first ? start.later_emin : start.emin;
    const double c = flushed(given, first, start);
    const int of_c = c != 0.0 ? max(exponent_of(c), emin) : plan.zero;
    const Products found = products_of(a, b, first, end, plan.enter == TERM ? max(of_c, LOW) : LOW, plan);
    double x;
    if (plan.enter == JOIN) {
        x = joined(found, c, emin, start.later_emin, plan);
    } else {
        const double term = plan.enter == TERM ? CUT(c * power_of(plan.fraction - found.top)) : 0.0;
        x = (found.total + term) * power_of(found.top - plan.fraction);
    }
    if (to.keeps_zeros && x == 0.0) x = signed_zero(a, b, first, end, c, plan.enter);
    const double products = rounded(x, to);
    const double result = plan.enter == LAST ? rounded(odd_sum(products, c), to) : products;
    const bool is_far = power_of(min(found.top + 2, 1023)) >= plan.limit;
    if (!is_far && !found.is_special && is_finite(given) && is_finite(products)) return result;
    return put_right(result, infinite_products(a, b, first, end, plan.limit), products, given, plan);
}
"""

GROUPS: Final = r"""
/* A group: the exact sum of its products, and the significands and exponents of its scales together. */
struct Group {
    double sum, scale;
    int exponent;
    bool is_special;
};
DEVICE double significand_of(u32 scale, int exponent)
{
    return single_of(scale) * power_of(-exponent);
}
DEVICE Group group_at(const Side &a, const Side &b, u64 first, const Grouped &plan)
{
    Group group = {-0.0, 0.0, plan.zero, false};
    bool found = false;
    for (u64 k = first; k < first + plan.group; k++) {
        const u32 x = word_at(a, k), y = word_at(b, k);
        group.sum += single_of(x) * single_of(y);
        found |= !is_zero(x) && !is_zero(y);
        group.is_special |= is_special(x) || is_special(y);
    }
    const u64 block = quotient(first, a.block);
    const u32 x = scale_at(a, block), y = scale_at(b, block);
    const int of_x = field_of(x, plan.scale_emin), of_y = field_of(y, plan.scale_emin);
    group.scale = significand_of(x, of_x) * significand_of(y, of_y);
    group.is_special |= is_special(x) || is_special(y);
    if (found && group.scale != 0.0) group.exponent = of_x + of_y;
    return group;
}

/* The sum of the groups that are Inf or NaN; 0 if none is. */
DEVICE double infinite_groups(const Side &a, const Side &b, u64 first, u64 end, const Grouped &plan)
{
    double total = 0.0;
    for (u64 k = first; k < end; k += plan.group) {
        const Group group = group_at(a, b, k, plan);
        if (!is_finite(group.sum * group.scale)) total += group.sum * group.scale;
    }
    return total;
}

/* A sum that is zero: -0 where C and all groups are. */
DEVICE double zero_of_groups(const Side &a, const Side &b, u64 first, u64 end, double c, const Grouped &plan)
{
    double zero = c == 0.0 ? c : 0.0;
    for (u64 k = first; k < end; k += plan.group) {
        const Group group = group_at(a, b, k, plan);
        if (group.sum * group.scale == 0.0) zero += group.sum * group.scale;
    }
    return zero;
}

DEVICE double next(const Side &a, const Side &b, u64 first, u64 step, double given, const Start &start,
                   const Grouped &plan, const Result &to)
{
    const u64 end = first + step;
    const double c = flushed(given, first, start);
    bool special = !is_finite(given);
    int top = c != 0.0 ? max(exponent_of(c), first ? start.later_emin : start.emin) : plan.zero;
    top = max(top, LOW);
    for (u64 k = first; k < end; k += plan.group) {
        const Group group = group_at(a, b, k, plan);
        top = max(top, group.exponent);
        special |= group.is_special;
    }
    double total = CUT(c * power_of(plan.fraction - top));
    for (u64 k = first; k < end; k += plan.group) {
        const Group group = group_at(a, b, k, plan);
        const int shift = plan.fraction - top + max(group.exponent, LOW);
        total += CUT(group.sum * group.scale * power_of(max(shift, -1000)));
    }
    total = total * power_of(top - plan.fraction);
    if (to.keeps_zeros && total == 0.0) total = zero_of_groups(a, b, first, end, c, plan);
    const double x = rounded(total, to);
    if (!special) return x;
    double infinite = infinite_groups(a, b, first, end, plan);
    if (!is_finite(given)) infinite += given;
    return infinite != 0.0 ? infinite : x;
}
"""
