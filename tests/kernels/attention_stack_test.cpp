// Checks the README's promise that 512 KB of stack are enough. The test gives threads a stack of its own, which needs
// pthreads. Without optimisation and with a sanitizer, functions need more stack, so the test is left out there.
#include "kernels/all_scores.hpp"
#include "support/sanitizers.hpp"

#if defined(__OPTIMIZE__) && !UNDER_SANITIZER && __has_include(<pthread.h>) && !defined(_WIN32) && !defined(__EMSCRIPTEN__)
#include <pthread.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

/// Returns the bytes of stack that a thread uses to run `body`.
std::size_t stack_used(const std::function<void()>& body) {
  constexpr std::size_t size = std::size_t{4} << 20, alignment = std::size_t{1} << 16;
  constexpr unsigned char unused = 0xA5;
  std::vector<unsigned char> memory(size + alignment, unused);
  void* begin = memory.data();
  std::size_t space = memory.size();
  auto* const stack = static_cast<unsigned char*>(std::align(alignment, size, begin, space));
  pthread_attr_t attributes;
  REQUIRE(pthread_attr_init(&attributes) == 0);
  REQUIRE(pthread_attr_setstack(&attributes, stack, size) == 0);
  const auto run = [](void* function) -> void* {
    (*static_cast<const std::function<void()>*>(function))();
    return nullptr;
  };
  pthread_t thread;
  REQUIRE(pthread_create(&thread, &attributes, run, const_cast<std::function<void()>*>(&body)) == 0);
  REQUIRE(pthread_join(thread, nullptr) == 0);
  pthread_attr_destroy(&attributes);
  // The stack grows downwards.
  return static_cast<std::size_t>(stack + size -
                                  std::find_if(stack, stack + size, [](unsigned char byte) { return byte != unused; }));
}

}  // namespace

TEMPLATE_TEST_CASE("attention needs at most 512 KB of stack", "[kernels][threads]", float, double, Eigen::bfloat16) {
  ef::Rng rng(12);
  for (const bool finite : {true, false}) {
    AttentionCase<TestType> c({2, 1, 64, 64, {300, 5}, {300, 70}}, rng);
    if (!finite) c.v.row(299).setConstant(std::numeric_limits<TestType>::quiet_NaN());  // queries are computed again
    Biases<ef::ComputeType<TestType>> biases(c, rng);
    for (const auto& [name, score, naive] : all_scores(c, biases)) {
      CAPTURE(finite, name);
      const auto& used = score;
      CHECK(stack_used([&] { attend(c, used); }) <= 512 * 1024);
      CHECK(stack_used([&] { gradients(c, used); }) <= 512 * 1024);
    }
  }
}

#endif
