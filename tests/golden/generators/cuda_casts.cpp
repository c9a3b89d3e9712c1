// Casts of CUDA's cuda_fp8.h, cuda_fp6.h and cuda_fp4.h, on the host. The headers come with nvidia-cuda-runtime,
// nvidia-cuda-crt and nvidia-cuda-cccl on PyPI:
//
//     g++ -O2 -std=c++17 -I .../nvidia/cu13/include cuda_casts.cpp -o cuda_casts
//     ./cuda_casts | python pack.py cuda-13.0.npz
//
// The casts of float16 and bfloat16 must agree with that of float32.
#include <cuda_fp4.h>
#include <cuda_fp6.h>
#include <cuda_fp8.h>

#include "steps.hpp"

static double of_half(__half_raw x) { return static_cast<double>(__half2float(__half(x))); }

template <class Half, class Narrow> void check_half(const char* name, Half half, Narrow narrow) {
    for (uint32_t bits = 0; bits < 0x10000u; ++bits) {
        __half_raw x;
        x.x = static_cast<unsigned short>(bits);
        require(half(x) == narrow(static_cast<float>(of_half(x))), name, bits);
    }
}

template <class Bfloat, class Narrow> void check_bfloat16(const char* name, Bfloat bfloat, Narrow narrow) {
    for (uint32_t bits = 0; bits < 0x10000u; ++bits) {
        __nv_bfloat16_raw x;
        x.x = static_cast<unsigned short>(bits);
        require(bfloat(x) == narrow(float_of(bits << 16)), name, bits);
    }
}

#define CAST(NAME, TARGET, ...)                                                                            \
    {                                                                                                      \
        const auto narrow = [](float x) { return __nv_cvt_float_to_##TARGET(x, __VA_ARGS__); };            \
        steps(NAME, narrow, [](double x) { return __nv_cvt_double_to_##TARGET(x, __VA_ARGS__); });         \
        const auto bfloat = [](__nv_bfloat16_raw x) { return __nv_cvt_bfloat16raw_to_##TARGET(x, __VA_ARGS__); }; \
        check_bfloat16(NAME, bfloat, narrow);                                                              \
    }

#define CAST_WITH_HALF(NAME, BITS, TARGET, KIND, ...)                                                      \
    CAST(NAME, TARGET, __VA_ARGS__)                                                                        \
    check_half(NAME, [](__half_raw x) { return __nv_cvt_halfraw_to_##TARGET(x, __VA_ARGS__); },            \
               [](float x) { return __nv_cvt_float_to_##TARGET(x, __VA_ARGS__); });                        \
    values(NAME, BITS, [](int code) { return of_half(__nv_cvt_##TARGET##_to_halfraw(code, KIND)); });

#define CAST_TO_E8M0(NAME, ...)                                                                            \
    CAST(NAME, e8m0, __VA_ARGS__)                                                                          \
    values(NAME, 8, [](int code) {                                                                         \
        return static_cast<double>(float_of(static_cast<uint32_t>(__nv_cvt_e8m0_to_bf16raw(code).x) << 16)); \
    });

int main() {
    CAST_WITH_HALF("float_to_fp8_e4m3_satfinite", 8, fp8, __NV_E4M3, __NV_SATFINITE, __NV_E4M3)
    CAST_WITH_HALF("float_to_fp8_e4m3_nosat", 8, fp8, __NV_E4M3, __NV_NOSAT, __NV_E4M3)
    CAST_WITH_HALF("float_to_fp8_e5m2_satfinite", 8, fp8, __NV_E5M2, __NV_SATFINITE, __NV_E5M2)
    CAST_WITH_HALF("float_to_fp8_e5m2_nosat", 8, fp8, __NV_E5M2, __NV_NOSAT, __NV_E5M2)
    CAST_WITH_HALF("float_to_fp6_e2m3", 6, fp6, __NV_E2M3, __NV_E2M3, cudaRoundNearest)
    CAST_WITH_HALF("float_to_fp6_e3m2", 6, fp6, __NV_E3M2, __NV_E3M2, cudaRoundNearest)
    CAST_WITH_HALF("float_to_fp4_e2m1", 4, fp4, __NV_E2M1, __NV_E2M1, cudaRoundNearest)
    CAST_TO_E8M0("float_to_e8m0_satfinite_rp", __NV_SATFINITE, cudaRoundPosInf)
    CAST_TO_E8M0("float_to_e8m0_nosat_rp", __NV_NOSAT, cudaRoundPosInf)
    CAST_TO_E8M0("float_to_e8m0_satfinite_rz", __NV_SATFINITE, cudaRoundZero)
    CAST_TO_E8M0("float_to_e8m0_nosat_rz", __NV_NOSAT, cudaRoundZero)
}
