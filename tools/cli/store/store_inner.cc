// SPDX-License-Identifier: Apache-2.0
#include "cli/store/store_inner.h"

#include "cli/table.h"
#include "storage/check/durable_end.h"
#include "storage/check/stored_queues.h"
#include "storage/checkpoint.h"
#include "storage/index/unit_tag.h"
#include "storage/log/block_sums.h"
#include "storage/state_snapshot.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <ostream>

namespace gantry::cli {
namespace {

using nlohmann::ordered_json;

void print_line(Session& session, const ordered_json& line, const std::string& text) {
    if (session.json()) {
        session.streams().out << line.dump(-1, ' ', false, ordered_json::error_handler_t::replace)
                              << '\n';
    } else {
        session.streams().out << text << '\n';
    }
}

Status dump_state(Session& session, FileSystem& files, const std::filesystem::path& store) {
    if (!files.exists(store / "state")) {
        return Error{Errc::kNotFound, store.string() + " has no snapshot of its state"};
    }
    GANTRY_ASSIGN_OR_RETURN(const storage::LoadedSnapshot loaded,
                            storage::load_snapshot(files, store / "state"));
    const wire::StateSnapshot& snapshot = loaded.snapshot;
    if (!loaded.found) {
        return Error{loaded.note.empty() ? Errc::kNotFound : Errc::kCorrupt,
                     "no snapshot is whole: " + loaded.note};
    }
    std::vector<wire::StateChange> puts;
    for (const wire::TopicConfig& topic : snapshot.topics()) {
        *puts.emplace_back().mutable_topicput() = topic;
    }
    for (const wire::SubscriptionGroupConfig& group : snapshot.groups()) {
        *puts.emplace_back().mutable_groupput() = group;
    }
    for (const wire::OffsetPut& put : snapshot.offsets()) {
        *puts.emplace_back().mutable_offsetput() = put;
    }
    for (const wire::PopPut& put : snapshot.pops()) {
        *puts.emplace_back().mutable_popput() = put;
    }
    print_line(session,
               {{"log_offset", snapshot.logoffset()}, {"entries", puts.size()}},
               "as of log offset " + std::to_string(snapshot.logoffset()));
    for (const wire::StateChange& put : puts) {
        print_line(session, {{"put", change_text(put)}}, change_text(put));
    }
    if (!loaded.note.empty()) {
        return Error{Errc::kCorrupt, "a newer snapshot is damaged: " + loaded.note};
    }
    return ok();
}

Status dump_units(Session& session, FileSystem& files, const storage::DumpOptions& options) {
    GANTRY_ASSIGN_OR_RETURN(const storage::StoredQueues queues,
                            storage::StoredQueues::open(files, options.directory / "consumequeue"));
    std::uint64_t left = options.limit;
    for (const storage::StoredQueues::Queue& queue : queues.all()) {
        const storage::QueueEntry& entry = queue.listed->entry;
        if ((!options.topic.empty() && *queue.topic != options.topic) ||
            (options.queue_id && entry.queue_id != *options.queue_id)) {
            continue;
        }
        const std::int64_t end = std::min(entry.max, options.queue_to);
        for (std::int64_t at = std::max(entry.min, options.queue_from); at < end && left > 0;
             ++at, --left) {
            const auto unit = queues.unit(queue, at);
            const std::string name = storage::message_name(*queue.topic, entry.queue_id, at);
            ordered_json line = {
                {"topic", *queue.topic}, {"queue", entry.queue_id}, {"queue_offset", at}};
            if (!unit) {
                line["what"] = "unreadable";
                print_line(session, line, name + ": unreadable");
                continue;
            }
            line["log_offset"] = unit->at.value;
            line["bytes"] = unit->size;
            line["tag_hash"] = storage::tag_hash_in(unit->tag);
            if (const WallMs expiry = storage::expiry_in(unit->tag); expiry != 0) {
                line["expires_ms"] = expiry;
            }
            line["hole"] = unit->is_hole();
            print_line(session,
                       line,
                       name + ": " +
                           (unit->is_hole() ? std::string("hole, the next record is at ")
                                            : std::to_string(unit->size) + " B at ") +
                           std::to_string(unit->at.value) + ", tag hash " +
                           std::to_string(storage::tag_hash_in(unit->tag)));
        }
    }
    return ok();
}

Status dump_sums(Session& session, FileSystem& files, const storage::DumpOptions& options) {
    const std::filesystem::path directory = options.directory / "checksum";
    if (!files.exists(directory)) {
        return Error{Errc::kNotFound, options.directory.string() + " has no checksums"};
    }
    const storage::BlockSums sums(files, directory);
    GANTRY_ASSIGN_OR_RETURN(const std::vector<LogOffset> bases, sums.segments());
    for (const LogOffset base : bases) {
        GANTRY_ASSIGN_OR_RETURN(const std::vector<storage::BlockSum> blocks, sums.load(base));
        for (const storage::BlockSum& block : blocks) {
            if (block.end() <= options.from || block.at >= options.to) {
                continue;
            }
            std::array<char, 20> digits{};
            std::snprintf(digits.data(),
                          digits.size(),
                          "%016llx",
                          static_cast<unsigned long long>(block.sum));
            print_line(
                session,
                {{"log_offset", block.at.value}, {"bytes", block.bytes}, {"xxh3", digits.data()}},
                "log " + std::to_string(block.at.value) + ", " + std::to_string(block.bytes) +
                    " B: " + digits.data());
        }
    }
    return ok();
}

Status dump_checkpoint(Session& session, FileSystem& files, const std::filesystem::path& store) {
    GANTRY_ASSIGN_OR_RETURN(const auto checkpoint,
                            storage::load_checkpoint(files, store / "checkpoint"));
    GANTRY_ASSIGN_OR_RETURN(const LogOffset durable, storage::durable_end(files, store));
    const bool is_clean = !files.exists(store / "abort");
    ordered_json line = {
        {"checkpoint", nullptr}, {"durable_end", durable.value}, {"stopped_cleanly", is_clean}};
    if (checkpoint) {
        line["checkpoint"] = checkpoint->at.value;
    }
    print_line(session,
               line,
               "checkpoint " + (checkpoint ? std::to_string(checkpoint->at.value) : "none") +
                   ", known durable up to " + std::to_string(durable.value) +
                   (is_clean ? ", stopped cleanly" : ", not stopped cleanly"));
    return ok();
}

}  // namespace

Status dump_inner(Session& session,
                  FileSystem& files,
                  const storage::DumpOptions& options,
                  const std::string& what) {
    if (options.is_live) {
        return Error{Errc::kRefused, "--live reads records only, not --what " + what};
    }
    if (!files.exists(options.directory / "commitlog")) {
        return Error{Errc::kNotFound,
                     options.directory.string() + " is no store: it has no commitlog"};
    }
    std::unique_ptr<File> lock;
    if (files.exists(options.directory / "lock")) {
        GANTRY_ASSIGN_OR_RETURN(lock, files.lock(options.directory / "lock"));
    }
    if (what == "state") {
        return dump_state(session, files, options.directory);
    }
    if (what == "units") {
        return dump_units(session, files, options);
    }
    if (what == "sums") {
        return dump_sums(session, files, options);
    }
    if (what == "checkpoint") {
        return dump_checkpoint(session, files, options.directory);
    }
    return Error{Errc::kRefused,
                 "--what \"" + what + "\" is none of records, state, units, sums, checkpoint"};
}

}  // namespace gantry::cli
