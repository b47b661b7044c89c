// Checks that a text is well-formed XML, for the subset that the examples write.
#pragma once

#include <cctype>
#include <string>
#include <string_view>
#include <vector>

namespace questions::testing {

/// Returns the first fault of the document, or "". Supports elements, attributes and entities, but not comments.
inline std::string xml_fault(std::string_view xml) {
  std::vector<std::string> open;
  bool had_root = false;
  for (std::size_t i = 0; i < xml.size();) {
    if (xml[i] == '&') {
      bool known = false;
      for (const std::string_view entity : {"&amp;", "&lt;", "&gt;", "&quot;"})
        known = known || xml.substr(i, entity.size()) == entity;
      if (!known) return "a bare & at byte " + std::to_string(i);
      ++i;
    } else if (xml[i] != '<') {
      if (open.empty() && std::isspace(static_cast<unsigned char>(xml[i])) == 0) return "text outside of the root";
      ++i;
    } else if (xml.substr(i, 2) == "</") {
      const std::size_t end = xml.find('>', i);
      if (end == std::string_view::npos) return "an end tag does not end";
      const std::string name(xml.substr(i + 2, end - i - 2));
      if (open.empty() || open.back() != name) return "</" + name + "> ends what was not begun last";
      open.pop_back();
      i = end + 1;
    } else {
      if (open.empty() && had_root) return "two roots";
      std::size_t at = i + 1;
      while (at < xml.size() && (std::isalnum(static_cast<unsigned char>(xml[at])) != 0)) ++at;
      const std::string name(xml.substr(i + 1, at - i - 1));
      if (name.empty()) return "a bare < at byte " + std::to_string(i);
      std::vector<std::string> attributes;
      while (at < xml.size() && xml[at] == ' ') {
        const std::size_t equals = xml.find("=\"", at);
        const std::size_t quote = equals == std::string_view::npos ? equals : xml.find('"', equals + 2);
        if (quote == std::string_view::npos) return "an attribute of <" + name + "> is not quoted";
        const std::string attribute(xml.substr(at + 1, equals - at - 1));
        for (const char c : attribute)
          if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '-') return "an attribute named " + attribute;
        for (const std::string& other : attributes)
          if (other == attribute) return "<" + name + "> has " + attribute + " twice";
        if (xml.substr(equals + 2, quote - equals - 2).find('<') != std::string_view::npos) return "< in an attribute";
        attributes.push_back(attribute);
        at = quote + 1;
      }
      const bool empty = xml.substr(at, 2) == "/>";
      if (!empty && xml.substr(at, 1) != ">") return "<" + name + " does not end well";
      if (!empty) open.push_back(name);
      had_root = true;
      i = at + (empty ? 2 : 1);
    }
  }
  return !open.empty() ? "<" + open.back() + "> does not end" : had_root ? "" : "no element";
}

/// Returns the number of occurrences of the part in the text.
inline std::size_t occurrences(std::string_view text, std::string_view part) {
  std::size_t number = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size())) ++number;
  return number;
}

}  // namespace questions::testing
