"""The C helpers that printed plans call. Without standard headers NVRTC is fast, and g++ compiles the same text."""

from __future__ import annotations

from typing import Final

_FLOATS: Final = r"""
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/* cupy compiles with -ftz=true, whatever it is told: float32 that may be subnormal are only touched by instructions
   that name no .ftz. g++ has no such flag. */
#ifdef __CUDACC__
#define STATQAT_FLOAT(name, instruction)                                                                              \
    __device__ __forceinline__ float name(float a, float b)                                                    \
    {                                                                                                                 \
        float result;                                                                                                 \
        asm(instruction " %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));                                              \
        return result;                                                                                                \
    }
STATQAT_FLOAT(float_add, "add.rn.f32")
STATQAT_FLOAT(float_sub, "sub.rn.f32")
STATQAT_FLOAT(float_mul, "mul.rn.f32")
STATQAT_FLOAT(float_div, "div.rn.f32")

__device__ __forceinline__ double widened(float a)
{
    double result;
    asm("cvt.f64.f32 %0, %1;" : "=d"(result) : "f"(a));
    return result;
}

__device__ __forceinline__ float narrowed(double a)
{
    float result;
    asm("cvt.rn.f32.f64 %0, %1;" : "=f"(result) : "d"(a));
    return result;
}

__device__ __forceinline__ bool is_nan(u32 a)
{
    u32 result;
    asm("{ .reg .pred nan; setp.nan.f32 nan, %1, %1; selp.u32 %0, 1, 0, nan; }"
        : "=r"(result)
        : "f"(__uint_as_float(a)));
    return result;
}
#else
#define float_add __fadd_rn
#define float_sub __fsub_rn
#define float_mul __fmul_rn
#define float_div __fdiv_rn
#define widened (double)
#define narrowed __double2float_rn

__device__ __forceinline__ bool is_nan(u32 a)
{
    return (a & 0x7fffffffu) > 0x7f800000u;
}
#endif

/* Which NaN an operation gives: the first that it reads, made quiet, or its own. A GPU would always give 0x7fffffff. */
__device__ __forceinline__ u32 nan_of(u32 a, u32 b)
{
    return is_nan(a) ? a | 0x400000u : is_nan(b) ? b | 0x400000u : 0xffc00000u;
}

/* float32 operations on words: `word_` of any, `number_` where no NaN can come out, `noted_` where it is only told. */
#define STATQAT_WORDS(op)                                                                                             \
    __device__ __forceinline__ u32 number_##op(u32 a, u32 b)                                                          \
    {                                                                                                                 \
        return __float_as_uint(float_##op(__uint_as_float(a), __uint_as_float(b)));                                   \
    }                                                                                                                 \
    __device__ __forceinline__ u32 word_##op(u32 a, u32 b)                                                            \
    {                                                                                                                 \
        const u32 word = number_##op(a, b);                                                                           \
        return is_nan(word) ? nan_of(a, b) : word;                                                                    \
    }                                                                                                                 \
    __device__ __forceinline__ u32 noted_##op(u32 a, u32 b, bool &has_nan)                                            \
    {                                                                                                                 \
        const u32 word = number_##op(a, b);                                                                           \
        has_nan |= is_nan(word);                                                                                      \
        return word;                                                                                                  \
    }
STATQAT_WORDS(add)
STATQAT_WORDS(sub)
STATQAT_WORDS(mul)
STATQAT_WORDS(div)
"""

