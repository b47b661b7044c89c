#include "translate/ranks.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <optional>
#include <thread>

#ifdef __linux__
#include <sched.h>
#endif

#ifdef TRANSLATE_WITH_MPI
#include "eigenformer/train/mpi.hpp"
#endif

namespace translate {

namespace {

/// Returns the number in the first of these environment variables that is set; `otherwise` if none is.
int number_from_environment(std::initializer_list<const char*> names, int otherwise) {
  for (const char* name : names)
    if (const char* text = std::getenv(name); text != nullptr) return std::atoi(text);
  return otherwise;
}

// Open MPI and MPICH tell their processes these numbers in environment variables.
int world_size() {
  return number_from_environment({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}, 1);
}
int world_rank() {
  return number_from_environment({"OMPI_COMM_WORLD_RANK", "PMI_RANK"}, 0);
}

}  // namespace

#ifdef TRANSLATE_WITH_MPI
struct ProgramRanks::Joined {
  ef::MpiEnvironment environment;
  ef::MpiRanks ranks;
};
#else
struct ProgramRanks::Joined {};
#endif

ProgramRanks::ProgramRanks() = default;
ProgramRanks::~ProgramRanks() = default;

void ProgramRanks::join() {
  if (world_size() <= 1) return;
#ifdef TRANSLATE_WITH_MPI
  joined_ = std::make_unique<Joined>();
  ef::check(joined_->ranks.size() == world_size(), "mpirun started ", world_size(), " processes, but MPI joined ",
            joined_->ranks.size(), "; expected the mpirun of the MPI library that this program was built with");
#ifdef _WIN32
  const char* const null_device = "NUL";
#else
  const char* const null_device = "/dev/null";
#endif
  if (!is_first()) ef::check(std::freopen(null_device, "w", stdout) != nullptr, null_device, ": cannot be written");
#else
  ef::fail("mpirun started ", world_size(), " processes, but this program was built without MPI: each would train ",
           "a model of its own. Install an MPI library (Debian: libopenmpi-dev) and build again");
#endif
}

void ProgramRanks::leave() {
  bool is_over = true;
  if (get() != nullptr) ef::broadcast_value(*get(), is_over);
}

void ProgramRanks::abort() {
#ifdef TRANSLATE_WITH_MPI
  if (joined_ != nullptr) ef::MpiEnvironment::abort(1);
#endif
}

ef::Ranks* ProgramRanks::get() const {
#ifdef TRANSLATE_WITH_MPI
  if (joined_ != nullptr) return &joined_->ranks;
#endif
  return nullptr;
}

bool ProgramRanks::is_first() const {
  return get() == nullptr ? world_rank() == 0 : get()->rank() == 0;
}

std::string ProgramRanks::prefix() const {
  return get() == nullptr ? "" : "rank " + std::to_string(get()->rank()) + ": ";
}

int threads_of(int given) {
  if (given > 0) return given;
  const int of_machine = number_from_environment({"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"}, 1);
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  int threads = std::max(1, cores / std::max(1, of_machine));
#ifdef __linux__
  cpu_set_t allowed;  // mpirun may bind a process to some cores
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) == 0) threads = std::min(threads, CPU_COUNT(&allowed));
#endif
  return threads;
}

}  // namespace translate
