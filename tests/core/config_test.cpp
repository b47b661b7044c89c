#include "eigenformer/core/config.hpp"

#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <typeinfo>

#include "support/catch.hpp"
#include "support/macro_text.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {
struct Probe {};
}  // namespace eigenformer::inline EIGENFORMER_ABI

namespace {

const std::string abi = EIGENFORMER_TEST_TEXT(EIGENFORMER_ABI);

// What the compiler was told, as it says itself, without asking Eigen.
std::string instructions_of_the_compiler() {
#if defined(EIGEN_DONT_VECTORIZE)
  return "scalar";
#elif defined(__AVX512F__)
  return "avx512";
#elif defined(__AVX2__) && (defined(__FMA__) || defined(_MSC_VER))
  return "avx2fma";
#elif defined(__AVX__)
  return "avx";
#elif defined(__SSE4_2__)
  return "sse4";
#elif defined(__SSE2__) || defined(_M_X64)
  return "sse";
#elif defined(__ARM_NEON) || defined(_M_ARM64)
  return "neon";
#else
  return "scalar";
#endif
}
std::string bfloat16_of_the_compiler() {
#if defined(EIGEN_DONT_VECTORIZE)
  return "portable";
#elif defined(__AVX512BF16__) && (defined(__AMX_BF16__) || defined(__AMXBF16__)) && defined(__linux__)
  return "amx";
#elif defined(__AVX512BF16__)
  return "avx512";
#elif defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
  return "neon";
#else
  return "portable";
#endif
}
std::string int8_of_the_compiler() {
#if defined(EIGEN_DONT_VECTORIZE)
  return "portable";
#elif defined(__AVX512VNNI__) && (defined(__AMX_INT8__) || defined(__AMXINT8__)) && defined(__linux__)
  return "amx";
#elif defined(__AVX512VNNI__)
  return "avx512";
#elif defined(__AVXVNNI__)
  return "avxvnni";
#elif defined(__AVX2__)
  return "avx2";
#elif defined(__ARM_FEATURE_DOTPROD)
  return "neon";
#else
  return "portable";
#endif
}

}  // namespace

TEST_CASE("the version is the build's", "[core]") {
  const std::string version = EIGENFORMER_TEST_TEXT(EIGENFORMER_VERSION_MAJOR) "." EIGENFORMER_TEST_TEXT(
      EIGENFORMER_VERSION_MINOR) "." EIGENFORMER_TEST_TEXT(EIGENFORMER_VERSION_PATCH);
  std::ifstream file(TESTS_FOLDER "/../CMakeLists.txt");
  REQUIRE(file.good());
  const std::string build{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  CHECK(build.find("project(eigenformer VERSION " + version + ' ') != std::string::npos);
}

TEST_CASE("the binary interface's name tells the version, the instruction sets and the alignment", "[core]") {
  CAPTURE(abi, EIGEN_MAX_ALIGN_BYTES);
  CHECK(abi ==
        std::string("v") +
            EIGENFORMER_TEST_TEXT(EIGENFORMER_VERSION_MAJOR) "_" EIGENFORMER_TEST_TEXT(EIGENFORMER_VERSION_MINOR) "_" +
            instructions_of_the_compiler() + "_bf16" + bfloat16_of_the_compiler() + "_int8" + int8_of_the_compiler() +
            '_' + std::to_string(EIGEN_MAX_ALIGN_BYTES));  // then "_finite" or "_abort", for other flags
}

TEST_CASE("symbols carry the binary interface's name, users' code does not", "[core]") {
  CHECK(std::string(typeid(eigenformer::Probe).name()).find(abi) != std::string::npos);
  CHECK(typeid(eigenformer::Probe) == typeid(eigenformer::EIGENFORMER_ABI::Probe));
}

TEST_CASE("errors are thrown by a macro", "[core]") {
  CHECK_THROWS_AS([] { EIGENFORMER_THROW(std::runtime_error("it")); }(), std::runtime_error);
}
