// A program that keeps a matrix in a file, which needs the target eigenformer::io.
#include <eigenformer/io/safetensors.hpp>

namespace ef = eigenformer;

int main() {
  const ef::Matrix<float> x = ef::Matrix<float>::Identity(2, 3);
  ef::write_safetensors("consumer_io.safetensors", {ef::named_tensor("x", x)});
  return ef::SafetensorsFile("consumer_io.safetensors").matrix<float>("x") == x ? 0 : 1;
}
