// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "storage/cold/cold_reader.h"

#include <cstdint>
#include <cstring>
#include <memory>

namespace gantry::storage {

/// One read under way: `runs` are copied one after the other into `reply`.
struct ColdReader::Job {
    ColdRequest request;
    ColdDone done;
    ReadResult result;
    std::shared_ptr<PageBuffer> reply;
    std::size_t run = 0;           ///< being copied
    std::uint64_t run_done = 0;    ///< bytes of it
    std::uint64_t reply_done = 0;  ///< bytes of all
    LogOffset first, last;         ///< of what it spans in the log
    bool is_begun = false;
    bool is_sparse = false;

    ReadRequest units() const {
        ReadRequest units = request.units;
        units.tag_hashes = request.tags.get();
        units.is_in_loop = false;
        return units;
    }

    LogOffset at() const { return result.runs[run].at + static_cast<std::int64_t>(run_done); }

    std::uint64_t run_left() const { return result.runs[run].length - run_done; }

    /// Takes `bytes` of the current run, which lie there.
    void take(const std::byte* from, std::uint64_t bytes) {
        std::memcpy(reply->bytes().data() + reply_done, from, bytes);
        reply_done += bytes;
        run_done += bytes;
        if (run_left() == 0) {
            ++run;
            run_done = 0;
        }
    }

    Position position() const {
        return {{request.queue, request.stream},
                request.units.from,
                result.next,
                first,
                last,
                is_sparse};
    }

    bool is_copied() const { return run == result.runs.size(); }
};

}  // namespace gantry::storage
