// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/broker/broker_fixture.h"
#include "tests/harness/wait.h"
#include "tests/storage/faulty_file_system.h"

#include <chrono>
#include <cstdint>
#include <fcntl.h>
#include <memory>
#include <utility>

namespace gantry::broker {

/// A broker with a log of small segments, all but the last of which can be made cold.
class ColdLog {
public:
    ColdLog() : ColdLog(std::make_unique<storage::FaultyFileSystem>()) {}

    /// Has the system forget the first messages of queue 0 of topic "T"; false where it keeps
    /// everything (a file system in memory).
    bool forget(std::uint32_t messages) {
        return harness::wait_until(std::chrono::seconds(20), [this, messages] {
            storage::Store& store = fixture.broker().store();
            const storage::Queue& queue = *store.find_topic("T")->queue(0);
            storage::ReadRequest request{.from = QueueOffset(0), .bytes_max = 64U << 20U};
            request.count_max = messages;
            request.cold_bytes_max = request.bytes_max;
            for (const storage::LogRun& run : store.read(queue, request).runs) {
                ::posix_fadvise(run.fd, 0, 0, POSIX_FADV_DONTNEED);
            }
            request.count_max = 1;
            return store.read(queue, request).is_cold;
        });
    }

    storage::FaultyFileSystem& faulty;
    BrokerFixture fixture;

private:
    explicit ColdLog(std::unique_ptr<storage::FaultyFileSystem> files)
        : faulty(*files), fixture(&ColdLog::adjust, std::move(files)) {}

    static void adjust(BrokerOptions& o) {
        o.store_flush = "sync";
        o.message_bytes_max = 64 << 10;
        o.store_segment_bytes = 1 << 20;
        o.store_prefault_bytes = 0;
        o.store_hot_bytes = 0;
        // Reads go through the file system that can be told to fail.
        o.read_cold_direct = false;
    }
};

}  // namespace gantry::broker
