// A non-owning reference to a function object of any type.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include "eigenformer/core/config.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

template <class Signature>
class FunctionRef;

/// Refers to a function object, such as a lambda, which must outlive it. The size of two pointers; a call is one
/// indirect call. A parameter of this type, instead of a template parameter, lets one compiled function serve all
/// callers:
///
///   void for_each_word(std::string_view text, FunctionRef<void(std::string_view)> body);
template <class Result, class... Arguments>
class FunctionRef<Result(Arguments...)> {
 public:
  template <class Function>
  requires(!std::is_same_v<std::remove_cvref_t<Function>, FunctionRef> &&
           !std::is_function_v<std::remove_reference_t<Function>> &&
           std::is_invocable_r_v<Result, std::remove_reference_t<Function>&, Arguments...>)
      FunctionRef(Function&& function)  // NOLINT: implicit, so that a lambda can be passed
      : function_(const_cast<void*>(static_cast<const void*>(std::addressof(function)))),
        call_([](void* f, Arguments... arguments) -> Result {
          auto& called = *static_cast<std::remove_reference_t<Function>*>(f);
          if constexpr (std::is_void_v<Result>)  // drops a result that is not asked for
            static_cast<void>(called(std::forward<Arguments>(arguments)...));
          else
            return called(std::forward<Arguments>(arguments)...);
        }) {}
  Result operator()(Arguments... arguments) const { return call_(function_, std::forward<Arguments>(arguments)...); }

 private:
  void* function_;
  Result (*call_)(void*, Arguments...);
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
