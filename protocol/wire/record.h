// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/clock.h"
#include "common/ids.h"
#include "common/result.h"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace gantry::wire {

/// An IP address and port as a record stores them.
struct Host {
    std::array<std::uint8_t, 16> address{};  ///< the first 4 bytes for IPv4
    bool is_v6 = false;
    std::int32_t port = 0;

    bool operator==(const Host&) const = default;

    std::size_t stored_bytes() const noexcept { return is_v6 ? 20 : 8; }
};

/// "127.0.0.1:10911" or "[fd00::1]:10911" to a Host; kRefused when it is neither.
Result<Host> parse_host(std::string_view text);
std::string to_string(const Host& host);

inline constexpr std::uint32_t kMagicV1 = 0xDAA320A7U;
inline constexpr std::uint32_t kMagicV2 = 0xDAA320ABU;     ///< topic length takes two bytes
inline constexpr std::uint32_t kMagicBlank = 0xCBD43194U;  ///< rest of a segment is unused
inline constexpr std::size_t kBlankBytes = 8;

/// Bits of a message's sysFlag.
namespace sys_flag {
inline constexpr std::int32_t kCompressed = 0x1;
inline constexpr std::int32_t kTransactionMask = 0xC;
inline constexpr std::int32_t kTransactionPrepared = 0x4;
inline constexpr std::int32_t kTransactionCommit = 0x8;
inline constexpr std::int32_t kTransactionRollback = 0xC;
inline constexpr std::int32_t kBornHostV6 = 0x10;
inline constexpr std::int32_t kStoreHostV6 = 0x20;
/// Gantry's, set by the broker: what was delayed, and waited at preparedTransactionOffset.
inline constexpr std::int32_t kEndsTimer = 0x0800'0000;
/// Gantry's: the first record of a numbered send, see send_number.h.
inline constexpr std::int32_t kNumbered = 0x1000'0000;
/// Gantry's, set by the broker: the next record of the log was stored in one step with this one.
inline constexpr std::int32_t kMoreFollow = 0x2000'0000;
}  // namespace sys_flag

/// Positions that are the same in every record.
///
///   0 size | 4 magic | 8 bodyCRC | 12 queueId | 16 flag | 20 queueOffset | 28 logOffset |
///   36 sysFlag | 40 bornTime | 48 bornHost (8 or 20) | storeTime 8 | storeHost (8 or 20) |
///   reconsumeTimes 4 | preparedTransactionOffset 8 | bodyLength 4 | body |
///   topicLength (1, V2: 2) | topic | propertiesLength 2 | properties
///
/// Source: docs/formats/record.md; RocketMQ's stored message, byte for byte.
namespace record_at {
inline constexpr std::size_t kSize = 0;
inline constexpr std::size_t kMagic = 4;
inline constexpr std::size_t kBodyCrc = 8;
inline constexpr std::size_t kQueueId = 12;
inline constexpr std::size_t kFlag = 16;
inline constexpr std::size_t kQueueOffset = 20;
inline constexpr std::size_t kLogOffset = 28;
inline constexpr std::size_t kSysFlag = 36;
inline constexpr std::size_t kBornTime = 40;
inline constexpr std::size_t kBornHost = 48;
}  // namespace record_at

inline constexpr std::size_t kRecordBytesMin = 91;  ///< V1, IPv4, everything empty
inline constexpr std::size_t kTopicBytesMax = 255;
inline constexpr std::size_t kPropertiesBytesMax = 32'767;

/// The contents of a record, for encoding and as the result of parsing.
struct Record {
    std::uint32_t body_crc = 0;  ///< CRC-32 of the body, 31 bits; set by parse_record
    std::int32_t queue_id = 0;
    std::int32_t flag = 0;
    QueueOffset queue_offset = {};
    LogOffset log_offset = {};
    std::int32_t sys_flag = 0;  ///< host bits are kept in step with the hosts by the codec
    WallMs born_ms = 0;
    Host born_host = {};
    WallMs store_ms = 0;
    Host store_host = {};
    std::int32_t reconsume_times = 0;
    std::int64_t prepared_transaction_offset = 0;
    Bytes body = {};
    std::string_view topic = {};
    std::string_view properties = {};
    std::size_t stored_bytes = 0;  ///< whole record; set by parse_record
};

/// Bytes the record takes.
std::size_t record_bytes(const Record& record) noexcept;

/// Writes the record, body CRC included, into exactly record_bytes() bytes. V2 when the topic is
/// longer than 127 bytes. The caller has checked the limits.
void encode_record(const Record& record, MutableBytes into) noexcept;

/// Reads the record at the start of `bytes`, which may hold more behind it. Never reads past
/// `bytes`. kCorrupt: magic, a length that does not add up, or too few bytes; detail says which.
/// The body's CRC is not computed: see body_crc_matches.
Result<Record> parse_record(Bytes bytes);

/// Whether the stored CRC is that of the body.
bool body_crc_matches(const Record& record) noexcept;

/// CRC of a body as a record stores it: 31 bits.
std::uint32_t record_body_crc(Bytes body) noexcept;

/// What the broker sets in a record that a producer sent in stored form.
struct StorePatch {
    QueueOffset queue_offset = {};
    LogOffset log_offset = {};
    WallMs store_ms = 0;
    Host store_host = {};
    bool more_follow = false;  ///< it is not the last record of its frame
};

/// Patches one checked record in place. The record's store host must be of the patch's address
/// family: Gantry's producers leave the room the broker told them to.
void patch_record(std::byte* record, const StorePatch& patch) noexcept;

/// Sets how often a whole record was delivered before.
void set_reconsume_times(std::byte* record, std::int32_t times) noexcept;

/// Calls `each(record_start, Record)` for the records laid end to end in `bytes`, which must fill
/// it exactly; stops at the first error of parsing or of `each`.
template <class Each>
Status for_each_record(Bytes bytes, Each&& each) {
    while (!bytes.empty()) {
        GANTRY_ASSIGN_OR_RETURN(const Record record, parse_record(bytes));
        GANTRY_TRY(each(bytes.data(), record));
        bytes = bytes.subspan(record.stored_bytes);
    }
    return ok();
}

}  // namespace gantry::wire
