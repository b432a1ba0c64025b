// SPDX-License-Identifier: Apache-2.0
#include "cli/body_text.h"

#include <nlohmann/json.hpp>
#include <openssl/evp.h>

namespace gantry::cli {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";

}  // namespace

bool is_utf8(std::string_view text) {
    try {
        static_cast<void>(nlohmann::json(text).dump());
        return true;
    } catch (const nlohmann::json::exception&) {
        return false;
    }
}

std::string base64(std::string_view bytes) {
    std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
    const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
    text.resize(static_cast<std::size_t>(size));
    return text;
}

std::string hex(std::string_view bytes) {
    std::string text;
    text.reserve(bytes.size() * 2);
    for (const char byte : bytes) {
        const auto value = static_cast<unsigned char>(byte);
        text += kDigits[value >> 4U];
        text += kDigits[value & 0xFU];
    }
    return text;
}

std::string printable(std::string_view bytes) {
    const bool is_text = is_utf8(bytes);
    std::string text;
    for (const char byte : bytes) {
        const auto value = static_cast<unsigned char>(byte);
        if (value < 0x20 || value == 0x7F || (value > 0x7F && !is_text)) {
            text += "\\x" + hex({&byte, 1});
        } else {
            text += byte == '\\' ? "\\\\" : std::string(1, byte);
        }
    }
    return text;
}

}  // namespace gantry::cli
