#include "eigenformer/autograd/parameter.hpp"

#include <utility>

#include "support/catch.hpp"

namespace ef = eigenformer;

namespace {

struct Leaf {
  ef::Parameter<float> weight{2, 3};
  ef::Parameter<float> bias;  // none
  static void visit(auto& self, auto&& visitor) {
    visitor("weight", self.weight);
    visitor("bias", self.bias);
  }
};

struct Tree {
  Leaf first;
  std::vector<Leaf> layers{Leaf{}, Leaf{}};
  std::vector<ef::Parameter<float>> list{ef::Parameter<float>(1, 1)};
  static void visit(auto& self, auto&& visitor) {
    visitor("first", self.first);
    visitor("layers", self.layers);
    visitor("list", self.list);
  }
};

}  // namespace

TEST_CASE("for_each_parameter names every parameter once and in order", "[autograd]") {
  Tree tree;
  tree.layers[1].bias = ef::Parameter<float>(1, 2);
  std::vector<std::string> names;
  ef::for_each_parameter(tree, [&](const std::string& name, ef::Parameter<float>& parameter) {
    names.push_back(name);
    parameter.value.setConstant(5);
  });
  REQUIRE(names ==
          std::vector<std::string>{"first.weight", "layers.0.weight", "layers.1.weight", "layers.1.bias", "list.0"});
  REQUIRE(tree.layers[1].weight.value(1, 2) == 5);
  REQUIRE(ef::parameter_count(std::as_const(tree)) == 3 * 6 + 2 + 1);
}

namespace {

template <class Scalar>
struct Layer {
  ef::Parameter<Scalar> weight{2, 3};
  static void visit(auto& self, auto&& visitor) { visitor("weight", self.weight); }
};
template <class Scalar>
struct Stack {
  std::vector<Layer<Scalar>> layers{Layer<Scalar>{}, Layer<Scalar>{}};
  static void visit(auto& self, auto&& visitor) { visitor("layers", self.layers); }
};

std::string visited;
void note(const std::string& name, const ef::Parameter<float>& parameter) {
  visited += name + ' ' + std::to_string(parameter.size()) + ';';
}

}  // namespace

TEST_CASE("class templates and variants of them take any kind of function", "[autograd]") {
  Stack<float> stack;
  const std::string expected = "layers.0.weight 6;layers.1.weight 6;";
  const auto visited_by = [&](auto& model, auto&& function) {
    visited.clear();
    ef::for_each_parameter(model, function);
    return visited;
  };
  const auto generic = [](const std::string& name, const auto& parameter) { note(name, parameter); };
  std::variant<Layer<float>, Stack<float>> either = stack;
  CHECK(visited_by(stack, note) == expected);
  CHECK(visited_by(std::as_const(stack), note) == expected);
  CHECK(visited_by(std::as_const(stack), generic) == expected);
  CHECK(visited_by(either, note) == expected);
  CHECK(visited_by(std::as_const(either), generic) == expected);
  CHECK(visited_by(stack, [](const std::string& name, ef::Parameter<float>& parameter) {
          note(name, parameter);
          parameter.value.setConstant(3);
        }) == expected);
  CHECK(stack.layers[1].weight.value(1, 2) == 3);
  CHECK(ef::parameter_count(Stack<double>()) == 12);
}

TEST_CASE("a parameter alone has no name", "[autograd]") {
  const ef::Parameter<double> parameter(2, 2);
  ef::for_each_parameter(parameter, [](const std::string& name, const auto& p) {
    REQUIRE(name.empty());
    REQUIRE(p.size() == 4);
  });
}

TEST_CASE("a parameter of a negative size is refused", "[autograd]") {
  CHECK(ef::Parameter<float>(0, 3).empty());
  CHECK_THROWS_WITH(ef::Parameter<float>(-2, 3), "Parameter: the shape is [-2 x 3], expected sizes of 0 or more");
  CHECK_THROWS_AS(ef::Parameter<double>(2, -3), ef::Error);
}
