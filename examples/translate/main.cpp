// The translation program: `translate demo | compare | train | run | evaluate | align`.
#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <limits>
#include <new>

#include "eigenformer/core/standard_streams.hpp"
#include "translate/program.hpp"

#ifdef _WIN32
extern "C" __declspec(dllimport) int __stdcall SetConsoleOutputCP(unsigned int);
#endif

namespace translate {

volatile std::sig_atomic_t interrupted = 0;

namespace {

void on_interrupt(int) {
  interrupted = 1;
  std::signal(SIGINT, SIG_DFL);  // a second Ctrl-C ends the program at once
}

// Every option that takes a number has one of these ranges, so that none can ask for more than any machine has.

CLI::Validator whole_in(std::uint64_t smallest, std::uint64_t largest) {
  const std::string range = std::to_string(smallest) + " to " + std::to_string(largest);
  return CLI::Validator(
      [=](const std::string& given) {
        std::uint64_t number = 0;
        const char* const end = given.data() + given.size();
        const auto [parsed, error] = std::from_chars(given.data(), end, number);
        const bool accepted = error == std::errc() && parsed == end && number >= smallest && number <= largest;
        return accepted ? std::string() : "is " + given + ", expected a whole number from " + range;
      },
      range);
}

CLI::Validator number_in(double smallest, double largest, const std::string& range) {
  return CLI::Validator(
      [=](const std::string& given) {
        char* parsed = nullptr;
        const double number = std::strtod(given.c_str(), &parsed);
        const bool accepted = parsed == given.c_str() + given.size() && number >= smallest && number <= largest;
        return accepted ? std::string() : "is " + given + ", expected a number " + range;
      },
      range);
}
CLI::Validator above_0_up_to(int largest) {
  return number_in(std::numeric_limits<double>::min(), largest, "above 0, at most " + std::to_string(largest));
}

void add_threads(CLI::App* command, int& threads) {
  command->add_option("--threads", threads, "threads to work with (default: one a core)")->check(whole_in(1, 1024));
}

void add_seed(CLI::App* command, std::uint64_t& seed) {
  command->add_option("--seed", seed, "of the weights and the order of training")
      ->check(whole_in(0, std::numeric_limits<std::uint64_t>::max()))
      ->capture_default_str();
}

void add_layer_and_head(CLI::App* command, int& layer, int& head) {
  command->add_option("--layer", layer, "of a Transformer, counted from 1 (default: the last)")
      ->check(whole_in(1, 10'000));
  command->add_option("--head", head, "counted from 1 (default: the mean of all)")->check(whole_in(1, 10'000));
}

/// The names of an enum's values, as choices.
template <class Enum>
std::vector<std::string> names_of() {
  std::vector<std::string> names;
  for (const Enum value : ef::values_of<Enum>()) names.emplace_back(ef::to_string(value));
  return names;
}

int run_program(int argc, char** argv) {
  CLI::App app("Trains and runs models that translate. Without a subcommand: the demo.");
  app.require_subcommand(0, 1);
  app.fallthrough(false);

  DemoArguments demo_arguments;
  CLI::App* demo_command = app.add_subcommand("demo", "learn a small English-Chinese corpus and show what was learnt");
  add_seed(demo_command, demo_arguments.seed);
  demo_command->add_option("--svg", demo_arguments.svg, "where to write the heat map")->capture_default_str();
  add_threads(demo_command, demo_arguments.threads);

  CompareArguments compare_arguments;
  CLI::App* compare_command = app.add_subcommand(
      "compare", "what recurrent models and a Transformer learn of the demo's corpus, by length of the sentence");
  add_seed(compare_command, compare_arguments.seed);
  compare_command->add_option("--epochs", compare_arguments.epochs, "how often each model sees the corpus")
      ->check(whole_in(1, 100'000))
      ->capture_default_str();
  add_threads(compare_command, compare_arguments.threads);

  TrainArguments train_arguments;
  CLI::App* train_command = app.add_subcommand("train", "train a model from sentence pairs");
  auto* pairs = train_command->add_option("--pairs", train_arguments.pairs, "TSV file: source, tab, target");
  auto* source = train_command->add_option("--source", train_arguments.source, "source sentences, one a line");
  auto* target = train_command->add_option("--target", train_arguments.target, "target sentences, one a line");
  source->needs(target)->excludes(pairs);
  target->needs(source);
  auto* valid_pairs = train_command->add_option("--valid-pairs", train_arguments.valid_pairs,
                                                "to validate on (default: a part of the corpus is held out)");
  auto* valid_source = train_command->add_option("--valid-source", train_arguments.valid_source);
  auto* valid_target = train_command->add_option("--valid-target", train_arguments.valid_target);
  valid_source->needs(valid_target)->excludes(valid_pairs);
  valid_target->needs(valid_source);
  train_command->add_option("--out", train_arguments.out, "the model's folder")->required();
  const auto add_choice = [&](const char* name, std::string& choice, const std::vector<std::string>& choices,
                              const char* help) {
    train_command->add_option(name, choice, help)->check(CLI::IsMember(choices))->capture_default_str();
  };
  add_choice("--model", train_arguments.model, {"transformer", "recurrent"}, "what is trained");
  add_choice("--preset", train_arguments.preset, {"tiny", "base"},
             "tiny: 4 layers of width 128, or 1 recurrent one of 256; base: 6 of 512, or 2 of 512");
  train_command->add_option("--width", train_arguments.width, "of the layers (default: the preset's)")
      ->check(whole_in(1, 8192));
  train_command->add_option("--layers", train_arguments.layers, "of encoder and decoder each (default: the preset's)")
      ->check(whole_in(1, 100));
  add_choice("--positions", train_arguments.positions, names_of<ef::PositionEncoding>(), "of a Transformer");
  add_choice("--context", train_arguments.context, names_of<ef::SourceContext>(),
             "what a recurrent decoder is told of the source");
  add_choice("--score", train_arguments.score, names_of<ef::AlignmentScore>(), "of its attention");
  train_command->add_flag("--input-feeding,!--no-input-feeding", train_arguments.input_feeding,
                          "whether its attention's result is part of the next step's input (default: yes)");
  add_choice("--encoder", train_arguments.encoder, names_of<ef::SourceEncoder>(), "of a recurrent decoder");
  add_choice("--cell", train_arguments.cell, names_of<ef::RecurrentCell>(), "of recurrent layers");
  const CLI::IsMember tokenizations(names_of<ef::Tokenization>());
  train_command->add_option("--tokens", train_arguments.tokens, "words or characters (default: by each side's text)")
      ->check(tokenizations);
  train_command->add_option("--source-tokens", train_arguments.source_tokens, "the same for one side")
      ->check(tokenizations);
  train_command->add_option("--target-tokens", train_arguments.target_tokens)->check(tokenizations);
  train_command->add_option("--minutes", train_arguments.minutes, "how long to train (default: 20)")
      ->check(above_0_up_to(1'000'000));
  train_command->add_option("--epochs", train_arguments.epochs, "or how often to see the corpus")
      ->check(whole_in(1, 100'000));
  train_command->add_option("--updates", train_arguments.updates, "or how many updates to make")
      ->check(whole_in(1, 1'000'000'000));
  train_command->add_option("--batch-tokens", train_arguments.batch_tokens, "most tokens of a side in an update")
      ->check(whole_in(1, 1'000'000))
      ->capture_default_str();
  train_command->add_option("--min-count", train_arguments.min_count, "tokens seen less often are <unk>")
      ->check(whole_in(1, 1'000'000'000))
      ->capture_default_str();
  train_command->add_option("--max-length", train_arguments.max_length, "most tokens of a sentence")
      ->check(whole_in(1, 100'000))
      ->capture_default_str();
  train_command->add_option("--rate", train_arguments.rate, "the highest learning rate (default: the preset's)")
      ->check(above_0_up_to(1));
  train_command->add_option("--dropout", train_arguments.dropout, "(default: the preset's)")
      ->check(number_in(0, 0.9, "from 0 to 0.9"));
  add_seed(train_command, train_arguments.seed);
  add_threads(train_command, train_arguments.threads);

  RunArguments run_arguments;
  CLI::App* run_command = app.add_subcommand("run", "translate stdin to stdout, line by line");
  run_command->add_option("--model", run_arguments.model, "the model's folder")->required();
  add_threads(run_command, run_arguments.threads);

  EvaluateArguments evaluate_arguments;
  CLI::App* evaluate_command = app.add_subcommand("evaluate", "BLEU and chrF of a model's translations");
  evaluate_command->add_option("--model", evaluate_arguments.model, "the model's folder")->required();
  evaluate_command->add_option("--source", evaluate_arguments.source, "sentences to translate, one a line")->required();
  evaluate_command->add_option("--reference", evaluate_arguments.reference, "their translations")->required();
  evaluate_command->add_option("--alignments", evaluate_arguments.alignments,
                               "links of source and reference (\"0-0 1-2\", a line a sentence): gives the alignment "
                               "error rate of attention");
  add_layer_and_head(evaluate_command, evaluate_arguments.layer, evaluate_arguments.head);
  add_threads(evaluate_command, evaluate_arguments.threads);

  AlignArguments align_arguments;
  CLI::App* align_command = app.add_subcommand("align", "what each target word attends to in the source");
  align_command->add_option("--model", align_arguments.model, "the model's folder")->required();
  align_command->add_option("--source", align_arguments.source, "a sentence")->required();
  align_command->add_option("--target", align_arguments.target, "its translation")->required();
  align_command->add_option("--reading", align_arguments.reading, "attention, or how much each source word matters")
      ->check(CLI::IsMember({"attention", "influence"}))
      ->capture_default_str();
  align_command->add_option("--view", align_arguments.view, "on the terminal: pharaoh is links, as in \"0-0 1-2\"")
      ->check(CLI::IsMember({"heat_map", "matrix", "pharaoh"}))
      ->capture_default_str();
  add_layer_and_head(align_command, align_arguments.layer, align_arguments.head);
  align_command->add_option("--svg", align_arguments.svg, "write the heat map there too");

  try {
    app.parse(argc, argv);
    if (*train_command && train_arguments.pairs.empty() && train_arguments.source.empty())
      throw CLI::RequiredError("--pairs, or --source and --target,");
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    std::cerr << "translate: " << error.what() << " (see --help)\n";
    return 1;
  }
  if (train_arguments.minutes == 0 && train_arguments.epochs == 0 && train_arguments.updates == 0)
    train_arguments.minutes = 20;

  std::signal(SIGINT, on_interrupt);
#ifdef SIGXFSZ
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error like any other
#endif
  if (*train_command) {
    train(train_arguments);
  } else if (*run_command) {
    run(run_arguments);
  } else if (*evaluate_command) {
    evaluate(evaluate_arguments);
  } else if (*align_command) {
    align(align_arguments);
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
  try {
    eigenformer::occupy_closed_streams();
    const int exit_code = translate::run_program(argc, argv);
    eigenformer::flush_standard_output();
    return exit_code;
  } catch (const std::bad_alloc&) {
    std::cerr << "translate: there is not enough memory\n";
    return 1;
  } catch (const std::exception& error) {
    std::cerr << "translate: " << error.what() << '\n';
    return 1;
  }
}
