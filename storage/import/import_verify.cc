// SPDX-License-Identifier: Apache-2.0
#include "storage/import/import_verify.h"

#include "protocol/wire/record.h"
#include "storage/log/run_bytes.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace gantry::storage {
namespace {

using google::protobuf::util::MessageDifferencer;

constexpr std::uint64_t kProgressMessages = 1 << 16;

class Verifier {
public:
    Verifier(Store& store,
             const ImportSource& source,
             const ImportPlan& plan,
             const ImportProgress& on_progress)
        : store_(store), source_(source), plan_(plan), on_progress_(on_progress) {}

    Result<ImportVerification> run();

private:
    Status verify_queue(const std::string& topic,
                        std::int32_t queue_id,
                        const ScannedQueue& wanted);
    Status compare_run(const LogRun& run, const Queue& queue, std::int64_t& next);
    Status compare_record(const wire::Record& record, const std::byte* bytes);
    void compare_change(const wire::StateChange& change);
    void differ(std::string what);

    Store& store_;
    const ImportSource& source_;
    const ImportPlan& plan_;
    const ImportProgress& on_progress_;
    ImportVerification result_;
    std::uint64_t total_ = 0;
    std::uint64_t in_queue_ = 0;
    std::vector<std::byte> run_bytes_;
    std::vector<std::byte> source_bytes_;
};

std::string name_of(const wire::Record& record) {
    return "topic " + std::string(record.topic) + " queue " + std::to_string(record.queue_id) +
           " offset " + std::to_string(record.queue_offset.value);
}

void Verifier::differ(std::string what) {
    ++result_.differences_total;
    if (result_.differences.size() < ImportVerification::kDifferencesMax) {
        result_.differences.push_back(std::move(what));
    }
}

Status Verifier::compare_record(const wire::Record& record, const std::byte* bytes) {
    source_bytes_.resize(record.stored_bytes);
    const Result<std::size_t> got =
        read_log(*source_.segments, record.log_offset, MutableBytes(source_bytes_));
    if (!got && got.error().code != Errc::kNotFound) {
        return got.error();
    }
    const bool is_same =
        got && *got == record.stored_bytes &&
        std::equal(source_bytes_.begin(), source_bytes_.end(), bytes, bytes + record.stored_bytes);
    if (!is_same) {
        differ(name_of(record) + ": its bytes are not those of the source at log offset " +
               std::to_string(record.log_offset.value));
    }
    return ok();
}

Status Verifier::compare_run(const LogRun& run, const Queue& queue, std::int64_t& next) {
    Bytes bytes = run.memory;
    if (bytes.empty()) {
        run_bytes_.resize(run.length);
        GANTRY_TRY(read_run(run, MutableBytes(run_bytes_)));
        bytes = run_bytes_;
    }
    return wire::for_each_record(
        bytes, [&](const std::byte* at, const wire::Record& record) -> Status {
            if (record.topic != queue.topic || record.queue_id != queue.queue_id ||
                record.queue_offset.value < next) {
                differ(name_of(record) + " stands where topic " + std::string(queue.topic) +
                       " queue " + std::to_string(queue.queue_id) + " offset " +
                       std::to_string(next) + " or later belongs");
            }
            next = record.queue_offset.value + 1;
            ++in_queue_;
            ++result_.messages;
            result_.bytes += record.stored_bytes;
            if (on_progress_ && result_.messages % kProgressMessages == 0) {
                on_progress_("verifying", result_.messages, total_);
            }
            return compare_record(record, at);
        });
}

Status Verifier::verify_queue(const std::string& topic,
                              std::int32_t queue_id,
                              const ScannedQueue& wanted) {
    Topic* const found = store_.find_topic(topic);
    const Queue* const queue = found == nullptr ? nullptr : found->queue(queue_id);
    const std::string name = "topic " + topic + " queue " + std::to_string(queue_id);
    if (queue == nullptr) {
        differ(name + " is missing");
        return ok();
    }
    in_queue_ = 0;
    std::uint64_t unreadable = 0;
    QueueOffset at = queue->min();
    while (at < queue->max()) {
        const ReadResult read =
            store_.read(*queue, {.from = at, .bytes_max = 1U << 20U, .count_max = 4'096});
        if (read.status == ReadStatus::kCorrupt && read.next > at) {
            unreadable += static_cast<std::uint64_t>(read.next - at);
        }
        std::int64_t next = at.value;
        for (const LogRun& run : read.runs) {
            GANTRY_TRY(compare_run(run, *queue, next));
        }
        if (read.next <= at) {
            break;
        }
        at = read.next;
    }
    result_.by_topic[topic] += in_queue_;
    if (unreadable != wanted.gap) {
        differ(name + ": " + std::to_string(unreadable) +
               " offsets cannot be read, the source has no record of " +
               std::to_string(wanted.gap));
    }
    if (in_queue_ != wanted.messages || queue->max().value != wanted.next) {
        differ(name + " has " + std::to_string(in_queue_) + " messages up to offset " +
               std::to_string(queue->max().value) + ", the source has " +
               std::to_string(wanted.messages) + " up to " + std::to_string(wanted.next));
    }
    return ok();
}

void Verifier::compare_change(const wire::StateChange& change) {
    const StateMachine& state = store_.state();
    if (change.has_topicput()) {
        const auto topic = state.topic(change.topicput().topicname());
        if (!topic || !MessageDifferencer::Equals(*topic, change.topicput())) {
            differ("topic " + change.topicput().topicname() + " is not defined as in the source");
        }
    } else if (change.has_groupput()) {
        const auto group = state.group(change.groupput().groupname());
        if (!group || !MessageDifferencer::Equals(*group, change.groupput())) {
            differ("group " + change.groupput().groupname() + " is not defined as in the source");
        }
    } else {
        const wire::OffsetPut& put = change.offsetput();
        if (state.offset(put.group(), put.topic(), put.queueid()) != put.offset()) {
            differ("the offset of group " + put.group() + " for topic " + put.topic() + " queue " +
                   std::to_string(put.queueid()) + " is not " + std::to_string(put.offset()));
        }
    }
}

Result<ImportVerification> Verifier::run() {
    for (const ImportedTopic& topic : plan_.topics) {
        total_ += topic.messages;
    }
    for (const ImportedTopic& topic : plan_.topics) {
        const auto scanned = source_.log.topics.find(topic.name);
        if (scanned == source_.log.topics.end()) {
            continue;
        }
        for (const auto& [queue_id, queue] : scanned->second) {
            if (queue.messages > 0 && queue_id < topic.queues) {
                GANTRY_TRY(verify_queue(topic.name, queue_id, queue));
            }
        }
    }
    for (const wire::StateChange& change : plan_.changes) {
        compare_change(change);
    }
    return std::move(result_);
}

}  // namespace

Result<ImportVerification> verify_import(Store& store,
                                         const ImportSource& source,
                                         const ImportPlan& plan,
                                         const ImportProgress& on_progress) {
    return Verifier(store, source, plan, on_progress).run();
}

}  // namespace gantry::storage
