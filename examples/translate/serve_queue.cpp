#include "translate/serve_queue.hpp"

namespace translate {

namespace {

constexpr const char* stopping = "the server is stopping";

}  // namespace

std::string error_body(int status, const std::string& message) {
  const ef::Json body{{"error", {{"status", status}, {"message", message}}}};
  // A message may quote bytes that are not UTF-8, such as a file name.
  return body.dump(-1, ' ', false, ef::Json::error_handler_t::replace) + '\n';
}

void Answer::push(Part part) {
  {
    const std::lock_guard lock(mutex_);
    parts_.push_back(std::move(part));
  }
  arrived_.notify_one();
}

std::optional<Answer::Part> Answer::next(std::chrono::milliseconds longest) {
  std::unique_lock lock(mutex_);
  if (!arrived_.wait_for(lock, longest, [&] { return !parts_.empty(); })) return std::nullopt;
  Part part = std::move(parts_.front());
  parts_.pop_front();
  return part;
}

void RequestQueue::add(const std::shared_ptr<PendingRequest>& pending) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) throw RequestError(503, stopping);
    if (waiting_.size() >= max_waiting_)
      throw RequestError(503,
                         "too many requests: " + std::to_string(waiting_.size()) + " are waiting; try again later");
    pending->number = ++received_;
    waiting_.push_back(pending);
  }
  changed_.notify_one();
}

RequestQueue::Batch RequestQueue::take(std::size_t max_sentences) {
  std::unique_lock lock(mutex_);
  Batch batch;
  while (batch.empty()) {
    changed_.wait(lock, [&] { return closed_ || !waiting_.empty(); });
    if (closed_) return batch;
    std::size_t sentences = 0;
    while (!waiting_.empty()) {
      const std::shared_ptr<PendingRequest>& next = waiting_.front();
      if (!next->answer.is_cancelled()) {
        sentences += sentence_count(next->request);
        if (!batch.empty() && (sentences > max_sentences || !can_share_batch(batch.front()->request, next->request)))
          break;
        batch.push_back(next);
      }
      ++taken_;
      waiting_.pop_front();
    }
  }
  return batch;
}

void RequestQueue::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    for (const std::shared_ptr<PendingRequest>& pending : waiting_)
      pending->answer.finish(error_body(503, stopping), 503);
    waiting_.clear();
  }
  changed_.notify_all();
}

RequestQueue::Counts RequestQueue::counts() const {
  const std::lock_guard lock(mutex_);
  return {.received = received_, .taken = taken_, .waiting = waiting_.size()};
}

}  // namespace translate
