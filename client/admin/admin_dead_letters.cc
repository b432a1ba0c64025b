// SPDX-License-Identifier: Apache-2.0
// The part of AdminClient that deals with dead letters.
#include "client/admin/admin_state.h"
#include "client/admin/dead_letter_pages.h"
#include "client/admin/redriver.h"
#include "client/admin_client.h"
#include "client/consume/record_reader.h"
#include "protocol/wire/message.pb.h"
#include "protocol/wire/names.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace gantry::client {
namespace {

Result<std::vector<DeadLetterSource>> find_of(AdminCalls& calls, std::string_view group) {
    GANTRY_TRY(wire::check_group_name(group));
    GANTRY_ASSIGN_OR_RETURN(std::vector<DeadLetterSource> found, find_dead_letters(calls, group));
    if (found.empty()) {
        return Error{Errc::kNotFound, "group " + std::string(group) + " never had a dead letter"};
    }
    return found;
}

std::vector<DeadLetterQueue> queues_of(std::vector<DeadLetterSource> sources) {
    std::vector<DeadLetterQueue> queues;
    for (DeadLetterSource& source : sources) {
        queues.push_back(std::move(source.letters));
    }
    return queues;
}

Result<std::string> address_of(AdminCalls& calls, const std::string& broker) {
    GANTRY_ASSIGN_OR_RETURN(const std::vector<BrokerAddress> brokers, calls.brokers());
    for (const BrokerAddress& one : brokers) {
        if (one.broker == broker && one.broker_id == 0) {
            return one.address;
        }
    }
    return Error{Errc::kNotFound, "no master of broker " + broker + " is registered"};
}

/// Views into a page, as of an answer.
Status add_messages(const DeadLetterPage& page,
                    const std::string& broker,
                    std::vector<MessageView>& into) {
    if (!page.records) {
        return ok();
    }
    RecordReader reader(as_bytes(*page.records),
                        std::make_shared<const ReceivedBody>(ReceivedBody{page.records, broker}));
    reader.read(into, page.records->size(), TagFilter{});
    return reader.status();
}

/// The first offset whose message was not stored before `before`.
Result<std::int64_t> offset_at(AdminCalls& calls, const DeadLetterSource& source, WallMs before) {
    if (before == std::numeric_limits<WallMs>::max()) {
        return source.letters.end;
    }
    wire::SearchOffsetRequest fields;
    fields.set_topic(source.letters.queue.topic);
    fields.set_queueid(source.letters.queue.queue);
    fields.set_timestamp(before);
    const std::string& address = source.address;
    GANTRY_ASSIGN_OR_RETURN(
        const wire::OffsetResponse found,
        calls.ask<wire::OffsetResponse>(address,
                                        wire::RequestCode::kSearchOffsetByTimestamp,
                                        &fields,
                                        [&address](Result<net::Received>& result) {
                                            return fields_of<wire::OffsetResponse>(result, address);
                                        }));
    return std::clamp(found.offset(), source.letters.first, source.letters.end);
}

}  // namespace

Result<std::vector<DeadLetterQueue>> AdminClient::list_dead_letters() {
    GANTRY_ASSIGN_OR_RETURN(std::vector<DeadLetterSource> found,
                            find_dead_letters(state_->calls, {}));
    return queues_of(std::move(found));
}

Result<std::vector<DeadLetterQueue>> AdminClient::dead_letters_of(std::string_view group) {
    GANTRY_ASSIGN_OR_RETURN(std::vector<DeadLetterSource> found, find_of(state_->calls, group));
    return queues_of(std::move(found));
}

Result<std::vector<MessageView>> AdminClient::read_dead_letters(const QueueId& queue,
                                                                std::int64_t from,
                                                                std::uint32_t count_max) {
    GANTRY_ASSIGN_OR_RETURN(const std::string address, address_of(state_->calls, queue.broker));
    std::vector<MessageView> messages;
    std::int64_t at = from;
    while (messages.size() < count_max) {
        const auto left = static_cast<std::uint32_t>(count_max - messages.size());
        GANTRY_ASSIGN_OR_RETURN(const DeadLetterPage page,
                                read_page(state_->calls, address, queue, at, left));
        GANTRY_TRY(add_messages(page, queue.broker, messages));
        if (page.next <= at) {
            break;
        }
        at = page.next;
    }
    return messages;
}

Status AdminClient::redrive_dead_letters(const Redrive& what, RedriveReport& report) {
    report = RedriveReport{};
    GANTRY_ASSIGN_OR_RETURN(std::vector<DeadLetterSource> sources,
                            find_of(state_->calls, what.group));
    if (!what.to_topic.empty()) {
        GANTRY_TRY(wire::check_topic_name(what.to_topic));
        if (wire::is_system_topic(what.to_topic) ||
            what.to_topic == wire::dead_letter_topic(what.group)) {
            return Error{
                Errc::kRefused,
                "topic " + what.to_topic + " takes no dead letters of group " + what.group};
        }
    } else if (const auto settings = group_settings(what.group);
               settings && settings->retry_max < 0) {
        return Error{Errc::kRefused,
                     "retry_max " + std::to_string(settings->retry_max) + " of group " +
                         what.group +
                         " is below 0: what goes to its retry topic is a dead letter at once"};
    }
    return Redriver(state_->calls, what, report).run(std::move(sources));
}

Result<std::uint64_t> AdminClient::purge_dead_letters(std::string_view group, WallMs before) {
    GANTRY_ASSIGN_OR_RETURN(const std::vector<DeadLetterSource> sources,
                            find_of(state_->calls, group));
    std::uint64_t purged = 0;
    for (const DeadLetterSource& source : sources) {
        GANTRY_ASSIGN_OR_RETURN(const std::int64_t to, offset_at(state_->calls, source, before));
        if (to > source.letters.first) {
            GANTRY_TRY(
                commit_dead_letters(state_->calls, source.address, source.letters.queue, to));
            purged += static_cast<std::uint64_t>(to - source.letters.first);
        }
    }
    return purged;
}

}  // namespace gantry::client
