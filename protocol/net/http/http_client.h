// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "common/unique_function.h"
#include "protocol/net/event_loop.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace gantry::net {

/// What a server answered.
struct HttpAnswer {
    int status = 0;
    std::string body{};
};

/// One HTTP/1.1 POST of JSON, each over a connection of its own, so that what became of it is known
/// as exactly as can be: a connection that was kept may have been closed by the server just before.
///
///   error      meaning
///   kGone      nobody answers there, or not a byte of the request left
///   kUnknown   the connection was lost after some of it left: may have been carried out
///   kTimeout   no whole answer in time; nothing or all of it may have been carried out
///   kRefused   the endpoint is no host:port
///
/// Any status is an answer.
///
/// Threads   the loop's thread only.
/// Network   names are resolved by the loop's resolver.
/// Lifetime  `done` comes once, never from inside start; none after the destructor, which ends the
///           connection. May be destroyed in its own callbacks.
/// Limits    an answer of 16 MiB; the headers 64 KiB. A stream has no end, each piece its limit.
class HttpPost {
public:
    using Done = UniqueFunction<void(Result<HttpAnswer>)>;
    /// A piece of the body, as it arrived.
    using OnPiece = UniqueFunction<void(std::string_view)>;

    /// Where to and what.
    struct Request {
        std::string endpoint;  ///< host:port
        std::string path;
        std::string body;
    };

    explicit HttpPost(EventLoop& loop);
    ~HttpPost();
    HttpPost(const HttpPost&) = delete;
    HttpPost& operator=(const HttpPost&) = delete;

    /// Sends, and waits for the whole answer. Once.
    void start(Request request, std::chrono::milliseconds timeout, Done done);
    /// Sends, and hands the body out piece by piece as it comes; `done` when the server ends it, or
    /// the connection is lost. `timeout` is for the first piece. Once.
    void stream(Request request, std::chrono::milliseconds timeout, OnPiece on_piece, Done done);

private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace gantry::net
