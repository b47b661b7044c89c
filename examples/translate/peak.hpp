// The floating-point rate that a machine can reach, to compare training with.
#pragma once

#include "eigenformer/core/thread_pool.hpp"

namespace translate {

namespace ef = eigenformer;

/// Returns the floating-point operations per second of all threads of a pool together, in loops of multiply-adds in
/// registers. A multiply-add counts as two operations. Takes a few milliseconds.
double peak_flops(ef::ThreadPool& pool);

}  // namespace translate
