// Includes the whole library except io/, which depends on more than Eigen. To compile faster, include only the headers
// you need.
#pragma once

#include "eigenformer/autograd/gradient_check.hpp"
#include "eigenformer/core/folders.hpp"
#include "eigenformer/core/standard_streams.hpp"
#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/decode/greedy.hpp"
#include "eigenformer/kernels/rotary.hpp"
#include "eigenformer/kernels/scores.hpp"
#include "eigenformer/models/translation_model.hpp"
#include "eigenformer/ops/cross_entropy.hpp"
#include "eigenformer/ops/pooling.hpp"
#include "eigenformer/ops/softmax.hpp"
#include "eigenformer/text/alignment.hpp"
#include "eigenformer/text/bleu.hpp"
#include "eigenformer/text/chrf.hpp"
#include "eigenformer/text/corpus.hpp"
#include "eigenformer/text/token_batches.hpp"
#include "eigenformer/train/trainer.hpp"
