// translate train: the run itself, with validation, checkpoints, the average of the last ones and the log.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "eigenformer/core/standard_streams.hpp"
#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/text/bleu.hpp"
#include "eigenformer/train/parameter_hash.hpp"
#include "translate/peak.hpp"
#include "translate/ranks.hpp"
#include "translate/run_hash.hpp"
#include "translate/subwords.hpp"
#include "translate/train.hpp"
#include "translate/translator.hpp"

namespace translate {

namespace {

/// Gives all ranks the state of rank 0, which may have resumed a run. Throws if another rank has other data.
void broadcast_state(ef::Ranks& ranks, const TrainingSettings& settings, std::string data, Model& model,
                     TrainingRun& run) {
  const std::string own_data = data;
  ef::broadcast_text(ranks, data);
  ef::check(data == own_data, "the corpus, the validation pairs or the model of --init are not those of rank 0");
  ef::Index updates = run.optimizer.updates();
  ef::broadcast_value(ranks, updates);
  ef::broadcast_value(ranks, run.state);
  if (ranks.rank() > 0 && updates > 0)
    run.optimizer.restore(ef::parameters_without<float>(model.network, settings.freeze, "--freeze"), updates);
  const auto share = [&](const std::string&, ef::Parameter<float>& parameter) {
    ef::broadcast(ranks, std::span(parameter.value.data(), static_cast<std::size_t>(parameter.value.size())));
  };
  ef::for_each_parameter(model.network, share);
  ef::for_each_parameter(run.optimizer, share);
}

/// Validates, saves, resumes and logs a run.
class Run {
 public:
  /// initial: the model before the first update.
  Run(const TrainArguments& arguments, TrainingData& data, const Model& initial, ef::Threads* threads)
      : arguments_(arguments),
        data_(data),
        references_(plain(data.target, data.validation.target)),
        threads_(threads),
        state_{} {
    state_.arguments = arguments;
    state_.data = run_hash(arguments, data, initial);
    state_.stopping.patience = arguments.patience;
  }

  /// Restores the run from its newest complete checkpoint. Prints its update, and why newer ones were skipped. Without
  /// a checkpoint, the run starts from the beginning.
  void resume(Model& model, TrainingRun& run) {
    const ef::NewestCheckpoint found = ef::newest_checkpoint(checkpoints_of(arguments_.out));
    for (const std::string& reason : found.skipped) std::printf("skipped a checkpoint: %s\n", reason.c_str());
    if (!found.checkpoint) {
      ef::check(found.skipped.empty(), "--resume: no checkpoint in ", arguments_.out,
                " can be used; without --resume, a new run replaces them");
      std::printf("no checkpoint in %s: training starts from the beginning\n", arguments_.out.c_str());
      return;
    }
    auto state = found.checkpoint->state<RunState>();
    ef::check(state.data == state_.data, "--resume: the corpus, the validation pairs or the model of --init are not ",
              "those that the run in ", arguments_.out, " was begun with");
    found.checkpoint->restore(
        model.network, ef::parameters_without<float>(model.network, arguments_.freeze, "--freeze"), run.optimizer);
    state_ = std::move(state);
    if (state_.best.is_better_than(state_.saved)) state_.saved = state_.best;  // older checkpoints lack `saved`
    state_.saved = quality_in_out(model);
    const bool changes = ef::options_to_json(state_.arguments) != ef::options_to_json(arguments_);
    state_.arguments = arguments_;
    state_.stopping.patience = arguments_.patience;
    run.state = state_.training;
    is_first_ = false;
    if (changes) {  // replay must know from which update on the arguments are others
      state_.arguments_since = run.optimizer.updates();
      save(model, run, state_.is_interruption);
    }
    plot(model);
    log_before_ = log_up_to(run.optimizer.updates());
    std::printf("resumed after update %lld\n", static_cast<long long>(run.optimizer.updates()));
  }

