// Standard input for programs that answer lines as they arrive.
#pragma once

#include <algorithm>
#include <exception>
#include <streambuf>
#include <string>
#include <string_view>

namespace translate {

/// Reads another stream buffer, and knows whether a whole line has arrived.
class ArrivedInput : public std::streambuf {
 public:
  /// source: must outlive this object, which alone reads it.
  explicit ArrivedInput(std::streambuf& source) : source_(source) {}

  /// Returns whether the next line can be read without waiting. Returns false if it is unknown.
  bool has_line() {
    for (std::size_t seen = 0;;) {
      const std::string_view unread(gptr(), static_cast<std::size_t>(egptr() - gptr()));
      if (unread.find('\n', seen) != std::string_view::npos) return true;
      seen = unread.size();
      try {
        const std::streamsize arrived = source_.in_avail();
        if (arrived <= 0 || fetch(arrived) == 0) return false;
      } catch (const std::exception&) {
        return false;  // the next read fails too, and reports it
      }
    }
  }

 protected:
  int_type underflow() override {
    if (gptr() == egptr()) {
      if (source_.sgetc() == traits_type::eof()) return traits_type::eof();  // waits
      if (fetch(std::max<std::streamsize>(1, source_.in_avail())) == 0) return traits_type::eof();
    }
    return traits_type::to_int_type(*gptr());
  }

 private:
  /// Appends up to `count` characters of the source, which have arrived. Returns their number.
  std::streamsize fetch(std::streamsize count) {
    std::string unread(gptr(), egptr());
    const std::size_t kept = unread.size();
    unread.resize(kept + static_cast<std::size_t>(std::min<std::streamsize>(count, 1 << 16)));
    const std::streamsize read =
        source_.sgetn(unread.data() + kept, static_cast<std::streamsize>(unread.size() - kept));
    unread.resize(kept + static_cast<std::size_t>(read));
    text_.swap(unread);
    setg(text_.data(), text_.data(), text_.data() + text_.size());
    return read;
  }

  std::streambuf& source_;
  std::string text_;
};

}  // namespace translate
