// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/link/log_range.h"

#include "broker/replication/link/hello_answer.h"
#include "broker/replication/link/link_proof.h"
#include "common/checksum.h"
#include "storage/replica/replica_log.h"

#include <cerrno>
#include <limits>
#include <unistd.h>
#include <utility>

namespace gantry::broker {

namespace {

Status append_run(const storage::LogRun& run, std::string& out) {
    if (!run.memory.empty()) {
        out += as_text(run.memory);
        return ok();
    }
    const std::size_t before = out.size();
    out.resize(before + run.length);
    std::size_t have = 0;
    while (have < run.length) {
        const ssize_t got = ::pread(run.fd,
                                    out.data() + before + have,
                                    run.length - have,
                                    static_cast<off_t>(run.file_offset + have));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return io_error("read log bytes at " + std::to_string(run.at.value), errno);
        }
        have += static_cast<std::size_t>(got);
    }
    return ok();
}

Result<std::string> read_bytes(storage::Store& store, LogOffset at, LogOffset end) {
    std::string bytes;
    while (at < end) {
        GANTRY_ASSIGN_OR_RETURN(const storage::LogPiece piece,
                                store.replica().piece(at, static_cast<std::uint64_t>(end - at)));
        if (piece.run.length == 0) {
            return Error{Errc::kNotFound, "the log ends at " + std::to_string(at.value)};
        }
        const std::size_t before = bytes.size();
        GANTRY_TRY(append_run(piece.run, bytes));
        // The disk may give other bytes the second time.
        if (xxh3(as_bytes(std::string_view(bytes).substr(before))) != piece.sum) {
            return Error{Errc::kCorrupt, "log bytes at " + std::to_string(at.value) + " change"};
        }
        at += static_cast<std::int64_t>(piece.run.length);
    }
    return bytes;
}

Status check(const storage::Store& store,
             const storage::EpochList& mine,
             const wire::LogRangeRequest& request) {
    const LogOffset durable = store.watermarks().flushed;
    if (request.offset() < 0 || request.length() <= 0 || request.length() > kRangeBytesMax) {
        return Error{Errc::kRefused,
                     "length " + std::to_string(request.length()) + " is outside of (0, " +
                         std::to_string(kRangeBytesMax) + "]"};
    }
    const LogOffset end(request.offset() + request.length());
    if (end > durable) {
        return Error{Errc::kRefused,
                     "bytes up to " + std::to_string(end.value) + " asked for, durable up to " +
                         std::to_string(durable.value)};
    }
    const std::optional<LogOffset> common =
        storage::common_end(mine,
                            durable,
                            read_epochs(request.epochs()),
                            LogOffset(std::numeric_limits<std::int64_t>::max()));
    if (!common || *common < end) {
        return Error{Errc::kConflict, "the histories differ below " + std::to_string(end.value)};
    }
    return ok();
}

}  // namespace

RangeAnswer read_range(storage::Store& store, const wire::LogRangeRequest& request) {
    RangeAnswer answer;
    const storage::EpochList mine = store.replica().epochs();
    if (Status allowed = check(store, mine, request); !allowed) {
        answer.body = std::move(allowed).error();
        return answer;
    }
    const LogOffset at(request.offset());
    answer.body = read_bytes(store, at, at + request.length());
    if (answer.body) {
        wire::ReplicaFrame fields;
        fields.set_epoch(storage::epoch_at(mine, at));
        fields.set_offset(at.value);
        fields.set_length(request.length());
        fields.set_confirmed(store.watermarks().confirmed.value);
        fields.set_logend(store.watermarks().appended.value);
        fields.set_sum(sum_of(fields, xxh3(as_bytes(*answer.body))));
        answer.fields = std::move(fields);
    }
    return answer;
}

}  // namespace gantry::broker
