// Answers requests with models: the work of the translating thread.
#pragma once

#include <atomic>

#include "translate/serve_queue.hpp"
#include "translate/served_models.hpp"

namespace translate {

/// Answers the requests of a queue, one batch after another. An error goes to the client whose request caused it.
class Answerer {
 public:
  Answerer(ServedModels& models, const ServeLimits& limits, const std::atomic<bool>& stops)
      : models_(models), limits_(limits), stops_(stops) {}

  /// Answers requests until the queue is closed.
  void run(RequestQueue& queue);

  /// Answers the requests of a batch.
  void answer(const RequestQueue::Batch& batch);

 private:
  void answer_alone(const std::shared_ptr<PendingRequest>& pending);
  void translate(const RequestQueue::Batch& batch);
  void align(const std::shared_ptr<PendingRequest>& pending);

  /// Calls `work` with a function that tells whether to give up: the server stops, no client waits any more, or the
  /// time of all requests together is over. Throws a RequestError that says which, if `work` throws and the function
  /// tells so.
  template <class Work>
  auto within_limits(const RequestQueue::Batch& batch, Work&& work);

  ServedModels& models_;
  const ServeLimits& limits_;
  const std::atomic<bool>& stops_;
};

}  // namespace translate
