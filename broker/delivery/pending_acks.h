// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/peer.h"
#include "common/ids.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "storage/types.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

namespace gantry::broker {

/// What an acknowledgement waits for: one of the store's watermarks.
enum class AckAt : std::uint8_t {
    kLocal,      ///< this copy has it, as durable as the flush mode says
    kConfirmed,  ///< every copy in sync has it
};

/// Acknowledgements of one loop that wait for one watermark, in the order of the log.
/// Everything a watermark has passed is released in one go; nobody blocks for a disk.
///
/// Threads   the loop's thread only.
class PendingAcks {
public:
    /// ok() when durable; an error when the log can no longer become so.
    using Done = UniqueFunction<void(const Status&)>;

    /// A native send: answered from `appended` without a function object.
    struct Send {
        Addressee to;
        storage::Appended appended;
    };

    void add(LogOffset end, Done done) { waiting_.push_back({end, {}, std::move(done)}); }

    void add(const Addressee& to, const storage::Appended& appended) {
        waiting_.push_back({appended.end, {to, appended}, {}});
    }

    /// Calls `reply(send, status)` or the stored function for everything that ends at or below
    /// `reached`.
    template <class Reply>
    void release(LogOffset reached, const Status& status, Reply&& reply) {
        while (!waiting_.empty() && waiting_.front().end <= reached) {
            Entry entry = std::move(waiting_.front());
            waiting_.pop_front();
            if (entry.done) {
                entry.done(status);
            } else {
                reply(entry.send, status);
            }
        }
    }

    bool empty() const noexcept { return waiting_.empty(); }

    std::size_t size() const noexcept { return waiting_.size(); }

    /// End offset of the newest entry; only when not empty.
    LogOffset last_end() const noexcept { return waiting_.back().end; }

private:
    struct Entry {
        LogOffset end;
        Send send;
        Done done;
    };

    std::deque<Entry> waiting_;
};

}  // namespace gantry::broker
