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

  /// Joins the other processes that mpirun started. Drops standard output except that of rank 0. Throws if this program
  /// was built without MPI.
  void join();
  /// Waits until rank 0 calls it too. The others sleep meanwhile.
  void leave();
  /// Ends all processes after an error in this one. Returns if there are no others.
  void abort();

  /// Returns the ranks; null if this process is alone.
  ef::Ranks* get() const;
  ef::Index size() const { return get() == nullptr ? 1 : get()->size(); }
  /// Returns whether this is rank 0, or alone.
  bool is_first() const;
  /// Returns how messages begin: "rank 2: "; empty if this process is alone.
  std::string prefix() const;

 private:
  struct Joined;
  std::unique_ptr<Joined> joined_;
};

/// Returns the number of threads of this process: one per core, divided among the processes on this machine, unless
/// --threads gives a number.
int threads_of(int given);

}  // namespace translate
