// SPDX-License-Identifier: Apache-2.0
#include "cli/produce.h"

#include "cli/options.h"
#include "client/producer.h"
#include "common/checksum.h"
#include "common/mutex.h"

#include <nlohmann/json.hpp>

#include <chrono>
#include <condition_variable>
#include <fstream>
#include <istream>
#include <optional>
#include <ostream>

namespace gantry::cli {
namespace {

using SteadyClock = std::chrono::steady_clock;

/// Counts what became of the messages; its methods may be called from any thread.
class Progress {
public:
    void sent() {
        const MutexLock lock(mutex_);
        ++sent_;
    }

    /// The last sent() was refused after all.
    void unsent() {
        const MutexLock lock(mutex_);
        --sent_;
    }

    void done(const Result<client::SendReceipt>& result) {
        const MutexLock lock(mutex_);
        ++done_;
        if (!result) {
            ++failed_;
            if (!first_error_) {
                first_error_ = result.error();
            }
        }
        changed_.notify_one();
    }

    /// Waits until something completes, at most 100 ms.
    void wait_for_room() {
        MutexLock lock(mutex_);
        lock.wait_until(changed_, SteadyClock::now() + std::chrono::milliseconds(100));
    }

    void wait_for_all() {
        MutexLock lock(mutex_);
        while (done_ < sent_) {
            lock.wait(changed_);
        }
    }

    std::uint64_t acked() const {
        const MutexLock lock(mutex_);
        return done_ - failed_;
    }

    std::uint64_t failed() const {
        const MutexLock lock(mutex_);
        return failed_;
    }

    std::optional<Error> first_error() const {
        const MutexLock lock(mutex_);
        return first_error_;
    }

private:
    mutable Mutex mutex_;
    std::condition_variable changed_;
    std::uint64_t sent_ GANTRY_GUARDED_BY(mutex_) = 0;
    std::uint64_t done_ GANTRY_GUARDED_BY(mutex_) = 0;
    std::uint64_t failed_ GANTRY_GUARDED_BY(mutex_) = 0;
    std::optional<Error> first_error_ GANTRY_GUARDED_BY(mutex_);
};

struct Plan {
    std::string topic;
    std::string key;
    std::string tag;
    std::string separator;
    bool jsonl = false;
    std::chrono::milliseconds time_to_live{0};
    std::chrono::milliseconds deliver_after{0};
};

struct Totals {
    std::uint64_t lines = 0;
    std::uint64_t bytes = 0;
    std::uint64_t checksum = 0;  ///< sum of the bodies' XXH3, so independent of their order
};

Result<client::Message> message_from_json(const Plan& plan,
                                          const std::string& line,
                                          std::uint64_t number) {
    const auto bad = [&](const std::string& what) {
        return Error{Errc::kRefused, "line " + std::to_string(number) + ": " + what};
    };
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object()) {
        return bad("is not a JSON object");
    }
    client::Message message;
    message.topic = plan.topic;
    message.time_to_live = plan.time_to_live;
    message.deliver_after = plan.deliver_after;
    for (const auto& [name, value] : json.items()) {
        if (name == "properties" && value.is_object()) {
            for (const auto& [property, text] : value.items()) {
                if (!text.is_string()) {
                    return bad("property \"" + property + "\" is not a string");
                }
                message.properties.emplace_back(property, text.get<std::string>());
            }
            continue;
        }
        if (!value.is_string()) {
            return bad("\"" + name + "\" is not a string");
        }
        const auto& text = value.get_ref<const std::string&>();
        if (name == "body") {
            message.body = text;
        } else if (name == "key") {
            message.keys = {text};
        } else if (name == "tag") {
            message.tag = text;
        } else {
            return bad("\"" + name + "\" is none of body, key, tag, properties");
        }
    }
    return message;
}

Result<client::Message> message_from_line(const Plan& plan,
                                          const std::string& line,
                                          std::uint64_t number) {
    if (plan.jsonl) {
        return message_from_json(plan, line, number);
    }
    client::Message message;
    message.topic = plan.topic;
    message.time_to_live = plan.time_to_live;
    message.deliver_after = plan.deliver_after;
    message.tag = plan.tag;
    if (!plan.key.empty()) {
        message.keys = {plan.key};
    }
    message.body = line;
    if (!plan.separator.empty()) {
        const std::size_t at = line.find(plan.separator);
        if (at == std::string::npos) {
            return Error{Errc::kRefused,
                         "line " + std::to_string(number) + ": no separator \"" + plan.separator +
                             "\" between key and body"};
        }
        message.keys = {line.substr(0, at)};
        message.body = line.substr(at + plan.separator.size());
    }
    return message;
}

/// Sends one message, waiting for room while the producer is at a limit.
Status send_one(client::Producer& producer, const client::Message& message, Progress& progress) {
    const std::string order_key = message.keys.empty() ? std::string() : message.keys.front();
    for (;;) {
        progress.sent();
        auto done = [&progress](const Result<client::SendReceipt>& result) {
            progress.done(result);
        };
        Status sent = order_key.empty() ? producer.send_async(message, done)
                                        : producer.send_async(message, order_key, done);
        if (sent) {
            return ok();
        }
        progress.unsent();
        if (sent.error().code != Errc::kBusy) {
            return sent;
        }
        progress.wait_for_room();
    }
}

/// Lines and what they mean.
struct Input {
    const Plan& plan;
    std::istream& lines;
};

Status send_lines(Session& session,
                  const Input& input,
                  client::Producer& producer,
                  Progress& progress,
                  Totals& totals) {
    std::string line;
    auto last_told = SteadyClock::now();
    while (std::getline(input.lines, line)) {
        ++totals.lines;
        GANTRY_ASSIGN_OR_RETURN(const client::Message message,
                                message_from_line(input.plan, line, totals.lines));
        totals.bytes += message.body.size();
        totals.checksum += xxh3(as_bytes(message.body));
        GANTRY_TRY(send_one(producer, message, progress));
        const auto now = SteadyClock::now();
        if (session.streams().err_is_terminal && now - last_told > std::chrono::seconds(1)) {
            session.streams().err << '\r' << totals.lines << " sent" << std::flush;
            last_told = now;
        }
    }
    return ok();
}

std::string hex(std::uint64_t value) {
    char text[17];
    std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(value));
    return text;
}

