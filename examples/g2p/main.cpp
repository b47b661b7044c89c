// g2p MODEL_FOLDER: words on standard input, one a line, become phonemes on standard output.
#include <iostream>

#include "g2p/pronouncer.hpp"

int main(int count, char** arguments) {
  if (count != 2) {
    std::cerr << "usage: g2p MODEL_FOLDER < WORDS\n";
    return 2;
  }
  try {
    const g2p::Pronouncer pronouncer(arguments[1]);
    for (std::string word; std::getline(std::cin, word);) {
      if (!word.empty() && word.back() == '\r') word.pop_back();
      std::cout << (word.empty() ? "" : pronouncer.pronounce({&word, 1}).front()) << std::endl;
    }
  } catch (const std::exception& error) {
    std::cerr << "g2p: " << error.what() << '\n';
    return 1;
  }
}