  /// Validates a model and saves it if it is the best so far. Returns whether training goes on. update: the update that
  /// gave the model; 0 for an average of checkpoints. is_scheduled: whether --patience and --average-of count the
  /// validation. They ignore an average, and a validation caused by an interruption: a resumed run continues like an
  /// uninterrupted one.
  bool validate(const Model& model, ef::Index update, bool is_scheduled) {
    const ef::BleuTokenizer tokenizer = bleu_tokenizer(model.target, references_);
    const std::vector<std::string> translations =
        Translator(model, threads_).translate(data_.validation.source, data_.validation_name);
    const ef::Bleu bleu = ef::bleu(translations, references_, tokenizer);
    const Quality quality{bleu.score, perplexity(model, data_.encoded_validation, threads_)};
    const bool is_saved = quality.is_better_than(state_.saved);
    if (is_saved) {
      state_.saved = quality;
      if (std::exchange(is_first_, false)) forget_earlier_run(-1);
      save_model(
          arguments_.out, model, ef::options_to_json(arguments_).dump(2) + '\n',
          ef::options_to_json(KeptModel{update, quality, hex(ef::parameter_hash(model.network))}).dump(2) + '\n');
    }
    if (update > 0 && !has_validated(update))
      state_.curves.validations.push_back({update, quality.perplexity, quality.bleu});
    const bool stops = is_scheduled && count(model, update, quality);
    try {
      std::printf("validation: perplexity %.2f  BLEU %.2f (%s)%s\n", quality.perplexity, quality.bleu,
                  std::string(ef::to_string(tokenizer)).c_str(), is_saved ? "  best so far, saved" : "");
      ef::flush_standard_output();
      log_validation(update, quality);
      plot(model);
    } catch (...) {  // because a disk is full or a pipe was closed
      failed_report_ = std::current_exception();
      return false;  // training stops and saves a checkpoint, which has the whole validation
    }
    if (!stops) return true;
    std::printf("no improvement in %lld validations: training stops\n", static_cast<long long>(arguments_.patience));
    return false;
  }

  /// Saves a checkpoint. is_interruption: whether a signal or an error ends the program here. An uninterrupted run has
  /// no such checkpoint, so neither --keep nor --average counts it, and the next one removes it.
  void save(const Model& model, const TrainingRun& run, bool is_interruption) {
    const ef::Index updates = run.optimizer.updates(), every = arguments_.checkpoint_every;
    const bool is_due = every > 0 && updates % every == 0;
    state_.is_interruption = !is_due && (is_interruption || failed_report_ != nullptr);
    state_.training = run.state;
    state_.parameters = hex(ef::parameter_hash(model.network));
    const std::filesystem::path folder = checkpoints_of(arguments_.out);
    const std::vector<ef::CheckpointEntry> interruptions = interruptions_before(folder, updates);
    const ef::Index keep = std::max(arguments_.keep, arguments_.average_of == "last" ? arguments_.average : 0);
    std::filesystem::create_directory(arguments_.out);  // before the first validation there is no model
    ef::save_checkpoint(folder, model.network, run.optimizer, state_,
                        {.keep = keep + static_cast<ef::Index>(interruptions.size())});
    for (const ef::CheckpointEntry& entry : interruptions) ef::remove_checkpoint(entry);
    if (std::exchange(is_first_, false)) forget_earlier_run(updates);
    remove_unlisted_models(folder);
  }

  /// Validates the average of the last or best checkpoints, and saves it if it is the best model.
  void validate_average(const Model& model, const TrainingRun& run) {
    const std::filesystem::path folder = checkpoints_of(arguments_.out);
    const ModelMean mean = arguments_.average_of == "best"
                               ? mean_of_best(model, folder, state_.best_models)
                               : mean_of_last(model, folder, run.optimizer.updates(), arguments_.average);
    if (mean.count == 0) return;
    std::printf("average of the %s %lld checkpoints: ", arguments_.average_of.c_str(),
                static_cast<long long>(mean.count));
    const Quality before = state_.saved;
    validate(mean.model, 0, false);
    if (state_.saved.is_better_than(before))
      save(model, run, false);  // a resumed run must not replace the average with a worse model
  }

  /// Appends an update to the log and to the curves.
  void log_update(const ef::TrainingProgress& progress) {
    state_.curves.training.add(progress.update, progress.loss, progress.learning_rate);
    char line[160];
    std::snprintf(line, sizeof(line), "%lld,%.6g,%.6g,%.6g,%lld,%.3f,,\n", static_cast<long long>(progress.update),
                  progress.loss, progress.learning_rate, progress.gradient_norm, static_cast<long long>(progress.items),
                  progress.seconds);
    log(line);
  }

