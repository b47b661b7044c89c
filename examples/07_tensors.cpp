// Tensors of any rank: views without copies, NumPy's broadcasting, einsum, and their gradients.
#include <eigenformer/ops/einsum.hpp>
#include <eigenformer/ops/reductions.hpp>
#include <eigenformer/tensors/comparison.hpp>
#include <eigenformer/tensors/creation.hpp>
#include <eigenformer/tensors/einsum.hpp>
#include <eigenformer/tensors/printing.hpp>
#include <iostream>

namespace ef = eigenformer;

int main() {
  // [2 x 3 x 4], and two views of the same entries.
  const ef::Tensor<float> x = ef::arange<float>(24).reshape({2, 3, 4});
  const ef::TensorView<const float> last_columns = x.slice(-1, {.begin = -2});  // [2 x 3 x 2], as x[..., -2:]
  const ef::TensorView<const float> transposed = x.transpose(0, 1);             // [3 x 2 x 4]
  std::cout << last_columns << '\n' << transposed.select(0, -1) << '\n';

  // Normalises each row. The subtraction and the division are one pass each.
  const ef::Tensor<float> centred = x - ef::mean(x, -1, {.keep_dims = true});
  const ef::Tensor<float> normal = centred / ef::standard_deviation(x, -1, {.keep_dims = true, .correction = 0});
  std::cout << normal << '\n';

  // A matrix of a tensor is an Eigen map, and writing to it changes the tensor.
  ef::Tensor<float> y = normal;
  y.matrix(0) *= 2;
  y.array() += x.select(0, 1);  // broadcasts over the first dimension

  // einsum computes a batch of bilinear forms; the tape gives the gradient of their weights.
  ef::Rng rng(1);
  const ef::Tensor<float> a = ef::randn<float>({5, 4}, rng), w = ef::randn<float>({3, 4, 4}, rng);
  ef::Tape<float> tape;
  const ef::Context<float> context{.tape = &tape};
  const ef::Variable<float> weight = tape.variable(w);
  const ef::Variable<float> forms = ef::einsum(context, "bi,oij,bj->bo", {a, weight, a});
  tape.backward(ef::sum(context, forms));
  const ef::Tensor<float> expected = ef::einsum("bi,bj->ij", a, a);  // the same for each of the three forms
  const bool agrees = ef::all_close(tape.gradient_tensor(weight), expected, {.absolute = 1e-4});
  std::cout << "The gradient of the forms is " << (agrees ? "" : "not ") << "the sum of the outer products.\n";
  return agrees && std::cout.flush() ? 0 : 1;
}
