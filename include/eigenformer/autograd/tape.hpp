// Reverse-mode automatic differentiation on a tape.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "eigenformer/autograd/gradients.hpp"
#include "eigenformer/autograd/variable.hpp"
#include "eigenformer/core/function_ref.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Records operations and computes the gradient of a loss.
///
///   Tape<double> tape;
///   Context<double> context{.tape = &tape};
///   Variable<double> x = tape.variable(x0);
///   tape.backward(sum(context, multiply(context, x, x)));
///   tape.gradient(x);                                        // 2 x0
///
/// - `backward` ends the recording and frees its memory for the next one. The next operation begins a new recording.
/// - `clear` ends a recording that gets no backward.
/// - Gradients of parameters accumulate over recordings until `gradients().clear()`.
/// - Gradients of variables remain until the next recording begins.
/// - Use a tape from one thread at a time. Any number of tapes may train one model.
template <class Scalar>
class Tape {
 public:
  /// Computes the gradients of an operation's inputs from the gradient d_y of its result, and adds them with
  /// `add_gradient`.
  using Backward = std::function<void(const Variable<Scalar>& d_y, Tape& tape)>;

  Tape() = default;
  Tape(const Tape&) = delete;  // Variables hold their tape's address
  Tape& operator=(const Tape&) = delete;

  /// Returns a copy of `value` as an input whose gradient is computed.
  template <class Derived>
  Variable<Scalar> variable(const Eigen::MatrixBase<Derived>& value) {
    constexpr bool fits = std::is_same_v<typename Derived::Scalar, Scalar>;
    static_assert(fits, "a tape and its variables have one scalar type: for Tape<float> write x.cast<float>()");
    begin_recording();  // frees the last recording's memory before more is taken
    Variable<Scalar> x = new_matrix(value.rows(), value.cols());
    if constexpr (fits) x.writable() = value;
    return put(std::move(x), Node{.is_variable = true});
  }

  /// Returns a copy of a tensor as an input whose gradient is computed.
  Variable<Scalar> variable(const Tensor<Scalar>& value) {
    begin_recording();
    Variable<Scalar> x(workspace_.allocate<Scalar>(value.size()), value.shape());
    value.copy_to(x.writable_tensor());
    return put(std::move(x), Node{.is_variable = true});
  }

  /// Returns a parameter as an input. All uses in one recording share a node. The parameter must neither move nor
  /// change until `backward` has run, or `clear`. If its value then has other memory or another shape than at its first
  /// use in the recording, `use` and `backward` throw: what was recorded refers to memory that may be freed.
  Variable<Scalar> use(const Parameter<Scalar>& parameter) {
    begin_recording();
    if (const auto found = used_.find(&parameter); found != used_.end()) {
      check_unchanged(parameter, found->second);
      return found->second;
    }
    Variable<Scalar> x = put(Variable<Scalar>::view(parameter.value), Node{.parameter = &parameter});
    used_.emplace(&parameter, x);
    return x;
  }

  /// Records y as the result of an operation on `inputs` and returns it. If no input requires a gradient, y is a
  /// constant. Throws if an input belongs to another tape or an earlier recording.
  Variable<Scalar> record(Variable<Scalar> y, std::span<const Variable<Scalar>> inputs, Backward backward) {
    bool wanted = false;
    for (const Variable<Scalar>& x : inputs) {
      check_ours("Tape: an input", x);
      wanted = wanted || x.requires_grad();
    }
    if (!wanted) return y;
    if (records_later_) {
      has_left_out_ = true;
      return y;
    }
    return put(std::move(y), Node{.backward = std::move(backward)});
  }
  Variable<Scalar> record(Variable<Scalar> y, std::initializer_list<Variable<Scalar>> inputs, Backward backward) {
    return record(std::move(y), std::span(inputs.begin(), inputs.size()), std::move(backward));
  }