  /// Returns the hash of the run's data; see run_hash().
  const std::string& data() const { return state_.data; }
  /// Returns the quality of the model in --out; Quality{} if the run has saved none there.
  const Quality& saved() const { return state_.saved; }
  /// Returns whether a model was validated after this update or a later one.
  bool has_validated(ef::Index update) const {
    const std::vector<ValidationPoint>& validations = state_.curves.validations;
    return !validations.empty() && validations.back().update >= update;
  }
  /// Throws if a report of a validation has failed. Call it after saving.
  void check_reported() const {
    if (failed_report_ != nullptr) std::rethrow_exception(failed_report_);
  }
  /// Returns whether the resumed run had already stopped early.
  bool has_stopped() const { return state_.stopping.should_stop(); }

 private:
  /// Returns the quality of the model in --out; Quality{} if it is missing or not the one that the run saved. The
  /// checkpoint may not know it: a killed run may have saved a better model later. model: any model of its shape.
  Quality quality_in_out(const Model& model) const {
    const std::filesystem::path parameters = ef::newest_file(arguments_.out, "model.safetensors");
    const std::filesystem::path quality = ef::newest_file(arguments_.out, quality_file);
    std::error_code error;
    if (!std::filesystem::exists(parameters, error)) return {};
    if (!std::filesystem::exists(quality, error)) return state_.saved;  // older versions did not write it
    try {
      const std::string where = ef::path_text(quality);
      const auto kept = ef::options_from_json<KeptModel>(ef::parse_json(ef::read_file(quality), where), where);
      Model saved = model;
      ef::load_parameters(ef::SafetensorsFile(parameters), saved.network);
      if (hex(ef::parameter_hash(saved.network)) == kept.parameters) return kept.quality;
    } catch (const ef::Error&) {  // the next validated model replaces the damaged one
    }
    return {};
  }
  /// Removes what would make --resume continue an earlier run in --out, or take its model for one of this run. A new
  /// run calls it before its first model or after its first checkpoint, whichever comes first. update: keeps the
  /// checkpoint of this update; -1: keeps none.
  void forget_earlier_run(ef::Index update) const {
    for (const std::filesystem::path& file :
         {ef::newest_file(arguments_.out, quality_file), std::filesystem::path(arguments_.out) / quality_file})
      std::filesystem::remove(file);
    ef::remove_checkpoints_except(checkpoints_of(arguments_.out), update);
  }
  /// Counts a scheduled validation for --patience and --average-of. Returns whether training stops.
  bool count(const Model& model, ef::Index update, const Quality& quality) {
    if (arguments_.average_of == "best")
      keep_if_best(state_.best_models, arguments_.average, checkpoints_of(arguments_.out), model, quality, update);
    const bool is_best = quality.is_better_than(state_.best);
    const bool is_lowest = state_.lowest_perplexity == 0 || quality.perplexity < state_.lowest_perplexity;
    if (is_best) state_.best = quality;
    if (is_lowest) state_.lowest_perplexity = quality.perplexity;
    return state_.stopping.add(arguments_.stop_metric == "bleu" ? is_best : is_lowest);
  }
  /// Writes --plot.
  void plot(const Model& model) const {
    if (arguments_.plot.empty()) return;
    const std::string parameters = std::to_string(ef::parameter_count(model.network));
    ef::write_file(arguments_.plot,
                   svg_training_plot(state_.curves, arguments_.model + " model, " + parameters + " parameters"));
  }
  void log_validation(ef::Index update, const Quality& quality) {
    char line[160];
    std::snprintf(line, sizeof(line), "%lld,,,,,,%.6g,%.6g\n", static_cast<long long>(update), quality.perplexity,
                  quality.bleu);
    log(line);
  }
  /// Writes a line to --log. A resumed run continues the file.
  void log(const std::string& line) {
    if (arguments_.log.empty()) return;
    const bool is_first = !std::exchange(has_logged_, true);
    std::string text = line;
    if (is_first) text = "update,loss,rate,gradient_norm,tokens,seconds,perplexity,bleu\n" + log_before_ + line;
    // A stream of its own would overwrite what is printed: the shell may have directed /dev/stdout to a file.
    if (ef::names_descriptor(arguments_.log)) return ef::write_file(arguments_.log, text);
    std::error_code error;
    if (is_first &&
        (!std::filesystem::exists(arguments_.log, error) || std::filesystem::is_regular_file(arguments_.log, error))) {
      ef::write_file(arguments_.log, text);  // keeps the old log until the new one is complete
      log_.open(arguments_.log, std::ios::binary | std::ios::app);
    } else {
      if (is_first) log_.open(arguments_.log, std::ios::binary);  // a pipe
      log_ << text << std::flush;
    }
    ef::check(log_.good(), "--log: ", arguments_.log, ": cannot be written");
  }

