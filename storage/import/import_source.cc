// SPDX-License-Identifier: Apache-2.0
#include "storage/import/import_source.h"

#include "storage/import/rocketmq_names.h"
#include "storage/topic_table.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

Status check_kind(FileSystem& files, const fs::path& directory) {
    if (files.exists(directory / "checksum") || files.exists(directory / "state")) {
        return Error{Errc::kRefused,
                     directory.string() + " is a store of Gantry's own: it needs no import"};
    }
    std::error_code failed;
    for (const fs::directory_entry& entry : fs::directory_iterator(directory, failed)) {
        if (entry.path().filename().string().starts_with("dledger-")) {
            return Error{Errc::kRefused,
                         entry.path().string() +
                             ": a DLedger log, whose records have a head and positions of their "
                             "own, cannot be imported"};
        }
    }
    if (!files.exists(directory / "commitlog")) {
        return Error{Errc::kNotFound,
                     directory.string() + " is no RocketMQ store: it has no commitlog"};
    }
    return ok();
}

/// RocketMQ holds a POSIX lock on the file while it runs.
Status check_lock(FileSystem& files, const fs::path& directory) {
    const fs::path path = directory / "lock";
    if (!files.exists(path)) {
        return ok();
    }
    GANTRY_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                            files.open(path, FileSystem::Open::kRead));

    struct flock lock {};

    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    if (::fcntl(file->descriptor(), F_GETLK, &lock) != 0) {
        return io_error("lock of " + path.string(), errno);
    }
    if (lock.l_type != F_UNLCK) {
        return Error{Errc::kConflict,
                     "process " + std::to_string(lock.l_pid) + " holds the lock " + path.string() +
                         ": stop the RocketMQ broker first"};
    }
    return ok();
}

std::map<std::int32_t, std::int64_t> checked_halves(const RocketMqConfig& config) {
    std::map<std::int32_t, std::int64_t> from;
    for (const wire::OffsetPut& put : config.offsets) {
        if (put.topic() == rocketmq::kHalfTopic && put.group() == rocketmq::kHalfGroup) {
            from[put.queueid()] = put.offset();
        }
    }
    return from;
}

}  // namespace

Result<ImportSource> read_source(FileSystem& files,
                                 const fs::path& directory,
                                 const ImportProgress& on_progress) {
    GANTRY_TRY(check_kind(files, directory));
    GANTRY_TRY(check_lock(files, directory));
    ImportSource source;
    source.directory = directory;
    source.was_stopped_cleanly = !files.exists(directory / "abort");
    GANTRY_ASSIGN_OR_RETURN(source.list, list_segments(files, directory / "commitlog"));
    // A file that was made and never reserved has no bytes.
    std::erase_if(source.list, [](const SegmentPtr& segment) { return segment->bytes() == 0; });
    if (source.list.empty()) {
        return Error{Errc::kNotFound,
                     (directory / "commitlog").string() + " has no segment: nothing to import"};
    }
    source.segments = std::make_shared<SegmentSet>();
    source.segments->assign(source.list);
    GANTRY_ASSIGN_OR_RETURN(source.config, load_rocketmq_config(files, directory / "config"));
    GANTRY_ASSIGN_OR_RETURN(
        source.queues,
        RocketMqQueues::load(files, directory / "consumequeue", source.list.front()->base()));
    ImportScan scan(*source.segments,
                    {.queues = &source.queues,
                     .missing_is_deleted = source.was_stopped_cleanly && source.queues.is_known(),
                     .half_from = checked_halves(source.config),
                     .on_progress = [&on_progress](std::uint64_t done, std::uint64_t total) {
                         if (on_progress) {
                             on_progress("reading", done, total);
                         }
                     }});
    GANTRY_ASSIGN_OR_RETURN(source.log, scan.run());
    if (source.log.topics.find(kStateTopic) != source.log.topics.end()) {
        return Error{Errc::kRefused,
                     directory.string() + " has records of topic " + std::string(kStateTopic) +
                         ": it is a store of Gantry's own"};
    }
    return source;
}

}  // namespace gantry::storage
