// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "protocol/wire/header.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

namespace gantry::wire {

/// The only frame of `bytes`, which must hold it whole.
inline FrameView only_frame(std::string_view bytes) {
    auto frame = find_frame(as_bytes(bytes), {});
    REQUIRE(frame);
    REQUIRE(frame->has_value());
    REQUIRE((*frame)->frame_bytes == bytes.size());
    return **frame;
}

/// Wraps a header as a frame in memory would hold it.
inline FrameView frame_of(Codec codec, std::string_view header) {
    return {.codec = codec, .header = as_bytes(header), .body = {}, .frame_bytes = 0};
}

/// Value of an extFields entry, the last one of that name; "(absent)" when there is none.
inline std::string_view ext_value(const Header& header, std::string_view name) {
    std::string_view value = "(absent)";
    for (const ExtField& each : header.ext) {
        if (each.name == name) {
            value = each.value;
        }
    }
    return value;
}

}  // namespace gantry::wire