  /// For checkpoint(): returns forward() without recording its operations. The backward calls `again`, which must
  /// compute the same, and records it then. Calls may be nested.
  template <class Forward>
  Variable<Scalar> record_later(Forward&& forward, std::function<Variable<Scalar>()> again) {
    begin_recording();
    Variable<Scalar> y;
    bool is_nested, wanted;
    {
      const Restored<bool> later(records_later_, true), left_out(has_left_out_, false);
      y = forward();
      is_nested = later.before;
      wanted = has_left_out_;
    }
    has_left_out_ = is_nested && (has_left_out_ || wanted);
    if (is_nested || !wanted || y.requires_grad()) return y;  // y requires a gradient if it is an input
    return put(std::move(y), Node{.backward = [again = std::move(again)](const Variable<Scalar>& d_y, Tape& tape) {
                 tape.backward_again(again, d_y);
               }});
  }

  /// Returns whether operations are computed without being recorded: during the first call of a checkpointed layer,
  /// which the backward calls again. An operation need not save anything for its backward then. It must still call
  /// record(), which notes that the layer's result needs a gradient.
  bool records_later() const { return records_later_; }

  /// Returns uninitialised memory for a value or a gradient.
  Variable<Scalar> new_matrix(Index rows, Index cols) { return {allocate<Scalar>(count_of({rows, cols})), rows, cols}; }
  /// Returns uninitialised memory for `count` numbers of any type.
  template <class Number>
  std::shared_ptr<Number> allocate(Index count) {
    return workspace_.allocate<Number>(count);
  }

  /// Computes the gradient of seed * loss with respect to every variable and parameter that it depends on.
  /// loss: [1 x 1]. threads: help to add up gradients; operations use the threads of their context. Throws if the loss
  /// has another shape, depends on no variable or parameter of this tape, or belongs to another recording.
  void backward(const Variable<Scalar>& loss, Scalar seed = 1, Threads* threads = nullptr) {
    backward(loss, seed, threads, [](const Parameter<Scalar>&) {});
  }
  /// Computes gradients as above, and calls on_gradient(parameter) once for each parameter that the loss depends on:
  /// right after its gradient was added to `gradients()`, on the calling thread, before the backward pass goes on.
  void backward(const Variable<Scalar>& loss, Scalar seed, Threads* threads,
                FunctionRef<void(const Parameter<Scalar>&)> on_gradient) {
    check(loss.requires_grad(),
          "Tape::backward: nothing of the loss was recorded, expected a loss that depends on a variable or parameter "
          "of this tape, computed with this tape in the context");
    check(shape(loss) == Shape{1, 1}, "Tape::backward: the loss is ", shape(loss), ", expected [1 x 1]");
    check_ours("Tape::backward: the loss", loss);
    for (const auto& [parameter, used] : used_) check_unchanged(*parameter, used);
    Variable<Scalar> d_loss = new_matrix(1, 1);
    d_loss.writable()(0, 0) = seed;
    nodes_[static_cast<std::size_t>(loss.node_)].gradient = std::move(d_loss);
    ended_ = true;
    threads_ = threads;
    on_gradient_ = &on_gradient;
    run_backward(0, static_cast<std::size_t>(loss.node_) + 1);
    for (Node& node : nodes_) node.backward = nullptr;
  }

  /// Ends a recording without a backward, and frees its memory. Call it if a loss needs no gradient, such as a
  /// validation loss. Otherwise the recording grows with every further operation, and parameters must not change.
  /// Gradients of parameters stay. A Backward or on_gradient must not call it.
  void clear() {
    ended_ = true;
    begin_recording();
  }

