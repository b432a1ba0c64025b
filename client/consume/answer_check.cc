// SPDX-License-Identifier: Apache-2.0
#include "client/consume/answer_check.h"

#include "common/result.h"
#include "protocol/wire/record.h"

#include <optional>

namespace gantry::client {
namespace {

namespace record_at = wire::record_at;

/// Where the body's length stands behind IPv4 hosts.
constexpr std::size_t kBodyLength = wire::kRecordBytesMin - 7;
constexpr std::size_t kBody = kBodyLength + 4;

struct Sound {
    std::size_t bytes = 0;
    std::int64_t queue_offset = 0;
};

/// The usual kind of record, whole and with the right CRC; nothing for any other, which is then
/// parsed. Parsing every one would cost as much as its CRC.
std::optional<Sound> look_at(Bytes bytes) noexcept {
    constexpr std::int32_t kV6 = wire::sys_flag::kBornHostV6 | wire::sys_flag::kStoreHostV6;
    if (bytes.size() < wire::kRecordBytesMin) {
        return std::nullopt;
    }
    const std::byte* const at = bytes.data();
    const std::size_t size = load_be<std::uint32_t>(at + record_at::kSize);
    const bool is_usual = load_be<std::uint32_t>(at + record_at::kMagic) == wire::kMagicV1 &&
                          (load_be<std::int32_t>(at + record_at::kSysFlag) & kV6) == 0;
    if (!is_usual || size < wire::kRecordBytesMin || size > bytes.size()) {
        return std::nullopt;
    }
    const std::size_t body_bytes = load_be<std::uint32_t>(at + kBodyLength);
    if (body_bytes > size - wire::kRecordBytesMin) {
        return std::nullopt;
    }
    const std::size_t topic = kBody + body_bytes;
    const std::size_t properties = topic + 1 + std::to_integer<std::size_t>(at[topic]);
    if (properties + 2 > size || properties + 2 + load_be<std::uint16_t>(at + properties) != size ||
        wire::record_body_crc(bytes.subspan(kBody, body_bytes)) !=
            load_be<std::uint32_t>(at + record_at::kBodyCrc)) {
        return std::nullopt;
    }
    return Sound{size, load_be<std::int64_t>(at + record_at::kQueueOffset)};
}

}  // namespace

AnswerCheck check_answer(Bytes records, std::int64_t from, std::int64_t next) {
    AnswerCheck check;
    std::int64_t expected = from;
    while (check.good_bytes < records.size()) {
        const Bytes rest = records.subspan(check.good_bytes);
        if (const std::optional<Sound> sound = look_at(rest)) [[likely]] {
            expected = sound->queue_offset + 1;
            check.good_bytes += sound->bytes;
            continue;
        }
        const Result<wire::Record> record = wire::parse_record(rest);
        if (!record) {
            check.bad_from = expected;
            check.bad_to = next;
            check.why = record.error().detail;
            return check;
        }
        const std::int64_t at = record->queue_offset.value;
        if (!wire::body_crc_matches(*record)) {
            // The offset is no more certain than the body.
            check.bad_from = at >= expected && at < next ? at : expected;
            check.bad_to = check.bad_from + 1;
            check.why = "the CRC of its body does not match";
            return check;
        }
        expected = at + 1;
        check.good_bytes += record->stored_bytes;
    }
    return check;
}

}  // namespace gantry::client
