// A non-owning reference to a function or function object of any type.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include "eigenformer/core/config.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

template <class Signature>
class FunctionRef;

/// Refers to a callable, which must outlive it. The size of two pointers; a call is one indirect call. A parameter of
/// this type, instead of a template parameter, lets one compiled function serve all callers:
///
///   void for_each_word(std::string_view text, FunctionRef<void(std::string_view)> body);
template <class Result, class... Arguments>
class FunctionRef<Result(Arguments...)> {
 public:
  template <class Function>
  requires(!std::is_same_v<std::remove_cvref_t<Function>, FunctionRef>)
      FunctionRef(Function&& function)  // NOLINT: implicit, so that a lambda can be passed
      : function_(const_cast<void*>(static_cast<const void*>(std::addressof(function)))),
        call_([](void* f, Arguments... arguments) -> Result {
          return (*static_cast<std::remove_reference_t<Function>*>(f))(std::forward<Arguments>(arguments)...);
        }) {}
  Result operator()(Arguments... arguments) const { return call_(function_, std::forward<Arguments>(arguments)...); }

 private:
  void* function_;
  Result (*call_)(void*, Arguments...);
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