  /// Returns the gradient that the last `backward` computed for a result of `variable()`. Zeros if the loss does not
  /// depend on it. Throws if x is not of this recording, or not a result of `variable()`: gradients of intermediate
  /// results are freed during the backward.
  Matrix<Scalar> gradient(const Variable<Scalar>& x) const {
    const auto node = static_cast<std::size_t>(x.node_);
    check(x.tape_ == this && x.recording_ == recording_ && node < nodes_.size(),
          "Tape::gradient: the variable is not of this recording");
    check(nodes_[node].is_variable,
          "Tape::gradient: the variable is not a result of variable(); for a parameter, write gradient(parameter)");
    const Variable<Scalar>& gradient = nodes_[node].gradient;
    if (gradient.size() == 0) return Matrix<Scalar>::Zero(x.rows(), x.cols());
    return gradient.value();
  }
  /// Returns gradient(x) in the shape of x.
  Tensor<Scalar> gradient_tensor(const Variable<Scalar>& x) const {
    return Tensor<Scalar>(gradient(x)).reshape(x.sizes());
  }
  /// Returns the parameter's gradient, accumulated since the last `gradients().clear()`.
  Matrix<Scalar> gradient(const Parameter<Scalar>& parameter) const { return gradients_[parameter]; }

  Gradients<Scalar>& gradients() { return gradients_; }
  const Workspace& workspace() const { return workspace_; }

  /// For a Backward: calls write(d_x) and adds d_x to x's gradient. d_x has the shape of x and is uninitialised; write
  /// must fill it. Does nothing if x requires no gradient.
  template <class Write>
  requires std::is_invocable_v<Write, MatrixMap<Scalar>>
  void add_gradient(const Variable<Scalar>& x, Write&& write) {
    if (!x.requires_grad()) return;
    Variable<Scalar> d_x = new_matrix(x.rows(), x.cols());
    write(d_x.writable());
    add_gradient(x, std::move(d_x));
  }
  /// For a Backward: adds d_x to x's gradient. d_x may share its memory with other gradients. Throws if d_x has another
  /// number of rows or columns than x.
  void add_gradient(const Variable<Scalar>& x, Variable<Scalar> d_x) {
    if (!x.requires_grad()) return;
    check(shape(d_x) == shape(x), "Tape::add_gradient: the gradient is ", shape(d_x), ", expected ", shape(x),
          ", the shape of the input");
    Variable<Scalar>& sum = nodes_[static_cast<std::size_t>(x.node_)].gradient;
    if (sum.size() == 0) {
      sum = std::move(d_x);
    } else if (sum.data_.use_count() == 1) {
      detail::write_sum<Scalar>(sum.data_.get(), sum.data_.get(), d_x.data_.get(), sum.size(), threads_);
    } else {  // shared with another input's gradient, as after y = a + b
      Variable<Scalar> total = new_matrix(x.rows(), x.cols());
      detail::write_sum<Scalar>(total.data_.get(), sum.data_.get(), d_x.data_.get(), sum.size(), threads_);
      sum = std::move(total);
    }
  }
  /// For a Backward: adds d_rows to the gradient of x's rows from `first` on, without touching the other rows. A loop
  /// over time steps then takes time linear in the number of rows. Throws unless d_rows has x's columns and x has these
  /// rows.
  void add_row_gradient(const Variable<Scalar>& x, Index first, const Variable<Scalar>& d_rows) {
    if (!x.requires_grad()) return;
    check(d_rows.cols() == x.cols() && first >= 0 && d_rows.rows() <= x.rows() - first,
          "Tape::add_row_gradient: the gradient is ", shape(d_rows), " from row ", first, " on, expected rows of ",
          shape(x), ", the shape of the input");
    Variable<Scalar>& sum = nodes_[static_cast<std::size_t>(x.node_)].gradient;
    if (sum.size() == 0 || sum.data_.use_count() != 1) {  // shared, or a view of memory that is not the tape's
      Variable<Scalar> own = new_matrix(x.rows(), x.cols());
      if (sum.size() == 0)
        own.writable().setZero();
      else
        own.writable() = sum.value();
      sum = std::move(own);
    }
    sum.writable().middleRows(first, d_rows.rows()) += d_rows.value();
  }

 private:
  struct Node {
    Backward backward{};
    Variable<Scalar> gradient{};
    const Parameter<Scalar>* parameter = nullptr;
    bool is_variable = false;  // whether it was made by variable(), so that its gradient is kept
  };

