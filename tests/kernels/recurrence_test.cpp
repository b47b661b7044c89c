#include "eigenformer/kernels/recurrence.hpp"

#include "eigenformer/core/thread_pool.hpp"
#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/naive_recurrence.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;
using ef::testing::random_matrix;

namespace {

template <class Scalar>
struct Layer {
  Layer(ef::RecurrentCell chosen, ef::Index hidden, ef::RowOffsets offsets, bool backwards, ef::Rng& rng)
      : cell(chosen),
        rows(std::move(offsets)),
        reverse(backwards),
        gates(random_matrix<Scalar>(rows.rows(), ef::gate_count(cell) * hidden, rng)),
        weight(random_matrix<Scalar>(gates.cols(), hidden, rng, 1 / std::sqrt(static_cast<double>(hidden)))),
        bias(random_matrix<Scalar>(1, gates.cols(), rng)),
        initial(random_matrix<Scalar>(rows.sequences(), ef::state_count(cell) * hidden, rng)) {}

  ef::Recurrence<Scalar> recurrence(ef::Threads* threads = nullptr) const {
    return {cell, weight, bias, initial, rows, reverse, nullptr, threads};
  }
  ef::Matrix<Scalar> states(ef::Threads* threads = nullptr) const {
    ef::Matrix<Scalar> state(rows.rows(), initial.cols()), none;
    ef::recurrent_forward<Scalar>(recurrence(threads), gates, state, none);
    return state;
  }
  ef::Matrix<double> naive() const {
    ef::Matrix<double> all(rows.rows(), initial.cols());
    for (ef::Index s = 0; s < rows.sequences(); ++s) {
      const ef::Matrix<double> before = initial.size() == 0 ? ef::Matrix<double>() : of(initial.row(s));
      all.middleRows(rows.begin(s), rows.length(s)) = ef::testing::naive_recurrence(
          cell, of(gates.middleRows(rows.begin(s), rows.length(s))), of(weight), of(bias), before, reverse);
    }
    return all;
  }
  template <class Rows>
  static ef::Matrix<double> of(const Rows& x) {
    return x.template cast<double>();
  }

  ef::RecurrentCell cell;
  ef::RowOffsets rows;
  bool reverse;
  ef::Matrix<Scalar> gates, weight, bias, initial;
};

const ef::RowOffsets mixed_lengths{0, 3, 3, 10, 11, 16, 16, 17};

}  // namespace

TEMPLATE_TEST_CASE("recurrent layers follow their equations", "[kernels]", float, double) {
  const std::uint64_t seed = 601;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const ef::RecurrentCell cell : ef::values_of<ef::RecurrentCell>())
    for (const ef::Index hidden : {1, 7, 16, 19, 50})
      for (const bool reverse : {false, true}) {
        Layer<TestType> layer(cell, hidden, mixed_lengths, reverse, rng);
        CAPTURE(ef::to_string(cell), hidden, reverse);
        CHECK(ef::testing::max_error(layer.states(), layer.naive()) <= ef::testing::rounding<TestType>(200));
        layer.initial.resize(0, layer.initial.cols());
        layer.bias.resize(0, 0);
        layer.initial = ef::Matrix<TestType>::Zero(mixed_lengths.sequences(), layer.naive().cols());
        const ef::Matrix<double> from_zeros = layer.naive();
        ef::Matrix<TestType> state(mixed_lengths.rows(), layer.initial.cols()), none;
        ef::recurrent_forward<TestType>({cell, layer.weight, layer.bias, none, mixed_lengths, reverse}, layer.gates,
                                        state, none);
        CHECK(ef::testing::max_error(state, from_zeros) <= ef::testing::rounding<TestType>(200));
      }
}

