// Every score there is: masks, caps and biases, functions of one's own, and how they are combined. Apart from
// attention.hpp, which has Unmasked and Causal, so that who needs no more does not compile more.
#pragma once

#include "eigenformer/kernels/alibi.hpp"
#include "eigenformer/kernels/chosen_score.hpp"
#include "eigenformer/kernels/combine.hpp"
#include "eigenformer/kernels/dense_bias.hpp"
#include "eigenformer/kernels/dense_mask.hpp"
#include "eigenformer/kernels/relative_bias.hpp"
#include "eigenformer/kernels/relative_keys.hpp"
#include "eigenformer/kernels/score.hpp"
#include "eigenformer/kernels/score_function.hpp"
#include "eigenformer/kernels/sliding_window.hpp"
#include "eigenformer/kernels/soft_cap.hpp"
