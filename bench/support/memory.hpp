// The most memory that this process had at one time, on Linux.
#pragma once

#include <fstream>
#include <string>

namespace eigenformer::bench {

/// A line of /proc/self/status, in bytes; -1 elsewhere.
inline double memory_status(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key + ':')) return 1024 * std::stod(line.substr(key.size() + 1));
  return -1;
}

/// Forgets the peak so far, and gives what is in use; -1 where there is no telling.
inline double begin_of_peak_memory() {
  std::ofstream clear("/proc/self/clear_refs");
  clear << 5 << std::flush;
  return clear ? memory_status("VmRSS") : -1;
}
inline double peak_memory() {
  return memory_status("VmHWM");
}

}  // namespace eigenformer::bench