_WORDS: Final = """
/* 64-bit division takes a GPU four times as long. */
__device__ __forceinline__ u64 quotient(u64 a, u64 b)
{
    return (a | b) >> 32 ? a / b : (u32)a / (u32)b;
}

__device__ __forceinline__ void take_apart(u32 *words, uint4 four)
{
    words[0] = four.x, words[1] = four.y, words[2] = four.z, words[3] = four.w;
}
__device__ __forceinline__ void take_apart(u32 *words, uint2 two)
{
    words[0] = two.x, words[1] = two.y;
}
__device__ __forceinline__ void take_apart(u32 *words, u32 one)
{
    words[0] = one;
}
__device__ __forceinline__ void put_together(const u32 *words, uint4 *four)
{
    *four = make_uint4(words[0], words[1], words[2], words[3]);
}
__device__ __forceinline__ void put_together(const u32 *words, uint2 *two)
{
    *two = make_uint2(words[0], words[1]);
}
__device__ __forceinline__ void put_together(const u32 *words, u32 *one)
{
    *one = words[0];
}

/* The widest access of so many words, by what is left when they are divided by four. */
template <u32 REST> struct Access {
    typedef u32 Vector;
};
template <> struct Access<0> {
    typedef uint4 Vector;
};
template <> struct Access<2> {
    typedef uint2 Vector;
};

template <u32 WORDS> __device__ __forceinline__ bool is_aligned(const void *at)
{
    return (u64)at % sizeof(typename Access<WORDS % 4>::Vector) == 0;
}

/* Words at an aligned address. */
template <u32 WORDS> __device__ __forceinline__ void read_whole(u32 (&words)[WORDS], const void *at)
{
    typedef typename Access<WORDS % 4>::Vector Vector;
    const u32 step = sizeof(Vector) / 4;
#pragma unroll
    for (u32 i = 0; i < WORDS / step; i++) take_apart(words + step * i, ((const Vector *)at)[i]);
}

template <u32 WORDS> __device__ __forceinline__ void write_whole(const u32 (&words)[WORDS], void *at)
{
    typedef typename Access<WORDS % 4>::Vector Vector;
    const u32 step = sizeof(Vector) / 4;
#pragma unroll
    for (u32 i = 0; i < WORDS / step; i++) put_together(words + step * i, (Vector *)at + i);
}

/* Consecutive elements as words: by vectors where all are there and aligned, else the first `units`, one by one. */
template <class Unit, u32 WORDS>
__device__ __forceinline__ void read_words(u32 (&words)[WORDS], const void *at, u32 units)
{
    const u32 most = WORDS * 4 / sizeof(Unit);
    if (units == most && is_aligned<WORDS>(at)) {
        read_whole(words, at);
    } else {
#pragma unroll
        for (u32 i = 0; i < WORDS; i++) words[i] = 0;
#pragma unroll
        for (u32 i = 0; i < most; i++)
            if (i < units) words[i * sizeof(Unit) / 4] |= (u32)((const Unit *)at)[i] << i * sizeof(Unit) % 4 * 8;
    }
}

template <class Unit, u32 WORDS>
__device__ __forceinline__ void write_words(const u32 (&words)[WORDS], void *at, u32 units)
{
    const u32 most = WORDS * 4 / sizeof(Unit);
    if (units == most && is_aligned<WORDS>(at)) {
        write_whole(words, at);
    } else {
#pragma unroll
        for (u32 i = 0; i < most; i++)
            if (i < units) ((Unit *)at)[i] = (Unit)(words[i * sizeof(Unit) / 4] >> i * sizeof(Unit) % 4 * 8);
    }
}

/* The code at a place of a string of words, whose first bit is the lowest. */
template <u32 BITS, u32 WORDS> __device__ __forceinline__ u32 code_at(const u32 (&words)[WORDS], u32 place)
{
    const u32 word = place * BITS / 32, low = place * BITS % 32;
    u32 code = words[word] >> low;
    if (low + BITS > 32) code |= words[word + 1] << (32 - low);
    return code & 0xffffffffu >> (32 - BITS);
}

/* Write a code at a place that holds zeros. */
template <u32 BITS, u32 WORDS> __device__ __forceinline__ void put_code(u32 (&words)[WORDS], u32 place, u32 code)
{
    const u32 word = place * BITS / 32, low = place * BITS % 32;
    code &= 0xffffffffu >> (32 - BITS);
    words[word] |= code << low;
    if (low + BITS > 32) words[word + 1] |= code >> (32 - low);
}

/* The same where the first bit is the highest. */
template <u32 BITS, u32 WORDS> __device__ __forceinline__ u32 big_code_at(const u32 (&words)[WORDS], u32 place)
{
    const u32 word = place * BITS / 32, end = place * BITS % 32 + BITS;
    const u32 code = end <= 32 ? words[word] >> (32 - end) : words[word] << (end - 32) | words[word + 1] >> (64 - end);
    return code & 0xffffffffu >> (32 - BITS);
}

template <u32 BITS, u32 WORDS>
__device__ __forceinline__ void put_big_code(u32 (&words)[WORDS], u32 place, u32 code)
{
    const u32 word = place * BITS / 32, end = place * BITS % 32 + BITS;
    code &= 0xffffffffu >> (32 - BITS);
    words[word] |= end <= 32 ? code << (32 - end) : code >> (end - 32);
    if (end > 32) words[word + 1] |= code << (64 - end);
}

template <u32 WORDS> __device__ __forceinline__ void swap_bytes(u32 (&words)[WORDS])
{
#pragma unroll
    for (u32 i = 0; i < WORDS; i++) words[i] = __byte_perm(words[i], 0, 0x0123);
}

template <u32 COUNT, u32 WORDS> __device__ __forceinline__ void drop_words(u32 (&words)[WORDS])
{
#pragma unroll
    for (u32 i = 0; i < WORDS; i++) words[i] = i + COUNT < WORDS ? words[i + COUNT] : 0;
}

/* A string of words without its first bits, less than 128. */
template <u32 WORDS> __device__ __forceinline__ void drop_bits(u32 (&words)[WORDS], u32 bits)
{
    if (bits & 64) drop_words<2>(words);
    if (bits & 32) drop_words<1>(words);
#pragma unroll
    for (u32 i = 0; i < WORDS; i++) words[i] = __funnelshift_r(words[i], i + 1 < WORDS ? words[i + 1] : 0, bits);
}
"""

PRELUDE: Final = _FLOATS + _WORDS
