// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/metrics.h"
#include "common/result.h"
#include "protocol/net/event_loop.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace gantry::net {

/// What a handler answers: status, type and body.
struct HttpReply {
    int status = 200;
    std::string content_type = "text/plain; charset=utf-8";
    std::string body{};
};

/// The HTTP endpoint of a daemon, for people and monitors, on a loop of its own thread:
///
///   GET /healthz   200 while the process runs
///   GET /readyz    200 when `ready` finds no reason against it, else 503 with the reason
///   GET /metrics   Prometheus text
///
/// Threads   add before start; handlers run in the HTTP loop's thread.
/// Errors    listen: kConflict when the port is in use, kIo otherwise.
/// Limits    headers 16 KiB, body 1 MiB, GET and HEAD only, 30 s for a request.
class HttpServer {
public:
    /// Where to listen.
    struct Options {
        std::string address = "127.0.0.1";
        std::uint16_t port = 0;  ///< 0: the kernel picks
    };

    using Handler = std::function<HttpReply(const std::string& query)>;

    /// `ready`: empty text when ready, else the reason.
    static Result<std::unique_ptr<HttpServer>> listen(const Options& options,
                                                      const MetricRegistry& metrics,
                                                      std::function<std::string()> ready);
    ~HttpServer();
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

    /// Serves `path`, in place of what it served before. `query` is what follows the `?`, as it
    /// came. A handler that throws answers 500. Before start().
    void add(const std::string& path, Handler handler);
    /// Starts the thread. Once.
    void start();
    /// Ends the thread after the handler that runs; requests under way get no answer. Blocks.
    /// Idempotent; not from a handler.
    void stop();
    std::uint16_t port() const noexcept;

private:
    struct State;
    explicit HttpServer(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace gantry::net
