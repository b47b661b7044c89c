// Reads each .npy and .npz file of a folder and writes it again to another: `numpy_files FROM TO`. check.py makes the
// first files with NumPy and compares the second with them. If a file is refused, writes the error to NAME.error.
//
// It links eigenformer::eigenformer alone: NumPy's files need no JSON.
#include <filesystem>

#include "eigenformer/io/npz.hpp"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::filesystem::path from = argv[1], to = argv[2];
  for (const auto& entry : std::filesystem::directory_iterator(from)) {
    const std::filesystem::path name = entry.path().filename();
    try {
      if (name.extension() == ".npy")
        eigenformer::save_npy(to / name, eigenformer::load_npy(entry.path()));
      else
        eigenformer::save_npz(to / name, eigenformer::load_npz(entry.path()));
    } catch (const eigenformer::Error& error) {
      eigenformer::write_file(to / (name.string() + ".error"), error.what());
    }
  }
  return 0;
}
