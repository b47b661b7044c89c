#include "translate/train_options.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <type_traits>

#include "translate/guided_alignment.hpp"
#include "translate/train.hpp"
#include "translate/validators.hpp"

namespace translate {

namespace {

/// Returns the arguments in the newest complete checkpoint of a run, if there is one.
std::optional<TrainArguments> arguments_of_run(const std::string& out) {
  const ef::NewestCheckpoint found = ef::newest_checkpoint(checkpoints_of(out));
  if (!found.checkpoint) return std::nullopt;
  return found.checkpoint->state<RunState>().arguments;
}

}  // namespace

void add_precision(CLI::App* command, std::string& precision) {
  command
      ->add_option("--precision", precision,
                   "type in which training multiplies matrices; bfloat16 is faster on processors with "
                   "bfloat16 instructions, and there includes attention")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
}

void add_run_options(CLI::App* command, TrainArguments& arguments) {
  const auto add_count = [&](const char* name, ef::Index& value, std::uint64_t smallest, std::uint64_t largest,
                             const char* help) {
    command->add_option(name, value, help)->check(whole_in(smallest, largest))->capture_default_str();
  };
  const auto add_rate = [&](const char* name, double& value, const char* help) {
    return command->add_option(name, value, help)->check(number_in(0, 0.9, "from 0 to 0.9"));
  };
  constexpr std::uint64_t many = 1'000'000'000;
  command->add_flag("--resume", arguments.resume,
                    "continue the run in --out from its newest checkpoint, with its options");
  add_count("--checkpoint-every", arguments.checkpoint_every, 0, many,
            "updates between checkpoints (0: save one only when training stops)");
  add_count("--keep", arguments.keep, 1, 1'000'000, "number of newest checkpoints to keep, at least --average");
  add_count("--shuffle-buffer", arguments.shuffle_buffer, 1, many,
            "sentence pairs in memory; a larger corpus streams through this buffer");
  add_count("--accumulate", arguments.accumulate, 1, 1'000'000,
            "batches per update, on each rank; their gradients are summed");
  command->add_flag("--checkpoint-activations,!--no-checkpoint-activations", arguments.checkpoint_activations,
                    "compute a Transformer's activations again in the backward: less memory, a third more time");
  command->add_option("--schedule", arguments.schedule, "schedule of the learning rate")
      ->check(CLI::IsMember({"inverse_square_root", "cosine", "linear", "warmup_stable_decay"}))
      ->capture_default_str();
  command
      ->add_option("--warmup", arguments.warmup,
                   "updates until the peak learning rate (default: from the preset; at most a tenth of the updates if "
                   "--schedule ends at 0 and has no room for it)")
      ->check(whole_in(1, many));
  add_rate("--label-smoothing", arguments.label_smoothing, "share of the target probability spread over all tokens")
      ->capture_default_str();
  command->add_option("--optimizer", arguments.optimizer, "optimiser; muon leaves embeddings and vectors to Adam")
      ->check(CLI::IsMember({"adam", "adamw", "muon"}))
      ->capture_default_str();
  add_precision(command, arguments.precision);
  command->add_option("--weight-decay", arguments.weight_decay, "weight decay (default: 0, or 0.01 for adamw)")
      ->check(number_in(0, 1, "from 0 to 1"));
  add_rate("--embedding-dropout", arguments.embedding_dropout,
           "dropout of a Transformer's embeddings (default: --dropout)");
  add_rate("--attention-dropout", arguments.attention_dropout,
           "dropout of a Transformer's attention weights (default: --dropout)");
  add_rate("--activation-dropout", arguments.activation_dropout,
           "dropout inside a Transformer's feed-forward layers (default: --dropout)");
  command
      ->add_option("--freeze", arguments.freeze,
                   "name pattern of parameters to freeze, such as \"encoder.*\"; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--init", arguments.init,
                      "folder of a model with the same options; training starts from its weights and vocabularies");
  command->add_option("--ema", arguments.ema, "validate and save a moving average of the parameters with this decay")
      ->check(number_in(0, 0.999999, "from 0 to 0.999999"));
  add_count("--average", arguments.average, 0, 1000,
            "at the end, also validate the average of this number of checkpoints (0: none)");
  command->add_option("--average-of", arguments.average_of, "checkpoints of --average: the last, or the best validated")
      ->check(CLI::IsMember({"last", "best"}))
      ->capture_default_str();
  add_count("--validate-every", arguments.validate_every, 0, many,
            "updates between validations (0: 20 validations, spread evenly over the budget)");
  add_count(
      "--patience", arguments.patience, 0, 1'000'000,
      "stop after this number of validations without improvement (0: never); for 20 or more, give --validate-every");
  command->add_option("--stop-metric", arguments.stop_metric, "metric that --patience watches")
      ->check(CLI::IsMember({"bleu", "perplexity"}))
      ->capture_default_str();
  command->add_option("--config", arguments.config,
                      "JSON file of options, such as a model's training.json; the command line overrides it");
  command->add_option("--log", arguments.log, "CSV file for a line per update and validation");
  command->add_option("--plot", arguments.plot,
                      "SVG file for a plot of loss, perplexity, BLEU and learning rate, rewritten at each validation");
  add_alignment_options(command, arguments);
}

void add_replay_options(CLI::App* command, ReplayArguments& arguments) {
  command->add_option("--model", arguments.model, "folder that `train --out` wrote, with its checkpoints")->required();
  command->add_option("--update", arguments.update, "number of the update, from 1")
      ->required()
      ->check(whole_in(1, 1'000'000'000));
  command->add_option("--pair", arguments.pair, "draw the attention of this pair of the update, from 1")
      ->check(whole_in(1, 1'000'000'000));
}

bool read_stored_arguments(TrainArguments& arguments) {
  std::optional<TrainArguments> stored;
  if (arguments.resume && !arguments.out.empty()) stored = arguments_of_run(arguments.out);
  if (arguments.config.empty()) {
    if (stored) arguments = *stored;
    return stored.has_value();
  }
  const ef::Json config = ef::parse_json(ef::read_file(arguments.config), arguments.config);
  ef::options_from_json<TrainArguments>(
      config, arguments.config);  // throws if the file is not an object of known options, before it is merged
  ef::Json options = ef::options_to_json(stored.value_or(TrainArguments()));
  options.update(config);
  arguments = ef::options_from_json<TrainArguments>(options, arguments.config);
  return true;
}

void check_arguments(const TrainArguments& arguments) {
  ef::check(!arguments.out.empty(), "--out is required");
  // Texts must be UTF-8, because checkpoints store the options as JSON.
  visit_options(arguments, [](const std::string& name, const auto& value, auto...) {
    if constexpr (std::is_same_v<decltype(value), const std::string&>) ef::check_utf8(value, "--" + name);
    if constexpr (std::is_same_v<decltype(value), const std::vector<std::string>&>)
      for (const std::string& text : value) ef::check_utf8(text, "--" + name);
  });
  const auto check_choice = [](const char* name, const std::string& given, std::initializer_list<const char*> choices) {
    ef::check(std::find(choices.begin(), choices.end(), given) != choices.end(), name, ": is ", given,
              ", see --help for the choices");
  };
  check_choice("--model", arguments.model, {"transformer", "recurrent"});
  ef::check(arguments.shuffle_buffer > 0, "--shuffle-buffer: expected 1 or more");
  check_choice("--preset", arguments.preset, {"tiny", "base"});
  check_choice("--optimizer", arguments.optimizer, {"adam", "adamw", "muon"});
  check_choice("--precision", arguments.precision, {"float32", "bfloat16"});
  check_choice("--average-of", arguments.average_of, {"last", "best"});
  check_choice("--stop-metric", arguments.stop_metric, {"bleu", "perplexity"});
  ef::check(arguments.batch_tokens > 0 && arguments.accumulate > 0 && arguments.keep > 0 && arguments.max_length > 0,
            "--batch-tokens, --accumulate, --keep and --max-length: expected 1 or more");
  ef::check(!arguments.pairs.empty() || !arguments.source.empty(), "--pairs, or --source and --target, is required");
  ef::check(arguments.pairs.empty() || arguments.source.empty(), "--pairs and --source: expected one of them");
  ef::check(arguments.source.empty() == arguments.target.empty(), "--source and --target: expected both or none");
  ef::check(arguments.valid_source.empty() == arguments.valid_target.empty(),
            "--valid-source and --valid-target: expected both or none");
  ef::check(arguments.average_of == "last" || arguments.average > 0, "--average-of: needs --average");
  ef::check(arguments.patience < 20 || arguments.validate_every > 0, "--patience: is ", arguments.patience,
            ", but without --validate-every a run validates 20 times, so it would never stop early");
  ef::check(arguments.patience == 0 || arguments.validate_every > 0 || arguments.minutes > 0 || arguments.epochs > 0 ||
                arguments.updates > 0,
            "--patience: is ", arguments.patience,
            ", but without --validate-every a run without a limit validates only when it is stopped");
  ef::check(arguments.ema == 0 || arguments.average == 0, "--ema and --average: expected one of them");
  check_alignment_options(arguments);
}

std::vector<std::string> command_line_of(const TrainArguments& arguments) {
  const ef::Json defaults = ef::options_to_json(TrainArguments()), options = ef::options_to_json(arguments);
  std::vector<std::string> words;
  for (const auto& [name, value] : options.items()) {
    if (value == defaults[name]) continue;
    for (const ef::Json& each : value.is_array() ? value : ef::Json::array({value})) {
      if (each.is_string()) {  // a word of its own, because CLI11 does not see an empty value after "="
        words.push_back(each.get<std::string>());
        words.push_back("--" + name);
      } else {
        words.push_back("--" + name + '=' + each.dump());
      }
    }
  }
  words.push_back("train");  // CLI11 takes the words in reverse
  return words;
}

void broadcast_arguments(ef::Ranks& ranks, TrainArguments& arguments) {
  std::string shared = ef::options_to_json(arguments).dump();
  ef::broadcast_text(ranks, shared);
  if (ranks.rank() == 0) return;
  const int threads = arguments.threads;
  const bool resume = arguments.resume;
  arguments = ef::options_from_json<TrainArguments>(ef::parse_json(shared, "rank 0"), "rank 0");
  arguments.threads = threads;
  arguments.resume = resume;
}

void check_resumed_arguments(const TrainArguments& arguments) {
  if (!arguments.resume) return;
  const std::optional<TrainArguments> stored = arguments_of_run(arguments.out);
  if (!stored) return;
  constexpr std::array<std::string_view, 10> free{"out",  "minutes", "epochs", "updates",  "checkpoint-every",
                                                  "keep", "log",     "plot",   "patience", "validate-every"};
  ef::check(arguments.accumulate == stored->accumulate, "--accumulate: gives ", arguments.accumulate,
            " batches per update on all ranks together, but the run in ", arguments.out, " has ", stored->accumulate,
            "; leave the option out to keep that number");
  const ef::Json before = ef::options_to_json(*stored), now = ef::options_to_json(arguments);
  for (const auto& [name, value] : now.items())
    if (std::find(free.begin(), free.end(), name) == free.end() && value != before[name])
      ef::fail("--", name, ": is ", value.dump(), ", but the run in ", arguments.out, " was begun with ",
               before[name].dump(), "; a resumed run keeps its options");
}

}  // namespace translate
