// Multi-head attention on a ragged batch: sentences of different lengths, stacked without padding.
#include <eigenformer/core/thread_pool.hpp>
#include <eigenformer/layers/multi_head_attention.hpp>
#include <iostream>

namespace ef = eigenformer;

int main() {
  ef::Rng rng(42);
  const ef::MultiHeadAttention<float> attend({.width = 64, .heads = 4}, rng);
  std::cout << "the layer's parameters:\n";
  ef::for_each_parameter(attend, [](const std::string& name, const ef::Parameter<float>& parameter) {
    std::cout << "  " << name << " [" << parameter.value.rows() << " x " << parameter.value.cols() << "]\n";
  });

  // Sentences of 3, 5 and 2 words: rows 0 to 2, 3 to 7, and 8 to 9.
  const ef::RowOffsets rows{0, 3, 8, 10};
  const Eigen::MatrixXf x = Eigen::MatrixXf::Random(10, 64);
  const ef::Matrix<float> y = attend({}, x, rows).value();

  // The result of a sentence does not depend on the rest of the batch.
  const ef::Matrix<float> alone = attend({}, x.middleRows(3, 5)).value();
  const float difference = (y.middleRows(3, 5) - alone).cwiseAbs().maxCoeff();
  std::cout << "the second sentence, alone and in the batch: largest difference " << difference << '\n';

  // Runs the layer on two threads and records its attention weights.
  ef::ThreadPool pool(2);
  ef::AttentionRecorder<float> recorder;
  const ef::Matrix<float> threaded = attend({.threads = &pool, .attention = &recorder}, x, rows).value();
  std::cout << "the first head's weights in the last sentence:\n"
            << recorder.weights(attend).matrix(0).bottomLeftCorner(2, 2) << '\n';
  return difference < 1e-5f && threaded == y && std::cout.flush() ? 0 : 1;
}
