// Makes the second to fourth connection of a program fail, as if the system had no room for more open files. The
// program must load it by LD_PRELOAD.
#include <dlfcn.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace {

int fail_sometimes(int descriptor) {
  static int calls = 0;
  ++calls;
  if (descriptor < 0 || calls < 2 || calls > 4) return descriptor;
  ::close(descriptor);
  errno = ENFILE;
  return -1;
}

}  // namespace

extern "C" int accept(int socket, sockaddr* address, socklen_t* size) {
  using Accept = int (*)(int, sockaddr*, socklen_t*);
  static const auto original = reinterpret_cast<Accept>(::dlsym(RTLD_NEXT, "accept"));
  return fail_sometimes(original(socket, address, size));
}

extern "C" int accept4(int socket, sockaddr* address, socklen_t* size, int flags) {
  using Accept = int (*)(int, sockaddr*, socklen_t*, int);
  static const auto original = reinterpret_cast<Accept>(::dlsym(RTLD_NEXT, "accept4"));
  return fail_sometimes(original(socket, address, size, flags));
}
