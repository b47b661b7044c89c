// Peak memory of this process, on Linux.
#pragma once

#include <fstream>
#include <string>

namespace eigenformer::bench {

/// Returns a value of /proc/self/status in bytes; -1 if it does not exist.
inline double memory_status(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key + ':')) return 1024 * std::stod(line.substr(key.size() + 1));
  return -1;
}

/// Resets the peak and returns the memory in use, in bytes; -1 if this system does not support it.
inline double begin_of_peak_memory() {
  std::ofstream clear("/proc/self/clear_refs");
  clear << 5 << std::flush;
  return clear ? memory_status("VmRSS") : -1;
}
/// Returns the peak memory since begin_of_peak_memory, in bytes; -1 if this system does not support it.
inline double peak_memory() {
  return memory_status("VmHWM");
}

}  // namespace eigenformer::bench
