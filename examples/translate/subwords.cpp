#include "translate/subwords.hpp"

#ifdef TRANSLATE_WITH_SENTENCEPIECE
#include "eigenformer/text/sentencepiece.hpp"
#endif

namespace translate {

namespace {

constexpr const char* missing =
    "this program was built without SentencePiece; install it (Debian: libsentencepiece-dev) and build the program "
    "again";

#ifdef TRANSLATE_WITH_SENTENCEPIECE
constexpr bool has_sentencepiece = true;
#else
constexpr bool has_sentencepiece = false;
#endif

/// Returns the choice for one language. Its own options take precedence over those for both languages.
SubwordChoice choice_of(const TrainArguments& arguments, const TrainArguments::SubwordSide& side,
                        const std::string& tokens) {
  if (side.size > 0 || !side.model.empty()) return {side.size, side.model};
  if (!tokens.empty()) return {};
  return {arguments.subwords.size, arguments.subwords.model};
}

/// Returns the name of the first option that asks for subwords.
const char* subword_option(const TrainArguments& arguments) {
  if (arguments.subwords.size > 0) return "--subwords";
  if (!arguments.subwords.model.empty()) return "--subword-model";
  if (arguments.source_subwords.size > 0) return "--source-subwords";
  if (!arguments.source_subwords.model.empty()) return "--source-subword-model";
  return arguments.target_subwords.size > 0 ? "--target-subwords" : "--target-subword-model";
}

}  // namespace

SubwordChoice source_subwords(const TrainArguments& arguments) {
  return choice_of(arguments, arguments.source_subwords, arguments.source_tokens);
}

SubwordChoice target_subwords(const TrainArguments& arguments) {
  return choice_of(arguments, arguments.target_subwords, arguments.target_tokens);
}

void check_subword_options(const TrainArguments& arguments) {
  const SubwordChoice source = source_subwords(arguments), target = target_subwords(arguments);
  const bool any = source.is_given() || target.is_given();
  ef::check(has_sentencepiece || !any, subword_option(arguments), ": ", missing);
  const bool may_split = any || !arguments.init.empty();  // the initial model may have subwords
  ef::check(may_split || arguments.subword_sampling == 0, "--subword-sampling: needs subwords (--subwords)");
  ef::check(may_split || arguments.bpe_dropout == 0, "--bpe-dropout: needs subwords (--subwords)");
  ef::check(arguments.subword_sampling > 0 || arguments.subword_n_best == 0,
            "--subword-n-best: needs --subword-sampling");
  ef::check(!arguments.joint_vocabulary || (source.size == target.size && source.file == target.file),
            "--joint-vocabulary: needs one subword model for both languages (--subwords or --subword-model), or none");
}

#ifdef TRANSLATE_WITH_SENTENCEPIECE
std::shared_ptr<const ef::SubwordModel> make_subwords(const SubwordChoice& choice, const std::string& type,
                                                      const std::vector<std::string>& lines) {
  if (!choice.file.empty()) return ef::load_sentencepiece(choice.file);
  return ef::train_sentencepiece(lines, {.vocabulary_size = choice.size, .type = ef::value_of<ef::SubwordType>(type)});
}

std::shared_ptr<const ef::SubwordModel> read_subwords(std::string bytes, const std::string& name) {
  return ef::read_sentencepiece(std::move(bytes), name);
}
#else
std::shared_ptr<const ef::SubwordModel> make_subwords(const SubwordChoice&, const std::string&,
                                                      const std::vector<std::string>&) {
  ef::fail(missing);
}

std::shared_ptr<const ef::SubwordModel> read_subwords(std::string, const std::string& name) {
  ef::fail(name, ": ", missing);
}
#endif

bool samples_subwords(const TrainArguments& arguments, const Model& model) {
  const auto has = [&](ef::SubwordType type) {
    const auto is = [&](const ef::TranslationSide& side) {
      return side.subwords != nullptr && side.subwords->type() == type;
    };
    return is(model.source) || is(model.target);
  };
  ef::check(arguments.subword_sampling == 0 || has(ef::SubwordType::unigram),
            "--subword-sampling: needs a unigram model; for BPE use --bpe-dropout");
  ef::check(arguments.bpe_dropout == 0 || has(ef::SubwordType::bpe),
            "--bpe-dropout: needs a BPE model; for unigram models use --subword-sampling");
  return arguments.subword_sampling > 0 || arguments.bpe_dropout > 0;
}

ef::SubwordSampling subword_sampling(const TrainArguments& arguments) {
  ef::SubwordSampling sampling{
      .alpha = arguments.subword_sampling, .n_best = arguments.subword_n_best, .bpe_dropout = arguments.bpe_dropout};
  if (arguments.subword_sampling == 0) sampling.n_best = 1;  // the best split
  return sampling;
}

std::string plain(const ef::TranslationSide& side, const std::string& line) {
  if (side.subwords != nullptr || side.tokenization != ef::Tokenization::bpe_marks) return line;
  return ef::detokenize(ef::tokenize(line, side.tokenization), side.tokenization);
}

std::vector<std::string> plain(const ef::TranslationSide& side, const std::vector<std::string>& lines) {
  std::vector<std::string> result;
  result.reserve(lines.size());
  for (const std::string& line : lines) result.push_back(plain(side, line));
  return result;
}

ef::BleuTokenizer bleu_tokenizer(const ef::TranslationSide& side, const std::vector<std::string>& references) {
  const ef::Tokenization tokenization =
      side.subwords != nullptr ? ef::guess_tokenization(references) : side.tokenization;
  return tokenization == ef::Tokenization::characters ? ef::BleuTokenizer::character : ef::BleuTokenizer::v13a;
}

}  // namespace translate
