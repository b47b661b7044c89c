#include "translate/replay.hpp"

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "eigenformer/core/standard_streams.hpp"
#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/train/parameter_hash.hpp"
#include "eigenformer/train/replay.hpp"
#include "translate/heat_map.hpp"
#include "translate/readings.hpp"
#include "translate/run_hash.hpp"
#include "translate/train.hpp"

namespace translate {

namespace {

/// Returns the tokens of a sequence as text.
std::vector<std::string> texts_of(const ef::Vocabulary& vocabulary, std::span<const ef::Token> tokens) {
  std::vector<std::string> texts;
  for (const ef::Token token : tokens) texts.push_back(vocabulary.token(token));
  return texts;
}

/// One batch of the update, with the losses and the attention of its forward pass, dropout included.
struct BatchReport {
  const Model& model;  // its vocabularies
  const ef::TranslationBatch& batch;
  std::vector<double> losses;     // of each target token
  ef::Matrix<float> attention{};  // [target tokens x tokens of the longest source]; empty: not recorded

  ef::Index pairs() const { return batch.source.sequences(); }

  /// Prints each pair with the losses of its target tokens. first: the number of the first pair.
  void print(ef::Index first) const {
    for (ef::Index pair = 0; pair < pairs(); ++pair) {
      std::printf("pair %lld\n  source:", static_cast<long long>(first + pair));
      for (const std::string& token : texts_of(model.source.vocabulary, batch.source[pair]))
        std::printf(" %s", token.c_str());
      std::printf("\n  target:");
      for (ef::Index row = batch.target.rows.begin(pair); row < batch.target.rows.end(pair); ++row) {
        const auto i = static_cast<std::size_t>(row);
        std::printf(" %s(%.3f)", model.target.vocabulary.token(batch.next[i]).c_str(), losses[i]);
      }
      std::printf("\n");
    }
  }

  /// Draws the attention of one pair.
  void draw(ef::Index pair) const {
    const ef::RowOffsets &rows = batch.target.rows, &source_rows = batch.source.rows;
    const ef::Matrix<float> weights = attention.block(rows.begin(pair), 0, rows.length(pair), source_rows.length(pair));
    const auto next = std::span<const ef::Token>(batch.next);
    const auto labels =
        next.subspan(static_cast<std::size_t>(rows.begin(pair)), static_cast<std::size_t>(rows.length(pair)));
    ef::flush_standard_output();
    // Dropout divides the weights that it keeps, so some may be greater than 1.
    print_heat_map(std::cout, weights.cwiseMin(1.0F), texts_of(model.target.vocabulary, labels),
                   texts_of(model.source.vocabulary, batch.source[pair]));
  }
};

void print_update(const ef::TrainingProgress& progress, const std::vector<ef::GradientNorm>& norms,
                  const std::string& parameters) {
  std::printf("update %lld: loss %.6f, %lld target tokens, learning rate %.6g, gradient norm %.6f\n",
              static_cast<long long>(progress.update), progress.loss, static_cast<long long>(progress.items),
              progress.learning_rate, progress.gradient_norm);
  std::printf("parameters after it: %s\ngradient norms:\n", parameters.c_str());
  for (const ef::GradientNorm& layer : norms) std::printf("  %-40s %.6f\n", layer.name.c_str(), layer.norm);
}

/// Throws if the run was over before the update. last: its newest checkpoint. A killed run is not over: replay also
/// repeats the updates after its last checkpoint.
void check_reached(const ReplayArguments& arguments, const ef::Checkpoint& last, const RunState& state) {
  const TrainArguments& of_run = state.arguments;
  const bool is_over = (of_run.updates > 0 && last.update() >= of_run.updates) ||
                       (of_run.minutes > 0 && state.training.seconds >= 60 * of_run.minutes) ||
                       state.stopping.should_stop();
  ef::check(!is_over || arguments.update <= last.update(), "replay: --update is ", arguments.update,
            ", but the run in ", arguments.model, " has ", last.update(), " updates");
}

/// Returns the state of the run in its newest checkpoint before the update, which becomes `before`. If there is none,
/// returns the state in a later checkpoint; `before` stays empty, and the replay must start from the beginning.
RunState state_before(const ReplayArguments& arguments, ef::NewestCheckpoint& before) {
  const std::filesystem::path folder = checkpoints_of(arguments.model);
  const ef::NewestCheckpoint last = ef::newest_checkpoint(folder);
  ef::check(last.checkpoint.has_value(), "replay: ", arguments.model,
            " has no checkpoint, expected a folder that train wrote");
  auto state = last.checkpoint->state<RunState>();
  check_reached(arguments, *last.checkpoint, state);
  before = ef::newest_checkpoint(folder, arguments.update - 1);
  for (const std::string& reason : before.skipped) std::printf("skipped a checkpoint: %s\n", reason.c_str());
  if (before.checkpoint) return before.checkpoint->state<RunState>();
  ef::check(state.arguments_since == 0, "replay: no checkpoint before update ", arguments.update,
            " is kept, and the run was resumed with other options after update ", state.arguments_since);
  return state;
}

/// Prints each batch of the update with its losses, and draws the attention of the chosen pair.
template <class Network>
void print_batches(const ReplayArguments& arguments, const Model& before, const Network& network,
                   std::span<const ef::TranslationBatch> batches, const TrainingSettings& settings) {
  ef::Index first = 1;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    const ef::TranslationBatch& batch = batches[i];
    ef::Rng rng = ef::update_rng(settings.seed, arguments.update, static_cast<ef::Index>(i));
    ef::AttentionRecorder<float> recorder;
    const ef::Index shown = arguments.pair - first;  // in this batch, from 0
    BatchReport report{before, batch, {}};
    const bool draws = shown >= 0 && shown < report.pairs();
    const ef::Context<float> context{.rng = &rng,
                                     .threads = settings.threads,
                                     .attention = draws ? &recorder : nullptr,
                                     .precision = settings.precision};
    const ef::Matrix<float> logits = network(context, batch.source, batch.target).value();
    report.losses = ef::token_losses<float>(logits, batch.next, settings.label_smoothing);
    report.print(first);
    if (draws) {
      report.attention = attention_of(network, recorder, arguments.layer, arguments.head);
      report.draw(shown);
    }
    first += report.pairs();
  }
  ef::check(arguments.pair < first, "replay: there is no pair ", arguments.pair, ", the update has ", first - 1);
}

}  // namespace

