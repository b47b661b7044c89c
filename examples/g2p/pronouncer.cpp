#include "g2p/pronouncer.hpp"

#include <algorithm>

#include "eigenformer/core/files.hpp"
#include "eigenformer/decode/greedy.hpp"
#include "eigenformer/io/json.hpp"
#include "eigenformer/io/safetensors.hpp"
#include "eigenformer/models/recurrent_seq2seq_state.hpp"

namespace g2p {

namespace {

std::vector<std::string> texts(const ef::Json& json, const std::string& where, const char* name) {
  ef::check(json.is_object() && json.contains(name) && json[name].is_array(), where, ": has no list \"", name, '"');
  std::vector<std::string> list;
  for (const ef::Json& text : json[name]) {
    ef::check(text.is_string(), where, ": \"", name, "\" has an entry that is not a string");
    list.push_back(text.get<std::string>());
  }
  return list;
}

ef::Token place_of(const std::vector<std::string>& tokens, const char* token, const std::string& where) {
  const auto found = std::find(tokens.begin(), tokens.end(), token);
  ef::check(found != tokens.end(), where, ": has no token ", token);
  return static_cast<ef::Token>(found - tokens.begin());
}

}  // namespace

Pronouncer::Pronouncer(const std::filesystem::path& folder) {
  const std::filesystem::path vocabulary_path = folder / "vocabulary.json";
  const std::string where = ef::path_text(vocabulary_path);
  const ef::Json vocabulary = ef::parse_json(ef::read_file(vocabulary_path), where);
  const std::vector<std::string> graphemes = texts(vocabulary, where, "graphemes");
  phonemes_ = texts(vocabulary, where, "phonemes");
  for (const char* token : {"<unk>", "</s>"}) graphemes_[token] = place_of(graphemes, token, where);
  for (const char* token : {"<s>", "</s>"}) place_of(phonemes_, token, where);
  for (std::size_t i = 0; i < graphemes.size(); ++i) graphemes_[graphemes[i]] = static_cast<ef::Token>(i);

  const ef::SafetensorsFile file(folder / "model.safetensors");
  ef::RecurrentSeq2SeqOptions options;
  options.source_vocabulary_size = static_cast<ef::Index>(graphemes.size());
  options.target_vocabulary_size = static_cast<ef::Index>(phonemes_.size());
  options.context = ef::SourceContext::initial;
  options.bidirectional = false;
  options.dropout = 0;
  ef::Rng rng(0);  // every drawn weight is overwritten below
  network_ = ef::RecurrentSeq2Seq<float>(options, rng);
  // Maps the names of this library to those of the published model.
  const std::map<std::string, std::string> names{
      {"source_embedding.weight", "enc_emb"}, {"encoder.weight_ih_l0", "enc_w_ih"},
      {"encoder.weight_hh_l0", "enc_w_hh"},   {"encoder.bias_ih_l0", "enc_b_ih"},
      {"encoder.bias_hh_l0", "enc_b_hh"},     {"target_embedding.weight", "dec_emb"},
      {"decoder.weight_ih_l0", "dec_w_ih"},   {"decoder.weight_hh_l0", "dec_w_hh"},
      {"decoder.bias_ih_l0", "dec_b_ih"},     {"decoder.bias_hh_l0", "dec_b_hh"},
      {"generator.weight", "fc_w"},           {"generator.bias", "fc_b"}};
  ef::for_each_parameter(network_, [&](const std::string& name, ef::Parameter<float>& parameter) {
    const std::string& tensor = names.at(name);
    ef::check(file.contains(tensor), file.name(), ": has no tensor \"", tensor, '"');
    const ef::Matrix<float> value = file.matrix<float>(tensor);
    ef::check_shape("Pronouncer", tensor.c_str(), ef::shape(value), ef::shape(parameter.value));
    parameter.value = value;
  });
}

std::vector<std::string> Pronouncer::pronounce(std::span<const std::string> words) const {
  std::vector<std::vector<ef::Token>> sources;
  for (const std::string& word : words) {
    std::vector<ef::Token>& source = sources.emplace_back();
    for (char letter : word) {
      if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
      const auto found = graphemes_.find(std::string(1, letter));
      source.push_back(found != graphemes_.end() ? found->second : graphemes_.at("<unk>"));
    }
    source.push_back(graphemes_.at("</s>"));
  }
  const std::string where = "g2p";
  const ef::GreedyOptions options{.begin = place_of(phonemes_, "<s>", where),
                                  .end = place_of(phonemes_, "</s>", where),
                                  .max_tokens = 20};  // the limit of g2p-en
  const auto hypotheses = ef::greedy_search(ef::decoding_state(network_, ef::Tokens::of(sources)),
                                            static_cast<ef::Index>(words.size()), options);
  std::vector<std::string> spoken;
  for (const ef::Hypothesis& hypothesis : hypotheses) {
    std::string& phonemes = spoken.emplace_back();
    for (const ef::Token token : hypothesis.tokens)
      phonemes += (phonemes.empty() ? "" : " ") + phonemes_[static_cast<std::size_t>(token)];
  }
  return spoken;
}

}  // namespace g2p
