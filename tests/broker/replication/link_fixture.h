// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/follower.h"
#include "broker/replication/link/link_proof.h"
#include "broker/replication/replication_server.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "protocol/wire/header.h"
#include "tests/net/fixture.h"
#include "tests/storage/store_fixture.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace gantry::broker::test {

inline constexpr std::int64_t kEpoch = 3;
inline constexpr std::uint64_t kFrameBytes = 8 << 10;
inline constexpr std::uint64_t kWindowBytes = 64 << 10;

using net::test::wait_until;

/// Of a member of the group the cases are about.
LinkOptions link_options(std::int64_t member);

/// A store with a directory of its own: one copy of the log.
class Copy {
public:
    explicit Copy(bool is_follower, storage::FlushMode flush = storage::FlushMode::kAsync);

    storage::Store& store() { return *fixture.store; }

    /// Makes it the master's.
    void lead(std::int64_t epoch = kEpoch);
    /// Appends so many messages.
    void append(std::size_t count, std::size_t body_bytes = 1'000);
    /// The log from its first byte to its end.
    std::string log_bytes();

    LogOffset end() { return store().watermarks().appended; }

    storage::TemporaryDirectory directory;
    storage::StoreFixture fixture;

private:
    std::size_t appended_ = 0;
};

/// A master with its store and loop.
class MasterEnd {
public:
    explicit MasterEnd(LinkOptions options = link_options(1));
    ~MasterEnd();
    MasterEnd(const MasterEnd&) = delete;
    MasterEnd& operator=(const MasterEnd&) = delete;

    void append(std::size_t count, std::size_t body_bytes = 1'000);

    std::uint16_t port() { return server->port(); }

    std::string address() { return "127.0.0.1:" + std::to_string(port()); }

    /// What a slave has acknowledged; -1: nothing yet.
    std::int64_t acknowledged(std::int64_t member);
    SteadyTime caught_up_at(std::int64_t member);
    std::size_t lost();

    double value(const std::string& metric) { return metrics.values()[metric]; }

    Copy copy{false};
    MetricRegistry metrics;
    SystemClock clock;
    std::atomic<std::int64_t> higher_epoch{0};
    net::test::LoopThread loop;
    std::unique_ptr<ReplicationServer> server;

private:
    struct Ack {
        std::int64_t member = 0;
        std::int64_t end = -1;
        SteadyTime caught_up_at{};
    };

    Mutex mutex_;
    std::vector<Ack> acks_ GANTRY_GUARDED_BY(mutex_);
    std::size_t lost_ GANTRY_GUARDED_BY(mutex_) = 0;
};

/// A slave with its store and loop.
class SlaveEnd {
public:
    /// What it was told to do.
    struct Told {
        std::optional<std::int64_t> cut_at;
        bool is_foreign = false;
        bool has_seed = false;
        std::int64_t other_epoch = 0;
        std::string other_address;
        std::size_t lost_by_silence = 0;
        std::size_t lost_by_refusal = 0;
        std::size_t follows = 0;
        std::vector<Errc> failures;
    };

    explicit SlaveEnd(LinkOptions options = link_options(2),
                      storage::FlushMode flush = storage::FlushMode::kAsync);
    ~SlaveEnd();
    SlaveEnd(const SlaveEnd&) = delete;
    SlaveEnd& operator=(const SlaveEnd&) = delete;

    void follow(const std::string& address, std::int64_t epoch = kEpoch);
    void unfollow();
    bool is_following();
    Told told();

    double value(const std::string& metric) { return metrics.values()[metric]; }

    Copy copy;
    MetricRegistry metrics;
    SystemClock clock;
    net::test::LoopThread loop;
    std::unique_ptr<Follower> follower;

private:
    Mutex mutex_;
    Told told_ GANTRY_GUARDED_BY(mutex_);
};

/// One frame as it came, kept.
struct Heard {
    bool is_end = false;  ///< the peer has closed
    std::int32_t code = 0;
    std::int32_t opaque = 0;
    bool is_response = false;
    std::string remark;
    std::string fields;
    std::string body;

    wire::ResponseCode response() const { return static_cast<wire::ResponseCode>(code); }

    bool is(wire::RequestCode wanted) const {
        return !is_end && !is_response && code == static_cast<std::int32_t>(wanted);
    }

    template <class Fields>
    Fields as() const {
        Fields message;
        REQUIRE(message.ParseFromString(fields));
        return message;
    }
};

/// One end of a link that says what the case wants.
class Talker {
public:
    explicit Talker(std::uint16_t port) : peer_(port) {}

    explicit Talker(UniqueFd fd) : peer_(std::move(fd)) {}

    void send(wire::RequestCode code,
              const google::protobuf::Message& fields,
              bool is_oneway = false,
              std::string_view body = {});
    void answer(const Heard& question,
                wire::ResponseCode code,
                const google::protobuf::Message& fields,
                std::string_view body = {});

    void send_bytes(std::string_view bytes) { peer_.send(bytes); }

    Heard hear();
    /// The next frame of that kind; others are passed over.
    Heard hear(wire::RequestCode wanted);

    void close() { peer_.close(); }

private:
    net::test::RawPeer peer_;
    std::int32_t opaque_ = 0;
};

/// Asks for the challenge and says that hello, signed with `secret`.
Heard greet(Talker& slave, wire::ReplicaHello hello, const std::string& secret = {});
/// The hello of an empty slave.
wire::ReplicaHello empty_hello(std::int64_t member = 2);
/// An acknowledgement with its sum.
void acknowledge(Talker& slave,
                 std::int64_t end,
                 std::int64_t received,
                 std::int64_t epoch = kEpoch);

/// A master that does as the case wants.
class ScriptedMaster {
public:
    ScriptedMaster();

    std::uint16_t port() const { return port_; }

    std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

    /// The next slave that dials.
    Talker accept();
    /// Answers challenge and hello of the next slave; what `adjust` makes of the welcome is signed.
    Talker welcome(const std::function<void(wire::ReplicaWelcome&)>& adjust = nullptr,
                   wire::ResponseCode code = wire::ResponseCode::kSuccess);

    wire::ReplicaHello hello;  ///< the last one

private:
    UniqueFd listener_;
    std::uint16_t port_ = 0;
};

/// A frame of these log bytes, as a right master sends it.
wire::ReplicaFrame frame_of(std::int64_t offset, std::string_view bytes);
void send_frame(Talker& master, wire::ReplicaFrame frame, std::string_view bytes);

}  // namespace gantry::broker::test
