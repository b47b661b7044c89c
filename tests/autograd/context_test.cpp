#include "eigenformer/autograd/context.hpp"

#include "eigenformer/ops/arithmetic.hpp"
#include "support/catch.hpp"

namespace ef = eigenformer;

TEST_CASE("an empty context records nothing", "[autograd]") {
  const ef::Context<double> context{};
  const ef::Parameter<double> p(2, 2);
  REQUIRE(!context.use(p).requires_grad());
  REQUIRE(!ef::scale(context, context.use(p), 2).requires_grad());
}

TEST_CASE("results come from the context's workspace, and go back to it", "[autograd]") {
  ef::Workspace workspace;
  const ef::Context<float> context{.workspace = &workspace};
  {
    const ef::Variable<float> x = context.new_matrix(100, 100);
    REQUIRE(reinterpret_cast<std::uintptr_t>(x.value().data()) % 64 == 0);
  }
  const std::size_t allocations = workspace.system_allocations();
  for (int i = 0; i < 10; ++i) context.new_matrix(100, 100);
  REQUIRE(workspace.system_allocations() == allocations);
  REQUIRE(workspace.capacity() >= 40000);
}