  /// Returns a number that no other recording in this process has. The next tape may lie where a destroyed one lay, so
  /// an address alone does not tell whose a Variable is. The counter is global, but results do not depend on the
  /// numbers: they are only compared.
  static std::uint64_t new_recording() {
    static std::atomic<std::uint64_t> last{0};
    return last.fetch_add(1, std::memory_order_relaxed) + 1;
  }

  /// Sets a flag, and restores it when it goes out of scope.
  template <class T>
  struct Restored {
    Restored(T& changed, T value) : variable(changed), before(std::exchange(changed, value)) {}
    Restored(const Restored&) = delete;
    Restored& operator=(const Restored&) = delete;
    ~Restored() { variable = before; }
    T& variable;
    T before;
  };

  /// Runs the backward of nodes `begin` to `end` - 1, last first.
  void run_backward(std::size_t begin, std::size_t end) {
    for (std::size_t i = end; i-- > begin;) {
      // Moved out, so that this node's memory is freed for the nodes before it.
      const Backward backward = std::exchange(nodes_[i].backward, nullptr);
      if (backward == nullptr && nodes_[i].parameter == nullptr) continue;
      const Variable<Scalar> gradient = std::exchange(nodes_[i].gradient, {});
      if (gradient.size() == 0) continue;
      if (backward != nullptr) {
        backward(gradient, *this);
      } else {
        gradients_.add(*nodes_[i].parameter, gradient.value(), threads_);
        (*on_gradient_)(*nodes_[i].parameter);
      }
    }
  }

  /// Records `again` behind the nodes of the recording, runs the backward of that part, and removes it. Gradients of
  /// earlier nodes are added to one by one, in the order of a plain backward. All parameters are earlier nodes, because
  /// the first call has used them.
  void backward_again(const std::function<Variable<Scalar>()>& again, const Variable<Scalar>& d_y) {
    const std::size_t first = nodes_.size();
    {
      const Restored<bool> recording(ended_, false);
      const Variable<Scalar> y = again();
      for (std::size_t i = first; i < nodes_.size(); ++i)
        check(nodes_[i].parameter == nullptr,
              "checkpoint: the layer's parameters were copied: give the layer a static visit, or call it from a lambda "
              "that refers to it");
      add_gradient(y, d_y);
    }
    run_backward(first, nodes_.size());
    nodes_.resize(first);
  }

  void begin_recording() {
    if (!ended_) return;
    nodes_.clear();
    used_.clear();
    ended_ = false;
    recording_ = new_recording();
  }

  Variable<Scalar> put(Variable<Scalar> x, Node node) {
    begin_recording();
    x.tape_ = this;
    x.recording_ = recording_;
    x.node_ = static_cast<Index>(nodes_.size());
    nodes_.push_back(std::move(node));
    return x;
  }

  /// Throws if a parameter's value has other memory or another shape than at its first use in the recording.
  static void check_unchanged(const Parameter<Scalar>& parameter, const Variable<Scalar>& first) {
    check(first.data_.get() == parameter.value.data() && shape(first) == shape(parameter.value),
          "Tape: a parameter was replaced during the recording: it is ", shape(parameter.value), ", expected ",
          shape(first), " in the memory of its first use; call backward() or clear() before parameters change");
  }
  void check_ours(const char* what, const Variable<Scalar>& x) const {
    check(!x.requires_grad() || (x.tape_ == this && x.recording_ == recording_ && !ended_), what,
          " is of another tape or of an earlier recording, expected one of this recording; compute it again after "
          "backward() or clear()");
  }

  Workspace workspace_;
  std::vector<Node> nodes_;
  std::unordered_map<const Parameter<Scalar>*, Variable<Scalar>> used_;
  Gradients<Scalar> gradients_;
  Threads* threads_ = nullptr;                                                // of the last backward
  const FunctionRef<void(const Parameter<Scalar>&)>* on_gradient_ = nullptr;  // of the running backward
  std::uint64_t recording_ = new_recording();
  bool ended_ = false;
  bool records_later_ = false;  // within a layer of record_later()
  bool has_left_out_ = false;   // there, whether an operation was not recorded that needs a backward
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
