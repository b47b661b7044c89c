// Returns the message of an error, for tests of messages.
#pragma once

#include <string>

#include "eigenformer/core/check.hpp"

namespace eigenformer::testing {

/// Returns the message of the Error that `call` throws, or "nothing was thrown".
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
