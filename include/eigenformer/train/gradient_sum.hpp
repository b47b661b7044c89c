// The gradient of an update: the sum over its batches, on this rank and on others.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "eigenformer/autograd/tape.hpp"
#include "eigenformer/train/gradient_exchange.hpp"
#include "eigenformer/train/sum_tree.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Sums the gradients of an update's batches in the order of sum_steps(). The sum depends on the batches and their
/// number alone, not on the number of ranks. n batches on one rank need memory for up to log2(n) copies of the
/// gradients besides the tape's. With several ranks, the exchange needs two more.
///
///   sum.begin(model, tape, division, ranks);
///   for (Index leaf = division.begin(rank); leaf < division.end(rank); ++leaf) sum.backward(loss_of(leaf));
///   sum.finish();  // now every rank's tape.gradients() are the sum over all leaves
///
/// Gradients travel while the backward pass of a rank's last batch runs.
template <class Scalar>
class GradientSum {
 public:
  /// Begins the sum of an update, and clears the tape's gradients. division: the batches and the ranks; null ranks mean
  /// one rank. All ranks must call it, also those that have no batch.
  template <class Model>
  void begin(const Model& model, Tape<Scalar>& tape, const LeafDivision& division, Ranks* ranks) {
    tape_ = &tape;
    division_ = division;
    rank_ = ranks == nullptr ? 0 : ranks->rank();
    steps_ = sum_steps(division, rank_);
    next_ = aside_count_ = 0;
    leaves_left_ = division.end(rank_) - division.begin(rank_);
    has_top_ = is_exchanging_ = false;
    outgoing_count_ = 0;
    tape.gradients().clear();
    if (division.ranks > 1) exchange_.prepare(model, *ranks);
  }

  /// Computes the gradient of this rank's next batch and adds it to the sum. loss: [1 x 1], recorded by the tape.
  /// threads: help to add up gradients.
  void backward(const Variable<Scalar>& loss, Threads* threads = nullptr) {
    const bool adds = has_top_ && next_ + 1 < steps_.size() && steps_[next_ + 1].kind == SumStep::Kind::add;
    if (has_top_ && !adds) put_aside(aside_, aside_count_);
    next_ += adds ? 2 : 1;  // the tape itself adds a gradient to the one that it holds
    has_top_ = true;
    if (--leaves_left_ > 0 || division_.ranks == 1) {
      tape_->backward(loss, 1, threads);
      take_steps(threads);
      return;
    }
    begin_messages();
    tape_->backward(loss, 1, threads,
                    [this](const Parameter<Scalar>& parameter) { exchange_.mark_complete(parameter); });
  }

  /// Waits until the tape's gradients are the sum over all batches. Call it after the last backward().
  void finish() {
    if (division_.ranks == 1) return;
    if (!is_exchanging_) begin_messages();
    exchange_.finish(tape_->gradients());
  }

  /// The exchange with other ranks: its duration and its bytes, in all updates so far.
  const GradientExchange<Scalar>& exchange() const { return exchange_; }

 private:
  using Step = ExchangeStep<Scalar>;

  /// Moves the tape's gradients to the end of a list, whose memory is reused from update to update.
  void put_aside(std::vector<Gradients<Scalar>>& list, std::size_t& count) {
    if (count == list.size()) list.emplace_back();
    std::swap(list[count++], tape_->gradients());
    tape_->gradients().clear();
    has_top_ = false;
  }

  /// Takes the steps up to the next leaf. Keeps sums for other ranks and sends them after the last leaf: a message
  /// moves only while its sender calls is_done().
  void take_steps(Threads* threads) {
    for (; next_ < steps_.size() && steps_[next_].kind != SumStep::Kind::leaf; ++next_) {
      if (steps_[next_].kind == SumStep::Kind::add) {
        tape_->gradients().add(aside_[--aside_count_], threads);
      } else {  // nothing is received before the last leaf
        outgoing_ranks_.resize(outgoing_count_);
        outgoing_ranks_.push_back(steps_[next_].rank);
        put_aside(outgoing_, outgoing_count_);
      }
    }
  }

  /// Starts the exchange: each bucket takes the remaining steps, then those of a broadcast from rank 0.
  void begin_messages() {
    std::vector<Step> steps;
    for (std::size_t i = 0; i < outgoing_count_; ++i) {
      steps.push_back({Step::Kind::pack, &outgoing_[i]});
      steps.push_back({Step::Kind::send, nullptr, outgoing_ranks_[i]});
    }
    if (has_top_) steps.push_back({Step::Kind::pack, &tape_->gradients()});
    for (std::size_t i = next_; i < steps_.size(); ++i) {
      const SumStep& step = steps_[i];
      if (step.kind == SumStep::Kind::add)
        steps.push_back({Step::Kind::add, &aside_[--aside_count_]});
      else
        steps.push_back(
            {step.kind == SumStep::Kind::send ? Step::Kind::send : Step::Kind::receive_add, nullptr, step.rank});
    }
    if (rank_ > 0) steps.push_back({Step::Kind::receive, nullptr, broadcast_parent(rank_)});
    for_each_broadcast_child(rank_, division_.ranks, [&](Index child) {
      steps.push_back({Step::Kind::send, nullptr, child});
    });
    exchange_.start(std::move(steps));
    is_exchanging_ = true;
  }

  Tape<Scalar>* tape_ = nullptr;  // its gradients are the topmost sum of the stack, if has_top_
  LeafDivision division_;
  Index rank_ = 0;
  std::vector<SumStep> steps_;
  std::size_t next_ = 0;  // step
  Index leaves_left_ = 0;
  bool has_top_ = false, is_exchanging_ = false;
  std::vector<Gradients<Scalar>> aside_;  // the other sums of the stack: the first aside_count_
  std::size_t aside_count_ = 0;
  std::vector<Gradients<Scalar>> outgoing_;  // sums that other ranks add: the first outgoing_count_
  std::vector<Index> outgoing_ranks_;        // the ranks that add them
  std::size_t outgoing_count_ = 0;
  GradientExchange<Scalar> exchange_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
