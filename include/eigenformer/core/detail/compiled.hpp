// Declares what the optional library eigenformer::compiled holds, so that files that link it do not compile it again.
#pragma once

#include "eigenformer/core/config.hpp"

#if defined(EIGENFORMER_COMPILING_FLOAT)
#define EIGENFORMER_FLOAT(...) template __VA_ARGS__
#elif defined(EIGENFORMER_COMPILED_FLOAT)
#define EIGENFORMER_FLOAT(...) extern template __VA_ARGS__
#else
#define EIGENFORMER_FLOAT(...) static_assert(true)
#endif

#if defined(EIGENFORMER_COMPILING_DOUBLE)
#define EIGENFORMER_DOUBLE(...) template __VA_ARGS__
#elif defined(EIGENFORMER_COMPILED_DOUBLE)
#define EIGENFORMER_DOUBLE(...) extern template __VA_ARGS__
#else
#define EIGENFORMER_DOUBLE(...) static_assert(true)
#endif

/// Stands after a class that the compiled library has: EIGENFORMER_TEMPLATE(struct Linear); Its larger members are
/// defined outside it, since what is defined within a class is inline, and compiled by every file that calls it.
/// EIGENFORMER_FLOAT and EIGENFORMER_DOUBLE stand before a function's instance that it has.
#define EIGENFORMER_TEMPLATE(...)        \
  EIGENFORMER_FLOAT(__VA_ARGS__<float>); \
  EIGENFORMER_DOUBLE(__VA_ARGS__<double>)
