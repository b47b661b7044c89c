#include "eigenformer/kernels/recurrent_cells.hpp"

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;

TEST_CASE("recurrent cells have names, and as many gates as their papers say", "[kernels]") {
  for (const ef::RecurrentCell cell : ef::values_of<ef::RecurrentCell>())
    CHECK(ef::value_of<ef::RecurrentCell>(ef::to_string(cell)) == cell);
  CHECK(ef::testing::message_of([] { ef::value_of<ef::RecurrentCell>("GRU"); }) ==
        "value_of: expected rnn, rnn_relu, gru, gru_reset_first or lstm, given \"GRU\"");
  CHECK(ef::gate_count(ef::RecurrentCell::rnn) == 1);
  CHECK(ef::gate_count(ef::RecurrentCell::gru) == 3);
  CHECK(ef::gate_count(ef::RecurrentCell::lstm) == 4);
  CHECK(ef::state_count(ef::RecurrentCell::gru_reset_first) == 1);
  CHECK(ef::state_count(ef::RecurrentCell::lstm) == 2);
}
