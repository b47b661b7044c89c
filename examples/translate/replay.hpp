// translate replay: repeats one update of a run exactly and shows what it consisted of.
#pragma once

#include <cstdint>
#include <string>

#include "translate/program.hpp"

namespace translate {

struct ReplayArguments {
  std::string model;  // the folder that `train --out` wrote
  ef::Index update = 0;
  ef::Index pair = 0;  // the pair whose attention is drawn, from 1 over all batches of the update; 0: none
  int layer = 0;       // see AlignArguments
  int head = 0;
  int threads = 0;
};
void replay(const ReplayArguments& arguments);

}  // namespace translate
