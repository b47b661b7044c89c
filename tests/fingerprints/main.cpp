// Prints a line for each result of kernels and models: what was computed, and a hash of its bits. Two versions of the
// library that print the same lines, built by one compiler with the same flags, give identical results to the last bit:
//
//     fingerprints > new.txt     in each version
//     diff old.txt new.txt
//
// No test compares the lines with committed ones, because the bits depend on the processor's register width.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/decode/greedy.hpp"
#include "eigenformer/kernels/attention.hpp"
#include "eigenformer/kernels/matmul.hpp"
#include "eigenformer/models/recurrent_seq2seq.hpp"
#include "eigenformer/models/recurrent_seq2seq_state.hpp"
#include "eigenformer/models/transformer.hpp"
#include "eigenformer/models/transformer_state.hpp"
#include "kernels/attention_cases.hpp"
#include "support/copy_task.hpp"
#include "support/random.hpp"
#include "support/recurrent_models.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::RowOffsets;
using namespace ef::testing;

namespace {

/// FNV-1a over 64 bits (Fowler, Noll and Vo 1991) of everything that was added.
class Hash {
 public:
  template <class Scalar>
  void add(const Scalar* values, Index count) {
    for (Index i = 0; i < count; ++i) {
      unsigned char bytes[sizeof(Scalar)];
      std::memcpy(bytes, values + i, sizeof(Scalar));
      for (const unsigned char byte : bytes) value_ = (value_ ^ byte) * 0x100000001b3U;
    }
  }
  template <class Scalar>
  void add(const Matrix<Scalar>& m) {
    add(m.data(), m.size());
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325U;
};

template <class... Matrices>
void print(const std::string& name, const Matrices&... results) {
  Hash hash;
  (hash.add(results), ...);
  std::printf("%s %016llx\n", name.c_str(), static_cast<unsigned long long>(hash.value()));
}

// --- Attention: forward, backward and weights, of all sizes and scores -----------------------------------------------

template <class Scalar>
struct Named {
  const char* name;
  TestedScore<Scalar> score;
};

/// Biases and terms large enough for a case. The scores view them.
template <class Scalar>
struct Biases {
  ef::Tensor<Scalar> dense, terms;
  Matrix<Scalar> by_bucket;
  Matrix<bool> mask;

  Biases(const AttentionCase<Scalar>& c, ef::Rng& rng)
      : dense({c.options.heads, c.q.rows() + 1, c.k.rows() + 3}),
        terms({c.q.rows() + 1, c.options.heads, 7}),
        by_bucket(random_matrix<Scalar>(8, c.options.heads, rng)),
        mask(random_mask(c.q.rows(), c.k.rows() + 1, rng)) {
    for (ef::Tensor<Scalar>* tensor : {&dense, &terms})
      for (Index i = 0; i < tensor->size(); ++i) tensor->data()[i] = static_cast<Scalar>(rng.normal());
  }

