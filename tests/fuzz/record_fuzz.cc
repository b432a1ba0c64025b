// SPDX-License-Identifier: Apache-2.0
// Bytes of a log: records laid end to end. What was accepted is encoded again, byte for byte, and
// can be patched in place.
#include "protocol/wire/properties.h"
#include "protocol/wire/record.h"
#include "tests/fuzz/fuzz.h"

#include <string>

using namespace gantry;
using namespace gantry::wire;

namespace {

constexpr std::size_t kLongTopicBytes = 128;

std::byte* data_of(std::string& bytes) noexcept {
    return reinterpret_cast<std::byte*>(bytes.data());
}

void check_encoding(const std::byte* start, const Record& record) {
    const bool is_v2 = load_be<std::uint32_t>(start + record_at::kMagic) == kMagicV2;
    if (is_v2 && record.topic.size() < kLongTopicBytes) {
        return;  // readable, but not how it is written here
    }
    GANTRY_ASSERT(record_bytes(record) == record.stored_bytes);
    std::string bytes(record.stored_bytes, '\0');
    encode_record(record, {data_of(bytes), bytes.size()});
    store_be(data_of(bytes) + record_at::kBodyCrc, record.body_crc);
    GANTRY_ASSERT(bytes == as_text({start, record.stored_bytes}));
}

void check_patch(const std::byte* start, const Record& record) {
    std::string bytes(as_text({start, record.stored_bytes}));
    StorePatch patch = {.queue_offset = QueueOffset(1), .log_offset = LogOffset(2), .store_ms = 3};
    patch.store_host.is_v6 = record.store_host.is_v6;
    patch_record(data_of(bytes), patch);
    const auto parsed = parse_record(as_bytes(bytes));
    GANTRY_ASSERT(parsed);
    GANTRY_ASSERT(parsed->queue_offset == patch.queue_offset);
    GANTRY_ASSERT(parsed->log_offset == patch.log_offset);
    GANTRY_ASSERT(parsed->store_ms == patch.store_ms);
    GANTRY_ASSERT(parsed->store_host == patch.store_host);
    GANTRY_ASSERT(parsed->born_host == record.born_host);
    GANTRY_ASSERT(parsed->topic == record.topic);
}

void check_properties(const Record& record) {
    const std::string kept = without_property(record.properties, property::kTags);
    GANTRY_ASSERT(find_property(kept, property::kTags).empty());
    GANTRY_ASSERT(find_property(kept, property::kKeys) ==
                  find_property(record.properties, property::kKeys));
    static_cast<void>(tag_hash(find_property(record.properties, property::kTags)));
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Status walked = for_each_record(
        fuzz_input(data, size), [](const std::byte* start, const Record& record) -> Status {
            static_cast<void>(body_crc_matches(record));
            check_encoding(start, record);
            check_patch(start, record);
            check_properties(record);
            return ok();
        });
    GANTRY_ASSERT(walked || walked.error().code == Errc::kCorrupt);
    return 0;
}
