// The text of an error, for tests of what it says.
#pragma once

#include <string>

#include "eigenformer/core/check.hpp"

namespace eigenformer::testing {

/// The message of the Error that `call` throws; "nothing was thrown" if it throws none.
template <class Call>
std::string message_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace eigenformer::testing
