// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/mutex.h"
#include "common/result.h"
#include "protocol/net/channel.h"
#include "protocol/net/event_loop.h"
#include "protocol/wire/header.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::harness {

/// An answer, kept after its frame is gone.
struct Answer {
    Status transport = ok();  ///< why there is no answer, if there is none
    wire::Codec codec = wire::Codec::kNative;
    wire::ResponseCode code{};
    std::string remark;
    std::string body;
    std::string native_fields;
    std::vector<std::pair<std::string, std::string>> ext;

    /// The typed fields of the answer's header.
    template <class Fields>
    Fields fields() const {
        Fields message;
        wire::Header header;
        header.codec = codec;
        header.fields = as_bytes(native_fields);
        for (const auto& [name, value] : ext) {
            header.ext.push_back({name, value});
        }
        if (const Status decoded = wire::decode_fields(header, message); !decoded) {
            message.Clear();
        }
        return message;
    }

    /// The typed body.
    template <class Body>
    Body body_as() const {
        Body message;
        if (const Status decoded = wire::decode_body(codec, as_bytes(body), message); !decoded) {
            message.Clear();
        }
        return message;
    }

    /// "0", "17 remark" or the error of the transport; for assertions.
    std::string summary() const;
};

/// A Channel with a loop of its own, for tests that block.
///
/// Threads   any, one at a time.
class RpcClient {
public:
    static constexpr std::chrono::milliseconds kPatience{30'000};

    explicit RpcClient(const std::string& address, wire::Codec codec = wire::Codec::kNative);
    ~RpcClient();
    RpcClient(const RpcClient&) = delete;
    RpcClient& operator=(const RpcClient&) = delete;

    /// Sends a request and waits for its answer.
    Answer call(wire::RequestCode code,
                const google::protobuf::Message* fields = nullptr,
                std::string body = {});
    /// Sends a request; the answer comes later.
    std::future<Answer> start(wire::RequestCode code,
                              const google::protobuf::Message* fields = nullptr,
                              std::string body = {},
                              std::chrono::milliseconds timeout = kPatience);
    /// As call, with a typed body.
    Answer call_with_body(wire::RequestCode code,
                          const google::protobuf::Message* fields,
                          const google::protobuf::Message& body);
    /// The next request the peer has sent to this client, its code in Answer::code; kTimeout in
    /// Answer::transport when none comes in time.
    Answer next_request(std::chrono::milliseconds limit = kPatience);
    /// Closes the connection; the next call dials again.
    void disconnect();

private:
    std::unique_ptr<net::Channel> make_channel();

    net::Channel::Options options_;
    Mutex mutex_;
    std::condition_variable arrived_;
    std::deque<Answer> requests_ GANTRY_GUARDED_BY(mutex_);
    std::unique_ptr<net::EventLoop> loop_;
    std::unique_ptr<net::Channel> channel_;
};

}  // namespace gantry::harness