TEST_CASE("a sequence's states are the same alone, in any batch, and by any number of threads", "[kernels][threads]") {
  const std::uint64_t seed = 602;
  CAPTURE(seed);
  ef::Rng rng(seed);
  std::vector<ef::Index> lengths;
  for (int s = 0; s < 61; ++s) lengths.push_back(static_cast<ef::Index>(rng.randint(12)));
  const ef::RowOffsets rows = ef::RowOffsets::from_lengths(lengths);
  ef::ThreadPool pool(3);
  for (const ef::RecurrentCell cell : ef::values_of<ef::RecurrentCell>()) {
    CAPTURE(ef::to_string(cell));
    const Layer<float> layer(cell, 21, rows, true, rng);
    const ef::Matrix<float> states = layer.states();
    CHECK(states == layer.states(&pool));
    for (ef::Index s = 0; s < rows.sequences(); ++s) {
      Layer<float> alone = layer;
      alone.rows = ef::RowOffsets{0, rows.length(s)};
      alone.gates = layer.gates.middleRows(rows.begin(s), rows.length(s));
      alone.initial = layer.initial.row(s);
      CHECK(alone.states() == states.middleRows(rows.begin(s), rows.length(s)));
    }

    // A packed weight changes nothing, and gradients do not depend on threads either.
    ef::Matrix<float> packed_states(rows.rows(), states.cols()), none;
    const ef::PackedWeight<float> packed(layer.weight);
    ef::Recurrence<float> with_packed = layer.recurrence();
    with_packed.packed = &packed;
    ef::recurrent_forward<float>(with_packed, layer.gates, packed_states, none);
    CHECK(packed_states == states);
    const ef::Matrix<float> d_state = random_matrix<float>(states.rows(), states.cols(), rng);
    ef::Matrix<float> saved(rows.rows(), ef::saved_count(cell) * 21), state = states;
    ef::recurrent_forward<float>(layer.recurrence(), layer.gates, state, saved);
    const auto gradients = [&](ef::Threads* threads) {
      ef::Matrix<float> d_gates(rows.rows(), layer.gates.cols()), d_weight(layer.weight.rows(), 21);
      ef::Matrix<float> d_bias(1, layer.bias.cols()), d_initial(rows.sequences(), states.cols());
      ef::recurrent_backward<float>(layer.recurrence(threads), {state, saved}, d_state,
                                    {d_gates, d_weight, d_bias, d_initial});
      return std::vector<ef::Matrix<float>>{d_gates, d_weight, d_bias, d_initial};
    };
    CHECK(gradients(nullptr) == gradients(&pool));
  }
}

TEST_CASE("recurrent layers refuse shapes that do not fit", "[kernels][threads]") {
  ef::Rng rng(603);
  const Layer<double> good(ef::RecurrentCell::gru, 4, mixed_lengths, false, rng);
  const auto message = [&](auto change) {
    Layer<double> layer = good;
    ef::Matrix<double> state(mixed_lengths.rows(), 4), none;
    change(layer, state);
    return ef::testing::message_of(
        [&] { ef::recurrent_forward<double>(layer.recurrence(), layer.gates, state, none); });
  };
  CHECK(message([](auto& layer, auto&) { layer.weight.resize(9, 4); }) ==
        "recurrent: weight is [9 x 4], expected [12 x 4]");
  const ef::PackedWeight<double> packed(good.weight.topRows(8));
  ef::Recurrence<double> with_packed = good.recurrence();
  with_packed.packed = &packed;
  ef::Matrix<double> states(mixed_lengths.rows(), 4), no_saved;
  CHECK(ef::testing::message_of([&] { ef::recurrent_forward<double>(with_packed, good.gates, states, no_saved); }) ==
        "recurrent: packed is [8 x 4], expected [12 x 4]");
  CHECK(message([](auto& layer, auto&) { layer.bias.resize(1, 4); }) ==
        "recurrent: bias is [1 x 4], expected [1 x 12]");
  CHECK(message([](auto& layer, auto&) { layer.gates.resize(17, 8); }) ==
        "recurrent: gates are [17 x 8], expected [17 x 12]");
  CHECK(message([](auto& layer, auto&) { layer.initial.resize(2, 4); }) ==
        "recurrent: initial is [2 x 4], expected [7 x 4]");
  CHECK(message([](auto&, auto& state) { state.resize(17, 8); }) == "recurrent: state is [17 x 8], expected [17 x 4]");
  CHECK(message([](auto& layer, auto&) {
          layer.rows = ef::RowOffsets{0, 5};
        }) == "recurrent: gates has 17 rows, its offsets end at 5");
}
