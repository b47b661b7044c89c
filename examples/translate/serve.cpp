// translate serve: a page and a JSON interface for translating with the models of a directory.
#include <atomic>
#include <chrono>
#include <exception>
#include <iostream>
#include <thread>

#include "eigenformer/core/standard_streams.hpp"
#include "eigenformer/core/thread_pool.hpp"
#include "translate/serve_answers.hpp"
#include "translate/serve_http.hpp"

namespace translate {

namespace {

std::string models_json(const ServedModels& models) {
  const ef::Json json{{"default", models.default_name()}, {"models", models.names()}};
  return json.dump(-1, ' ', false, ef::Json::error_handler_t::replace) + '\n';  // a folder's name need not be UTF-8
}

/// Ends the server's threads, in the order in which they wait for each other.
struct Running {
  std::atomic<bool>& stops;
  RequestQueue& queue;
  HttpServer& server;
  std::thread translating, listening;

  ~Running() {
    stops = true;
    queue.close();
    if (translating.joinable()) translating.join();
    server.stop();
    if (listening.joinable()) listening.join();
  }
};

}  // namespace

void serve(const ServeArguments& arguments) {
  ef::check(has_http_server(),
            "serve: this program was built without cpp-httplib; install it (Debian: libcpp-httplib-dev), configure "
            "with CMake again, and build");
  ef::ThreadPool pool(arguments.threads);
  DecodingArguments decoding;
  decoding.weights = arguments.weights;
  ServedModels models(arguments.model, &pool, decoding, arguments.limits.max_models);
  RequestQueue queue(static_cast<std::size_t>(arguments.limits.max_waiting));
  std::atomic<bool> stops{false};
  HttpServer server(arguments.limits, {.queue = queue,
                                       .stops = stops,
                                       .find_model = [&](const std::string& name) { return models.find(name); },
                                       .models_json = [&] { return models_json(models); }});
  const int port = server.bind(arguments.host, arguments.port, arguments.allow_hosts);
  const bool is_ipv6 = arguments.host.find(':') != std::string::npos;
  std::cout << "http://" << (is_ipv6 ? "[" + arguments.host + "]" : arguments.host) << ':' << port
            << "/ translates with " << models.default_name() << "; Ctrl-C ends the server\n";
  ef::flush_standard_output();

  std::atomic<bool> failed{false};
  Answerer answerer(models, arguments.limits, stops);
  Running running{stops, queue, server, {}, {}};
  running.translating = std::thread([&] { answerer.run(queue); });
  running.listening = std::thread([&] {
    server.run();
    failed = !stops;
  });
  while (interrupted == 0 && !failed) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  ef::check(!failed, "serve: the system no longer accepts connections");
}

}  // namespace translate
