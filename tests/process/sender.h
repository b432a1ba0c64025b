// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/harness/broker_calls.h"
#include "tests/harness/daemon_process.h"
#include "tests/harness/http_get.h"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::harness {

inline constexpr std::size_t kBodyBytes = 20'000;
inline constexpr std::int64_t kSegmentBytes = 1 << 20;

/// A log of small segments.
inline Settings small_segments() {
    return {{"store.segment_bytes", "1MiB"},
            {"store.prefault_bytes", "0"},
            {"store.free_bytes_min", "0"},
            {"limits.message_bytes_max", "64KiB"},
            {"store.scrub_bytes_per_second", "0"}};
}

inline bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

inline void require_started(const Status& started) {
    REQUIRE_MESSAGE(started.has_value(), (started ? "" : to_string(started.error())));
}

/// A broker, a client of it, and all it has acknowledged, in order.
class Sender {
public:
    Sender(const std::filesystem::path& directory, const Settings& settings)
        : broker(directory, "b", "", small_segments()) {
        for (const auto& [key, value] : settings) {
            broker.set(key, value);
        }
        require_started(broker.start());
        REQUIRE(create_topic(*connect(), "T", 1).summary() == "0");
    }

    std::unique_ptr<RpcClient> connect(wire::Codec codec = wire::Codec::kNative) {
        return std::make_unique<RpcClient>(broker.address(), codec);
    }

    /// Sends a message unlike all others; kept when it is acknowledged.
    Answer send_next(RpcClient& client) {
        std::string body = std::to_string(sent++) + ' ' + std::string(kBodyBytes, 'b');
        Answer answer = harness::send(client, "T", 0, {{body}});
        if (answer.summary() == "0") {
            const auto place = answer.fields<wire::SendRecordsResponse>();
            CHECK(place.queueoffset() == static_cast<std::int64_t>(kept.size() + lost));
            places.push_back(place.logoffset());
            kept.push_back(std::move(body));
        }
        return answer;
    }

    void send_some(int count) {
        const auto client = connect();
        for (int i = 0; i < count; ++i) {
            const Answer answer = send_next(*client);
            REQUIRE_MESSAGE(answer.summary() == "0", answer.summary());
        }
    }

    /// Forgets all but the first `count` messages.
    void forget_behind(std::size_t count) {
        kept.resize(count);
        places.resize(count);
    }

    /// Everything kept is there, and nothing else; by both kinds of clients.
    void check_kept() {
        const std::vector<std::string> found = read_queue(*connect(), "T", 0);
        CHECK(found.size() == kept.size());
        CHECK(found == kept);
        CHECK(read_queue(*connect(wire::Codec::kJson), "T", 0) == kept);
    }

    /// Everything kept is there; what its sender was told nothing certain about may be behind it,
    /// and is kept from now on.
    void check_kept_and_keep_rest() {
        const std::vector<std::string> found = read_queue(*connect(), "T", 0);
        REQUIRE(found.size() >= kept.size());
        for (std::size_t i = 0; i < kept.size(); ++i) {
            REQUIRE(found[i] == kept[i]);
        }
        kept = found;
        check_kept();
    }

    /// The value of a metric of the broker; -1 when it is not shown.
    double value(const std::string& name) { return metric(broker.http_port(), name).value_or(-1); }

    /// Takes messages, across the end of a segment, and keeps them over both kinds of restart.
    void check_serves() {
        send_some(60);
        check_kept();
        require_started(broker.restart(true));
        check_kept();
        broker.kill();
        require_started(broker.start());
        check_kept();
    }

    BrokerProcess broker;
    std::vector<std::string> kept;
    std::vector<std::int64_t> places;  ///< log offset of each
    std::size_t lost = 0;              ///< acknowledged ones that damage has taken
    int sent = 0;
};

}  // namespace gantry::harness
