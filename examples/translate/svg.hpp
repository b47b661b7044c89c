// Parts of SVG documents.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "eigenformer/core/types.hpp"

namespace translate {

/// Returns the parts, joined.
std::string concatenate(std::initializer_list<std::string_view> parts);

/// Returns a text with its control characters replaced by U+FFFD, because they move the cursor or are invalid in XML.
/// Throws if the text is not UTF-8. where: names the text in the message.
std::string printable(std::string_view text, const char* where);

/// Returns a text as the content of an XML element or attribute.
std::string escaped(std::string_view text);

/// Returns ` name="12"`. Streams and printf would format the number by the locale.
std::string attribute(std::string_view name, eigenformer::Index value);

/// Returns a text element. degrees: its rotation, clockwise about the beginning of the text.
std::string svg_text(eigenformer::Index x, eigenformer::Index y, std::string_view style_class, std::string_view text,
                     eigenformer::Index degrees = 0);

/// Returns the beginning of a document of this size in pixels, with a title. style: a `<style>` element.
std::string svg_begin(eigenformer::Index width, eigenformer::Index height, std::string_view title,
                      std::string_view style);

}  // namespace translate
