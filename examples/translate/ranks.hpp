// The processes that mpirun started to train one model.
#pragma once

#include <memory>
#include <string>

#include "eigenformer/train/ranks.hpp"
#include "translate/program.hpp"

namespace translate {

/// The ranks of `translate train`: one, unless mpirun started several processes.
class ProgramRanks {
 public:
  ProgramRanks();
  ~ProgramRanks();

  /// Joins the other processes that mpirun started, if any; the standard output of ranks other than 0 is then
  /// discarded. Throws if mpirun started several processes and this program was built without MPI.
  void join();
  /// Call it at the end. Other ranks wait, asleep, until rank 0 calls it, because rank 0 still validates and saves.
  void leave();
  /// Ends all processes after an error in this one. Returns if there are no others.
  void abort();

  /// Returns the ranks; null if this process is alone.
  ef::Ranks* get() const;
  ef::Index size() const { return get() == nullptr ? 1 : get()->size(); }
  /// Returns whether this process is rank 0 or the only one.
  bool is_first() const;
  /// Returns how messages begin: "rank 2: "; empty if this process is alone.
  std::string prefix() const;

 private:
  struct Joined;
  std::unique_ptr<Joined> joined_;
};

/// Returns the number of threads of this process: by default one per core, divided among the processes on this machine,
/// and at most one for each core that mpirun allows. given: the value of --threads; 0: not given.
int threads_of(int given);

}  // namespace translate
