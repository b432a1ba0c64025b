// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "protocol/wire/replication.pb.h"
#include "storage/repair/replica_source.h"
#include "storage/replica/epochs.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace gantry::broker {

/// The other members of the in-sync set as copies that a store mends its log from: asks one after
/// the other on their replication ports (10105).
///
///   store, thread "repair": fetch -> post to the replica loop -> member -> done -> fetch returns
///
/// Which members there are is looked up when a repair begins; a member that answers with an error
/// or not in time is left out until the next one.
///
/// Threads   fetch, copies: any but the replica's loop, one at a time; fetch blocks up to
///           `patience` for each piece. cancel: any.
/// Lifetime  the callbacks may be called as long as it lives; an answer that comes later is
/// dropped.
class RepairSource final : public storage::ReplicaSource {
public:
    using Done = std::function<void(Result<std::string>)>;

    /// What it needs of the replica. Called on the store's thread.
    struct Callbacks {
        /// Replication addresses of the members of the in-sync set, without this one; a slave's
        /// master first.
        std::function<std::vector<std::string>()> members;
        /// Asks one of them, on the loop; `done` comes once, on any thread.
        std::function<void(
            const std::string& address, const wire::LogRangeRequest& request, Done done)>
            fetch;
        /// Epochs of this log, so that nobody with another history answers.
        std::function<storage::EpochList()> epochs;
    };

    static constexpr std::chrono::milliseconds kPatience{10'000};

    RepairSource(std::string group,
                 Callbacks callbacks,
                 std::chrono::milliseconds patience = kPatience);
    ~RepairSource() override;

    std::size_t copies() override;
    Result<std::string> fetch(std::size_t copy, LogOffset from, std::uint64_t bytes) override;
    void cancel() noexcept override;

private:
    struct Shared;

    const std::string group_;
    const Callbacks callbacks_;
    const std::chrono::milliseconds patience_;
    const std::shared_ptr<Shared> shared_;
    std::vector<std::string> addresses_;
};

}  // namespace gantry::broker
