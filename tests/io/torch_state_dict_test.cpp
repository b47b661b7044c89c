#include "eigenformer/io/torch_state_dict.hpp"

#include "eigenformer/layers/embedding.hpp"
#include "eigenformer/layers/encoder.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/random.hpp"
#include "support/temporary_folder.hpp"

namespace ef = eigenformer;
using ef::testing::message_of;
using ef::testing::random_matrix;

namespace {

/// A module of one's own: its parts are named as in PyTorch.
struct Reader {
  ef::Embedding<float> embed;
  ef::MultiHeadAttention<float> attend;
  std::vector<ef::Convolution<float>> convs;
  ef::Parameter<float> scale;

  explicit Reader(ef::Rng& rng)
      : embed(7, 4, rng),
        attend({.width = 4, .heads = 2}, rng),
        convs(2, ef::Convolution<float>({.inputs = 4, .outputs = 3, .kernel = 2}, rng)),
        scale(1, 4) {}
  static void visit(auto& self, auto&& visitor) {
    visitor("embed", self.embed);
    visitor("attend", self.attend);
    visitor("convs", self.convs);
    visitor("scale", self.scale);
  }
};

/// Returns names and shapes of a file's tensors, sorted.
std::vector<std::string> tensors_in(const ef::SafetensorsFile& file) {
  std::vector<std::string> tensors;
  for (const std::string& name : file.names())
    tensors.push_back(name + ' ' + ef::detail::dimensions_text(file.shape(name)));
  std::sort(tensors.begin(), tensors.end());
  return tensors;
}

template <class Number>
ef::NamedTensor tensor_of(const std::string& name, const std::vector<ef::Index>& shape,
                          const std::vector<Number>& numbers) {
  return {name, ef::dtype_of<Number>(), shape, std::as_bytes(std::span(numbers))};
}

}  // namespace

TEST_CASE("a module of one's own is written under PyTorch's names and shapes, and read again", "[io]") {
  const std::uint64_t seed = 201;
  CAPTURE(seed);
  ef::Rng rng(seed);
  Reader written(rng), read(rng);
  ef::for_each_parameter(written, [&](const auto&, ef::Parameter<float>& p) {
    p.value = random_matrix<float>(p.value.rows(), p.value.cols(), rng);
  });
  const ef::testing::TemporaryFolder folder;
  ef::save_torch_state_dict(folder / "reader.safetensors", written, "model.");
  const ef::SafetensorsFile file(folder / "reader.safetensors");
  CHECK(file.metadata().at("format") == "pt");
  CHECK(tensors_in(file) ==
        std::vector<std::string>{"model.attend.in_proj_bias [12]", "model.attend.in_proj_weight [12 x 4]",
                                 "model.attend.out_proj.bias [4]", "model.attend.out_proj.weight [4 x 4]",
                                 "model.convs.0.bias [3]", "model.convs.0.weight [3 x 4 x 2]", "model.convs.1.bias [3]",
                                 "model.convs.1.weight [3 x 4 x 2]", "model.embed.weight [7 x 4]",
                                 "model.scale [1 x 4]"});
  // PyTorch's [output][input][tap] is column tap * inputs + input here.
  CHECK(file.values<float>("model.convs.1.weight")[2 * 8 + 3 * 2 + 1] == written.convs[1].weight.value(2, 4 + 3));
  CHECK(file.matrix<float>("model.attend.in_proj_weight").middleRows(4, 4) == written.attend.k.weight.value);

  ef::load_torch_state_dict(folder / "reader.safetensors", read, "model.");
  std::vector<ef::Matrix<float>> expected, given;
  ef::for_each_parameter(written, [&](const auto&, const auto& p) { expected.push_back(p.value); });
  ef::for_each_parameter(read, [&](const auto&, const auto& p) { given.push_back(p.value); });
  CHECK(given == expected);
}

