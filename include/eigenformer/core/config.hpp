// Included by every header: language check, version, ABI namespace, error throwing and compiler macros.
#pragma once

// Stops with one error instead of hundreds if the language is older than C++20. GCC and Clang continue after #error,
// but not after a missing include.
#if defined(_MSVC_LANG) ? _MSVC_LANG < 202002L : __cplusplus < 202002L
#if defined(_MSC_VER) && !defined(__clang__)
#error eigenformer needs C++20: compile with /std:c++20, by Visual Studio 2022 or newer
#else
#include <eigenformer needs C++20: compile with -std=c++20, by GCC 12, Clang 14 or newer>
#endif
#endif

#include <Eigen/Core>

#define EIGENFORMER_VERSION_MAJOR 0
#define EIGENFORMER_VERSION_MINOR 1
#define EIGENFORMER_VERSION_PATCH 0

// The inline namespace encodes everything that decides the ABI or what our functions do: version, instruction sets,
// alignment, how errors are thrown, and whether the compiler may ignore NaN. Of functions with equal names, a linker
// keeps the first that it meets. So object files compiled with different flags must not share our functions: their
// symbols differ, and a program and a library built with different flags fail to link instead of crashing or computing
// something else.
#if defined(EIGEN_VECTORIZE_AVX512)
#define EIGENFORMER_ABI_INSTRUCTIONS avx512
#elif defined(EIGEN_VECTORIZE_AVX2) && defined(EIGEN_VECTORIZE_FMA)
#define EIGENFORMER_ABI_INSTRUCTIONS avx2fma
#elif defined(EIGEN_VECTORIZE_AVX)
#define EIGENFORMER_ABI_INSTRUCTIONS avx
#elif defined(EIGEN_VECTORIZE_SSE4_2)
#define EIGENFORMER_ABI_INSTRUCTIONS sse4
#elif defined(EIGEN_VECTORIZE_SSE)
#define EIGENFORMER_ABI_INSTRUCTIONS sse
#elif defined(EIGEN_VECTORIZE_NEON)
#define EIGENFORMER_ABI_INSTRUCTIONS neon
#else
#define EIGENFORMER_ABI_INSTRUCTIONS scalar
#endif

// Matrix units that the compiler targets, for bfloat16 numbers and for 8-bit integers: see core/matrix_unit.hpp.
#if defined(EIGEN_VECTORIZE_AVX512) && defined(__AVX512BW__) && defined(__AVX512BF16__)
#define EIGENFORMER_AVX512_BFLOAT16
#endif
#if defined(EIGEN_VECTORIZE_AVX512) && defined(__AVX512VNNI__)
#define EIGENFORMER_AVX512_INT8
#endif
#if defined(EIGEN_VECTORIZE_AVX2) && defined(__AVXVNNI__)
#define EIGENFORMER_AVX_VNNI_INT8
#endif
#if defined(EIGEN_VECTORIZE_AVX2)
#define EIGENFORMER_AVX2_INT8
#endif
#if defined(EIGEN_VECTORIZE_NEON) && defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#define EIGENFORMER_NEON_BFLOAT16
#endif
#if defined(EIGEN_VECTORIZE_NEON) && defined(__ARM_FEATURE_DOTPROD)
#define EIGENFORMER_NEON_INT8
#endif
// AMX needs the permission of Linux. It is used only if there is another unit in case Linux denies it. Clang 14 calls
// the macros __AMXBF16__ and __AMXINT8__.
#if defined(__linux__) && defined(__x86_64__)
#if defined(EIGENFORMER_AVX512_BFLOAT16) && (defined(__AMX_BF16__) || defined(__AMXBF16__))
#define EIGENFORMER_AMX_BFLOAT16
#endif
#if defined(EIGENFORMER_AVX512_INT8) && (defined(__AMX_INT8__) || defined(__AMXINT8__))
#define EIGENFORMER_AMX_INT8
#endif
#endif

