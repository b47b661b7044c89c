// A program that starts MPI, which needs the target eigenformer::mpi. Without mpirun there is one rank.
#include <eigenformer/train/mpi.hpp>

namespace ef = eigenformer;

int main() {
  ef::MpiEnvironment environment;
  ef::MpiRanks ranks;
  int sent = 7, received = 0;
  const auto message = ranks.send(std::as_bytes(std::span(&sent, 1)), 0, 3);
  ef::wait(*ranks.receive(std::as_writable_bytes(std::span(&received, 1)), 0, 3));
  ef::wait(*message);
  return ranks.size() == 1 && received == 7 ? 0 : 1;
}
