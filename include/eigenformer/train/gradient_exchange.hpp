// The exchange of gradients between ranks, in buckets, while the backward pass still runs.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "eigenformer/autograd/gradients.hpp"
#include "eigenformer/train/ranks.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Returns the number of entries per bucket: as many as fill 1 MB, or more if there would be more buckets than tags.
/// Each bucket needs its own tag, because messages of different buckets may overtake each other.
constexpr std::size_t bucket_entries(std::size_t entries, std::size_t bytes_of_entry) {
  constexpr std::size_t max_buckets = 32'000, max_tag = 32'766;  // see Ranks::send
  static_assert(max_buckets <= max_tag, "tag 0 belongs to broadcasts");
  return std::max<std::size_t>((std::size_t{1} << 20) / bytes_of_entry, (entries + max_buckets - 1) / max_buckets);
}

}  // namespace detail

/// A step that each bucket of gradients takes in turn.
template <class Scalar>
struct ExchangeStep {
  enum class Kind {
    pack,         // copy gradients into the bucket
    add,          // add gradients to the bucket
    receive_add,  // receive another rank's bucket and add it
    receive,      // receive another rank's bucket in place of this one
    send,         // send the bucket to another rank
  };
  Kind kind = Kind::pack;
  const Gradients<Scalar>* gradients = nullptr;  // of pack and add
  Index rank = 0;                                // the other rank
};

/// Sums gradients over ranks. Divides the gradients of all parameters, the model's last parameter first, into buckets
/// of 1 MB, or larger ones if the gradients exceed 31 GB. A bucket's messages begin when its gradients are complete,
/// and advance during calls of mark_complete() and finish(). Needs memory for two more copies of the gradients.
template <class Scalar>
class GradientExchange {
 public:
  using Step = ExchangeStep<Scalar>;

  /// Prepares an exchange. The models of all ranks must have the same parameters in the same order.
  template <class Model>
  void prepare(const Model& model, Ranks& ranks) {
    ranks_ = &ranks;
    std::vector<const Parameter<Scalar>*> parameters;
    for_each_parameter(model, [&](const std::string&, const Parameter<Scalar>& x) { parameters.push_back(&x); });
    std::reverse(parameters.begin(), parameters.end());
    if (!is_laid_out_for(parameters)) lay_out(std::move(parameters));
    is_complete_.assign(parameters_.size(), false);
    exists_.assign(parameters_.size() * static_cast<std::size_t>(ranks.size()), 0);
    for (Bucket& bucket : buckets_) {
      bucket.missing = bucket.last - bucket.first + 1;
      bucket.step = 0;
      bucket.transfer = nullptr;  // of an update that failed
    }
    active_.clear();
  }

  /// Begins the exchange. steps: what each bucket does on this rank. After the last step, a bucket must hold the sum
  /// over all ranks.
  void start(std::vector<Step> steps) { steps_ = std::move(steps); }

  /// Marks the gradient of a parameter as complete: the gradients of the steps will not change there. Ignores
  /// parameters of other models.
  void mark_complete(const Parameter<Scalar>& parameter) {
    const Timer timer(seconds_);
    const auto found = numbers_.find(&parameter);
    if (found != numbers_.end() && !is_complete_[found->second]) mark_complete(found->second);
    advance();
  }

  /// Marks all gradients as complete, waits for the sums, and writes them to `gradients`, which may be those of a step.
  /// A parameter that has no gradient on any rank gets none.
  void finish(Gradients<Scalar>& gradients) {
    const Timer timer(seconds_);
    for (std::size_t i = 0; i < parameters_.size(); ++i)
      if (!is_complete_[i]) mark_complete(i);
    for (int tries = 0; !active_.empty(); ++tries) {
      advance();
      if (tries < 1000)
        std::this_thread::yield();
      else
        std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    all_gather(*ranks_, std::span(exists_), [&](Index rank) { return rank * static_cast<Index>(parameters_.size()); });
    gradients.clear();
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      if (!exists_anywhere(i)) continue;
      const Matrix<Scalar>& x = parameters_[i]->value;
      gradients.writable(*parameters_[i]) = ConstMatrixMap<Scalar>(sums_.data() + offsets_[i], x.rows(), x.cols());
    }
  }

  /// The seconds that this rank has spent in mark_complete() and finish(), waiting included.
  double seconds() const { return seconds_; }
  /// The bytes of gradients that this rank has sent.
  std::uint64_t bytes_sent() const { return bytes_sent_; }

 private:
  struct Bucket {
    std::size_t begin = 0, end = 0;        // its entries
    std::size_t first = 0, last = 0;       // its parameters; these two may extend into other buckets
    std::size_t missing = 0;               // parameters that are not complete
    std::size_t step = 0;                  // the next one
    std::unique_ptr<Transfer> transfer{};  // of that step, if it has begun
  };

  /// Adds the duration of a scope to a sum.
  class Timer {
   public:
    explicit Timer(double& seconds) : seconds_(seconds) {}
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;
    ~Timer() { seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }

   private:
    double& seconds_;
    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  };

  /// Whether these are the parameters of the last exchange, in the same sizes.
  bool is_laid_out_for(const std::vector<const Parameter<Scalar>*>& parameters) const {
    if (parameters != parameters_) return false;
    for (std::size_t i = 0; i < parameters.size(); ++i)
      if (offsets_[i + 1] - offsets_[i] != static_cast<std::size_t>(parameters[i]->value.size())) return false;
    return true;
  }