void replay(const ReplayArguments& arguments) {
  ef::NewestCheckpoint before;
  const RunState state = state_before(arguments, before);
  const TrainArguments& of_run = state.arguments;
  ef::ThreadPool pool(arguments.threads);
  TrainingData data = read_training_data(of_run, &pool, nullptr);
  Model model = make_model(of_run, data.source, data.target);
  const TrainingSettings settings = settings_of(of_run, &pool);
  TrainingRun run = begin_run(of_run);
  ef::ParameterList<float> trained = ef::parameters_without<float>(model.network, settings.freeze, "--freeze");
  ef::check(
      state.data == run_hash(of_run, data, model),
      "replay: the corpus, the validation pairs or the model of --init are not those that the run was begun with");
  if (before.checkpoint) {
    before.checkpoint->restore(model.network, trained, run.optimizer);
    run.state = state.training;
  }
  std::printf("from the state after update %lld\n", static_cast<long long>(run.optimizer.updates()));

  data.batches.seek(run.state.next);
  ef::Index drawn = 0;  // batches
  const auto next_batch = [&] {
    const bool is_over = of_run.epochs > 0 && data.batches.epochs_done() >= static_cast<double>(of_run.epochs);
    ef::check(!is_over || drawn % settings.accumulate != 0, "replay: --update is ", arguments.update,
              ", but the run in ", arguments.model, " has ", run.optimizer.updates(), " updates");
    ++drawn;
    return data.batches.next();
  };
  const ef::TrainingOptions options = update_options(settings, model, data.batches);
  std::visit(
      [&](const auto& network) {
        const auto loss = [&](const ef::Context<float>& context, const ef::TranslationBatch& batch) {
          return batch_loss(network, context, batch, settings.label_smoothing, settings.guided_alignment_weight);
        };
        ef::train_until(trained, run.optimizer, next_batch, loss, arguments.update - 1, options);
        const Model copy = model;
        const auto observed = ef::observe_update(trained, run.optimizer, next_batch, loss, options);
        print_update(observed.progress, observed.gradient_norms, hex(ef::parameter_hash(network)));
        print_batches(arguments, copy, std::get<std::remove_cvref_t<decltype(network)>>(copy.network), observed.batches,
                      settings);
      },
      model.network);
}

}  // namespace translate
