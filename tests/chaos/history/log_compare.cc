// SPDX-License-Identifier: Apache-2.0
#include "tests/chaos/history/log_compare.h"

#include "common/bytes.h"
#include "common/file_system.h"
#include "protocol/wire/state.pb.h"
#include "storage/check/store_dump.h"
#include "storage/log/segment.h"
#include "storage/topic_table.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <map>

namespace gantry::chaos {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPieceBytes = std::size_t{1} << 20U;

using Segments = std::map<std::int64_t, fs::path>;

Result<Segments> segments_of(const fs::path& store) {
    Segments segments;
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(store / "commitlog", error)) {
        if (const auto base = storage::parse_segment_name(entry.path().filename().string())) {
            segments.emplace(base->value, entry.path());
        }
    }
    if (segments.empty()) {
        return Error{Errc::kNotFound, store.string() + " has no log files"};
    }
    return segments;
}

/// Bytes [at, at + count) of a file, fewer at its end.
Result<std::string> read_piece(const fs::path& file, std::int64_t at, std::size_t count) {
    std::ifstream in(file, std::ios::binary);
    std::string bytes(count, '\0');
    if (!in || !in.seekg(at)) {
        return io_error(file.string(), errno);
    }
    in.read(bytes.data(), static_cast<std::streamsize>(count));
    bytes.resize(static_cast<std::size_t>(in.gcount()));
    return bytes;
}

std::string told(const fs::path& file, std::int64_t base, std::size_t at) {
    return file.string() + " differs at log offset " +
           std::to_string(base + static_cast<std::int64_t>(at));
}

/// Compares files of one base up to `bytes`.
Result<std::string> file_difference(const fs::path& a,
                                    const fs::path& b,
                                    std::int64_t base,
                                    std::int64_t bytes) {
    for (std::int64_t at = 0; at < bytes;) {
        const auto count = static_cast<std::size_t>(
            std::min<std::int64_t>(bytes - at, static_cast<std::int64_t>(kPieceBytes)));
        GANTRY_ASSIGN_OR_RETURN(const std::string in_a, read_piece(a, at, count));
        GANTRY_ASSIGN_OR_RETURN(const std::string in_b, read_piece(b, at, count));
        if (in_a != in_b) {
            const auto part = std::mismatch(in_a.begin(), in_a.end(), in_b.begin(), in_b.end());
            return told(b, base, static_cast<std::size_t>(at + (part.first - in_a.begin())));
        }
        if (in_a.size() < count) {
            break;  // the file ends, as its twin does
        }
        at += static_cast<std::int64_t>(count);
    }
    return std::string();
}

}  // namespace

Result<std::string> log_difference(const std::vector<fs::path>& stores, std::int64_t end) {
    GANTRY_ASSIGN_OR_RETURN(const Segments first, segments_of(stores.front()));
    std::size_t compared = 0;
    for (std::size_t i = 1; i < stores.size(); ++i) {
        GANTRY_ASSIGN_OR_RETURN(const Segments other, segments_of(stores[i]));
        const std::int64_t begin = std::max(first.begin()->first, other.begin()->first);
        for (const auto& [base, path] : first) {
            if (base < begin || base >= end) {
                continue;
            }
            const auto twin = other.find(base);
            if (twin == other.end()) {
                return (stores[i] / "commitlog").string() + " has no file of log offset " +
                       std::to_string(base);
            }
            // What follows belongs to the next file, and a file is never longer than that.
            const auto next = first.upper_bound(base);
            const std::int64_t stop = next == first.end() ? end : std::min(end, next->first);
            GANTRY_ASSIGN_OR_RETURN(const std::string difference,
                                    file_difference(path, twin->second, base, stop - base));
            if (!difference.empty()) {
                return difference;
            }
            ++compared;
        }
    }
    if (compared == 0) {
        return Error{Errc::kNotFound, "the stores have no part of the log in common"};
    }
    return std::string();
}

Result<std::vector<EpochMark>> epochs_of(const fs::path& store) {
    const std::unique_ptr<FileSystem> files = make_posix_file_system();
    storage::DumpOptions options;
    options.directory = store;
    options.is_live = true;
    options.topic = storage::kStateTopic;
    std::vector<EpochMark> marks;
    GANTRY_TRY(storage::dump_store(*files, options, [&](const storage::DumpItem& item) {
        wire::StateRecord record;
        if (item.record != nullptr &&
            record.ParseFromArray(item.record->body.data(),
                                  static_cast<int>(item.record->body.size()))) {
            for (const wire::StateChange& change : record.changes()) {
                if (change.has_epochput()) {
                    marks.push_back({change.epochput().epoch(),
                                     item.at.value,
                                     std::to_string(change.epochput().member())});
                }
            }
        }
        return ok();
    }));
    return marks;
}

}  // namespace gantry::chaos
