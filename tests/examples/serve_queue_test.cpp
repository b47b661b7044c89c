#include "translate/serve_queue.hpp"

#include <thread>

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace {

using std::chrono::milliseconds;
using translate::PendingRequest;
using translate::RequestQueue;

std::shared_ptr<PendingRequest> pending_request(const std::string& options = "", int sentences = 1) {
  std::string body = "{\"sentences\": [";
  for (int i = 0; i < sentences; ++i) body += i == 0 ? "\"a\"" : ", \"a\"";
  return std::make_shared<PendingRequest>(translate::translate_request(body + "]" + options + '}', {}));
}

std::vector<std::uint64_t> request_numbers(const RequestQueue::Batch& batch) {
  std::vector<std::uint64_t> all;
  for (const auto& pending : batch) all.push_back(pending->number);
  return all;
}

using RequestNumbers = std::vector<std::uint64_t>;

}  // namespace

TEST_CASE("requests are taken in order of arrival, equal neighbours together", "[examples]") {
  RequestQueue queue(100);
  const std::string beam = ", \"beam_size\": 2", stream = ", \"stream\": true";
  const std::string all[] = {"", "", beam, "", stream, stream, beam, beam};
  for (const std::string& options : all) queue.add(pending_request(options));
  CHECK(queue.counts().waiting == 8);
  CHECK(request_numbers(queue.take(10)) == RequestNumbers{1, 2});
  CHECK(request_numbers(queue.take(10)) == RequestNumbers{3});
  CHECK(request_numbers(queue.take(10)) == RequestNumbers{4});
  CHECK(request_numbers(queue.take(10)) == RequestNumbers{5});
  CHECK(request_numbers(queue.take(10)) == RequestNumbers{6});
  CHECK(request_numbers(queue.take(10)) == RequestNumbers{7, 8});
  CHECK(queue.counts().waiting == 0);
  CHECK(queue.counts().received == 8);
}

TEST_CASE("a batch of requests has a limited number of sentences", "[examples]") {
  RequestQueue queue(100);
  for (const int sentences : {3, 4, 3, 12, 0, 1}) queue.add(pending_request("", sentences));
  CHECK(request_numbers(queue.take(10)) == RequestNumbers{1, 2, 3});
  CHECK(request_numbers(queue.take(10)) == RequestNumbers{4});  // it is longer than the limit, and comes alone
  CHECK(request_numbers(queue.take(10)) == RequestNumbers{5, 6});
}

TEST_CASE("a full queue refuses requests, and cancelled ones are dropped", "[examples]") {
  RequestQueue queue(2);
  const auto first = pending_request(), second = pending_request();
  queue.add(first);
  queue.add(second);
  CHECK(eigenformer::testing::message_of([&] { queue.add(pending_request()); }) ==
        "too many requests: 2 are waiting; try again later");
  first->answer.cancel();
  CHECK(request_numbers(queue.take(10)) == RequestNumbers{2});
}

TEST_CASE("a queue that closes answers waiting requests and wakes its thread", "[examples][threads]") {
  RequestQueue queue(10);
  RequestQueue::Batch last{nullptr};
  std::thread thread([&] { last = queue.take(10); });
  std::this_thread::sleep_for(milliseconds(20));
  queue.close();
  thread.join();
  CHECK(last.empty());
  CHECK(eigenformer::testing::message_of([&] { queue.add(pending_request()); }) == "the server is stopping");

  RequestQueue other(10);
  const auto waiting = pending_request();
  other.add(waiting);
  other.close();
  const auto part = waiting->answer.next(milliseconds(0));
  REQUIRE(part.has_value());
  CHECK(part->status == 503);
  CHECK(part->is_last);
  CHECK(part->text == "{\"error\":{\"message\":\"the server is stopping\",\"status\":503}}\n");
}

TEST_CASE("an answer's parts arrive in order between threads", "[examples][threads]") {
  translate::Answer answer;
  CHECK_FALSE(answer.next(milliseconds(1)).has_value());
  std::thread writer([&] {
    for (int i = 0; i < 1000; ++i) answer.add(std::to_string(i));
    answer.finish("end", 413);
  });
  for (int i = 0; i < 1000; ++i) {
    const auto part = answer.next(milliseconds(10'000));
    REQUIRE(part.has_value());
    CHECK(part->text == std::to_string(i));
    CHECK_FALSE(part->is_last);
  }
  const auto end = answer.next(milliseconds(10'000));
  writer.join();
  REQUIRE(end.has_value());
  CHECK(end->text == "end");
  CHECK(end->status == 413);
  CHECK(end->is_last);
}

TEST_CASE("error bodies are JSON, whatever the message", "[examples]") {
  CHECK(translate::error_body(400, "a \"b\" \xff") ==
        "{\"error\":{\"message\":\"a \\\"b\\\" \xEF\xBF\xBD\",\"status\":400}}\n");
}
