#!/bin/sh
# Measures the compile time of files that include parts of the library, relative to Eigen/Core alone. Prints the minimum
# of five runs each; the runs alternate between files, because the machine may be shared.
#
#     CXX=clang++ bench/compile_time.sh [FLAGS]     CXX defaults to g++, FLAGS to -O2
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
compiler=${CXX:-g++}
flags=${*:--O2}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

write() { printf '%s\n' "$2" > "$folder/$1.cpp"; }
write 1_eigen_core '#include <Eigen/Core>'
write 2_attention_included '#include <eigenformer/kernels/attention.hpp>'
write 3_eigen_product_called '#include <Eigen/Core>
Eigen::MatrixXf f(const Eigen::MatrixXf& q, const Eigen::MatrixXf& k) { return q * k; }'
write 4_attention_called '#include <eigenformer/kernels/attention.hpp>
Eigen::MatrixXf f(const Eigen::MatrixXf& q, const Eigen::MatrixXf& k, const Eigen::MatrixXf& v) {
  return eigenformer::attention(q, k, v, {.heads = 8});
}'
write 5_attention_called,_compiled_before '#define EIGENFORMER_COMPILED_FLOAT  // as for those who link eigenformer::compiled
#include <eigenformer/kernels/attention.hpp>
Eigen::MatrixXf f(const Eigen::MatrixXf& q, const Eigen::MatrixXf& k, const Eigen::MatrixXf& v) {
  return eigenformer::attention(q, k, v, {.heads = 8});
}'
lambda='#include <eigenformer/kernels/attention.hpp>
#include <eigenformer/kernels/scores/score_function.hpp>
Eigen::MatrixXf f(const Eigen::MatrixXf& q, const Eigen::MatrixXf& k, const Eigen::MatrixXf& v) {
  const auto score = eigenformer::score([](auto s, const auto& at) { return s - 0.1F * float(at.query - at.key); });
  return eigenformer::attention(q, k, v, score, {.heads = 8});
}'
write 6_lambda_called "$lambda"
write 7_lambda_called,_compiled_before "#define EIGENFORMER_COMPILED_FLOAT
$lambda"
write 8_library_included '#include <eigenformer/eigenformer.hpp>'
write 9_transformer_trained '#include <eigenformer/eigenformer.hpp>
namespace ef = eigenformer;
float f(const ef::Transformer<float>& model, ef::Tape<float>& tape, const ef::TranslationBatch& batch) {
  const ef::Context<float> context{.tape = &tape};
  const auto loss = ef::cross_entropy(context, model(context, batch.source, batch.target), batch.next);
  tape.backward(loss);
  return loss.scalar();
}'

for run in 1 2 3 4 5; do
  for file in "$folder"/*.cpp; do
    begin=$(date +%s%N)
    "$compiler" -std=c++20 $flags -I "$root/include" -isystem "${EIGEN:-/usr/include/eigen3}" -c "$file" -o "$folder/object.o"
    end=$(date +%s%N)
    echo "$(basename "$file" .cpp) $((end - begin)) $(wc -c < "$folder/object.o")"
  done
done | awk '
  { if (!($1 in least) || $2 < least[$1]) least[$1] = $2; size[$1] = $3 }
  END {
    for (name in least)
      printf "%s|%6.2f s  %5.2f times Eigen/Core  %7.0f KB object\n", name, least[name] / 1e9,
             least[name] / least["1_eigen_core"], size[name] / 1024
  }' | sort | sed 's/^._//' | column -t -s '|'