void tell(Session& session, const Totals& totals, const Progress& progress, double seconds) {
    const auto rate = static_cast<double>(progress.acked()) / std::max(seconds, 1e-6);
    if (session.json()) {
        session.print({{"messages", progress.acked()},
                       {"failed", progress.failed()},
                       {"bytes", totals.bytes},
                       {"seconds", seconds},
                       {"messages_per_second", rate},
                       {"checksum", hex(totals.checksum)}});
        return;
    }
    session.streams().err << progress.acked() << " messages, " << totals.bytes << " bytes in "
                          << seconds << " s (" << static_cast<std::uint64_t>(rate)
                          << " msg/s), checksum " << hex(totals.checksum) << '\n';
}

Result<client::Compression> compression_of(const std::string& name) {
    using Method = client::Compression::Method;
    client::Compression compression;
    if (name == "zlib") {
        compression.method = Method::kZlib;
    } else if (name == "lz4") {
        compression.method = Method::kLz4;
    } else if (name == "zstd") {
        compression.method = Method::kZstd;
    } else if (name != "none") {
        return Error{Errc::kRefused,
                     "--compress \"" + name + "\" is none of none, zlib, lz4, zstd"};
    }
    return compression;
}

Plan plan_of(const Given& given, const std::string& topic) {
    Plan plan;
    plan.topic = topic;
    plan.key = given["key"].as<std::string>();
    plan.tag = given["tag"].as<std::string>();
    plan.separator = given["key-separator"].as<std::string>();
    plan.jsonl = given.count("jsonl") != 0;
    plan.time_to_live = std::chrono::milliseconds(given["ttl-ms"].as<std::int64_t>());
    plan.deliver_after = std::chrono::milliseconds(given["delay-ms"].as<std::int64_t>());
    return plan;
}

}  // namespace

void add_produce_options(Options& options) {
    options.add_options()("k,key", "key of every message", value<std::string>().default_value(""))(
        "t,tag", "tag of every message", value<std::string>().default_value(""))(
        "K,key-separator", "lines are KEY<separator>BODY", value<std::string>().default_value(""))(
        "jsonl", "lines are {\"body\":...,\"key\":...,\"tag\":...,\"properties\":{...}}")(
        "delay-ms",
        "consumers get the messages so long after they are sent",
        value<std::int64_t>().default_value("0"))(
        "ttl-ms",
        "consumers get the messages so long, at most; 0: for ever",
        value<std::int64_t>().default_value("0"))("idempotent",
                                                  "stored once, whatever had to be repeated")(
        "compress",
        "none, zlib, lz4 or zstd: bodies from 4 KiB on",
        value<std::string>().default_value("none"))(
        "batch", "bytes of a batch; 0: none", value<std::uint32_t>().default_value("32768"));
}

Status produce(Session& session, const Given& given, const std::vector<std::string>& arguments) {
    const Plan plan = plan_of(given, arguments[0]);
    std::ifstream file;
    if (arguments.size() > 1 && arguments[1] != "-") {
        file.open(arguments[1]);
        if (!file) {
            return Error{Errc::kIo, "cannot read " + arguments[1]};
        }
    }
    GANTRY_ASSIGN_OR_RETURN(auto shared, session.client());
    client::Producer::Options wanted;
    wanted.batch_bytes_max = given["batch"].as<std::uint32_t>();
    wanted.idempotent = given.count("idempotent") != 0;
    GANTRY_ASSIGN_OR_RETURN(wanted.compression,
                            compression_of(given["compress"].as<std::string>()));
    wanted.deadline = std::chrono::seconds(30);
    Progress progress;
    Totals totals;
    GANTRY_ASSIGN_OR_RETURN(auto producer, client::Producer::create(std::move(shared), wanted));
    // An unknown topic is told before the input is read.
    GANTRY_TRY(producer->queues(plan.topic));
    const auto start = SteadyClock::now();
    const Input input{plan, file.is_open() ? file : session.streams().in};
    const Status sent = send_lines(session, input, *producer, progress, totals);
    progress.wait_for_all();
    const std::chrono::duration<double> took = SteadyClock::now() - start;
    GANTRY_TRY(producer->close(std::chrono::seconds(1)));
    tell(session, totals, progress, took.count());
    GANTRY_TRY(sent);
    const auto error = progress.first_error();
    return error ? Status(*error) : ok();
}

}  // namespace gantry::cli
