// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "protocol/net/connection.h"
#include "tests/net/fixture.h"

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace gantry::net::test {

/// A code that no handler of these tests treats in a special way.
inline constexpr auto kEcho = wire::RequestCode::kHeartBeat;

/// A whole request frame.
inline std::string request_frame(std::int32_t opaque,
                                 std::string_view body,
                                 wire::Codec codec = wire::Codec::kNative) {
    wire::HeaderToSend header;
    header.code = static_cast<std::int32_t>(kEcho);
    header.opaque = opaque;
    std::string frame;
    wire::append_frame_head(frame, codec, header, body.size());
    return frame.append(body);
}

/// A reply as a peer sees it.
struct Reply {
    std::int32_t code = 0;
    std::int32_t opaque = 0;
    wire::Codec codec = wire::Codec::kJson;
    std::string remark;
    std::string body;
    bool is_response = false;
    bool is_whole = false;
};

/// Reads one frame; is_whole is false at the end of the stream.
inline Reply read_reply(RawPeer& peer) {
    std::string bytes = peer.receive(wire::kFramePrefixBytes);
    Reply reply;
    if (bytes.size() < wire::kFramePrefixBytes) {
        return reply;
    }
    bytes += peer.receive(wire::frame_bytes_needed(as_bytes(bytes)) - bytes.size());
    const auto found = wire::find_frame(as_bytes(bytes), {.frame_bytes_max = 1U << 30U});
    REQUIRE(found);
    if (!found->has_value()) {
        return reply;
    }
    wire::Header header;
    REQUIRE(wire::decode_header(**found, header));
    return {.code = header.code,
            .opaque = header.opaque,
            .codec = header.codec,
            .remark = std::string(header.remark),
            .body = std::string(as_text((*found)->body)),
            .is_response = header.is_response,
            .is_whole = true};
}

/// Answers every request with its body, and counts; tests may replace what it does with a frame.
class EchoHandler final : public ConnectionHandler {
public:
    void on_open(Connection& connection) override {
        ++opened;
        if (open_with) {
            open_with(connection);
        }
    }

    void on_frame(const Received& frame) override {
        ++frames;
        if (answer_with) {
            answer_with(frame);
            return;
        }
        frame.connection.reply(
            reply_to(frame), wire::ResponseCode::kSuccess, "", nullptr, as_text(frame.body));
    }

    void on_close(Connection& connection, const Error& why) override {
        const std::lock_guard lock(mutex);
        reasons.push_back(why);
        ++closed;  // who sees it sees the reason
        if (close_with) {
            close_with(connection);
        }
    }

    Error last_reason() {
        const std::lock_guard lock(mutex);
        return reasons.empty() ? Error{} : reasons.back();
    }

    // Set before the server starts.
    std::function<void(const Received&)> answer_with;
    std::function<void(Connection&)> open_with;
    std::function<void(Connection&)> close_with;
    std::atomic<int> opened = 0;
    std::atomic<int> frames = 0;
    std::atomic<int> closed = 0;
    std::mutex mutex;
    std::vector<Error> reasons;
};

}  // namespace gantry::net::test