TEST_CASE("a prefix selects a part of a larger state dict", "[io]") {
  ef::Rng rng(202);
  Reader reader(rng);
  const ef::testing::TemporaryFolder folder;
  ef::save_torch_state_dict(folder / "reader.safetensors", reader);
  const ef::SafetensorsFile file(folder / "reader.safetensors");
  ef::MultiHeadAttention<double> attend({.width = 4, .heads = 2}, rng);
  ef::load_torch_state_dict(file, attend, "attend.");
  CHECK(attend.v.weight.value == reader.attend.v.weight.value.cast<double>());
  CHECK(message_of([&] {
          ef::load_torch_state_dict(file, attend, "attention.");
        }).find("\"attention.in_proj_weight\" is missing, expected [12 x 4]") != std::string::npos);
}

TEST_CASE("every type of a stored tensor is converted", "[io]") {
  const ef::testing::TemporaryFolder folder;
  ef::Rng rng(203);
  const auto check = [&]<class Number>(Number) {
    CAPTURE(std::string(ef::dtype_name(ef::dtype_of<Number>())));
    std::vector<Number> weight, bias;
    for (int i = 0; i < 6; ++i) weight.push_back(static_cast<Number>(i));
    for (int i = 0; i < 3; ++i) bias.push_back(static_cast<Number>(7 - i));
    ef::write_safetensors(folder / "linear", {tensor_of("weight", {3, 2}, weight), tensor_of("bias", {3}, bias)});
    ef::Linear<float> linear(2, 3, rng);
    ef::load_torch_state_dict(folder / "linear", linear);
    CHECK(linear.weight.value == (ef::Matrix<float>(3, 2) << 0, 1, 2, 3, 4, 5).finished());
    CHECK(linear.bias.value == (ef::Matrix<float>(1, 3) << 7, 6, 5).finished());
  };
  check(double{});
  check(float{});
  check(Eigen::half{});
  check(Eigen::bfloat16{});
  check(std::int64_t{});
  check(std::int32_t{});
  check(std::int16_t{});
  check(std::int8_t{});
  check(std::uint64_t{});
  check(std::uint32_t{});
  check(std::uint16_t{});
  check(std::uint8_t{});
  const std::vector<std::uint8_t> truths{0, 1};
  ef::write_safetensors(folder / "truths", {{"weight", ef::DType::boolean, {1, 2}, std::as_bytes(std::span(truths))}});
  ef::Linear<double> linear(2, 1, rng, false);
  ef::load_torch_state_dict(folder / "truths", linear);
  CHECK(linear.weight.value == (ef::Matrix<double>(1, 2) << 0, 1).finished());
}

TEST_CASE("one error lists all tensors that do not fit, and the layer stays as it was", "[io]") {
  const ef::testing::TemporaryFolder folder;
  ef::Rng rng(204);
  const auto path = folder / "attention.safetensors";
  ef::MultiHeadAttention<float> layer({.width = 4, .heads = 2}, rng);
  const ef::Matrix<float> before = layer.q.weight.value;
  const std::vector<float> numbers(64, 1);
  const std::vector<float> four(numbers.begin(), numbers.begin() + 4), sixteen(numbers.begin(), numbers.begin() + 16);
  const std::vector<float> forty_eight(numbers.begin(), numbers.begin() + 48);
  ef::write_safetensors(path, {tensor_of("in_proj_weight", {12, 4}, forty_eight), tensor_of("bias_k", {1, 1, 4}, four),
                               tensor_of("out_proj.weight", {2, 8}, sixteen), tensor_of("out_proj.bias", {4}, four),
                               tensor_of("norm.gain", {4}, four)});
  CHECK(message_of([&] { ef::load_torch_state_dict(path, layer); }) ==
        "load_torch_state_dict: " + path.string() +
            " does not fit the layer: \"in_proj_bias\" is missing, expected [12]; \"out_proj.weight\" is [2 x 8], "
            "expected [4 x 4]; \"bias_k\" is [1 x 1 x 4], expected no such tensor: attention with add_bias_kv is not "
            "supported; \"norm.gain\" is [4], expected no such tensor");
  CHECK(layer.q.weight.value == before);

  ef::Encoder<float> encoder({.width = 4, .heads = 2, .dim_feedforward = 3}, 2, rng);
  const std::string message = message_of([&] { ef::load_torch_state_dict(path, encoder); });
  CHECK(message.find("; and 19 more") != std::string::npos);
}

