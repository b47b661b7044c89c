// g2p MODEL_FOLDER: reads one word per line from standard input and writes its phonemes to standard output.
#include <iostream>
#include <new>
#include <string_view>

#include "eigenformer/core/lines.hpp"
#include "eigenformer/core/standard_streams.hpp"
#include "g2p/pronouncer.hpp"

int main(int count, char** arguments) {
  constexpr std::string_view usage =
      "usage: g2p MODEL_FOLDER < WORDS\n"
      "Reads one word per line and writes its phonemes. The folder holds a g2p-en model: model.safetensors and "
      "vocabulary.json.\n";
  if (count != 2) {
    std::cerr << usage;
    return 2;
  }
  try {
    eigenformer::occupy_closed_streams();
    if (arguments[1] == std::string_view("--help") || arguments[1] == std::string_view("-h")) {
      std::cout << usage;
      eigenformer::flush_standard_output();
      return 0;
    }
    const g2p::Pronouncer pronouncer(arguments[1]);
    std::ios::sync_with_stdio(false);
    g2p::ef::LineReader reader(std::cin, "standard input", stdin);
    for (std::string word; reader.next(word);) {
      std::cout << (word.empty() ? "" : pronouncer.pronounce({&word, 1}).front()) << '\n';
      eigenformer::flush_standard_output();
    }
    eigenformer::check_standard_input();
  } catch (const std::bad_alloc&) {
    std::cerr << "g2p: out of memory\n";
    return 1;
  } catch (const std::exception& error) {
    std::cerr << "g2p: " << error.what() << '\n';
    return 1;
  }
}