  /// Returns the lines of an existing log that belong to the checkpoint of this update. Leaves out what a killed run
  /// logged after it: later updates, and a validation that the checkpoint lacks. Leaves out averages (update 0),
  /// because they are validated again.
  std::string log_up_to(ef::Index checkpoint) const {
    std::string lines, line;
    if (!std::filesystem::is_regular_file(arguments_.log)) return lines;
    std::istringstream all(ef::read_file(arguments_.log));
    for (std::getline(all, line); std::getline(all, line) && !all.eof();) {  // the first has the names of the columns
      if (std::count(line.begin(), line.end(), ',') != 7) continue;  // printed by another program, into the same file
      const ef::Index update = std::strtoll(line.c_str(), nullptr, 10);
      const bool is_in_checkpoint = line.ends_with(",,") || has_validated(update);  // validations end otherwise
      if (update > 0 && (update < checkpoint || (update == checkpoint && is_in_checkpoint))) lines += line + '\n';
    }
    return lines;
  }

  const TrainArguments& arguments_;
  TrainingData& data_;
  std::vector<std::string> references_;  // of the validation sentences
  ef::Threads* threads_;
  RunState state_;
  bool is_first_ = true;    // whether the next checkpoint is the first of a run that does not continue an earlier one
  std::string log_before_;  // the lines of the old log that a resumed run keeps
  bool has_logged_ = false;
  std::ofstream log_;
  std::exception_ptr failed_report_;
};

/// Returns a path without symbolic links, also if nothing exists there.
std::filesystem::path real(const std::filesystem::path& path, std::error_code& error) {
  return std::filesystem::weakly_canonical(std::filesystem::absolute(path, error), error);
}

/// Returns whether two paths name one regular file, which may not exist yet.
bool is_one_file(const std::filesystem::path& a, const std::filesystem::path& b) {
  std::error_code error;
  if (std::filesystem::exists(a, error) && !std::filesystem::is_regular_file(a, error)) return false;
  if (std::filesystem::equivalent(a, b, error)) return true;
  const std::filesystem::path real_a = real(a, error);
  return !error && real_a == real(b, error) && !error;
}

/// Returns whether saving a model in `folder` would replace or remove this path.
bool is_of_model(const std::filesystem::path& path, const std::filesystem::path& folder) {
  for (const char* const name : saved_files)
    if (is_one_file(path, folder / name)) return true;
  std::error_code error;
  const std::filesystem::path checkpoints = real(checkpoints_of(folder), error);
  std::filesystem::path inside = real(path, error);
  while (!error && inside.has_relative_path() && inside != checkpoints) inside = inside.parent_path();
  return !error && inside == checkpoints;
}

/// Returns whether a path is directly in a folder that does not exist yet.
bool is_in_new_folder(const std::filesystem::path& path, const std::filesystem::path& folder) {
  std::error_code error;
  if (std::filesystem::exists(folder, error)) return false;
  return real(path, error).parent_path() == real(folder / "file", error).parent_path() && !error;
}

/// Throws if --log or --plot cannot be written, or names the file of another option or a file of a model.
void check_reports(const TrainArguments& arguments) {
  const std::pair<const char*, const std::string&> reports[] = {{"--log", arguments.log}, {"--plot", arguments.plot}};
  const std::pair<const char*, const std::string&> others[] = {
      {"--pairs", arguments.pairs},
      {"--source", arguments.source},
      {"--target", arguments.target},
      {"--valid-pairs", arguments.valid_pairs},
      {"--valid-source", arguments.valid_source},
      {"--valid-target", arguments.valid_target},
      {"--alignments", arguments.guided_alignment.links},
      {"--subword-model", arguments.subwords.model},
      {"--source-subword-model", arguments.source_subwords.model},
      {"--target-subword-model", arguments.target_subwords.model},
      {"--config", arguments.config},
      {"--out", arguments.out},
      {"--log", arguments.log}};
  const std::pair<const char*, const std::string&> folders[] = {{"--out", arguments.out}, {"--init", arguments.init}};
  for (const auto& [report, path] : reports) {
    if (path.empty()) continue;
    for (const auto& [other, read] : others)
      ef::check(other == std::string_view(report) || read.empty() || !is_one_file(path, read), report, " and ", other,
                ": are one file, ", path, ", expected two");
    for (const auto& [option, folder] : folders)
      ef::check(folder.empty() || !is_of_model(path, folder), report, ": ", path, " is a file of the model folder of ",
                option, ", expected another file");
    if (is_in_new_folder(path, arguments.out)) continue;
    try {
      ef::check_writable(path);
    } catch (const ef::Error& error) {
      ef::fail(report, ": ", error.what());
    }
  }
}

}  // namespace

void train(const TrainArguments& arguments, ef::Ranks* ranks) {
  const bool is_first = ranks == nullptr || ranks->rank() == 0;  // it alone writes, resumes and validates
  check_subword_options(arguments);
  if (is_first) check_reports(arguments);  // while a missing --out is not a folder yet
  std::error_code error;                   // a folder that does not exist is another one
  const bool is_new = is_first && !std::filesystem::exists(arguments.out, error);
  const std::shared_ptr<const void> lock = is_first ? ef::lock_folder(arguments.out) : nullptr;
  if (is_new) remove_if_interrupted(arguments.out);
  if (is_first) check_saving(arguments.out);
  const std::filesystem::path checkpoints = checkpoints_of(arguments.out);
  if (is_first && std::filesystem::exists(checkpoints, error)) ef::check_folder_writable(checkpoints);
  ef::check(arguments.init.empty() || !std::filesystem::equivalent(arguments.init, arguments.out, error),
            "--init and --out: are one folder, ", arguments.out,
            ", expected two: the first saved model would replace the initial one, and the run could not be resumed");
  ef::ThreadPool pool(threads_of(arguments.threads));
  TrainingData data = read_training_data(arguments, &pool, ranks);
  Model model = make_model(arguments, data.source, data.target);
  std::printf("%lld training pairs, %lld validation pairs; %lld parameters; %d threads",
              static_cast<long long>(data.pairs), static_cast<long long>(data.validation.size()),
              static_cast<long long>(ef::parameter_count(model.network)), pool.size());
  if (ranks != nullptr)
    std::printf(" on each of %lld ranks; %lld batches per update", static_cast<long long>(ranks->size()),
                static_cast<long long>(arguments.accumulate));
  std::printf("\n");
  TrainingRun run = begin_run(arguments);
  Run program(arguments, data, model, &pool);
  if (arguments.resume && is_first) program.resume(model, run);
  // Resumed runs are not checked, because older versions began runs with other options.
  if (is_first && run.optimizer.updates() == 0) check_initial(arguments, model);
  ef::flush_standard_output();

  TrainingSettings settings = settings_of(arguments, &pool);
  settings.ranks = ranks;
  bool has_stopped = program.has_stopped();
  if (ranks != nullptr) {
    broadcast_state(*ranks, settings, program.data(), model, run);
    ef::broadcast_value(*ranks, has_stopped);
  }
  if (ranks == nullptr || ranks->rank() == 0) settings.peak_flops = peak_flops(pool);  // only rank 0 prints
  settings.validate = [&](const Model& trained, const ef::TrainingProgress& progress, bool is_scheduled) {
    return program.validate(trained, progress.update, is_scheduled);
  };
  settings.save = [&](const Model& trained, const TrainingRun& now, bool is_interruption) {
    program.save(trained, now, is_interruption);
  };
  settings.log = [&](const ef::TrainingProgress& progress) { program.log_update(progress); };
  watch_signals_of_training();
  if (has_stopped)
    std::printf("no updates are left: --patience is %lld, and the last validations brought no improvement\n",
                static_cast<long long>(arguments.patience));
  else
    train_model(model, data.batches, settings, run);
  data.report_skipped();
  if (!is_first) return;
  program.check_reported();
  // A killed run may lack its last validation, and somebody may have removed its model.
  const ef::Index updates = run.optimizer.updates();
  const bool has_validated = program.has_validated(updates);
  if (interrupted == 0 && (!has_validated || program.saved().bleu < 0)) {
    program.validate(averaged(model, run, settings), updates, !has_validated);
    program.save(model, run, false);
  }
  if (arguments.average > 0 && interrupted == 0) program.validate_average(model, run);
  program.check_reported();
  if (interrupted != 0) std::printf("stopped by %s; ", interrupted == SIGINT ? "Ctrl-C" : "a signal");
  std::printf("the best model, BLEU %.2f, is in %s\n", program.saved().bleu, arguments.out.c_str());
}

}  // namespace translate
