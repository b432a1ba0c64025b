// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/repair.h"

#include "common/mutex.h"

#include <condition_variable>
#include <optional>
#include <utility>

namespace gantry::broker {

/// What answers and cancellations reach after the source itself is gone.
struct RepairSource::Shared {
    Mutex mutex;
    std::condition_variable changed;
    bool is_cancelled GANTRY_GUARDED_BY(mutex) = false;
    std::uint64_t asked GANTRY_GUARDED_BY(mutex) = 0;  ///< number of the question under way
    std::optional<Result<std::string>> answer GANTRY_GUARDED_BY(mutex);
};

RepairSource::RepairSource(std::string group,
                           Callbacks callbacks,
                           std::chrono::milliseconds patience)
    : group_(std::move(group)),
      callbacks_(std::move(callbacks)),
      patience_(patience),
      shared_(std::make_shared<Shared>()) {}

RepairSource::~RepairSource() = default;

std::size_t RepairSource::copies() {
    addresses_ = callbacks_.members();
    return addresses_.size();
}

Result<std::string> RepairSource::fetch(std::size_t copy, LogOffset from, std::uint64_t bytes) {
    if (copy >= addresses_.size()) {
        return Error{Errc::kNotFound, "there is no copy " + std::to_string(copy)};
    }
    wire::LogRangeRequest request;
    request.set_group(group_);
    request.set_offset(from.value);
    request.set_length(static_cast<std::int64_t>(bytes));
    for (const storage::EpochStart& epoch : callbacks_.epochs()) {
        wire::EpochMark& mark = *request.add_epochs();
        mark.set_epoch(epoch.epoch);
        mark.set_id(epoch.id);
        mark.set_start(epoch.start.value);
    }
    std::uint64_t number = 0;
    {
        const MutexLock lock(shared_->mutex);
        number = ++shared_->asked;
        shared_->answer.reset();
        if (shared_->is_cancelled) {
            return Error{Errc::kClosed, "the repair was cancelled"};
        }
    }
    callbacks_.fetch(
        addresses_[copy], request, [shared = shared_, number](Result<std::string> answer) {
            const MutexLock lock(shared->mutex);
            if (shared->asked == number) {
                shared->answer = std::move(answer);
                shared->changed.notify_all();
            }
        });
    const auto deadline = std::chrono::steady_clock::now() + patience_;
    MutexLock lock(shared_->mutex);
    while (!shared_->answer && !shared_->is_cancelled) {
        if (!lock.wait_until(shared_->changed, deadline) && !shared_->answer) {
            ++shared_->asked;
            return Error{Errc::kTimeout,
                         addresses_[copy] + " did not answer in " +
                             std::to_string(patience_.count()) + " ms"};
        }
    }
    if (shared_->is_cancelled) {
        return Error{Errc::kClosed, "the repair was cancelled"};
    }
    return *std::exchange(shared_->answer, std::nullopt);
}

void RepairSource::cancel() noexcept {
    const MutexLock lock(shared_->mutex);
    shared_->is_cancelled = true;
    shared_->changed.notify_all();
}

}  // namespace gantry::broker
