// Attention as a soft look-up: a query need not equal a key. It returns a mean of the values, weighted by how similar
// their keys are to the query.
#include <eigenformer/kernels/attention.hpp>
#include <iostream>

namespace ef = eigenformer;

namespace {

/// Returns unit vectors as keys: the product of two is the cosine of the angle between them.
Eigen::MatrixXf directions(const Eigen::VectorXf& degrees) {
  const Eigen::ArrayXf angle = degrees.array() * 0.017453293F;
  Eigen::MatrixXf keys(degrees.size(), 2);
  keys << angle.cos(), angle.sin();
  return keys;
}

}  // namespace

int main() {
  // Weather stations around a town: their directions and the temperatures that they measure.
  const Eigen::MatrixXf stations = directions(Eigen::Vector4f(0, 90, 180, 270));
  const Eigen::MatrixXf temperatures = Eigen::Vector4f(10, 20, 14, 4);

  // How warm is it in the east (90 degrees), in the north-east (45) and nearly north (10)?
  const Eigen::MatrixXf places = directions(Eigen::Vector3f(90, 45, 10));

  // The scale sets how sharp the look-up is: at 0 all stations count equally, at 100 only the nearest counts.
  const auto look_up = [&](double scale) -> Eigen::VectorXf {
    return ef::attention(places, stations, temperatures, {.scale = scale});
  };
  for (const double scale : {0.0, 1.0, 4.0, 100.0})
    std::cout << "scale " << scale << ": " << look_up(scale).transpose() << '\n';

  const Eigen::VectorXf blunt = look_up(0), sharp = look_up(100);
  const bool right = blunt.isApproxToConstant(12, 1e-5F) && std::abs(sharp(0) - 20) < 1e-3F &&
                     std::abs(sharp(1) - 15) < 1e-3F && std::abs(sharp(2) - 10) < 1e-3F;
  return right && std::cout.flush() ? 0 : 1;
}
