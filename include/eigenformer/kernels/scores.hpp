// All scores: masks, caps, biases, user-defined functions, and combinations of them. attention.hpp includes only
// Unmasked and Causal, so that programs that need no more compile faster.
#pragma once

#include "eigenformer/kernels/scores/alibi.hpp"
#include "eigenformer/kernels/scores/any_score.hpp"
#include "eigenformer/kernels/scores/block_mask.hpp"
#include "eigenformer/kernels/scores/causal.hpp"
#include "eigenformer/kernels/scores/combine.hpp"
#include "eigenformer/kernels/scores/dense_bias.hpp"
#include "eigenformer/kernels/scores/dense_mask.hpp"
#include "eigenformer/kernels/scores/learned_score.hpp"
#include "eigenformer/kernels/scores/relative_bias.hpp"
#include "eigenformer/kernels/scores/relative_keys.hpp"
#include "eigenformer/kernels/scores/score.hpp"
#include "eigenformer/kernels/scores/score_function.hpp"
#include "eigenformer/kernels/scores/score_variant.hpp"
#include "eigenformer/kernels/scores/sliding_window.hpp"
#include "eigenformer/kernels/scores/soft_cap.hpp"