  void lay_out(std::vector<const Parameter<Scalar>*> parameters) {
    parameters_ = std::move(parameters);
    numbers_.clear();
    offsets_.assign(1, 0);
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      numbers_.emplace(parameters_[i], i);
      offsets_.push_back(offsets_.back() + static_cast<std::size_t>(parameters_[i]->value.size()));
    }
    sums_.resize(offsets_.back());
    received_.resize(offsets_.back());
    buckets_.clear();
    entries_of_bucket_ = detail::bucket_entries(offsets_.back(), sizeof(Scalar));
    for (std::size_t begin = 0; begin < offsets_.back(); begin += entries_of_bucket_) {
      const std::size_t end = std::min<std::size_t>(begin + entries_of_bucket_, offsets_.back());
      const auto number_of = [&](std::size_t entry) {
        return static_cast<std::size_t>(std::upper_bound(offsets_.begin(), offsets_.end(), entry) - offsets_.begin()) -
               1;
      };
      buckets_.push_back({.begin = begin, .end = end, .first = number_of(begin), .last = number_of(end - 1)});
    }
  }

  void mark_complete(std::size_t number) {
    is_complete_[number] = true;
    for (std::size_t b = offsets_[number] / entries_of_bucket_;
         b < buckets_.size() && buckets_[b].begin < offsets_[number + 1]; ++b)
      if (--buckets_[b].missing == 0) active_.push_back(b);
  }

  /// Takes as many steps of all active buckets as are possible without waiting.
  void advance() {
    std::erase_if(active_, [&](std::size_t b) {
      Bucket& bucket = buckets_[b];
      while (bucket.step < steps_.size() && take_step(bucket, b)) ++bucket.step;
      return bucket.step == steps_.size();
    });
  }

  /// Begins the next step of a bucket unless it has begun, and returns whether it is done.
  bool take_step(Bucket& bucket, std::size_t number) {
    const Step& step = steps_[bucket.step];
    const std::span<Scalar> sums = part(sums_, bucket), received = part(received_, bucket);
    if (step.kind == Step::Kind::pack || step.kind == Step::Kind::add) {
      copy_or_add(bucket, step);
      return true;
    }
    if (bucket.transfer == nullptr) {
      const int tag = 1 + static_cast<int>(number);
      if (step.kind == Step::Kind::send) {
        bucket.transfer = ranks_->send(std::as_bytes(sums), step.rank, tag);
        bytes_sent_ += sums.size_bytes();
      } else {
        const bool adds = step.kind == Step::Kind::receive_add;
        bucket.transfer = ranks_->receive(std::as_writable_bytes(adds ? received : sums), step.rank, tag);
      }
    }
    if (!bucket.transfer->is_done()) return false;
    bucket.transfer = nullptr;
    if (step.kind == Step::Kind::receive_add)
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += received[i];
    return true;
  }

  static std::span<Scalar> part(std::vector<Scalar>& of_all, const Bucket& bucket) {
    return std::span(of_all).subspan(bucket.begin, bucket.end - bucket.begin);
  }

  /// Packs or adds a step's gradients. A gradient that does not exist is packed as negative zeros: adding them leaves
  /// every number as it is, even a negative zero.
  void copy_or_add(const Bucket& bucket, const Step& step) {
    for (std::size_t i = bucket.first; i <= bucket.last; ++i) {
      const std::size_t begin = std::max<std::size_t>(bucket.begin, offsets_[i]),
                        end = std::min<std::size_t>(bucket.end, offsets_[i + 1]);
      const Matrix<Scalar>* const gradient = step.gradients->find(*parameters_[i]);
      const auto sums = std::span(sums_).subspan(begin, end - begin);
      if (gradient != nullptr) {
        exists_[static_cast<std::size_t>(ranks_->rank()) * parameters_.size() + i] = 1;
        const Scalar* const from = gradient->data() + (begin - offsets_[i]);
        for (std::size_t k = 0; k < sums.size(); ++k)
          sums[k] = step.kind == Step::Kind::pack ? from[k] : sums[k] + from[k];
      } else if (step.kind == Step::Kind::pack) {
        std::fill(sums.begin(), sums.end(), Scalar(-0.0));
      }
    }
  }

  bool exists_anywhere(std::size_t number) const {
    for (std::size_t i = number; i < exists_.size(); i += parameters_.size())
      if (exists_[i] != 0) return true;
    return false;
  }

  Ranks* ranks_ = nullptr;
  std::vector<Step> steps_;
  std::vector<const Parameter<Scalar>*> parameters_;
  std::unordered_map<const Parameter<Scalar>*, std::size_t> numbers_;  // of the parameters
  std::vector<std::size_t> offsets_;     // of the parameters' first entries, and the number of all entries
  std::vector<Scalar> sums_, received_;  // entries of all buckets
  std::size_t entries_of_bucket_ = 0;
  std::vector<Bucket> buckets_;
  std::vector<std::size_t> active_;    // buckets whose steps have begun
  std::vector<bool> is_complete_;      // parameters
  std::vector<unsigned char> exists_;  // [ranks x parameters]: whether the rank has a gradient
  double seconds_ = 0;
  std::uint64_t bytes_sent_ = 0;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
