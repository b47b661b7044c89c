#include "eigenformer/io/checkpoint.hpp"

#include <limits>

#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/train/batch_order.hpp"
#include "eigenformer/train/parameter_hash.hpp"
#include "eigenformer/train/trainer.hpp"
#include "support/catch.hpp"
#include "support/contains.hpp"
#include "support/copy_task.hpp"
#include "support/message_of.hpp"
#include "support/recurrent_models.hpp"
#include "support/temporary_folder.hpp"

namespace ef = eigenformer;
namespace fs = std::filesystem;
using ef::testing::contains;
using ef::testing::names_in;
using ef::testing::TemporaryFolder;

namespace {

/// A corpus of copies whose sentences have different lengths, in three or four batches an epoch.
ef::Tokens small_corpus() {
  ef::Rng rng(7);
  std::vector<std::vector<ef::Token>> sentences;
  for (const ef::Index length : {3, 1, 4, 1, 5, 2, 6, 5}) {
    sentences.emplace_back(static_cast<std::size_t>(length));
    for (ef::Token& token : sentences.back()) token = static_cast<ef::Token>(3 + rng.randint(8));
  }
  return ef::Tokens::of(sentences);
}

ef::Transformer<float> new_transformer() {
  ef::TransformerOptions options = ef::testing::small_transformer();
  options.num_encoder_layers = options.num_decoder_layers = 1;
  options.layer.dropout = 0.2;
  ef::Rng rng(11);
  return {options, rng};
}

ef::RecurrentSeq2Seq<float> new_recurrent() {
  ef::RecurrentSeq2SeqOptions options = ef::testing::small_recurrent();
  options.dropout = 0.2;
  ef::Rng rng(12);
  return {options, rng};
}

/// All that must be equal after two trainings.
struct Outcome {
  std::uint64_t parameters = 0, moments = 0;
  ef::Index updates = 0;
  ef::BatchPosition next;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

/// Trains until `updates` updates are done, from the newest checkpoint of the folder on, and saves after each
/// `save_every` updates.
template <class MakeModel>
Outcome outcome(MakeModel make_model, const fs::path& folder, ef::Index updates, ef::Index save_every,
                ef::Threads* threads = nullptr) {
  const ef::Tokens corpus = small_corpus();
  auto model = make_model();
  ef::Adam<float> adam;
  ef::TrainingState state{.seed = 5};
  ef::BatchOrder order(corpus, corpus, {.max_tokens = 12, .seed = state.seed});
  ef::load_checkpoint(folder, model, adam, state);
  order.seek(state.next);
  const auto loss = [&](const ef::Context<float>& context, const ef::TranslationBatch& batch) {
    return ef::BatchLoss<float>{model.loss(context, batch, {.reduction = ef::Reduction::sum}),
                                static_cast<ef::Index>(batch.next.size())};
  };
  const auto report = [&](const ef::TrainingProgress& progress) {
    state.next = order.position();
    if (progress.update % save_every == 0) ef::save_checkpoint(folder, model, adam, state);
    return true;
  };
  ef::train(model, adam, [&] { return ef::translation_batch(corpus, corpus, order.next()); }, loss, report,
            {.max_updates = updates,
             .accumulate = 2,
             .schedule = ef::InverseSquareRoot{.peak = 0.01, .warmup = 4},
             .seed = state.seed,
             .threads = threads});
  return {ef::parameter_hash(model), ef::parameter_hash(adam), adam.updates(), order.position()};
}

template <class MakeModel>
void check_every_interruption(MakeModel make_model) {
  constexpr ef::Index updates = 7;  // about four epochs
  const TemporaryFolder never;
  const Outcome expected = outcome(make_model, never / "run", updates, updates + 1);
  CHECK(expected.next.epoch >= 3);
  ef::ThreadPool pool(2);
  for (ef::Index stop = 1; stop < updates; ++stop) {
    CAPTURE(stop);
    const TemporaryFolder folder;
    outcome(make_model, folder / "run", stop, std::max<ef::Index>(1, stop), stop % 2 == 0 ? &pool : nullptr);
    CHECK(outcome(make_model, folder / "run", updates, updates + 1, stop % 2 == 0 ? nullptr : &pool) == expected);
  }
}

/// Replaces a file without syncing it, which would take most of a test's time.
void overwrite(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

struct Weights {
  ef::Parameter<float> first{3, 5}, second{1, 2};
  static void visit(auto& self, auto&& visitor) {
    visitor("first", self.first);
    visitor("second", self.second);
  }
};

/// A model and its optimiser after some updates.
struct Training {
  explicit Training(ef::Index updates) {
    ef::Tape<float> tape;
    const ef::Matrix<float> one = ef::Matrix<float>::Ones(3, 5);
    for (ef::Index i = 0; i < updates; ++i) {
      tape.gradients().add(model.first, ef::ConstMatrixMap<float>(one.data(), 3, 5));
      adam.update(model, tape.gradients(), 0.1);
    }
    state.next.batch = updates;
  }
  void save(const fs::path& folder, const ef::CheckpointOptions& options = {}) const {
    ef::save_checkpoint(folder, model, adam, state, options);
  }
  Weights model;
  ef::Adam<float> adam;
  ef::TrainingState state;
};

/// A disk that fails at one of its operations.
class FailingDisk : public ef::detail::Disk {
 public:
  explicit FailingDisk(int good) : good_(good) {}
  std::error_code sync(int descriptor, const fs::path& path) override {
    return good_-- > 0 ? Disk::sync(descriptor, path) : std::make_error_code(std::errc::io_error);
  }
  std::error_code rename(const fs::path& from, const fs::path& to) override {
    return good_-- > 0 ? Disk::rename(from, to) : std::make_error_code(std::errc::no_space_on_device);
  }

 private:
  int good_;
};

}  // namespace

TEST_CASE("a Transformer's training, interrupted after any update, continues exactly", "[io][checkpoint][threads]") {
  check_every_interruption(new_transformer);
}

TEST_CASE("a recurrent model's training, interrupted after any update, continues exactly",
          "[io][checkpoint][threads]") {
  check_every_interruption(new_recurrent);
}

TEST_CASE("a training that was interrupted twice continues from its own checkpoints", "[io][checkpoint][threads]") {
  const TemporaryFolder never, folder;
  const Outcome expected = outcome(new_transformer, never / "run", 9, 10);
  outcome(new_transformer, folder / "run", 4, 3);  // the last update is lost
  outcome(new_transformer, folder / "run", 8, 3);
  CHECK(outcome(new_transformer, folder / "run", 9, 3) == expected);
  CHECK(names_in(folder / "run") ==
        std::vector<std::string>{"update-000000003", "update-000000006", "update-000000009"});
}

TEST_CASE("a checkpoint gives back the parameters, the optimiser and the state", "[io][checkpoint]") {
  const TemporaryFolder folder;
  CHECK(!ef::newest_checkpoint(folder / "none").checkpoint);
  for (const ef::Index updates : {0, 1, 3}) {
    Training saved(updates);
    saved.state.seed = (std::numeric_limits<std::uint64_t>::max)();
    saved.state.seconds = 0.1;
    saved.save(folder / "run");
    Training loaded(0);
    const ef::NewestCheckpoint found = ef::load_checkpoint(folder / "run", loaded.model, loaded.adam, loaded.state);
    CHECK(found.checkpoint->update() == updates);
    CHECK(found.skipped.empty());
    CHECK(loaded.model.first.value == saved.model.first.value);
    CHECK(loaded.adam.updates() == updates);
    CHECK((updates == 0 || ef::parameter_hash(loaded.adam) == ef::parameter_hash(saved.adam)));
    CHECK(loaded.state.seed == saved.state.seed);
    CHECK(loaded.state.next == saved.state.next);
    CHECK(loaded.state.seconds == saved.state.seconds);
  }
}

TEST_CASE("only the newest checkpoints are kept, and later ones stay", "[io][checkpoint]") {
  const TemporaryFolder folder;
  const auto updates = [&] {
    std::vector<ef::Index> found;
    for (const ef::CheckpointEntry& entry : ef::checkpoints_in(folder / "run")) found.push_back(entry.update);
    return found;
  };
  using List = std::vector<ef::Index>;
  for (const ef::Index update : {1, 2, 4}) Training(update).save(folder / "run", {.keep = 2});
  CHECK(updates() == List{4, 2});
  CHECK(ef::testing::message_of([&] { Training(5).save(folder / "run", {.keep = -1}); }) ==
        "save_checkpoint: keep is -1, expected 0 or more");
  Training(7).save(folder / "run", {.keep = 0});
  CHECK(updates() == List{7, 4, 2});
  Training(3).save(folder / "run", {.keep = 1});
  CHECK(updates() == List{7, 4, 3});
  for (const char* const name : {"update-000000003.2", "update-000000003.3", "update-000000003.4"}) {
    Training(3).save(folder / "run", {.keep = 1});
    CHECK(updates() == List{7, 4, 3});
    CHECK(fs::exists(folder / "run" / name));
  }
  fs::create_directory(folder / "run" / "update-x");
  fs::create_directory(folder / "run" / ".removed-checkpoint-1.tmp");
  ef::remove_checkpoint(ef::checkpoints_in(folder / "run").front());
  CHECK(updates() == List{4, 3});
  ef::remove_checkpoints_except(folder / "run", 4);
  CHECK(updates() == List{4});
  CHECK(ef::newest_checkpoint(folder / "run", 3).checkpoint == std::nullopt);
  Training(5).save(folder / "run");
  CHECK(names_in(folder / "run") == std::vector<std::string>{"update-000000004", "update-000000005", "update-x"});
}

TEST_CASE("a damaged checkpoint is skipped, with a message that names the file", "[io][checkpoint]") {
  for (const char* const name : {"state.json", "model.safetensors", "optimizer.safetensors"}) {
    const TemporaryFolder folder;
    Training(2).save(folder / "run");
    Training(3).save(folder / "run");
    const fs::path file = folder / "run" / "update-000000003" / name;
    const std::string bytes = ef::read_file(file);
    const auto is_skipped = [&](const std::string& expected) {
      const ef::NewestCheckpoint found = ef::newest_checkpoint(folder / "run");
      REQUIRE(found.checkpoint);
      if (found.checkpoint->update() != 2 || found.skipped.size() != 1) return false;
      CAPTURE(found.skipped.front());
      CHECK(contains(found.skipped.front(), ef::path_text(file)));
      CHECK(contains(found.skipped.front(), expected));
      return true;
    };
    for (std::size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / 23) {
      CAPTURE(name, size);
      overwrite(file, bytes.substr(0, size));
      CHECK(is_skipped(""));
    }
    for (std::size_t i = 0; i < bytes.size(); i += 1 + bytes.size() / 41) {
      if (bytes[i] == ' ' || bytes[i] == '\n') continue;  // JSON's white space means nothing
      CAPTURE(name, i);
      std::string changed = bytes;
      changed[i] ^= 1;
      overwrite(file, changed);
      CHECK(is_skipped(""));
    }
    fs::remove(file);
    CHECK(is_skipped("there is no such file"));
    overwrite(file, bytes);
    CHECK(ef::newest_checkpoint(folder / "run").checkpoint->update() == 3);
  }
}

TEST_CASE("a checkpoint of an older version, which lacks members that were added later, is loaded",
          "[io][checkpoint]") {
  const auto state_without = [](const char* member) {
    const TemporaryFolder folder;
    Training training(2);
    training.state = {.seed = 9, .next = {.epoch = 1, .batch = 4, .buffer = 7}, .seconds = 2.5};
    training.save(folder / "run");
    const fs::path path = folder / "run" / "update-000000002";
    ef::Json contents = ef::parse_json(ef::read_file(path / "state.json"), "state.json");
    contents["state"].erase(member);
    contents["checksums"].erase("state.json");
    contents["checksums"]["state.json"] = ef::detail::checksum_of(contents.dump());
    overwrite(path / "state.json", contents.dump());
    return ef::Checkpoint(path).state<ef::TrainingState>();
  };
  const ef::TrainingState state = state_without("buffer");
  CHECK(state.next == ef::BatchPosition{.epoch = 1, .batch = 4, .buffer = 0});
  CHECK((state.seed == 9 && state.seconds == 2.5));
  CHECK(state_without("nothing").next == ef::BatchPosition{.epoch = 1, .batch = 4, .buffer = 7});
  CHECK(contains(ef::testing::message_of([&] { state_without("batch"); }), "has no \"batch\""));
}

namespace counting {

/// A state of a caller's own.
struct State {
  double best = -std::numeric_limits<double>::infinity();
  ef::Index tokens = 0;
  std::string note{};
};
template <class AnyState>
requires std::same_as<std::remove_const_t<AnyState>, State>
void visit_options(AnyState& state, auto&& visitor) {
  visitor("best", state.best);
  visitor("tokens", state.tokens);
  visitor("note", state.note);
}

}  // namespace counting

TEST_CASE("a state's numbers may be infinite, negative or large", "[io][checkpoint]") {
  const TemporaryFolder folder;
  Training training(1);
  for (const ef::Index tokens : {ef::Index{-1}, (std::numeric_limits<ef::Index>::max)()}) {
    ef::save_checkpoint(folder / "run", training.model, training.adam, counting::State{.tokens = tokens});
    counting::State state{.best = 0};
    REQUIRE(ef::load_checkpoint(folder / "run", training.model, training.adam, state).checkpoint);
    CHECK(state.best == -std::numeric_limits<double>::infinity());
    CHECK(state.tokens == tokens);
  }
  const auto save = [&] {
    ef::save_checkpoint(folder / "run", training.model, training.adam, counting::State{.note = "\xFF"});
  };
  CHECK(ef::testing::message_of(save) == "save_checkpoint: \"note\": invalid UTF-8 at byte 0");
}

TEST_CASE("an impossible number of updates is refused", "[io][checkpoint]") {
  const auto refusal = [](const ef::Json& update) {
    const TemporaryFolder folder;
    Training(2).save(folder / "run");
    const fs::path path = folder / "run" / "update-000000002";
    ef::Json contents = ef::parse_json(ef::read_file(path / "state.json"), "state.json");
    contents["checksums"].erase("state.json");
    contents["update"] = update;
    if (update.is_null()) contents.erase("update");
    contents["checksums"]["state.json"] = ef::detail::checksum_of(contents.dump());
    overwrite(path / "state.json", contents.dump());
    return ef::testing::message_of([&] { ef::Checkpoint{path}; });
  };
  CHECK(contains(refusal({}), "state.json: has no \"update\""));
  CHECK(contains(refusal("2"), "state.json: \"update\" is \"2\", expected a whole number from 0 to 2^31"));
  CHECK(contains(refusal(-2), "state.json: \"update\" is -2, expected a whole number from 0 to 2^31"));
  CHECK(contains(refusal(std::uint64_t{1} << 63), "expected a whole number from 0 to 2^31"));
}

TEST_CASE("a disk that fails while a checkpoint is saved leaves the older ones complete", "[io][checkpoint]") {
  bool saved = false;
  for (int good = 0; !saved; ++good) {
    CAPTURE(good);
    REQUIRE(good < 20);
    const TemporaryFolder folder;
    Training(1).save(folder / "run");
    Training(2).save(folder / "run");
    const Training third(2);
    FailingDisk disk(good);
    const auto write_tensors = [&](const fs::path& temporary) {
      ef::save_parameters(temporary / "model.safetensors", third.model);
      ef::save_parameters(temporary / "optimizer.safetensors", third.adam);
    };
    const ef::Json contents{{"format", 1}, {"update", 2}, {"state", ef::options_to_json(third.state)}};
    try {
      ef::detail::write_checkpoint(folder / "run", "update-000000002.2", contents, write_tensors, disk);
      saved = true;
    } catch (const ef::Error& error) {
      CHECK(contains(error.what(), "save_checkpoint: "));
    }
    const ef::NewestCheckpoint found = ef::newest_checkpoint(folder / "run");
    CHECK(found.skipped.empty());
    REQUIRE(found.checkpoint);
    CHECK(found.checkpoint->update() == 2);  // the checkpoint to be replaced stays until the new one is complete
    CHECK((found.checkpoint->path().extension() == ".2") == fs::exists(folder / "run" / "update-000000002.2"));
    CHECK((!saved || found.checkpoint->path().extension() == ".2"));
  }
}

TEST_CASE("a checkpoint of another model is refused and changes nothing", "[io][checkpoint]") {
  const TemporaryFolder folder;
  Training(2).save(folder / "run");
  const ef::Checkpoint checkpoint(folder / "run" / "update-000000002");
  ef::Transformer<float> other = new_transformer();
  const std::uint64_t before = ef::parameter_hash(other);
  ef::Adam<float> adam;
  CHECK_THROWS_AS(checkpoint.restore(other, adam), ef::Error);
  CHECK(ef::parameter_hash(other) == before);
  CHECK(adam.updates() == 0);
}
