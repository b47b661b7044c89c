// Macros that declare the templates of the optional library eigenformer::compiled. A program that links this library
// does not instantiate them again.
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

/// Marks a class template as part of the compiled library. Write it after the class:
///
///   EIGENFORMER_TEMPLATE(struct Linear);
///
/// Define the larger members outside the class: members defined inside are inline, so every file that calls them
/// compiles them. For a function template, wrap each instance in EIGENFORMER_FLOAT or EIGENFORMER_DOUBLE.
#define EIGENFORMER_TEMPLATE(...)        \
  EIGENFORMER_FLOAT(__VA_ARGS__<float>); \
  EIGENFORMER_DOUBLE(__VA_ARGS__<double>)
