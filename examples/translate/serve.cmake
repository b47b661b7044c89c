# The server of `translate serve`, if cpp-httplib is installed. Its sources are compiled alone, because cpp-httplib takes
# long and needs definitions, and the page is a large array.
include(CheckCXXSourceCompiles)

find_path(EIGENFORMER_HTTPLIB_INCLUDE_DIR httplib.h)
find_library(EIGENFORMER_HTTPLIB_LIBRARY cpp-httplib)
mark_as_advanced(EIGENFORMER_HTTPLIB_INCLUDE_DIR EIGENFORMER_HTTPLIB_LIBRARY)
# Debian's library is compiled with these. They change the layout of its classes.
set(httplib_definitions CPPHTTPLIB_OPENSSL_SUPPORT CPPHTTPLIB_ZLIB_SUPPORT CPPHTTPLIB_BROTLI_SUPPORT)
set(why_no_server "cpp-httplib was not found")
if(UNIX AND EIGENFORMER_HTTPLIB_INCLUDE_DIR AND EIGENFORMER_HTTPLIB_LIBRARY)
  find_package(Threads REQUIRED)
  set(CMAKE_REQUIRED_INCLUDES ${EIGENFORMER_HTTPLIB_INCLUDE_DIR})
  set(CMAKE_REQUIRED_LIBRARIES ${EIGENFORMER_HTTPLIB_LIBRARY} Threads::Threads)
  list(TRANSFORM httplib_definitions PREPEND -D OUTPUT_VARIABLE CMAKE_REQUIRED_DEFINITIONS)
  set(CMAKE_REQUIRED_FLAGS -std=c++17)
  # Connections have time limits of their own, by functions that are not in every version.
  check_cxx_source_compiles([[
    #include <httplib.h>
    struct Server : httplib::Server {
      bool process_and_close_socket(socket_t) override { return serve(nullptr); }
      bool serve(httplib::Stream* stream) {
        bool closed = false;
        return stream != nullptr && process_request(*stream, true, closed, [](httplib::Request&) {});
      }
    };
    int main() { return Server().is_running() ? 1 : 0; }
  ]] EIGENFORMER_HTTPLIB_WORKS)
  unset(CMAKE_REQUIRED_INCLUDES)
  unset(CMAKE_REQUIRED_LIBRARIES)
  unset(CMAKE_REQUIRED_DEFINITIONS)
  unset(CMAKE_REQUIRED_FLAGS)
  set(why_no_server "this version of cpp-httplib does not compile with it (0.11 does)")
endif()

if(EIGENFORMER_HTTPLIB_WORKS)
  set(page ${CMAKE_CURRENT_SOURCE_DIR}/page.html)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${page})
  file(READ ${page} page_bytes HEX)
  string(REGEX REPLACE "(................................)" "\\1\n" page_bytes "${page_bytes}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," page_bytes "${page_bytes}")
  configure_file(page.cpp.in ${CMAKE_CURRENT_BINARY_DIR}/page.cpp @ONLY)
  set(server_sources serve_http.cpp client_socket.cpp ${CMAKE_CURRENT_BINARY_DIR}/page.cpp)
  target_sources(translate PRIVATE ${server_sources})
  set_source_files_properties(${server_sources} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  set_source_files_properties(serve_http.cpp PROPERTIES COMPILE_DEFINITIONS "${httplib_definitions}")
  target_include_directories(translate SYSTEM PRIVATE ${EIGENFORMER_HTTPLIB_INCLUDE_DIR})
  target_link_libraries(translate PRIVATE ${EIGENFORMER_HTTPLIB_LIBRARY})
else()
  message(STATUS "The translation program has no server, since ${why_no_server}")
  target_sources(translate PRIVATE serve_http_missing.cpp)
endif()
