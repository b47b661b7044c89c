#include "translate/serve_http.hpp"

#include <httplib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "translate/client_socket.hpp"
#include "translate/connection_threads.hpp"
#include "translate/page.hpp"
#include "translate/serve_hosts.hpp"

namespace translate {

namespace {

using std::chrono::milliseconds;

constexpr const char* json_type = "application/json; charset=utf-8";
constexpr const char* stream_type = "application/x-ndjson; charset=utf-8";

/// A client's socket, as cpp-httplib reads and writes it.
class Connection final : public httplib::Stream {
 public:
  Connection(ClientSocket& socket) : socket_(socket) {}

  bool is_readable() const override { return socket_.has_input(); }
  bool is_writable() const override { return socket_.is_writable() && !socket_.is_gone(); }
  ssize_t read(char* to, std::size_t size) override { return socket_.read(to, size); }
  ssize_t write(const char* from, std::size_t size) override { return socket_.write(from, size); }
  void get_remote_ip_and_port(std::string& ip, int& port) const override { socket_.remote_address(ip, port); }
  void get_local_ip_and_port(std::string& ip, int& port) const override { socket_.local_address(ip, port); }
  socket_t socket() const override { return socket_.descriptor(); }

 private:
  ClientSocket& socket_;
};

/// The client that this thread serves.
thread_local ClientSocket* current = nullptr;

void set_error(httplib::Response& response, int status, const std::string& message) {
  response.status = status;
  if (status == 503) response.set_header("Retry-After", "1");
  response.set_content(error_body(status, message), json_type);
}

/// Returns a text with lower-case letters in place of A to Z.
std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

/// Returns the media type of a Content-Type in lower case, without parameters such as "; charset=utf-8".
std::string media_type(const std::string& content_type) {
  const std::string type = content_type.substr(0, content_type.find(';'));
  return lower(type.substr(0, type.find_last_not_of(" \t") + 1));
}

/// Returns a whole response with an error, for connections that cpp-httplib does not answer.
std::string raw_error(int status, const char* reason, const std::string& message) {
  const std::string body = error_body(status, message);
  return "HTTP/1.1 " + std::to_string(status) + ' ' + reason + "\r\nContent-Type: " + json_type +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n" +
         (status == 503 ? "Retry-After: 1\r\n" : "") + "\r\n" + body;
}

/// Makes cpp-httplib answer in full. It would apply Range to every answer, also to errors and to those of POST, and
/// would repeat a part as often as the header asks for it.
void ignore_ranges(httplib::Request& request) {
  request.ranges.clear();
  request.headers.erase("Range");
}

std::string default_message(int status, const httplib::Request& request) {
  switch (status) {
    case 400:
      return "not a valid HTTP request";
    case 404:
      return "there is no " + request.path + ", expected /, /models, /health, /translate or /align";
    case 413:
      return "the request is too long";
    case 414:
      return "the address is too long";
    default:
      return "the request failed";
  }
}

}  // namespace

class HttpServer::Server final : public httplib::Server {
 public:
  Server(const ServeLimits& limits, HttpServices services) : limits_(limits), services_(std::move(services)) {
    new_task_queue = [this] { return new Accepted(*this); };
    set_payload_max_length(static_cast<std::size_t>(limits_.max_body));
    set_tcp_nodelay(true);
    // Not SO_REUSEPORT, cpp-httplib's default: a second server on one port must fail.
    set_socket_options([](socket_t socket) {
      const int yes = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    set_default_headers(
        {{"X-Content-Type-Options", "nosniff"}, {"Cache-Control", "no-store"}, {"Accept-Ranges", "none"}});
    set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      return refuse_early(request, response) ? HandlerResponse::Handled : HandlerResponse::Unhandled;
    });
    set_error_handler(HandlerWithResponse([](const httplib::Request& request, httplib::Response& response) {
      if (response.status == 416) {  // only for a Range that cpp-httplib cannot read
        const std::string range = request.get_header_value("Range");
        set_error(response, 400, "Range: is \"" + range + "\", expected a list such as bytes=0-9, or none");
        response.set_header("Content-Length", std::to_string(response.body.size()));
        return HandlerResponse::Unhandled;  // otherwise the ranges before the wrong one are applied to this error
      }
      if (response.body.empty()) set_error(response, response.status, default_message(response.status, request));
      return HandlerResponse::Handled;
    }));
    set_exception_handler([](const httplib::Request&, httplib::Response& response, std::exception_ptr error) {
      try {
        std::rethrow_exception(error);
      } catch (const RequestError& known) {
        set_error(response, known.status(), known.what());
      } catch (const std::exception& other) {
        set_error(response, 500, other.what());
      } catch (...) {
        set_error(response, 500, "the request failed");
      }
    });
    add_routes();
  }

