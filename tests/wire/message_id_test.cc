// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/message_id.h"

#include <doctest/doctest.h>

namespace gantry::wire {

TEST_SUITE("wire/message_id") {
    TEST_CASE("ids of both address families go there and back") {
        struct Example {
            std::string_view host;
            std::int64_t offset;
            std::string_view id;
        };

        const Example examples[] = {
            {"127.0.0.1:10911", 0, "7F00000100002A9F0000000000000000"},
            {"[fd00::1]:10911", 570, "FD00000000000000000000000000000100002A9F000000000000023A"},
        };
        for (const Example& example : examples) {
            const auto host = parse_host(example.host);
            REQUIRE(host);
            CHECK(to_string(*host) == example.host);
            const MessageLocation location{*host, LogOffset(example.offset)};
            CHECK(format_message_id(location) == example.id);
            const auto parsed = parse_message_id(example.id);
            REQUIRE(parsed);
            CHECK(parsed->store_host == *host);
            CHECK(parsed->log_offset == location.log_offset);
        }
    }

    TEST_CASE("anything but 32 or 56 hex digits is refused") {
        for (const std::string_view bad : {"",
                                           "7F00000100002A9F000000000000000",
                                           "7F00000100002A9F000000000000000G",
                                           "7F00000100002A9F00000000000000000"}) {
            const auto parsed = parse_message_id(bad);
            REQUIRE_FALSE(parsed);
            CHECK(parsed.error().code == Errc::kRefused);
        }
    }
}

TEST_SUITE("wire/host") {
    TEST_CASE("texts that are no host are refused") {
        for (const std::string_view bad : {"",
                                           "127.0.0.1",
                                           "127.0.0.1:",
                                           "127.0.0.1:65536",
                                           "127.0.0.1:-1",
                                           "127.0.0.1:1x",
                                           "localhost:10911",
                                           "fd00::1:10911",
                                           "[127.0.0.1]:10911",
                                           "[fd00::1:10911"}) {
            CAPTURE(bad);
            const auto host = parse_host(bad);
            REQUIRE_FALSE(host);
            CHECK(host.error().code == Errc::kRefused);
        }
    }
}

}  // namespace gantry::wire
