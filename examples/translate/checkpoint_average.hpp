// Averages of a run's checkpoints, and the parameters that are kept for them.
#pragma once

#include <concepts>
#include <filesystem>
#include <string>
#include <type_traits>
#include <vector>

#include "eigenformer/io/checkpoint.hpp"
#include "translate/program.hpp"

namespace translate {

/// The quality of a model on the validation sentences.
struct Quality {
  double bleu = -1;
  double perplexity = 0;

  /// Compares BLEU, then perplexity: early in training BLEU may stay 0 for long.
  bool is_better_than(const Quality& other) const {
    return bleu != other.bleu ? bleu > other.bleu : perplexity < other.perplexity;
  }
};

/// A validated model whose parameters are kept in a file.
struct KeptModel {
  ef::Index update = 0;
  Quality quality{};
  std::string parameters{};  // hash of the parameters; part of the file's name
};

/// Adds a model to the list of the best `count` models, best first, if it is good enough. Writes its parameters to a
/// file in the folder of the checkpoints. Does not remove the file of a model that drops out of the list, because an
/// older checkpoint may still list it.
void keep_if_best(std::vector<KeptModel>& best, ef::Index count, const std::filesystem::path& checkpoints,
                  const Model& model, const Quality& quality, ef::Index update);

/// Removes the files of kept models that no checkpoint in the folder lists.
void remove_unlisted_models(const std::filesystem::path& checkpoints);

/// The mean of the parameters of several models.
struct ModelMean {
  Model model;
  ef::Index count = 0;  // 0: there was no model
};

/// Returns the checkpoints before an update that were saved because a signal or an error ended the program.
std::vector<ef::CheckpointEntry> interruptions_before(const std::filesystem::path& checkpoints, ef::Index update);

/// Returns the mean of the last complete checkpoints, at most `count`, after at most `updates` updates. Leaves out
/// checkpoints of interruptions, because an uninterrupted run lacks them; but the newest checkpoint always counts.
/// model: any model of their shape.
ModelMean mean_of_last(const Model& model, const std::filesystem::path& checkpoints, ef::Index updates,
                       ef::Index count);

/// Returns the mean of the kept models. Throws if a file is missing or damaged. model: any model of their shape.
ModelMean mean_of_best(const Model& model, const std::filesystem::path& checkpoints,
                       const std::vector<KeptModel>& best);

// The structs in JSON; see io/options.hpp.

template <class Options>
requires std::same_as<std::remove_const_t<Options>, Quality>
void visit_options(Options& quality, auto&& visitor) {
  visitor("bleu", quality.bleu);
  visitor("perplexity", quality.perplexity);
}

template <class Options>
requires std::same_as<std::remove_const_t<Options>, KeptModel>
void visit_options(Options& kept, auto&& visitor) {
  visitor("update", kept.update);
  visitor("quality", kept.quality);
  visitor("parameters", kept.parameters);
}

}  // namespace translate
