// The step function of a cast: its code of every input, in the order of the inputs' bits, each change printed.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

static float float_of(uint32_t bits) { float x; std::memcpy(&x, &bits, 4); return x; }
static double double_of(uint64_t bits) { double x; std::memcpy(&x, &bits, 8); return x; }
static uint64_t bits_of(double x) { uint64_t bits; std::memcpy(&bits, &x, 8); return bits; }

static void print_step(const char* name, uint64_t first, int code) {
    std::printf("%s float64 %016llx %x\n", name, static_cast<unsigned long long>(first), code);
}

static void require(bool holds, const char* name, uint32_t bits) {
    if (!holds) { std::fprintf(stderr, "%s: %08x\n", name, bits); std::exit(1); }
}

// Steps of `wide`, a cast of float64: every float32 is cast; between neighbours whose codes differ, bisection finds the
// first float64 of the new code. `narrow`, the cast of float32, must agree on each, except on NaN, whose code is its.
template <class Narrow, class Wide> void steps(const char* name, Narrow narrow, Wide wide) {
    for (uint32_t sign : {0u, 0x80000000u}) {
        const uint64_t high_sign = static_cast<uint64_t>(sign) << 32;
        int last = -1;
        uint64_t before = 0;
        for (uint32_t bits = 0; bits <= 0x7F800000u; ++bits) {
            const float x = float_of(sign | bits);
            const uint64_t here = bits_of(static_cast<double>(float_of(bits)));
            const int code = wide(static_cast<double>(x));
            require(narrow(x) == code, name, sign | bits);
            while (code != last) {
                uint64_t low = before, high = last < 0 ? 0 : here;
                while (high > low + 1) {
                    const uint64_t middle = low + (high - low) / 2;
                    (static_cast<int>(wide(double_of(high_sign | middle))) == last ? low : high) = middle;
                }
                last = wide(double_of(high_sign | high));
                print_step(name, high_sign | high, last);
                before = high;
            }
            before = here;
        }
        const int nan = narrow(float_of(sign | 0x7FC00000u));
        for (uint32_t bits = 0x7F800001u; bits <= 0x7FFFFFFFu; ++bits)
            require(narrow(float_of(sign | bits)) == nan, name, sign | bits);
        print_step(name, high_sign | 0x7FF0000000000001ull, nan);
    }
    std::fflush(stdout);
}

// The value of every code.
template <class Decode> void values(const char* name, int bits, Decode decode) {
    for (int code = 0; code < 1 << bits; ++code)
        std::printf("%s value %x %016llx\n", name, code, static_cast<unsigned long long>(bits_of(decode(code))));
}
