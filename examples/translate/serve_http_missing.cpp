// In place of serve_http.cpp if there is no cpp-httplib.
#include "translate/serve_http.hpp"

namespace translate {

class HttpServer::Server {};

HttpServer::HttpServer(const ServeLimits&, HttpServices) {}
HttpServer::~HttpServer() = default;
int HttpServer::bind(const std::string&, int, const std::vector<std::string>&) {
  return 0;
}
void HttpServer::run() {}
void HttpServer::stop() {}

bool has_http_server() {
  return false;
}

}  // namespace translate
