// The translation program: `translate demo | compare | train | replay | run | evaluate | score | align | serve`.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstring>
#include <exception>
#include <filesystem>
#include <iostream>
#include <limits>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eigenformer/core/standard_streams.hpp"
#include "translate/model_options.hpp"
#include "translate/program.hpp"
#include "translate/ranks.hpp"
#include "translate/replay.hpp"
#include "translate/serve_options.hpp"
#include "translate/train_options.hpp"
#include "translate/validators.hpp"
#include "translate/weights.hpp"

#ifdef _WIN32
extern "C" __declspec(dllimport) int __stdcall SetConsoleOutputCP(unsigned int);
#else
#include <unistd.h>
#endif

namespace translate {

volatile std::sig_atomic_t interrupted = 0;

namespace {

void on_interrupt(int signal) {
  interrupted = signal;
  std::signal(signal, SIG_DFL);  // a second one ends the program
}

#ifndef _WIN32
std::string new_folder;  // of a run that has not begun

void on_early_signal(int signal) {
  ::rmdir(new_folder.c_str());  // only if it is empty
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}
#endif

/// Gives a signal a handler, unless the program was started with the signal ignored (by nohup, or as a background job
/// of a script).
void watch(int signal, void (*handler)(int) = on_interrupt) {
  if (std::signal(signal, SIG_IGN) != SIG_IGN) std::signal(signal, handler);
}
/// Gives all signals that stop a training a handler.
void watch_stops(void (*handler)(int)) {
  watch(SIGINT, handler);
  watch(SIGTERM, handler);
#ifdef SIGHUP
  watch(SIGHUP, handler);
#endif
}

}  // namespace

void remove_if_interrupted([[maybe_unused]] const std::filesystem::path& folder) {
#ifndef _WIN32
  new_folder = folder.native();
  watch_stops(on_early_signal);
#endif
}

void watch_signals_of_training() {
  watch_stops(on_interrupt);
#ifdef SIGPIPE
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe becomes a write error, because Ctrl-C also ends a `tee`
#endif
}

namespace {

void add_threads(CLI::App* command, int& threads) {
  command
      ->add_option("--threads", threads,
                   "number of threads (default: one per core, divided among the processes of mpirun on this machine)")
      ->check(whole_in(1, 1024));
}

void add_seed(CLI::App* command, std::uint64_t& seed) {
  command->add_option("--seed", seed, "seed of the initial weights and the training order")
      ->check(whole_in(0, std::numeric_limits<std::uint64_t>::max()))
      ->capture_default_str();
}

/// Adds --layer and --head. user: the option that asks for attention, without which they would have no effect; or null.
void add_layer_and_head(CLI::App* command, int& layer, int& head, CLI::Option* user = nullptr) {
  CLI::Option* const of_layer = command->add_option(
      "--layer", layer, "decoder layer of a Transformer, from 1 (default: the one trained to align, or the last)");
  CLI::Option* const of_head = command->add_option(
      "--head", head, "head of that layer, from 1 (default: the one trained to align, or the mean of all)");
  for (CLI::Option* const option : {of_layer, of_head}) {
    option->check(whole_in(1, 10'000));
    if (user != nullptr) option->needs(user);
  }
}

/// Adds the options of decoding, under CTranslate2's names.
void add_decoding(CLI::App* command, DecodingArguments& arguments) {
  ef::DecodingOptions& options = arguments.options;
  const auto add = [&](const char* name, auto& value, const CLI::Validator& range, const char* help) {
    command->add_option(name, value, help)->check(range)->capture_default_str()->group("Decoding");
  };
  const auto add_choice = [&](const char* name, auto& value, const char* help) {
    using Enum = std::decay_t<decltype(value)>;
    command
        ->add_option_function<std::string>(
            name, [&value](const std::string& given) { value = ef::value_of<Enum>(given); }, help)
        ->check(CLI::IsMember(names_of<Enum>()))
        ->default_str(std::string(ef::to_string(value)))
        ->group("Decoding");
  };
  add("--beam-size", options.beam_size, whole_in(1, 10'000), "hypotheses kept at each step; 1: greedy search");
  add("--patience", options.patience, above_0_up_to(1000), "stop at beam size * patience finished hypotheses");
  add_choice("--early-stopping", options.early_stopping, "when a beam search ends");
  add("--length-penalty", options.length_penalty, number_in(-10, 10, "from -10 to 10"),
      "divide scores by the length to this power; 0: do not");
  add_choice("--length-penalty-type", options.length_penalty_type, "average: the length; gnmt: (5 + length) / 6");
  add("--coverage-penalty", options.coverage_penalty, number_in(0, 100, "from 0 to 100"),
      "weight of the penalty for source tokens that get little attention");
  add("--repetition-penalty", options.repetition_penalty, above_0_up_to(100), "above 1: makes repetitions unlikely");
  add("--no-repeat-ngram-size", options.no_repeat_ngram_size, whole_in(0, 10'000),
      "forbid n-grams of this size to occur twice in a translation; 0: allow");
  command->add_flag("--disable-unk", options.disable_unk, "never generate <unk>")->group("Decoding");
  command->add_option("--suppress", arguments.suppress, "text that no translation may contain; may be repeated")
      ->allow_extra_args(false)
      ->group("Decoding");
  command
      ->add_option("--end-token", arguments.end_tokens,
                   "token that ends a translation; may be repeated (default: </s>)")
      ->allow_extra_args(false)
      ->group("Decoding");
  command
      ->add_option("--max-decoding-length", options.max_decoding_length,
                   "maximum tokens of a translation (default: the model's limit)")
      ->check(whole_in(1, 100'000))
      ->group("Decoding");
  add("--min-decoding-length", options.min_decoding_length, whole_in(0, 100'000), "minimum tokens of a translation");
  add("--max-length-a", options.max_length_a, number_in(0, 1000, "from 0 to 1000"),
      "maximum tokens: a * source tokens + b");
  add("--max-length-b", options.max_length_b, whole_in(0, 100'000), "see --max-length-a; both 0: no such limit");
  add("--sampling-topk", options.sampling_topk, whole_in(0, 10'000'000),
      "draw from this number of likeliest tokens; 0: from all; 1: no sampling");
  add("--sampling-topp", options.sampling_topp, above_0_up_to(1),
      "draw from likeliest tokens up to this probability; below 1: needs --sampling-topk other than 1");
  add("--sampling-temperature", options.sampling_temperature, number_in(0, 1000, "from 0 to 1000"),
      "above 1: more random draws; other than 0 and 1: needs --sampling-topk other than 1");
  add("--seed", options.seed, whole_in(0, std::numeric_limits<std::uint64_t>::max()), "seed of the draws");
  add_weights(command, arguments.weights);
  add("--batch-tokens", options.max_batch_size, whole_in(1, 1'000'000), "source tokens decoded at once");
}

/// Adds the options on subwords. Tokens and subwords of one language exclude each other.
void add_subwords(CLI::App* command, TrainArguments& arguments) {
  const auto add = [&](const std::string& language, TrainArguments::SubwordSide& side, const std::string& of) {
    CLI::Option* const tokens = command->get_option("--" + language + "tokens");
    CLI::Option* const size =
        command->add_option("--" + language + "subwords", side.size, "learn a subword vocabulary of this size" + of)
            ->check(whole_in(4, 10'000'000))
            ->excludes(tokens);
    command->add_option("--" + language + "subword-model", side.model, "SentencePiece model file" + of)
        ->excludes(tokens)
        ->excludes(size);
  };
  add("", arguments.subwords, ", for each language without an option of its own");
  add("source-", arguments.source_subwords, ", for the source");
  add("target-", arguments.target_subwords, ", for the target");
  command->add_option("--subword-type", arguments.subword_type, "type of the subword models to learn")
      ->check(CLI::IsMember(names_of<ef::SubwordType>()))
      ->capture_default_str();
  command->add_flag("--joint-vocabulary", arguments.joint_vocabulary,
                    "one vocabulary and embedding for both languages, and one subword model if there are subwords");
  command
      ->add_option("--subword-sampling", arguments.subword_sampling,
                   "split at random in training: alpha of unigram models; small values vary more")
      ->check(above_0_up_to(100));
  command
      ->add_option("--subword-n-best", arguments.subword_n_best, "draw from this number of best splits (default: all)")
      ->check(whole_in(1, 1024));
  command->add_option("--bpe-dropout", arguments.bpe_dropout, "skip BPE joins in training with this probability")
      ->check(number_in(0, 1, "from 0 to 1"));
}

/// Returns the words of the command line. Splits "--name=" into "--name" and "", in place: for "--name=", CLI11 would
/// take the next word as the value.
std::vector<const char*> words_of(int argc, char** argv) {
  std::vector<const char*> words;
  for (char* const word : std::span(argv, static_cast<std::size_t>(argc))) {
    words.push_back(word);
    char* const equals = std::strchr(word, '=');
    if (std::string_view(word).substr(0, 2) != "--" || equals == nullptr || equals[1] != '\0') continue;
    *equals = '\0';
    words.push_back("");
  }
  return words;
}

int run_program(const std::vector<const char*>& words, ProgramRanks& ranks) {
  CLI::App app("Trains and runs translation models. Without a subcommand, runs the demo.");
  app.require_subcommand(0, 1);
  app.fallthrough(false);

  DemoArguments demo_arguments;
  CLI::App* demo_command = app.add_subcommand("demo", "train on a small English-Chinese corpus and show the result");
  add_seed(demo_command, demo_arguments.seed);
  demo_command->add_option("--svg", demo_arguments.svg, "file for the attention heat map")->capture_default_str();
  add_threads(demo_command, demo_arguments.threads);
  add_precision(demo_command, demo_arguments.precision);

  CompareArguments compare_arguments;
  CLI::App* compare_command = app.add_subcommand(
      "compare", "compare recurrent models and a Transformer on the demo corpus, by sentence length");
  add_seed(compare_command, compare_arguments.seed);
  compare_command->add_option("--epochs", compare_arguments.epochs, "number of epochs for each model")
      ->check(whole_in(1, 100'000))
      ->capture_default_str();
  add_threads(compare_command, compare_arguments.threads);

  TrainArguments train_arguments;
  CLI::App* train_command = app.add_subcommand("train", "train a model on sentence pairs");
  auto* pairs = train_command->add_option("--pairs", train_arguments.pairs,
                                          "TSV file with one pair per line: source, tab, target");
  auto* source =
      train_command->add_option("--source", train_arguments.source, "file of source sentences, one per line");
  auto* target =
      train_command->add_option("--target", train_arguments.target, "file of target sentences, one per line");
  source->needs(target)->excludes(pairs);
  target->needs(source);
  auto* valid_pairs = train_command->add_option("--valid-pairs", train_arguments.valid_pairs,
                                                "TSV file of validation pairs (default: hold out part of the corpus)");
  auto* valid_source = train_command->add_option("--valid-source", train_arguments.valid_source,
                                                 "file of validation source sentences, one per line");
  auto* valid_target = train_command->add_option("--valid-target", train_arguments.valid_target,
                                                 "file of validation target sentences, one per line");
  valid_source->needs(valid_target)->excludes(valid_pairs);
  valid_target->needs(valid_source);
  train_command->add_option("--out", train_arguments.out, "folder for the best model, and for checkpoints");
  add_model_options(train_command, train_arguments);
  const CLI::IsMember tokenizations(names_of<ef::Tokenization>());
  train_command
      ->add_option("--tokens", train_arguments.tokens,
                   "tokens of both sides (default: guessed from the text of each side)")
      ->check(tokenizations);
  train_command->add_option("--source-tokens", train_arguments.source_tokens, "tokens of the source")
      ->check(tokenizations);
  train_command->add_option("--target-tokens", train_arguments.target_tokens, "tokens of the target")
      ->check(tokenizations);
  add_subwords(train_command, train_arguments);
  train_command
      ->add_option("--minutes", train_arguments.minutes,
                   "stop after this time (0: no limit; default: 20 if no limit is given)")
      ->check(number_in(0, 1'000'000, "from 0 to 1000000"));
  train_command->add_option("--epochs", train_arguments.epochs, "stop after this number of epochs (0: no limit)")
      ->check(whole_in(0, 100'000));
  train_command->add_option("--updates", train_arguments.updates, "stop after this number of updates (0: no limit)")
      ->check(whole_in(0, 1'000'000'000));
  train_command->add_option("--batch-tokens", train_arguments.batch_tokens, "maximum tokens per update on either side")
      ->check(whole_in(1, 1'000'000))
      ->capture_default_str();
  train_command->add_option("--min-count", train_arguments.min_count, "tokens that occur less often become <unk>")
      ->check(whole_in(1, 1'000'000'000))
      ->capture_default_str();
  train_command
      ->add_option("--max-length", train_arguments.max_length, "maximum tokens in a sentence; skips longer ones")
      ->check(whole_in(1, 100'000))
      ->capture_default_str();
  train_command->add_option("--rate", train_arguments.rate, "peak learning rate (default: from the preset)")
      ->check(above_0_up_to(1));
  train_command->add_option("--dropout", train_arguments.dropout, "dropout probability (default: from the preset)")
      ->check(number_in(0, 0.9, "from 0 to 0.9"));
  add_seed(train_command, train_arguments.seed);
  add_threads(train_command, train_arguments.threads);
  add_run_options(train_command, train_arguments);

  ReplayArguments replay_arguments;
  CLI::App* replay_command =
      app.add_subcommand("replay", "repeat one update of a run and print its losses, gradients and sentences");
  add_replay_options(replay_command, replay_arguments);
  add_layer_and_head(replay_command, replay_arguments.layer, replay_arguments.head,
                     replay_command->get_option("--pair"));
  add_threads(replay_command, replay_arguments.threads);

  RunArguments run_arguments;
  CLI::App* run_command = app.add_subcommand("run", "translate standard input to standard output, line by line");
  run_command->add_option("--model", run_arguments.model, "folder of the model")->required();
  run_command
      ->add_option("--n-best", run_arguments.decoding.options.num_hypotheses,
                   "print this number of translations of each line: \"line number ||| translation ||| score\"")
      ->check(whole_in(1, 10'000))
      ->capture_default_str();
  run_command->add_flag("--scores", run_arguments.scores, "print the score after each translation");
  run_command->add_flag("--alignments", run_arguments.decoding.options.return_attention,
                        "print the links between source and target tokens after each translation (\"0-0 1-2\")");
  run_command->add_flag("--stream", run_arguments.stream, "print each token as soon as it is generated");
  run_command->add_option(
      "--target-prefix", run_arguments.target_prefix,
      "file with the beginning of each translation, one per line; tokens that the model does not know are errors");
  add_decoding(run_command, run_arguments.decoding);
  add_threads(run_command, run_arguments.threads);

  EvaluateArguments evaluate_arguments;
  CLI::App* evaluate_command = app.add_subcommand("evaluate", "report BLEU, chrF and exact matches of a model");
  evaluate_command->add_option("--model", evaluate_arguments.model, "folder of the model")->required();
  evaluate_command->add_option("--source", evaluate_arguments.source, "file of sentences to translate, one per line")
      ->required();
  evaluate_command
      ->add_option("--reference", evaluate_arguments.reference, "file of reference translations, one per line")
      ->required();
  CLI::Option* const alignments =
      evaluate_command->add_option("--alignments", evaluate_arguments.alignments,
                                   "file of links between source and reference, one line per sentence (\"0-0 1-2\"): "
                                   "reports the alignment error rate of attention");
  add_layer_and_head(evaluate_command, evaluate_arguments.layer, evaluate_arguments.head, alignments);
  add_decoding(evaluate_command, evaluate_arguments.decoding);
  add_threads(evaluate_command, evaluate_arguments.threads);

  ScoreArguments score_arguments;
  CLI::App* score_command = app.add_subcommand("score", "print the log-probabilities of given translations");
  score_command->add_option("--model", score_arguments.model, "folder of the model")->required();
  score_command->add_option("--source", score_arguments.source, "file of source sentences, one per line")->required();
  score_command->add_option("--target", score_arguments.target, "file of their translations, one per line")->required();
  score_command->add_flag("--tokens", score_arguments.tokens, "also print the log-probability of each token");
  score_command->add_option("--batch-tokens", score_arguments.batch_tokens, "maximum tokens of a batch on either side")
      ->check(whole_in(1, 1'000'000))
      ->capture_default_str();
  add_threads(score_command, score_arguments.threads);

  AlignArguments align_arguments;
  CLI::App* align_command = app.add_subcommand("align", "show what each target word attends to in the source");
  align_command->add_option("--model", align_arguments.model, "folder of the model")->required();
  align_command->add_option("--source", align_arguments.source, "source sentence")->required();
  align_command->add_option("--target", align_arguments.target, "target sentence")->required();
  align_command
      ->add_option("--reading", align_arguments.reading,
                   "attention weights, or the influence of each source word on the target")
      ->check(CLI::IsMember({"attention", "influence"}))
      ->capture_default_str();
  align_command->add_option("--view", align_arguments.view, "what to print; pharaoh prints links (\"0-0 1-2\")")
      ->check(CLI::IsMember({"heat_map", "matrix", "pharaoh"}))
      ->capture_default_str();
  add_layer_and_head(align_command, align_arguments.layer, align_arguments.head);
  align_command->add_option("--svg", align_arguments.svg, "also write the heat map to this file");

  bool has_stored = false;
  ServeArguments serve_arguments;
  CLI::App* serve_command = app.add_subcommand("serve", "serve a page and a JSON interface for translating");
  add_serve_options(serve_command, serve_arguments);
  add_threads(serve_command, serve_arguments.threads);

  try {
    app.parse(static_cast<int>(words.size()), words.data());
    if (*train_command) ranks.join();
    has_stored = *train_command && ranks.is_first() && read_stored_arguments(train_arguments);
    if (has_stored) {
      const TrainArguments stored = train_arguments;
      app.parse(command_line_of(stored));  // checks the stored options
      train_arguments = stored;
      app.parse(static_cast<int>(words.size()), words.data());
    }
  } catch (const CLI::ParseError& error) {
    if (!ranks.is_first()) return error.get_exit_code() == 0 ? 0 : 1;  // rank 0 prints the message
    if (error.get_exit_code() == 0) return app.exit(error);            // --help
    std::cerr << "translate: " << error.what() << " (see --help)\n";
    ranks.abort();
    return 1;
  }
  if (train_arguments.minutes < 0)
    train_arguments.minutes = train_arguments.epochs == 0 && train_arguments.updates == 0 ? 20 : 0;

  // `serve` watches signals to finish its answers, and `train` from its first update. A signal ends all other
  // subcommands, which have nothing to save, so a script sees that they failed.
  if (*serve_command) {
    watch(SIGINT);
    watch(SIGTERM);
  }
#ifdef SIGXFSZ
  std::signal(SIGXFSZ, SIG_IGN);  // exceeding a file size limit becomes a write error
#endif
  if (*train_command) {
    if (ranks.is_first()) {
      // The command line counts the batches of each rank. Stored arguments count those of all ranks.
      if (!has_stored || train_command->count("--accumulate") > 0) train_arguments.accumulate *= ranks.size();
      check_arguments(train_arguments);
      check_model_options(*train_command, train_arguments);
      check_resumed_arguments(train_arguments);
    }
    if (ranks.get() != nullptr) broadcast_arguments(*ranks.get(), train_arguments);
    train(train_arguments, ranks.get());
    ranks.leave();
  } else if (*replay_command) {
    replay(replay_arguments);
  } else if (*run_command) {
    run(run_arguments);
  } else if (*evaluate_command) {
    evaluate(evaluate_arguments);
  } else if (*score_command) {
    score(score_arguments);
  } else if (*align_command) {
    align(align_arguments);
  } else if (*serve_command) {
    serve(serve_arguments);
  } else if (*compare_command) {
    compare(compare_arguments);
  } else {
    demo(demo_arguments);
  }
  return 0;
}

}  // namespace

}  // namespace translate

int main(int argc, char** argv) {
#ifdef _WIN32
  SetConsoleOutputCP(65001);  // UTF-8
#endif
  translate::ProgramRanks ranks;
  try {
    eigenformer::occupy_closed_streams();
    const int exit_code = translate::run_program(translate::words_of(argc, argv), ranks);
    eigenformer::flush_standard_output();
    return exit_code;
  } catch (const std::bad_alloc&) {
    std::cerr << "translate: " << ranks.prefix() << "out of memory\n";
  } catch (const std::exception& error) {
    std::cerr << "translate: " << ranks.prefix() << error.what() << '\n';
  }
  ranks.abort();
  return 1;
}
