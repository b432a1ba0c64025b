// SPDX-License-Identifier: Apache-2.0
#include "client/admin/redriver.h"

#include "protocol/wire/message_id.h"
#include "protocol/wire/names.h"
#include "protocol/wire/properties.h"

#include <algorithm>
#include <utility>

namespace gantry::client {
namespace {

constexpr std::uint32_t kPageMessages = 32;

std::string queue_text(const QueueId& queue) {
    return queue.topic + " queue " + std::to_string(queue.queue) + " on broker " + queue.broker;
}

/// "a, b": the brokers that have some.
std::string brokers_of(const std::vector<DeadLetterSource>& sources) {
    std::string text;
    for (const DeadLetterSource& source : sources) {
        text += (text.empty() ? "" : ", ") + source.letters.queue.broker;
    }
    return text;
}

}  // namespace

Status Redriver::run(std::vector<DeadLetterSource> sources) {
    if (!what_.broker.empty()) {
        const std::string all = brokers_of(sources);
        std::erase_if(sources, [this](const DeadLetterSource& source) {
            return source.letters.queue.broker != what_.broker;
        });
        if (sources.empty()) {
            return Error{Errc::kNotFound,
                         "broker " + what_.broker + " has no dead letters of group " + what_.group +
                             ", these have: " + all};
        }
    }
    if (what_.offset && sources.size() > 1) {
        return Error{Errc::kRefused,
                     "offset " + std::to_string(*what_.offset) + " without a broker: group " +
                         what_.group + " has dead letters on " + brokers_of(sources)};
    }
    for (const DeadLetterSource& source : sources) {
        GANTRY_TRY(run_queue(source));
    }
    if (!what_.message_id.empty() && report_.redriven == 0) {
        return Error{Errc::kNotFound,
                     "none of the " + std::to_string(looked_at_) + " dead letters of group " +
                         what_.group + " has the id " + what_.message_id};
    }
    return ok();
}

Status Redriver::run_queue(const DeadLetterSource& source) {
    GANTRY_TRY(choose_range(source));
    if (at_ >= end_) {
        return ok();
    }
    GANTRY_TRY(find_target(source));
    const std::uint64_t before = report_.redriven;
    while (at_ < end_) {
        const auto count = static_cast<std::uint32_t>(
            std::min<std::int64_t>(end_ - at_, std::int64_t{kPageMessages}));
        GANTRY_ASSIGN_OR_RETURN(
            const DeadLetterPage page,
            read_page(calls_, source.address, source.letters.queue, at_, count));
        if (page.next <= at_) {
            break;  // the queue ends before it was said to: it was deleted meanwhile
        }
        report_.lost += page.lost;
        GANTRY_TRY(run_page(source, page));
        at_ = page.next;
        if (wants_all()) {
            GANTRY_TRY(commit(source, std::min(at_, end_)));
        }
    }
    if (what_.offset && report_.redriven == before) {
        return Error{Errc::kNotFound,
                     "the dead letter at offset " + std::to_string(*what_.offset) + " of " +
                         queue_text(source.letters.queue) + " is lost to damage"};
    }
    return ok();
}

Status Redriver::choose_range(const DeadLetterSource& source) {
    const DeadLetterQueue& letters = source.letters;
    committed_ = letters.first;
    at_ = letters.first;
    end_ = letters.end;
    if (!what_.offset) {
        return ok();
    }
    if (*what_.offset < letters.min_offset || *what_.offset >= letters.end) {
        return Error{Errc::kNotFound,
                     "offset " + std::to_string(*what_.offset) + " is outside " +
                         std::to_string(letters.min_offset) + ".." +
                         std::to_string(letters.end - 1) + " of " + queue_text(letters.queue)};
    }
    at_ = *what_.offset;
    end_ = at_ + 1;
    return ok();
}

Status Redriver::find_target(const DeadLetterSource& source) {
    if (what_.to_topic.empty()) {
        // The broker makes it when it is missing.
        target_topic_ = wire::retry_topic(what_.group);
        target_address_ = source.address;
        return ok();
    }
    GANTRY_ASSIGN_OR_RETURN(const TopicRoute route, calls_.route(what_.to_topic));
    const auto& queues = route.write_queues;
    const auto near = std::find_if(queues.begin(), queues.end(), [&](const QueueId& queue) {
        return queue.broker == source.letters.queue.broker;
    });
    const auto chosen = near != queues.end() ? near : queues.begin();
    const BrokerRoute* const broker =
        chosen == queues.end() ? nullptr : route.find_broker(chosen->broker);
    if (broker == nullptr || route.is_template) {
        return Error{Errc::kNotFound,
                     "topic " + what_.to_topic + " has no queue that can be written to"};
    }
    target_topic_ = what_.to_topic;
    target_address_ = broker->master();
    return ok();
}

Status Redriver::run_page(const DeadLetterSource& source, const DeadLetterPage& page) {
    if (!page.records) {
        return ok();
    }
    std::vector<DeadLetterCopy> copies;
    std::vector<std::int64_t> offsets;
    GANTRY_TRY(wire::for_each_record(
        as_bytes(*page.records), [&](const std::byte*, const wire::Record& record) -> Status {
            ++looked_at_;
            if (!is_wanted(record)) {
                return ok();
            }
            if (!wire::body_crc_matches(record)) {
                return Error{Errc::kCorrupt,
                             "the body at offset " + std::to_string(record.queue_offset.value) +
                                 " of " + queue_text(source.letters.queue) + " fails its CRC"};
            }
            copies.push_back(copy_of(record, target_topic_, what_.to_topic.empty()));
            offsets.push_back(record.queue_offset.value);
            return ok();
        }));
    if (what_.is_dry_run) {
        report_.redriven += copies.size();
        return ok();
    }
    return send(source, copies, offsets);
}

Status Redriver::send(const DeadLetterSource& source,
                      const std::vector<DeadLetterCopy>& copies,
                      const std::vector<std::int64_t>& offsets) {
    const std::vector<Status> sent = send_copies(calls_, target_address_, copies);
    for (std::size_t i = 0; i < sent.size(); ++i) {
        if (!sent[i]) {
            if (wants_all()) {
                // What is acknowledged so far need not be sent again.
                (void)commit(source, offsets[i]);
            }
            return Error{sent[i].error().code,
                         "the dead letter at offset " + std::to_string(offsets[i]) + " of " +
                             queue_text(source.letters.queue) + " was not redriven to " +
                             target_topic_ + ": " + sent[i].error().detail};
        }
        ++report_.redriven;
        if (!wants_all() && offsets[i] == committed_) {
            GANTRY_TRY(commit(source, offsets[i] + 1));
        }
    }
    return ok();
}

Status Redriver::commit(const DeadLetterSource& source, std::int64_t offset) {
    if (what_.is_dry_run || offset <= committed_) {
        return ok();
    }
    GANTRY_TRY(commit_dead_letters(calls_, source.address, source.letters.queue, offset));
    committed_ = offset;
    return ok();
}

bool Redriver::is_wanted(const wire::Record& record) const {
    if (what_.message_id.empty()) {
        return true;
    }
    const std::string& id = what_.message_id;
    return wire::find_property(record.properties, wire::property::kUniqueKey) == id ||
           wire::find_property(record.properties, wire::property::kOriginMessageId) == id ||
           wire::format_message_id({record.store_host, record.log_offset}) == id;
}

}  // namespace gantry::client
