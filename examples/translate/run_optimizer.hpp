// The optimiser that the options of `train` choose.
#pragma once

#include <optional>
#include <variant>

#include "eigenformer/train/adam.hpp"
#include "eigenformer/train/muon.hpp"
#include "eigenformer/train/parameter_average.hpp"
#include "translate/program.hpp"

namespace translate {

/// Adam, AdamW or Muon, together with a moving average of the parameters unless its decay, `ema`, is 0.
class RunOptimizer {
 public:
  using scalar_type = float;

  RunOptimizer() = default;
  RunOptimizer(const ef::AdamOptions& options, double ema) : chosen_(ef::Adam<float>(options)), ema_decay_(ema) {}
  RunOptimizer(const ef::MuonOptions& options, double ema) : chosen_(ef::Muon<float>(options)), ema_decay_(ema) {}

  ef::Index updates() const {
    return std::visit([](const auto& optimizer) { return optimizer.updates(); }, chosen_);
  }
  template <class Parameters>
  void update(Parameters& parameters, const ef::Gradients<float>& gradients, double rate, double factor,
              ef::Threads* threads) {
    std::visit([&](auto& optimizer) { optimizer.update(parameters, gradients, rate, factor, threads); }, chosen_);
    if (ema_decay_ == 0) return;
    if (!average_) average_.emplace(ema_decay_);
    average_->add(parameters, updates(), threads);
  }
  static void visit(auto& self, auto&& visitor) {
    visitor("optimizer", self.chosen_);
    if (self.average_) visitor("ema", *self.average_);
  }
  template <class Parameters>
  void restore(const Parameters& parameters, ef::Index updates) {
    std::visit([&](auto& optimizer) { optimizer.restore(parameters, updates); }, chosen_);
    if (ema_decay_ == 0 || updates == 0) return;
    average_.emplace(ema_decay_);
    average_->restore(parameters);
  }

  /// Returns the moving average; null if there is none.
  const ef::ExponentialAverage<float>* average() const { return average_ ? &*average_ : nullptr; }

 private:
  std::variant<ef::Adam<float>, ef::Muon<float>> chosen_;
  double ema_decay_ = 0;
  std::optional<ef::ExponentialAverage<float>> average_;
};

}  // namespace translate
