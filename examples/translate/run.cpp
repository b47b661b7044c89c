// translate run: translates standard input to standard output, line by line.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "eigenformer/core/lines.hpp"
#include "eigenformer/core/standard_streams.hpp"
#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/text/alignment.hpp"
#include "translate/arrived_input.hpp"
#include "translate/streamed_text.hpp"
#include "translate/translator.hpp"

#ifdef _WIN32
#include <io.h>
#else
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace translate {

namespace {

/// Returns whether to show progress: stderr is a terminal, and standard input is a regular file.
bool shows_progress() {
#ifdef _WIN32
  return false;
#else
  struct stat input;
  return ::isatty(2) != 0 && ::fstat(0, &input) == 0 && S_ISREG(input.st_mode);
#endif
}

/// Prints the number of lines translated so far, on one line of stderr.
class LineCounter {
 public:
  ~LineCounter() {
    if (shown_) std::fputc('\n', stderr);
  }
  void show(ef::Index lines) {
    if (!active_) return;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    std::fprintf(stderr, "\r%lld lines, %.1f lines/s", static_cast<long long>(lines),
                 static_cast<double>(lines) / seconds);
    shown_ = true;
  }

 private:
  bool active_ = shows_progress(), shown_ = false;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.6f", value);
  return text;
}

/// Returns the text with spaces in place of line breaks, which subwords of bytes may spell: each translation is a line.
std::string one_line(std::string text) {
  const auto breaks = [](char c) { return c == '\n' || c == '\r'; };
  std::replace_if(text.begin(), text.end(), breaks, ' ');
  return text;
}

/// Prints a translation while it is generated.
class PrintedText {
 public:
  explicit PrintedText(const ef::TranslationSide& side) : text_(side) {}

  /// Prints what a token adds to the text. The last token, which may be an end token, is left to finish().
  void add(const ef::DecodingStepResult& step) {
    if (step.is_last) return;
    const std::string text = one_line(text_.add(step.token));
    if (!text.starts_with(printed_)) return;
    std::cout << text.substr(printed_.size());
    ef::flush_standard_output();
    printed_ = text;
  }
  /// Prints the rest of the text, and prepares for the next one.
  void finish(const std::string& text) {
    const auto differ = std::mismatch(text.begin(), text.end(), printed_.begin(), printed_.end()).first;
    std::cout << std::string(differ, text.end());
    text_.clear();
    printed_.clear();
  }

 private:
  StreamedText text_;
  std::string printed_;
};

/// Returns the links between the tokens of the source and of the printed text. `<s>` and `</s>` are not printed, so
/// they have no links. A translation contains them if it was sampled, or if `--end-token` names another token.
ef::WordAlignment text_links(const ef::Hypothesis& hypothesis) {
  if (hypothesis.alignments.size() == 0) return {};
  ef::Matrix<float> weights = hypothesis.alignments.leftCols(hypothesis.alignments.cols() - 1);  // </s> has no word
  ef::Index rows = 0;
  for (std::size_t i = 0; i < hypothesis.tokens.size(); ++i) {
    const ef::Token token = hypothesis.tokens[i];
    if (token == ef::Vocabulary::begin || token == ef::Vocabulary::end) continue;
    weights.row(rows++) = weights.row(static_cast<ef::Index>(i));
  }
  return ef::best_links(weights.topRows(rows));
}

/// Prints the hypotheses of one line, in the format of Moses and Marian: "translation", or "number ||| translation |||
/// score" for n-best lists. Links, if asked for, follow the translation: "translation ||| links ||| score".
void print(const std::vector<ef::Hypothesis>& best, ef::Index line, const Translator& translator,
           const RunArguments& arguments, PrintedText& streamed) {
  const bool n_best = arguments.decoding.options.num_hypotheses > 1;
  for (const ef::Hypothesis& hypothesis : best) {
    if (n_best) std::cout << line << " ||| ";
    const std::string text = one_line(translator.text(hypothesis));
    if (arguments.stream)
      streamed.finish(text);
    else
      std::cout << text;
    if (arguments.decoding.options.return_attention) std::cout << " ||| " << ef::to_string(text_links(hypothesis));
    if (n_best || arguments.scores) std::cout << " ||| " << number(hypothesis.score);
    std::cout << '\n';
  }
}

/// The translations of the first lines of a batch: all lines, or those before a line in error.
struct Decoded {
  std::vector<std::vector<ef::Hypothesis>> lines;
  std::exception_ptr error;  // names the line that follows
};

/// Decodes lines as one batch. If that fails, decodes them one by one up to the line in error.
/// first_line: number of the first line, from 0.
Decoded decode(const Translator& translator, std::span<const std::vector<ef::Token>> sentences,
               std::span<const std::vector<ef::Token>> prefixes, ef::Index first_line) {
  Decoded decoded;
  try {
    decoded.lines = translator.decode(sentences, prefixes, first_line);
  } catch (const ef::Error& failure) {
    if (!std::cout.good()) throw;  // --stream could not print
    if (sentences.size() == 1)
      decoded.error = std::make_exception_ptr(
          ef::Error("standard input:" + std::to_string(first_line + 1) + ": " + failure.what()));
    for (std::size_t i = 0; i < sentences.size() && decoded.error == nullptr; ++i) {
      Decoded one = decode(translator, sentences.subspan(i, 1), prefixes.empty() ? prefixes : prefixes.subspan(i, 1),
                           first_line + static_cast<ef::Index>(i));
      std::move(one.lines.begin(), one.lines.end(), std::back_inserter(decoded.lines));
      decoded.error = one.error;
    }
  }
  return decoded;
}

}  // namespace

void run(const RunArguments& arguments) {
  const Model model = load_model(arguments.model);
  ef::ThreadPool pool(arguments.threads);
  DecodingArguments decoding = arguments.decoding;
  PrintedText streamed(model.target);
  if (arguments.stream) {
    ef::check(decoding.options.beam_size == 1 && decoding.options.num_hypotheses == 1,
              "--stream: needs --beam-size 1 and --n-best 1, which are ", decoding.options.beam_size, " and ",
              decoding.options.num_hypotheses);
    decoding.options.callback = [&](const ef::DecodingStepResult& step) {
      streamed.add(step);
      return false;
    };
  }
  const Translator translator(model, &pool, decoding);
  std::ios::sync_with_stdio(false);
  std::cin.tie(nullptr);
  ArrivedInput arrived(*std::cin.rdbuf());
  std::istream input(&arrived);
  ef::LineReader reader(input, "standard input", stdin);
  std::ifstream prefix_file;
  std::optional<ef::LineReader> prefix_reader;
  if (!arguments.target_prefix.empty()) {
    prefix_file = ef::open_for_reading(arguments.target_prefix);
    prefix_reader.emplace(prefix_file, arguments.target_prefix);
  }
  LineCounter progress;
  std::string line;
  ef::Index lines = 0;
  // Whole lines that have already arrived are translated as one batch; typed lines are answered one by one.
  const std::size_t max_lines = arguments.stream ? 1 : 512;
  for (;;) {
    std::vector<std::vector<ef::Token>> sentences, prefixes;
    std::exception_ptr error;  // in a line; earlier lines are translated first
    try {
      while (sentences.size() < max_lines && (sentences.empty() || arrived.has_line()) && reader.next(line)) {
        std::vector<ef::Token> sentence = translator.encode(line, reader.where());
        if (prefix_reader.has_value()) {
          ef::check(prefix_reader->next(line), arguments.target_prefix, ": has ", prefix_reader->number(),
                    " lines, fewer than the input");
          std::vector<ef::Token> prefix = translator.encode_target(line, prefix_reader->where());
          check_known(model.target, line, prefix_reader->where());
          prefixes.push_back(std::move(prefix));
        }
        sentences.push_back(std::move(sentence));
      }
    } catch (const ef::Error&) {
      error = std::current_exception();
    }
    const Decoded decoded = decode(translator, sentences, prefixes, lines);
    for (const std::vector<ef::Hypothesis>& best : decoded.lines) print(best, lines++, translator, arguments, streamed);
    if (decoded.error != nullptr) error = decoded.error;
    ef::flush_standard_output();
    if (error != nullptr) std::rethrow_exception(error);
    if (sentences.empty()) break;
    progress.show(lines);
  }
  ef::check_standard_input();
  ef::check(!prefix_reader.has_value() || !prefix_reader->next(line), arguments.target_prefix,
            ": has more lines than the input, which has ", lines);
}

}  // namespace translate
