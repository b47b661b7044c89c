// A program of two translation units that both attend: the linker finds what a header defines twice.
#include <eigenformer/kernels/attention.hpp>

#ifdef _MSVC_LANG
static_assert(_MSVC_LANG >= 202002L, "a consumer gets C++20 through the target, whatever it asked for itself");
#else
static_assert(__cplusplus >= 202002L, "a consumer gets C++20 through the target, whatever it asked for itself");
#endif

Eigen::MatrixXf attend_elsewhere(const Eigen::MatrixXf& x);

int main() {
  // Both queries look at one key alone, which gets them its value.
  Eigen::MatrixXf x(2, 2);
  x << 20, 0,  //
      0, 20;
  const Eigen::MatrixXf here = eigenformer::attention(x, x, x);
  return here.isApprox(x) && attend_elsewhere(x).isApprox(x) ? 0 : 1;
}
