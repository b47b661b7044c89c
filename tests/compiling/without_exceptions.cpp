// Compiled without exceptions, an error ends the program: by the library, or by the program's own handler.
#include <cstdio>
#include <cstdlib>

#if defined(OWN_HANDLER)
#define EIGENFORMER_THROW(error) handle(error.what())

[[noreturn]] inline void handle(const char* message) {
  std::fprintf(stderr, "handled: %s\n", message);
  std::exit(3);
}
#endif

#include <eigenformer/core/thread_pool.hpp>

int main() {
  eigenformer::ThreadPool pool(2);
  std::atomic<int> done{0};
  pool.run(8, [&](eigenformer::Index) { ++done; });
  if (done != 8) return 1;
  eigenformer::check_shape("softmax", "y", {2, 3}, {2, 4});
  return 2;
}