  int bind(const std::string& host, int port, const std::vector<std::string>& allow_hosts) {
    errno = 0;
    const int bound = port == 0 ? bind_to_any_port(host) : bind_to_port(host, port) ? port : -1;
    ef::check(bound > 0, "--host ", host, ", --port ", port, ": cannot listen there: ",
              errno == EADDRINUSE || errno == EACCES ? std::strerror(errno) : "there is no such address here");
    // cpp-httplib's backlog of 5 makes clients wait for a second if more connect at once.
    ::listen(svr_sock_, 1024);
    allowed_hosts_.emplace(host, local_address(svr_sock_), allow_hosts);
    return bound;
  }

  void run() {
    // cpp-httplib closes its socket and returns after an error of accept(), such as too many open files in the system.
    // Most pass. A second descriptor keeps the socket open; the server gives up after a minute of errors.
    const int listening = ::dup(svr_sock_);
    for (failures_ = 0; !listen_after_bind() && failures_ < 600 && !services_.stops; ++failures_) {
      do {
        std::this_thread::sleep_for(milliseconds(100));
        svr_sock_ = ::dup(listening);
      } while (svr_sock_ < 0 && !services_.stops);
    }
    ::close(listening);
    has_ended_ = true;
    threads_.shutdown();
  }

  /// Stops a run(), also one that is just about to begin, which cpp-httplib's stop() would miss.
  void stop_running() {
    while (!is_running() && !has_ended_) std::this_thread::sleep_for(milliseconds(1));
    stop();
  }

 private:
  /// Passes connections on to threads that outlive it.
  class Accepted final : public httplib::TaskQueue {
   public:
    explicit Accepted(Server& server) : server_(server) {}

    void enqueue(std::function<void()> serve) override {
      server_.failures_ = 0;
      server_.threads_.enqueue(std::move(serve));
    }
    void shutdown() override {}

   private:
    Server& server_;
  };

