#include "eigenformer/core/function_ref.hpp"

#include <memory>
#include <string>

#include "support/catch.hpp"

namespace ef = eigenformer;

TEST_CASE("a function is referred to, not copied", "[core]") {
  int sum = 0;
  const auto constant = [&sum](int i) { sum += i; };
  const ef::FunctionRef<void(int)> function(constant);
  const ef::FunctionRef<void(int)> copy = function;
  function(3);
  copy(4);
  CHECK(sum == 7);

  struct Counter {
    int calls = 0;
    void operator()(int) { ++calls; }
  } counter;
  const ef::FunctionRef<void(int)> counting(counter);
  counting(0);
  counting(1);
  CHECK(counter.calls == 2);
  static_assert(sizeof(ef::FunctionRef<void(int)>) == 2 * sizeof(void*));
}

TEST_CASE("a result that is not asked for is dropped", "[core]") {
  int calls = 0;
  const auto counted = [&](int i) { return calls += i; };
  const ef::FunctionRef<void(int)> function = counted;
  function(2);
  CHECK(calls == 2);
  static_assert(!std::is_constructible_v<ef::FunctionRef<int(int)>, void (*)(int)>);
}

TEST_CASE("a function reference passes arguments on and returns the result", "[core]") {
  const auto join = [](const std::string& a, std::unique_ptr<std::string> b) { return a + *b; };
  const ef::FunctionRef<std::string(const std::string&, std::unique_ptr<std::string>)> function = join;
  CHECK(function("a", std::make_unique<std::string>("b")) == "ab");

  std::string text = "a";
  const auto self = [](std::string& s) -> std::string& { return s += "b"; };
  const ef::FunctionRef<std::string&(std::string&)> reference = self;
  CHECK(&reference(text) == &text);
  CHECK(text == "ab");
}
