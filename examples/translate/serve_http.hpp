// The HTTP server of `serve`, by cpp-httplib: routes, and what protects it from slow and greedy clients.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "translate/serve_queue.hpp"

namespace translate {

/// What the server asks of the rest of the program.
struct HttpServices {
  RequestQueue& queue;
  const std::atomic<bool>& stops;
  std::function<std::string(const std::string& name)> find_model;  // checks a model's name; see ServedModels::find
  std::function<std::string()> models_json;                        // the answer of GET /models
};

/// Answers GET / with the page, GET /models, GET /health, POST /translate and POST /align. Each connection has a thread
/// and one request. Errors have a JSON body; see error_body.
class HttpServer {
 public:
  HttpServer(const ServeLimits& limits, HttpServices services);
  ~HttpServer();

  /// Listens at the address. Returns the port. Throws if that is not possible. port: 0 for any free port. allow_hosts:
  /// names that requests may use for this server; see AllowedHosts.
  int bind(const std::string& host, int port, const std::vector<std::string>& allow_hosts);
  /// Answers clients until stop() is called by another thread. Services stop first, so that no client waits for them.
  void run();
  void stop();

 private:
  class Server;
  std::unique_ptr<Server> server_;
};

/// Returns whether this program was built with cpp-httplib.
bool has_http_server();

}  // namespace translate
