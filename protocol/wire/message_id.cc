// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/message_id.h"

#include <array>
#include <cstring>

namespace gantry::wire {
namespace {

constexpr std::size_t kIdBytesV4 = 16;
constexpr std::size_t kIdBytesV6 = 28;

int hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return -1;
}

Error bad_id(std::string_view id) {
    return Error{Errc::kRefused,
                 "message id \"" + std::string(id.substr(0, 64)) + "\" of " +
                     std::to_string(id.size()) + " characters is not 32 or 56 hex digits"};
}

}  // namespace

std::string format_message_id(const MessageLocation& location) {
    std::array<std::byte, kIdBytesV6> bytes{};
    const std::size_t address_bytes = location.store_host.is_v6 ? 16 : 4;
    std::memcpy(bytes.data(), location.store_host.address.data(), address_bytes);
    store_be(bytes.data() + address_bytes, location.store_host.port);
    store_be(bytes.data() + address_bytes + 4, location.log_offset.value);
    static constexpr std::string_view kDigits = "0123456789ABCDEF";
    const std::size_t size = address_bytes + 12;
    std::string id(2 * size, '0');
    for (std::size_t i = 0; i < size; ++i) {
        const auto value = std::to_integer<std::size_t>(bytes[i]);
        id[2 * i] = kDigits[value >> 4U];
        id[2 * i + 1] = kDigits[value & 0xFU];
    }
    return id;
}

Result<MessageLocation> parse_message_id(std::string_view id) {
    if (id.size() != 2 * kIdBytesV4 && id.size() != 2 * kIdBytesV6) {
        return bad_id(id);
    }
    std::array<std::byte, kIdBytesV6> bytes{};
    for (std::size_t i = 0; i < id.size(); i += 2) {
        const int high = hex_digit(id[i]);
        const int low = hex_digit(id[i + 1]);
        if (high < 0 || low < 0) {
            return bad_id(id);
        }
        bytes[i / 2] = static_cast<std::byte>(high * 16 + low);
    }
    MessageLocation location;
    location.store_host.is_v6 = id.size() == 2 * kIdBytesV6;
    const std::size_t address_bytes = location.store_host.is_v6 ? 16 : 4;
    std::memcpy(location.store_host.address.data(), bytes.data(), address_bytes);
    location.store_host.port = load_be<std::int32_t>(bytes.data() + address_bytes);
    location.log_offset = LogOffset(load_be<std::int64_t>(bytes.data() + address_bytes + 4));
    return location;
}

}  // namespace gantry::wire
