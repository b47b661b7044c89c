#!/bin/sh
# Measures the processor time and peak memory of compiling files that use parts of the library, as ratios to Eigen/Core
# alone, beside those in compile_time.txt (lines of name|time|memory). Times are the minimum of three runs; memory and
# object size are those of the last. The runs alternate between files, because the machine may be shared. Needs python3.
#
#     CXX=clang++ bench/compile_time.sh [FLAGS]     CXX defaults to g++, FLAGS to -O3 -march=x86-64-v3
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
compiler=${CXX:-g++}
flags=${*:--O3 -march=x86-64-v3}
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

measure='import resource, subprocess, sys
subprocess.check_call(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / (2**20 if sys.platform == "darwin" else 1024))'

for run in 1 2 3; do
  for file in "$folder"/*.cpp; do
    used=$(python3 -c "$measure" "$compiler" -std=c++20 $flags -I "$root/include" -isystem "${EIGEN:-/usr/include/eigen3}" \
      -c "$file" -o "$folder/object.o")
    echo "$(basename "$file" .cpp) $used $(wc -c < "$folder/object.o")"
  done
done | awk -v committed_file="$root/bench/compile_time.txt" '
  BEGIN {
    while ((getline line < committed_file) > 0)
      if (split(line, field, "|") == 3) committed[field[1]] = sprintf("%6.2f %6.2f", field[2], field[3])
  }
  { if (!($1 in time) || $2 < time[$1]) time[$1] = $2; memory[$1] = $3; size[$1] = $4 }
  END {
    for (name in time) {
      short = substr(name, 3)
      printf "%s|%s|%6.2f s|%6.0f MB|%6.0f KB object|times Eigen/Core: %6.2f %6.2f|committed: %s\n", name, short, time[name],
             memory[name], size[name] / 1024, time[name] / time["1_eigen_core"], memory[name] / memory["1_eigen_core"],
             committed[short]
    }
  }' | sort | cut -d '|' -f 2- | column -t -s '|'
