// SPDX-License-Identifier: Apache-2.0
#include "broker/filter/record_sieve.h"

#include "common/random.h"
#include "protocol/wire/record.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace gantry::broker {
namespace {

using storage::ReadRequest;
using storage::ReadResult;
using storage::ReadStatus;

std::string encoded(wire::Record record) {
    std::string bytes(wire::record_bytes(record), '\0');
    wire::encode_record(record, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()});
    return bytes;
}

std::string numbered(int n) {
    const std::string properties = "n\x01" + std::to_string(n) + "\x02";
    wire::Record record;
    record.body = as_bytes(std::string_view("body"));
    record.topic = "T";
    record.properties = properties;
    return encoded(record);
}

/// Records in memory as a read finds them: in runs of so many.
struct Found {
    explicit Found(std::vector<std::string> runs) : bytes(std::move(runs)) {
        result.status = ReadStatus::kFound;
        for (const std::string& run : bytes) {
            storage::LogRun part;
            part.memory = as_bytes(run);
            part.length = run.size();
            part.fd = 7;
            part.file_offset = 1'000 * result.runs.size();
            part.at = LogOffset(static_cast<std::int64_t>(5'000 + part.file_offset));
            part.pin = std::make_shared<int>(0);
            result.bytes += run.size();
            result.runs.push_back(std::move(part));
        }
    }

    std::vector<std::string> bytes;
    ReadResult result;
};

struct Sifted {
    explicit Sifted(const std::string& expression)
        : filter(*filter::SqlFilter::compile(expression)) {
        kept.status = ReadStatus::kNoMatch;
        kept.next = QueueOffset(100);
    }

    filter::SqlFilterPtr filter;
    ReadRequest limits;
    ReadResult kept;
    RecordSieve sieve{*filter, limits, kept};

    std::string text() const {
        std::string all;
        for (const storage::LogRun& run : kept.runs) {
            all += as_text(run.memory);
        }
        return all;
    }
};

}  // namespace

TEST_SUITE_BEGIN("broker/record_sieve");

TEST_CASE("what matches is kept where it lies, neighbours in one run") {
    const Found found({numbered(1) + numbered(2) + numbered(3) + numbered(9), numbered(3)});
    Sifted s("n >= 2 AND n <= 3");
    REQUIRE(s.sieve.take(found.result));
    CHECK(s.kept.status == ReadStatus::kFound);
    CHECK(s.kept.count == 3);
    CHECK(s.kept.next == QueueOffset(105));
    REQUIRE(s.kept.runs.size() == 2);
    const std::size_t one = numbered(1).size();
    CHECK(s.kept.runs[0].memory.data() == found.result.runs[0].memory.data() + one);
    CHECK(s.kept.runs[0].length == 2 * one);
    CHECK(s.kept.runs[0].file_offset == one);
    CHECK(s.kept.runs[0].at == found.result.runs[0].at + static_cast<std::int64_t>(one));
    CHECK(s.kept.runs[0].pin == found.result.runs[0].pin);
    CHECK(s.text() == numbered(2) + numbered(3) + numbered(3));
    CHECK(s.kept.bytes == s.text().size());
    CHECK(s.sieve.examined() == 5);
}

TEST_CASE("it stops behind the last one there is room for") {
    const Found found({numbered(1) + numbered(2) + numbered(1) + numbered(1)});
    Sifted by_count("n = 1");
    by_count.limits.count_max = 2;
    REQUIRE(by_count.sieve.take(found.result));
    CHECK(by_count.kept.count == 2);
    CHECK(by_count.kept.next == QueueOffset(103));
    CHECK(by_count.sieve.is_full());
    Sifted by_bytes("n = 1");
    by_bytes.limits.bytes_max = 10;
    REQUIRE(by_bytes.sieve.take(found.result));
    CHECK(by_bytes.kept.count == 1);
    CHECK(by_bytes.kept.next == QueueOffset(102));
    CHECK(by_bytes.sieve.is_full());
}

TEST_CASE("where a record is damaged it stops and says so") {
    std::string damaged = numbered(1);
    SUBCASE("its size") {
        damaged[0] = '\x7f';
    }
    SUBCASE("the length of its properties") {
        damaged[damaged.size() - 5] = '\x7f';
    }
    const Found found({numbered(2) + damaged + numbered(1)});
    Sifted s("n = 1");
    CHECK(s.sieve.take(found.result));
    CHECK(s.kept.count == 0);
    CHECK(s.kept.next == QueueOffset(101));
    const Found rest({damaged + numbered(1)});
    CHECK_FALSE(s.sieve.take(rest.result));
    Found one({damaged});
    one.result.count = 1;
    one.result.next = QueueOffset(102);
    s.sieve.keep_unread(one.result);
    CHECK(s.text() == damaged);
    CHECK(s.kept.next == QueueOffset(102));
    CHECK(s.sieve.is_full());
}

TEST_SUITE_END();

}  // namespace gantry::broker
