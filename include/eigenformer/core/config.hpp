// What every header starts from: the language, the version, the name of the binary interface, and how an error is
// thrown.
#pragma once

// An older language would give hundreds of errors. GCC and Clang go on after #error, but not after a missing file.
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

// Eigen's types change their alignment with the instruction set, so object files that were compiled with different
// flags must not share our functions. The name of the inline namespace carries what decides the binary interface: such
// files then have different symbols, and a library built with other flags than its user's fails to link instead of
// crashing.
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
#define EIGENFORMER_ABI_JOIN_(version, instructions, alignment) v##version##_##instructions##_##alignment
#define EIGENFORMER_ABI_JOIN(version, instructions, alignment) EIGENFORMER_ABI_JOIN_(version, instructions, alignment)
#define EIGENFORMER_ABI EIGENFORMER_ABI_JOIN(0_1, EIGENFORMER_ABI_INSTRUCTIONS, EIGEN_MAX_ALIGN_BYTES)

// Throws an eigenformer::Error. Without exceptions (-fno-exceptions) its message is printed to standard error and the
// program aborts. To do something else, define EIGENFORMER_THROW(error) before including; it must not return.
#ifndef EIGENFORMER_THROW
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define EIGENFORMER_THROW(error) throw error
#else
#define EIGENFORMER_THROW(error) ::eigenformer::detail::abort_with(error)
#endif
#endif

// For a function that is called only when a check fails: it is compiled for size, which takes less time, and lies apart
// from what runs.
#if defined(__GNUC__)
#define EIGENFORMER_COLD __attribute__((cold, noinline))
#else
#define EIGENFORMER_COLD
#endif

// Unrolls the loop that follows, whose number of rounds is a constant, so that arrays which it indexes stay in
// registers, at -O2 too. (Arrays that lambdas refer to do not: GCC 12 keeps them in memory, and what it then does
// depends on -mtune. matmul_bench, 4 rows: 31 instead of 50 % of the peak.)
#if defined(__clang__)
#define EIGENFORMER_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define EIGENFORMER_UNROLL _Pragma("GCC unroll 32")
#else
#define EIGENFORMER_UNROLL
#endif

// Keeps the loop that follows, over a packet's lanes, as it is until it is vectorised. GCC 12 at -O3 would unroll one
// of at most eight rounds first, and then not vectorise it.
#if defined(__GNUC__) && !defined(__clang__)
#define EIGENFORMER_VECTORISE _Pragma("GCC unroll 1")
#else
#define EIGENFORMER_VECTORISE
#endif
