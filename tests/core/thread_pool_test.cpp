#include "eigenformer/core/thread_pool.hpp"

#include <atomic>
#include <chrono>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;

namespace {

// How often each of `count` tasks is called. Catch2's assertions are not for several threads: they come afterwards.
std::vector<int> turns(ef::Threads& threads, Index count) {
  std::vector<std::atomic<int>> counts(static_cast<std::size_t>(count));
  threads.run(count, [&](Index i) { ++counts[static_cast<std::size_t>(i)]; });
  return {counts.begin(), counts.end()};
}

bool each_once(ef::Threads& threads, Index count) {
  return turns(threads, count) == std::vector<int>(static_cast<std::size_t>(count), 1);
}

}  // namespace

TEST_CASE("a pool does every task once", "[core][threads]") {
  const int size = GENERATE(1, 2, 3, 4);
  CAPTURE(size);
  ef::ThreadPool pool(size);
  CHECK(pool.size() == size);
  for (const Index count : {0, 1, 2, 3, 5, 64, 10000}) {
    CAPTURE(count);
    CHECK(each_once(pool, count));
  }
}

TEST_CASE("what tasks wrote is seen after the run", "[core][threads]") {
  const int size = GENERATE(1, 2, 4);
  CAPTURE(size);
  ef::ThreadPool pool(size);
  bool all_seen = true;
  for (Index run = 0; run < 2000; ++run) {
    const Index count = 1 + run % 9;
    std::vector<Index> written(static_cast<std::size_t>(count), -1);  // plain memory: a race is a sanitizer's to find
    pool.run(count, [&](Index i) { written[static_cast<std::size_t>(i)] = run + i; });
    for (Index i = 0; i < count; ++i) all_seen = all_seen && written[static_cast<std::size_t>(i)] == run + i;
  }
  CHECK(all_seen);
}

TEST_CASE("a pool works with as many threads as it says", "[core][threads]") {
  ef::ThreadPool pool(3);
  // Each task waits until three are under way, which they never are with fewer threads.
  std::atomic<int> waiting{0};
  std::mutex mutex;
  std::set<std::thread::id> ids;
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  pool.run(3, [&](Index) {
    ++waiting;
    while (waiting < 3 && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
    const std::lock_guard lock(mutex);
    ids.insert(std::this_thread::get_id());
  });
  CHECK(ids.size() == 3);
  CHECK(ids.count(std::this_thread::get_id()) == 1);
}

TEST_CASE("a pool wakes up after a pause", "[core][threads]") {
  ef::ThreadPool pool(3);
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    CHECK(each_once(pool, 50));
  }
}

TEST_CASE("tasks may run tasks", "[core][threads]") {
  const int size = GENERATE(1, 2, 3, 4);
  CAPTURE(size);
  ef::ThreadPool pool(size);
  for (int time = 0; time < 20; ++time) {
    std::atomic<int> calls{0};
    pool.run(7, [&](Index) { pool.run(5, [&](Index) { pool.run(2, [&](Index) { ++calls; }); }); });
    REQUIRE(calls == 7 * 5 * 2);
  }
  // A run of a single task leaves the workers to what runs inside it.
  std::atomic<int> waiting{0};
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  pool.run(1, [&](Index) {
    pool.run(size, [&](Index) {
      ++waiting;
      while (waiting < size && size > 1 && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
    });
  });
  CHECK(std::chrono::steady_clock::now() < give_up);
}

TEST_CASE("several callers may run at once", "[core][threads]") {
  const int size = GENERATE(1, 2, 3);
  CAPTURE(size);
  ef::ThreadPool pool(size);
  std::atomic<int> wrong{0};
  const auto call = [&] {
    for (int i = 0; i < 300; ++i) wrong += !each_once(pool, 1 + i % 20);
  };
  std::vector<std::thread> callers;
  for (int i = 0; i < 2; ++i) callers.emplace_back(call);
  call();
  for (std::thread& caller : callers) caller.join();
  CHECK(wrong == 0);
}

TEST_CASE("a task's exception reaches the caller, and the pool stays usable", "[core][threads]") {
  const int size = GENERATE(1, 2, 3, 4);
  CAPTURE(size);
  ef::ThreadPool pool(size);
  for (int time = 0; time < 50; ++time) {
    std::atomic<int> under_way{0};
    std::string message = "nothing was thrown";
    try {
      pool.run(20, [&](Index i) {
        ++under_way;
        if (i % 5 == 3) {
          --under_way;
          throw std::domain_error("task " + std::to_string(i % 5));
        }
        --under_way;
      });
    } catch (const std::domain_error& error) {
      message = error.what();
      REQUIRE(under_way == 0);  // nobody still refers to what the caller may now destroy
    }
    REQUIRE(message == "task 3");
    REQUIRE(each_once(pool, 20));
  }
  CHECK_THROWS_AS(pool.run(4, [](Index) { throw 1; }), int);
  CHECK_THROWS_AS(pool.run(1, [](Index) { throw 1; }), int);
  CHECK_THROWS_AS(pool.run(3, [&](Index) { pool.run(3, [](Index) { throw std::domain_error("inner"); }); }),
                  std::domain_error);
  CHECK(each_once(pool, 20));
}

TEST_CASE("pools come and go", "[core][threads]") {
  for (int i = 0; i < 50; ++i) {
    ef::ThreadPool unused(1 + i % 4);
    ef::ThreadPool used(1 + i % 4);
    REQUIRE(each_once(used, 1 + i % 7));
  }
  ef::ThreadPool of_the_machine;
  CHECK(of_the_machine.size() >= 1);
  CHECK(each_once(of_the_machine, 100));
  CHECK(ef::testing::message_of([] { ef::ThreadPool(-1); }) == "ThreadPool: threads is -1, expected 0 or more");
}

TEST_CASE("a pool whose threads cannot all be started is an error, and leaves none behind", "[core][threads]") {
  if (!ef::testing::can_count_allocations()) {
    WARN("the heap cannot be made to fail in this build");
    return;
  }
  std::size_t failures = 0, messages = 0;
  for (bool all_had = false; !all_had; ++failures) {
    std::string message;
    {
      const ef::testing::FailingAllocation failing(failures);
      try {
        ef::ThreadPool pool(4);
      } catch (const ef::Error& error) {
        message = error.what();
      } catch (const std::bad_alloc&) {  // before any thread
      }
      all_had = !failing.reached();
    }
    CAPTURE(failures, message);
    if (message.empty()) continue;
    ++messages;
    REQUIRE(message.find("ThreadPool: the system started ") == 0);
    REQUIRE(message.find(" threads beside the caller's, expected 3") != std::string::npos);
  }
  CHECK(messages >= 3);
}
