// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/coordinator.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "protocol/net/event_loop.h"
#include "protocol/wire/replication.pb.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace gantry::broker {

/// Static roles: the state is a file of this member, and members tell one another theirs. There is
/// no register that all agree on, so nobody is elected but by an operator, who has to see to it
/// that there is one master: two that are elected at once have the same epoch, and one of them
/// gives way and loses what it took meanwhile.
///
///   who counts      the higher epoch; with equal ones that of the master with the lower number
///   members         of an epoch: as its master says
///
/// The view is current once every peer has answered, or failed to: a member that was away learns
/// first whether the group went on without it.
///
/// Threads   one loop; swap and what peers tell write the file there, which takes a sync.
/// Lifetime  loop, clock and files outlive it.
class StaticCoordinator final : public Coordinator {
public:
    /// Who the others are, and where the state is kept.
    struct Options {
        std::vector<std::string> peers;           ///< replication addresses
        std::filesystem::path file;               ///< replica/group in the directory of the store
        std::chrono::milliseconds interval{300};  ///< asks each peer that often
        std::chrono::milliseconds silence_max{3'000};  ///< then a peer counts as gone
    };

    /// Asks the member at an address for its status: ask_status with the link's options.
    using Ask = std::function<void(const std::string& address,
                                   UniqueFunction<void(Result<wire::ReplicaStatus>)> done)>;

    /// Reads the file. kCorrupt: it holds no state; an operator has to take it away. kIo.
    static Result<std::unique_ptr<StaticCoordinator>> open(
        net::EventLoop& loop, Clock& clock, FileSystem& files, Options options, Ask ask);
    ~StaticCoordinator() override;

    void start(LiveMember self, OnView on_view) override;
    void announce(LiveMember self) override;
    void swap(std::uint64_t revision, const GroupState& next, SwapDone done) override;

    SteadyTime lease_until() const override { return SteadyTime::max(); }

    void stop(UniqueFunction<void()> done) override;

private:
    struct Peer {
        std::string address;
        bool is_asked = false;
        bool was_asked = false;  ///< it has answered, or failed to, once
        SteadyTime heard_at{};
        std::optional<LiveMember> member;
    };

    StaticCoordinator(
        net::EventLoop& loop, Clock& clock, FileSystem& files, Options options, Ask ask);
    void ask_all();
    void on_status(std::size_t peer, const Result<wire::ReplicaStatus>& status);
    void learn(const wire::ReplicaStatus& status);
    bool overrules(const GroupState& theirs, bool is_their_master) const;
    Status save(const GroupState& state);
    void later(UniqueFunction<void()> task);
    void tell();
    GroupView view() const;

    net::EventLoop& loop_;
    Clock& clock_;
    FileSystem& files_;
    const Options options_;
    Ask ask_;
    LiveMember self_;
    OnView on_view_;
    GroupState state_;
    std::uint64_t revision_ = 0;
    std::vector<Peer> peers_;
    std::optional<GroupView> told_;
    bool is_stopping_ = false;
    net::Timer timer_;
    std::shared_ptr<StaticCoordinator*> alive_;  ///< null once it is gone: for what comes later
};

}  // namespace gantry::broker