TEST_CASE("LSTM with projections is refused by name", "[io]") {
  const ef::testing::TemporaryFolder folder;
  ef::Rng rng(205);
  ef::Recurrent<float> lstm({.inputs = 2, .hidden = 2, .cell = ef::RecurrentCell::lstm, .bias = false}, rng);
  const std::vector<float> sixteen(16), two(2), eight(8);
  ef::write_safetensors(folder / "lstm",
                        {tensor_of("weight_ih_l0", {8, 2}, sixteen), tensor_of("weight_hh_l0", {8, 1}, eight),
                         tensor_of("weight_hr_l0", {1, 2}, two)});
  const std::string message = message_of([&] { ef::load_torch_state_dict(folder / "lstm", lstm); });
  CHECK(message.find("\"weight_hh_l0\" is [8 x 1], expected [8 x 2]") != std::string::npos);
  CHECK(message.find("\"weight_hr_l0\" is [1 x 2], expected no such tensor: LSTM with proj_size is not supported") !=
        std::string::npos);
}

TEST_CASE("a convolution with groups is refused by name", "[io]") {
  const ef::testing::TemporaryFolder folder;
  ef::Rng rng(209);
  ef::Convolution<float> conv({.inputs = 6, .outputs = 4, .kernel = 2, .bias = false}, rng);
  const auto message = [&](const std::vector<ef::Index>& shape) {
    ef::Index size = 1;
    for (const ef::Index n : shape) size *= n;
    const std::vector<float> numbers(static_cast<std::size_t>(size));
    ef::write_safetensors(folder / "conv", {tensor_of("weight", shape, numbers)});
    return message_of([&] { ef::load_torch_state_dict(folder / "conv", conv); });
  };
  const std::string begin = "load_torch_state_dict: " + (folder / "conv").string() + " does not fit the layer: ";
  CHECK(message({4, 3, 2}) ==
        begin + "\"weight\" is [4 x 3 x 2], expected [4 x 6 x 2]: Conv1d with groups = 2 is not supported");
  CHECK(message({4, 1, 2}).find("groups = 6") != std::string::npos);
  for (const std::vector<ef::Index>& other :
       {std::vector<ef::Index>{4, 4, 2}, {4, 12, 2}, {4, 3, 1}, {2, 3, 2}, {4, 0, 2}})
    CHECK(message(other).find("groups") == std::string::npos);
  CHECK(message({4, 6, 2}) == "nothing was thrown");
}

TEST_CASE("a file of torch.save() is refused with the line that converts it", "[io]") {
  const ef::testing::TemporaryFolder folder;
  ef::Rng rng(210);
  ef::Linear<float> linear(2, 3, rng);
  const auto path = folder / "model.pt";
  const auto message = [&](std::string_view bytes) {
    ef::write_file(path, bytes);
    return message_of([&] { ef::load_torch_state_dict(path, linear); });
  };
  const std::string expected =
      "load_torch_state_dict: " + path.string() +
      " was written by torch.save(), expected a safetensors file. In Python, convert it: import torch, "
      "safetensors.torch; safetensors.torch.save_file(torch.load(r\"" +
      path.string() + "\", map_location=\"cpu\", weights_only=True), r\"" + (folder / "model.safetensors").string() +
      "\")";
  using namespace std::string_view_literals;
  CHECK(message("PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0\0\0"sv) == expected);
  CHECK(message("\x80\x02\x8a\x0al\xfc\x9c"
                "F\xf9 j\xa8P\x19."sv) == expected);
  CHECK(message("PK"sv).find("safetensors: ") == 0);
  // A header of 67 MB would begin like a zip archive.
  CHECK(message("PK\x03\x04\0\0\0\0{}"sv).find("the header's length is") != std::string::npos);
}

