// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/admin_client.h"
#include "client/client.h"
#include "common/result.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <iosfwd>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::cli {

class Given;
class Options;

/// What a run of the program works with: streams, common options, and the client, started on first
/// use. Data goes to `out`, talk to `err`.
///
/// Threads   the main thread. Lifetime: the streams outlive it.
class Session {
public:
    /// Where data comes from and goes to. `err_is_terminal`: progress is shown there.
    struct Streams {
        std::istream& in;
        std::ostream& out;
        std::ostream& err;
        bool err_is_terminal = false;
    };

    explicit Session(Streams streams) : streams_(streams) {}

    Streams& streams() noexcept { return streams_; }

    bool json() const noexcept { return json_; }

    /// Takes --nameserver, --output and --timeout. kRefused: an unknown output format.
    Status take_common(const Given& given);

    /// The client, started at the first call; later calls return the same. Errors: of
    /// Client::start.
    Result<std::shared_ptr<client::Client>> client();
    /// The administration client, made at the first call; lives as long as the session. Errors: of
    /// client() and AdminClient::create.
    Result<client::AdminClient*> admin();

    /// Prints one JSON value on a line of its own.
    void print(const nlohmann::ordered_json& value);

private:
    Streams streams_;
    std::vector<std::string> nameservers_;
    std::uint32_t timeout_ms_ = 5'000;
    bool json_ = false;
    std::shared_ptr<client::Client> client_;
    std::unique_ptr<client::AdminClient> admin_;
};

/// One command: "topic create". `run` gets parsed options and the positional arguments.
struct Command {
    using Run = Status (*)(Session&, const Given&, const std::vector<std::string>&);

    std::string_view noun;
    std::string_view verb;  ///< empty for produce, consume, cluster
    std::string_view arguments;
    std::string_view purpose;
    std::size_t arguments_min = 0;
    std::size_t arguments_max = 0;
    void (*add_options)(Options&) = nullptr;
    Run run = nullptr;
};

/// The commands of each area.
std::vector<Command> topic_commands();
std::vector<Command> group_commands();
std::vector<Command> cluster_commands();
std::vector<Command> broker_commands();
std::vector<Command> message_commands();
std::vector<Command> stream_commands();
std::vector<Command> store_commands();
std::vector<Command> order_commands();
std::vector<Command> transaction_commands();
std::vector<Command> delay_commands();
std::vector<Command> dead_letter_commands();
std::vector<Command> flow_commands();
std::vector<Command> trace_commands();

/// Runs the command line; returns the exit code: 0 done, 1 failure, 2 usage, 3 not found,
/// 4 unreachable or timed out, 5 denied, 6 conflict.
int run_cli(int argc, const char* const* argv, Session& session);

/// Milliseconds of "1795217708399", "2026-11-21", "2026-11-21T01:02:03" (UTC). kRefused: neither.
Result<std::int64_t> parse_time(const std::string& text);

}  // namespace gantry::cli