// The best unit for each type is part of the inline namespace's name.
#if defined(EIGENFORMER_AMX_BFLOAT16)
#define EIGENFORMER_ABI_BFLOAT16 amx
#elif defined(EIGENFORMER_AVX512_BFLOAT16)
#define EIGENFORMER_ABI_BFLOAT16 avx512
#elif defined(EIGENFORMER_NEON_BFLOAT16)
#define EIGENFORMER_ABI_BFLOAT16 neon
#else
#define EIGENFORMER_ABI_BFLOAT16 portable
#endif
#if defined(EIGENFORMER_AMX_INT8)
#define EIGENFORMER_ABI_INT8 amx
#elif defined(EIGENFORMER_AVX512_INT8)
#define EIGENFORMER_ABI_INT8 avx512
#elif defined(EIGENFORMER_AVX_VNNI_INT8)
#define EIGENFORMER_ABI_INT8 avxvnni
#elif defined(EIGENFORMER_AVX2_INT8)
#define EIGENFORMER_ABI_INT8 avx2
#elif defined(EIGENFORMER_NEON_INT8)
#define EIGENFORMER_ABI_INT8 neon
#else
#define EIGENFORMER_ABI_INT8 portable
#endif

#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#define EIGENFORMER_ABI_MATH _finite
#else
#define EIGENFORMER_ABI_MATH
#endif

// Throws an eigenformer::Error. Without exceptions (-fno-exceptions) it prints the message to standard error and
// aborts. To replace it, define EIGENFORMER_THROW(error) before including the library; it must not return.
#if defined(EIGENFORMER_THROW)
#define EIGENFORMER_ABI_ERRORS _handler
#elif defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define EIGENFORMER_THROW(error) throw error
#define EIGENFORMER_ABI_ERRORS
#else
#define EIGENFORMER_THROW(error) ::eigenformer::detail::abort_with(error)
#define EIGENFORMER_ABI_ERRORS _abort
#endif

#define EIGENFORMER_ABI_JOIN_(version, instructions, bfloat16, int8, alignment, math, errors) \
  v##version##_##instructions##_bf16##bfloat16##_int8##int8##_##alignment##math##errors
#define EIGENFORMER_ABI_JOIN(version, instructions, bfloat16, int8, alignment, math, errors) \
  EIGENFORMER_ABI_JOIN_(version, instructions, bfloat16, int8, alignment, math, errors)
#define EIGENFORMER_ABI                                                                                   \
  EIGENFORMER_ABI_JOIN(0_1, EIGENFORMER_ABI_INSTRUCTIONS, EIGENFORMER_ABI_BFLOAT16, EIGENFORMER_ABI_INT8, \
                       EIGEN_MAX_ALIGN_BYTES, EIGENFORMER_ABI_MATH, EIGENFORMER_ABI_ERRORS)

// Marks a function that is called only when a check fails. It is compiled for size, which takes less compile time, and
// placed apart from hot code.
#if defined(__GNUC__)
#define EIGENFORMER_COLD __attribute__((cold, noinline))
#else
#define EIGENFORMER_COLD
#endif

// Fully unrolls the next loop, whose trip count must be constant. Arrays that it indexes then stay in registers, at -O2
// too. The exception is an array that a lambda captures by reference: GCC 12 keeps it in memory. How much that costs
// depends on -mtune.
// Measured: matmul_bench, 4 rows, GCC 12: 31 instead of 50 % of the peak with captured arrays.
#if defined(__clang__)
#define EIGENFORMER_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define EIGENFORMER_UNROLL _Pragma("GCC unroll 32")
#else
#define EIGENFORMER_UNROLL
#endif

// Stops GCC from unrolling the next loop before vectorising it. Write it before a loop over a packet's lanes: at -O3,
// GCC 12 fully unrolls a loop of at most eight iterations first, and then does not vectorise it.
#if defined(__GNUC__) && !defined(__clang__)
#define EIGENFORMER_VECTORISE _Pragma("GCC unroll 1")
#else
#define EIGENFORMER_VECTORISE
#endif
