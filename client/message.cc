// SPDX-License-Identifier: Apache-2.0
#include "client/message.h"

#include "client/consume/record_reader.h"
#include "protocol/wire/message_id.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/record.h"

#include <charconv>
#include <cstring>

namespace gantry::client {
namespace {

constexpr std::size_t kTimeBytes = 8;

std::size_t host_bytes(bool is_v6) noexcept {
    return is_v6 ? 20 : 8;
}

const std::string kNoBroker;

wire::Host host_at(const std::byte* at, bool is_v6) noexcept {
    wire::Host host;
    host.is_v6 = is_v6;
    const std::size_t address_bytes = is_v6 ? 16 : 4;
    std::memcpy(host.address.data(), at, address_bytes);
    host.port = load_be<std::int32_t>(at + address_bytes);
    return host;
}

}  // namespace

std::string_view name_of(LostReason reason) noexcept {
    switch (reason) {
        case LostReason::kDamagedInStore:
            return "damaged_in_store";
        case LostReason::kDamagedInAnswer:
            return "damaged_in_answer";
        case LostReason::kOutOfRange:
            break;
    }
    return "out_of_range";
}

std::string_view MessageView::property(std::string_view name) const noexcept {
    return wire::find_property(properties_, name);
}

const std::string& MessageView::broker() const noexcept {
    return origin_ == nullptr ? kNoBroker : origin_->broker;
}

std::size_t MessageView::store_time_at() const noexcept {
    const std::int32_t flags = field<std::int32_t>(kSysFlagAt);
    return kBornHostAt + host_bytes((flags & wire::sys_flag::kBornHostV6) != 0);
}

WallMs MessageView::expires_ms() const noexcept {
    const std::string_view text = property(wire::property::kExpiresAt);
    WallMs at = 0;
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, at);
    return parsed.ec == std::errc{} && parsed.ptr == end ? at : 0;
}

std::int32_t MessageView::reconsume_times() const noexcept {
    const std::int32_t flags = field<std::int32_t>(kSysFlagAt);
    return field<std::int32_t>(store_time_at() + kTimeBytes +
                               host_bytes((flags & wire::sys_flag::kStoreHostV6) != 0));
}

std::string MessageView::born_host() const {
    const std::int32_t flags = field<std::int32_t>(kSysFlagAt);
    return wire::to_string(
        host_at(record_ + kBornHostAt, (flags & wire::sys_flag::kBornHostV6) != 0));
}

std::string MessageView::offset_message_id() const {
    const std::int32_t flags = field<std::int32_t>(kSysFlagAt);
    const wire::Host host = host_at(record_ + store_time_at() + kTimeBytes,
                                    (flags & wire::sys_flag::kStoreHostV6) != 0);
    return wire::format_message_id({host, LogOffset{log_offset()}});
}

std::string MessageView::message_id() const {
    const std::string_view unique = property(wire::property::kUniqueKey);
    return unique.empty() ? offset_message_id() : std::string(unique);
}

}  // namespace gantry::client