  void add_routes() {
    Get("/", [](const httplib::Request&, httplib::Response& response) {
      response.set_header("Content-Security-Policy",
                          "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
                          "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                          "frame-ancestors 'none'");
      response.set_header("Referrer-Policy", "same-origin");
      response.set_content(page.data(), page.size(), "text/html; charset=utf-8");
    });
    Get("/models", [this](const httplib::Request&, httplib::Response& response) {
      response.set_content(services_.models_json(), json_type);
    });
    Get("/health", [this](const httplib::Request&, httplib::Response& response) {
      const RequestQueue::Counts counts = services_.queue.counts();
      const ef::Json health{{"status", "ok"}, {"received", counts.received}, {"waiting", counts.waiting}};
      response.set_content(health.dump() + '\n', json_type);
    });
    Post("/translate",
         [this](const httplib::Request&, httplib::Response& response, const httplib::ContentReader& reader) {
           if (const std::optional<std::string> body = read_body(reader, response))
             answer(translate_request(*body, limits_), response);
         });
    Post("/align", [this](const httplib::Request&, httplib::Response& response, const httplib::ContentReader& reader) {
      if (const std::optional<std::string> body = read_body(reader, response)) answer(align_request(*body), response);
    });
  }

  /// Refuses a request by its headers, before its body is read. Returns whether it did.
  bool refuse_early(const httplib::Request& request, httplib::Response& response) const {
    return refuse_host(request, response) || refuse_framing(request, response) || refuse_method(request, response) ||
           (request.method == "POST" && refuse_body(request, response));
  }

  bool refuse_host(const httplib::Request& request, httplib::Response& response) const {
    std::optional<std::string> origin;
    if (request.has_header("Origin")) origin = request.get_header_value("Origin");
    const std::optional<std::string> message =
        request.get_header_value_count("Host") > 1 || request.get_header_value_count("Origin") > 1
            ? "Host or Origin: is given more than once"
            : allowed_hosts_->refusal(request.get_header_value("Host"), origin);
    if (message.has_value()) set_error(response, 403, *message);
    return message.has_value();
  }

  bool refuse_method(const httplib::Request& request, httplib::Response& response) const {
    const bool takes_post = request.path == "/translate" || request.path == "/align";
    const bool takes_get = request.path == "/" || request.path == "/models" || request.path == "/health";
    if (!takes_post && !takes_get) {
      set_error(response, 404, default_message(404, request));
      return true;
    }
    const bool is_get = request.method == "GET" || request.method == "HEAD";
    if (takes_post ? request.method != "POST" : !is_get) {
      response.set_header("Allow", takes_post ? "POST" : "GET, HEAD");
      set_error(response, 405, request.path + ": takes " + (takes_post ? "POST" : "GET") + ", given " + request.method);
      return true;
    }
    return false;
  }

  /// Refuses headers that do not say where the body ends (RFC 9112, section 6.3). The connection closes, as it does
  /// after every request.
  bool refuse_framing(const httplib::Request& request, httplib::Response& response) const {
    const std::size_t lengths = request.get_header_value_count("Content-Length");
    const std::size_t encodings = request.get_header_value_count("Transfer-Encoding");
    const std::string length = request.get_header_value("Content-Length");
    const std::string encoding = request.get_header_value("Transfer-Encoding");
    const bool is_number =
        !length.empty() && std::all_of(length.begin(), length.end(), [](char c) { return c >= '0' && c <= '9'; });
    std::string message;
    if (lengths + encodings > 1)
      message =
          "Content-Length or Transfer-Encoding: expected one of them, given " + std::to_string(lengths + encodings);
    else if (lengths == 1 && !is_number)
      message = "Content-Length: is \"" + length + "\", expected a whole number, 0 or more";
    else if (encodings == 1 && lower(encoding) != "chunked")
      message = "Transfer-Encoding: is \"" + encoding + "\", expected chunked";
    else
      return false;
    set_error(response, 400, message);
    return true;
  }

  bool refuse_body(const httplib::Request& request, httplib::Response& response) const {
    const std::string type = request.get_header_value("Content-Type");
    if (media_type(type) != "application/json") {
      set_error(response, 415, "Content-Type: is \"" + type + "\", expected application/json");
      return true;
    }
    if (!request.has_header("Content-Length") && !request.has_header("Transfer-Encoding")) {
      set_error(response, 411, "Content-Length: is missing");
      return true;
    }
    const std::string length = request.get_header_value("Content-Length");
    if (std::strtoull(length.c_str(), nullptr, 10) > static_cast<unsigned long long>(limits_.max_body)) {
      set_error(response, 413, too_long());
      return true;
    }
    return false;
  }

  std::string too_long() const {
    return "request: has more than " + std::to_string(limits_.max_body) + " bytes, the limit";
  }

  /// Returns the body, or nothing after setting an error.
  std::optional<std::string> read_body(const httplib::ContentReader& reader, httplib::Response& response) const {
    std::string body;
    bool fits = true;
    const bool is_complete = reader([&](const char* data, std::size_t size) {
      fits = body.size() + size <= static_cast<std::size_t>(limits_.max_body);
      if (fits) body.append(data, size);
      return fits;
    });
    if (!fits || (current != nullptr && current->is_too_long()))
      set_error(response, 413, too_long());
    else if (!is_complete && current != nullptr && current->has_timed_out())
      set_error(response, 408, "the request took too long to arrive");
    else if (!is_complete)
      set_error(response, 400, "the body of the request ended early or is not encoded as its headers say");
    else
      return body;
    return std::nullopt;
  }

  /// Puts a request into the queue, and waits for its answer.
  void answer(AnyRequest request, httplib::Response& response) {
    std::visit([&](auto& each) { each.model = services_.find_model(each.model); }, request);
    const auto* translation = std::get_if<TranslateRequest>(&request);
    const bool is_stream = translation != nullptr && translation->stream;
    const auto pending = std::make_shared<PendingRequest>(std::move(request));
    services_.queue.add(pending);
    const std::optional<Answer::Part> first = next_part(pending->answer);
    if (!first.has_value()) {
      // The client has left, or has closed only its own side and still reads. The system does not tell which, so send
      // an answer.
      set_error(response, 400, "the client closed its side of the connection, expected it open until the answer");
    } else if (first->is_last) {
      response.status = first->status;
      if (first->status == 503) response.set_header("Retry-After", "1");
      response.set_content(first->text, first->status == 200 && is_stream ? stream_type : json_type);
    } else {
      stream(pending, first->text, response);
    }
  }

  /// Answers with the parts of a stream, one by one.
  void stream(const std::shared_ptr<PendingRequest>& pending, std::string first, httplib::Response& response) {
    response.status = 200;
    auto is_done = std::make_shared<bool>(false);
    response.set_chunked_content_provider(
        stream_type,
        [this, pending, is_done, first = std::move(first)](std::size_t offset, httplib::DataSink& sink) {
          if (offset == 0) return sink.write(first.data(), first.size());
          if (*is_done) {
            sink.done();
            return true;
          }
          const std::optional<Answer::Part> part = next_part(pending->answer);
          if (!part.has_value()) return false;
          *is_done = part->is_last;
          return sink.write(part->text.data(), part->text.size());
        },
        [pending](bool) { pending->answer.cancel(); });
  }

  /// Waits for the next part of an answer. Returns nothing if the client is gone; its request is then cancelled.
  std::optional<Answer::Part> next_part(Answer& answer) const {
    for (;;) {
      std::optional<Answer::Part> part = answer.next(ClientSocket::poll_time);
      if (part.has_value()) return part;
      if (current != nullptr && current->is_gone()) {
        answer.cancel();
        return std::nullopt;
      }
    }
  }

  bool process_and_close_socket(socket_t descriptor) override {
    ClientSocket socket(descriptor, limits_, services_.stops);
    if (ConnectionThreads::refuses()) {
      socket.refuse(raw_error(503, "Service Unavailable", "too many connections; try again later"));
      return false;
    }
    current = &socket;
    Connection connection(socket);
    bool is_closed = false, is_good = false;
    try {
      is_good = process_request(connection, true, is_closed, ignore_ranges);
    } catch (const std::exception&) {  // such as too little memory; this connection ends, and no other
    }
    std::string text;
    if (socket.has_timed_out())
      text = raw_error(408, "Request Timeout", "the request took too long to arrive");
    else if (socket.is_too_long())
      text = raw_error(413, "Payload Too Large", too_long());
    if (!socket.has_written() && !text.empty()) socket.write(text.data(), text.size());
    current = nullptr;
    socket.close();
    return is_good;
  }

  const ServeLimits limits_;
  HttpServices services_;
  std::optional<AllowedHosts> allowed_hosts_;  // since bind()
  std::atomic<bool> has_ended_{false};
  int failures_ = 0;  // of accept(), since the last connection
  ConnectionThreads threads_{static_cast<std::size_t>(limits_.max_connections)};
};

HttpServer::HttpServer(const ServeLimits& limits, HttpServices services)
    : server_(std::make_unique<Server>(limits, std::move(services))) {}

HttpServer::~HttpServer() = default;

int HttpServer::bind(const std::string& host, int port, const std::vector<std::string>& allow_hosts) {
  return server_->bind(host, port, allow_hosts);
}

void HttpServer::run() {
  server_->run();
}

void HttpServer::stop() {
  server_->stop_running();
}

bool has_http_server() {
  return true;
}

}  // namespace translate