TEST_CASE("a parameter of one row is read from a vector too, but not from any other shape", "[io]") {
  const ef::testing::TemporaryFolder folder;
  ef::Rng rng(206);
  ef::Linear<float> linear(2, 1, rng, false);
  const std::vector<float> two{3, 4};
  ef::write_safetensors(folder / "vector", {tensor_of("weight", {2}, two)});
  ef::load_torch_state_dict(folder / "vector", linear);
  CHECK(linear.weight.value == (ef::Matrix<float>(1, 2) << 3, 4).finished());
  ef::write_safetensors(folder / "column", {tensor_of("weight", {2, 1}, two)});
  CHECK_THROWS_AS(ef::load_torch_state_dict(folder / "column", linear), ef::Error);
  ef::Linear<float> longer(3, 1, rng, false);
  CHECK_THROWS_AS(ef::load_torch_state_dict(folder / "vector", longer), ef::Error);
  ef::Linear<float> column(1, 2, rng, false);
  CHECK_THROWS_AS(ef::load_torch_state_dict(folder / "vector", column), ef::Error);
}

TEST_CASE("layers without a counterpart in PyTorch are refused, with the reason", "[io]") {
  const ef::testing::TemporaryFolder folder;
  ef::Rng rng(207);
  const auto message = [&](const auto& layer) {
    return message_of([&] { ef::save_torch_state_dict(folder / "layer", layer); });
  };
  const auto of_attention = [&](const ef::MultiHeadAttentionOptions& options) {
    return message(ef::MultiHeadAttention<float>(options, rng));
  };
  CHECK(of_attention({.width = 8, .heads = 4, .key_heads = 2}) ==
        "torch_state_dict: MultiHeadAttention \"\": a projection has 4 outputs, expected 8: "
        "torch.nn.MultiheadAttention has neither key_heads nor head_width");
  CHECK(of_attention({.width = 8, .heads = 4, .head_width = 3}).find("has 12 outputs, expected 8") !=
        std::string::npos);
  CHECK(of_attention({.width = 8, .heads = 4, .qk_norm = ef::QueryKeyNorm::rms_norm}).find("has no norms") !=
        std::string::npos);
  CHECK(of_attention({.width = 8, .heads = 4, .relative_distance = 3}).find("no relative positions") !=
        std::string::npos);
  CHECK(of_attention({.width = 8, .heads = 4, .sinks = true}).find("neither sinks nor learned scores") !=
        std::string::npos);
  ef::EncoderLayer<float> some({.width = 8, .heads = 4, .dim_feedforward = 4}, rng);
  some.self_attn.k.bias = {};
  CHECK(
      message(some) ==
      "torch_state_dict: MultiHeadAttention \"self_attn\": only some of q, k and v have a bias, expected all or none");
  CHECK(message(ef::Recurrent<float>({.inputs = 2, .hidden = 2, .cell = ef::RecurrentCell::gru_reset_first}, rng))
            .find("gru_reset_first") != std::string::npos);
  CHECK(!std::filesystem::exists(folder / "layer"));
}

TEST_CASE("a parameter without a gradient is written as zeros", "[io]") {
  const ef::testing::TemporaryFolder folder;
  ef::Rng rng(208);
  const ef::Linear<float> linear(2, 3, rng);
  ef::Gradients<float> gradients;
  const ef::Matrix<float> d_bias = ef::Matrix<float>::Ones(1, 3);
  gradients.add(linear.bias, ef::ConstMatrixMap<float>(d_bias.data(), 1, 3));
  ef::save_torch_gradients(folder / "gradients", linear, gradients);
  const ef::SafetensorsFile file(folder / "gradients");
  CHECK(file.matrix<float>("weight") == ef::Matrix<float>::Zero(3, 2));
  CHECK(file.matrix<float>("bias") == d_bias);
}