  std::vector<Named<Scalar>> scores(Index heads) const {
    const ef::DenseBias<Scalar> dense_bias{ef::TensorView<const Scalar>(dense.view())};
    const ef::RelativeBias<Scalar> relative(ef::strided_view(by_bucket), {8, 20, true});
    const ef::RelativeKeys<Scalar> relative_keys{ef::TensorView<const Scalar>(terms.view())};
    return {{"unmasked", ef::Unmasked{}},
            {"causal", ef::Causal{}},
            {"causal after past", ef::Causal::after_past()},
            {"dense mask", ef::DenseMask(mask)},
            {"capped", CappedScore{.cap = 2, .causal = true}},
            {"window", ef::SlidingWindow(5)},
            {"wide window", ef::SlidingWindow(40)},
            {"soft cap", ef::SoftCap(3)},
            {"alibi", ef::Alibi(heads)},
            {"relative bias", relative},
            {"dense bias", dense_bias},
            {"relative keys", relative_keys},
            {"score function", ef::score(Bent{})},
            {"mask function", ef::mask(Striped{})},
            {"causal window", ef::combine(ef::Causal{}, ef::SlidingWindow(9))},
            {"all at once",
             ef::combine(ef::SoftCap(3), dense_bias, ef::score(Bent{}), relative, ef::Causal{}, ef::mask(Striped{}))}};
  }
};

template <class Scalar>
void attention(const std::string& scalar, ef::Threads& threads) {
  ef::Rng rng(1);
  int number = 0;
  for (const AttentionSizes& sizes : attention_sizes()) {
    const std::string prefix = scalar + " attention " + std::to_string(number++) + " ";
    AttentionCase<Scalar> c(sizes, rng);
    const Biases<Scalar> biases(c, rng);
    for (const double dropout : {0.0, 0.3}) {
      c.options.dropout = dropout;
      c.options.dropout_key = ef::RandomKey{};
      for (const auto& [name, score] : biases.scores(sizes.heads)) {
        if (dropout > 0 && number % 4 != 0) continue;
        const std::string which = prefix + name + (dropout > 0 ? " dropout" : "");
        const Attended<Scalar> forward = attend(c, score, number % 2 == 0 ? &threads : nullptr);
        print(which, forward.out, forward.log_sum_exp);
        const AttentionGradients<Scalar> d = gradients(c, score, number % 3 == 0 ? &threads : nullptr);
        print(which + " backward", d.q, d.k, d.v);
      }
    }
    if (c.options.query_rows.given()) continue;
    c.options.dropout = 0;
    for (const auto& [name, score] : biases.scores(sizes.heads)) {
      const ef::Tensor<Scalar> weights = weights_of(c, score, c.options);
      Hash hash;
      hash.add(weights.data(), weights.size());
      std::printf("%s%s weights %016llx\n", prefix.c_str(), name, static_cast<unsigned long long>(hash.value()));
    }
  }
}

// Few queries over long, unordered and 16-bit keys, as in decoding.
template <class Scalar>
void decoding(const std::string& scalar, ef::Threads& threads) {
  ef::Rng rng(2);
  for (const Index queries : {1, 2, 5, 9})
    for (const Index key_heads : {1, 2, 4}) {
      const Index keys = 700 + queries;
      const Matrix<Scalar> q = random_matrix<Scalar>(3 * queries, 4 * 24, rng);
      const Matrix<Scalar> k = random_matrix<Scalar>(keys, key_heads * 24, rng);
      const Matrix<Scalar> v = random_matrix<Scalar>(keys, key_heads * 40, rng);
      std::vector<Index> order(static_cast<std::size_t>(keys));
      for (Index i = 0; i < keys; ++i) order[static_cast<std::size_t>(i)] = (i * 311) % keys;
      ef::AttentionOptions options{.heads = 4, .key_heads = key_heads};
      options.query_rows = RowOffsets::from_lengths({queries, queries, queries});
      options.key_rows = RowOffsets::from_lengths({3, 600, keys - 603});
      const std::string name = scalar + " decoding " + std::to_string(queries) + " " + std::to_string(key_heads);
      print(name, ef::attention(q, k, v, ef::Causal::after_past(), options));
      options.key_index = order;
      options.threads = &threads;
      print(name + " indexed", ef::attention(q, k, v, options));
      if constexpr (std::is_same_v<Scalar, float>) {
        const auto k_half = k.template cast<Eigen::half>().eval(), v_half = v.template cast<Eigen::half>().eval();
        const auto k_brain = k.template cast<Eigen::bfloat16>().eval(),
                   v_brain = v.template cast<Eigen::bfloat16>().eval();
        print(name + " half", ef::attention(q, k_half, v_half, options));
        print(name + " bfloat16", ef::attention(q, k_brain, v_brain, options));
      }
    }
}

// --- Products --------------------------------------------------------------------------------------------------------

template <class Scalar>
void products(const std::string& scalar, ef::Threads& threads) {
  ef::Rng rng(3);
  for (const Index rows : {1, 2, 7, 13, 48, 97})
    for (const Index cols : {1, 8, 33, 130})
      for (const Index depth : {1, 5, 64, 300}) {
        const Matrix<Scalar> a = random_matrix<Scalar>(rows, depth, rng), b = random_matrix<Scalar>(depth, cols, rng);
        const Matrix<Scalar> d_y = random_matrix<Scalar>(rows, cols, rng);
        Matrix<Scalar> y(rows, cols), d_a(rows, depth), d_b(depth, cols);
        ef::matmul_forward<Scalar>(a, b, y, depth == 5 ? &threads : nullptr);
        ef::matmul_backward_left<Scalar>(b, d_y, d_a, &threads);
        ef::matmul_backward_right<Scalar>(a, d_y, d_b, &threads);
        print(scalar + " matmul " + std::to_string(rows) + " " + std::to_string(cols) + " " + std::to_string(depth), y,
              d_a, d_b);
      }
}

// --- Models: logits, gradients and decoding --------------------------------------------------------------------------

template <class Scalar, class State, class Model>
void model(const std::string& name, const Model& model, ef::Threads& threads) {
  ef::Rng rng(5), dropout(6);
  const ef::TranslationBatch batch = copy_batch({5, 1, 9, 3, 12, 2}, rng);
  print(name + " logits", Matrix<Scalar>(model(ef::Context<Scalar>{}, batch.source, batch.target).value()));
  ef::Tape<Scalar> tape;
  const ef::Context<Scalar> context{.tape = &tape, .rng = &dropout, .threads = &threads};
  const ef::Variable<Scalar> loss = loss_of(model, context, batch, {.label_smoothing = 0.1});
  tape.backward(loss);
  Hash gradients;
  gradients.add(Matrix<Scalar>(loss.value()));
  ef::for_each_parameter(model, [&](const std::string&, const ef::Parameter<Scalar>& parameter) {
    if (const Matrix<Scalar>* gradient = tape.gradients().find(parameter)) gradients.add(*gradient);
  });
  std::printf("%s gradients %016llx\n", name.c_str(), static_cast<unsigned long long>(gradients.value()));
  State state(model, batch.source);
  Hash decoded;
  for (const ef::Hypothesis& hypothesis : ef::greedy_search(state, batch.source.sequences(), {.max_tokens = 15})) {
    decoded.add(hypothesis.tokens.data(), static_cast<Index>(hypothesis.tokens.size()));
    decoded.add(&hypothesis.log_probability, 1);
  }
  std::printf("%s decoded %016llx\n", name.c_str(), static_cast<unsigned long long>(decoded.value()));
}

template <class Scalar>
void models(const std::string& scalar, ef::Threads& threads) {
  for (const auto& [positions, position_name] : ef::enum_names(ef::PositionEncoding{}))
    for (const bool norm_first : {false, true}) {
      ef::TransformerOptions options = small_transformer();
      options.positions = positions;
      options.layer.norm_first = norm_first;
      options.layer.key_heads = norm_first ? 1 : 0;
      options.layer.activation = norm_first ? ef::Activation::gelu : ef::Activation::relu;
      ef::Rng rng(4);
      const ef::Transformer<Scalar> transformer(options, rng);
      model<Scalar, ef::TransformerState<Scalar>>(
          scalar + " Transformer " + std::string(position_name) + (norm_first ? " norm first" : ""), transformer,
          threads);
    }
  for (ef::RecurrentSeq2SeqOptions options : kinds_of_recurrent_models()) {
    options.dropout = 0.1;
    ef::Rng rng(4);
    const ef::RecurrentSeq2Seq<Scalar> recurrent(options, rng);
    model<Scalar, ef::RecurrentSeq2SeqState<Scalar>>(scalar + " recurrent " + name_of(options), recurrent, threads);
  }
}

template <class Scalar>
void all(const std::string& scalar) {
  ef::ThreadPool threads(2);
  attention<Scalar>(scalar, threads);
  decoding<Scalar>(scalar, threads);
  products<Scalar>(scalar, threads);
  models<Scalar>(scalar, threads);
}

}  // namespace

int main() {
  all<float>("float");
  all<double>("double");
}
