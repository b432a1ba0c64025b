// SPDX-License-Identifier: Apache-2.0
#include "common/result.h"

#include <array>
#include <system_error>

namespace gantry {

std::string_view to_string(Errc code) noexcept {
    static constexpr std::array<std::string_view, kErrcCount> kNames = {"refused",
                                                                        "not_found",
                                                                        "denied",
                                                                        "conflict",
                                                                        "unsupported",
                                                                        "busy",
                                                                        "disk_full",
                                                                        "read_only",
                                                                        "gone",
                                                                        "timeout",
                                                                        "unknown",
                                                                        "closed",
                                                                        "corrupt",
                                                                        "io"};
    const auto index = static_cast<std::size_t>(code);
    return index < kNames.size() ? kNames[index] : std::string_view("invalid");
}

Error io_error(std::string_view what, int errno_value) {
    std::string detail(what);
    detail += ": ";
    detail += std::generic_category().message(errno_value);
    return Error{Errc::kIo, std::move(detail)};
}

std::string to_string(const Error& error) {
    std::string text(to_string(error.code));
    if (!error.detail.empty()) {
        text += ": ";
        text += error.detail;
    }
    return text;
}

}  // namespace gantry
