// Every score there is: masks, caps and biases, functions of one's own, and how they are combined. Apart from
// attention.hpp, which has Unmasked and Causal, so that who needs no more does not compile more.
#pragma once

#include "eigenformer/kernels/scores/alibi.hpp"
#include "eigenformer/kernels/scores/causal.hpp"
#include "eigenformer/kernels/scores/combine.hpp"
#include "eigenformer/kernels/scores/dense_bias.hpp"
#include "eigenformer/kernels/scores/dense_mask.hpp"
#include "eigenformer/kernels/scores/relative_bias.hpp"
#include "eigenformer/kernels/scores/relative_keys.hpp"
#include "eigenformer/kernels/scores/score.hpp"
#include "eigenformer/kernels/scores/score_function.hpp"
#include "eigenformer/kernels/scores/score_variant.hpp"
#include "eigenformer/kernels/scores/sliding_window.hpp"
#include "eigenformer/kernels/scores/soft_cap.hpp"
