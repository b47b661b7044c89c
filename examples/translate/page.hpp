// The page of `serve`: page.html, put into the program by CMake.
#pragma once

#include <string_view>

namespace translate {

extern const std::string_view page;

}  // namespace translate
