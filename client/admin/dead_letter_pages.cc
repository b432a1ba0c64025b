// SPDX-License-Identifier: Apache-2.0
#include "client/admin/dead_letter_pages.h"

#include "protocol/wire/message.pb.h"
#include "protocol/wire/names.h"
#include "protocol/wire/record.h"
#include "protocol/wire/topic.pb.h"

#include <algorithm>
#include <utility>

namespace gantry::client {
namespace {

constexpr std::int32_t kHasSubscription = 4;
constexpr std::int32_t kBytesMax = 1 << 20;

wire::PullMessageRequest pull_of(const QueueId& queue, std::int64_t from, std::uint32_t count) {
    wire::PullMessageRequest fields;
    fields.set_consumergroup("");  // reads without being a consumer of anything
    fields.set_topic(queue.topic);
    fields.set_queueid(queue.queue);
    fields.set_queueoffset(from);
    fields.set_maxmsgnums(static_cast<std::int32_t>(count));
    fields.set_maxmsgbytes(kBytesMax);
    fields.set_sysflag(kHasSubscription);
    fields.set_commitoffset(0);
    fields.set_suspendtimeoutmillis(0);
    fields.set_subscription("*");
    fields.set_subversion(0);
    fields.set_expressiontype("TAG");
    return fields;
}

Result<DeadLetterPage> page_of(Result<net::Received>& result,
                               const std::string& address,
                               std::int64_t from) {
    if (!result) {
        return result.error();
    }
    DeadLetterPage page;
    page.next = from;
    const wire::ResponseCode code = result->header.response();
    if (code == wire::ResponseCode::kPullNotFound) {
        return page;
    }
    const bool is_answer =
        code == wire::ResponseCode::kSuccess || code == wire::ResponseCode::kPullRetryImmediately ||
        code == wire::ResponseCode::kPullOffsetMoved || code == wire::ResponseCode::kDataLost;
    if (!is_answer) {
        GANTRY_TRY(check_response(*result, address));
    }
    wire::PullMessageResponse fields;
    GANTRY_TRY(wire::decode_fields(result->header, fields));
    page.next = fields.nextbeginoffset();
    if (code == wire::ResponseCode::kSuccess) {
        page.records = std::make_shared<const std::string>(as_text(result->body));
    } else if (code == wire::ResponseCode::kDataLost) {
        page.next = fields.lostto();
        page.lost = static_cast<std::uint64_t>(fields.lostto() - fields.lostfrom());
    }
    return page;
}

/// Names of the dead-letter topics a broker has.
Result<std::vector<std::string>> topics_on(AdminCalls& calls, const std::string& address) {
    GANTRY_ASSIGN_OR_RETURN(
        const wire::TopicConfigTable table,
        calls.ask_body<wire::TopicConfigTable>(address, wire::RequestCode::kGetAllTopicConfig));
    std::vector<std::string> topics;
    for (const auto& [name, config] : table.topicconfigtable()) {
        if (name.starts_with(wire::kDeadLetterPrefix)) {
            topics.push_back(name);
        }
    }
    return topics;
}

/// Nothing: never committed.
Result<std::optional<std::int64_t>> committed(AdminCalls& calls,
                                              const std::string& address,
                                              const QueueId& queue) {
    wire::QueryConsumerOffsetRequest fields;
    fields.set_consumergroup(std::string(kDeadLetterGroup));
    fields.set_topic(queue.topic);
    fields.set_queueid(queue.queue);
    fields.set_setzeroifnotfound(false);
    const auto answer =
        calls.ask<wire::OffsetResponse>(address,
                                        wire::RequestCode::kQueryConsumerOffset,
                                        &fields,
                                        [address](Result<net::Received>& r) {
                                            return fields_of<wire::OffsetResponse>(r, address);
                                        });
    if (answer) {
        return std::optional<std::int64_t>(answer->offset());
    }
    return answer.error().code == Errc::kNotFound
               ? Result<std::optional<std::int64_t>>(std::nullopt)
               : Result<std::optional<std::int64_t>>(answer.error());
}

/// Store time of the first that can be read; 0: none.
Result<WallMs> oldest_ms(AdminCalls& calls, const DeadLetterSource& source) {
    std::int64_t at = source.letters.first;
    while (at < source.letters.end) {
        GANTRY_ASSIGN_OR_RETURN(const DeadLetterPage page,
                                read_page(calls, source.address, source.letters.queue, at, 1));
        if (page.records) {
            GANTRY_ASSIGN_OR_RETURN(const wire::Record record,
                                    wire::parse_record(as_bytes(*page.records)));
            return record.store_ms;
        }
        if (page.next <= at) {
            break;
        }
        at = page.next;
    }
    return WallMs{0};
}

Status add_topic(AdminCalls& calls,
                 const BrokerAddress& broker,
                 const std::string& topic,
                 std::vector<DeadLetterSource>& into) {
    wire::TopicRequest fields;
    fields.set_topic(topic);
    GANTRY_ASSIGN_OR_RETURN(const wire::TopicStatsTable table,
                            calls.ask_body<wire::TopicStatsTable>(
                                broker.address, wire::RequestCode::kGetTopicStatsInfo, &fields));
    for (const wire::TopicStatsTable::Entry& entry : table.offsettable()) {
        DeadLetterSource source;
        source.address = broker.address;
        DeadLetterQueue& letters = source.letters;
        letters.group = topic.substr(wire::kDeadLetterPrefix.size());
        letters.queue = QueueId{topic, broker.broker, entry.key().queueid()};
        letters.min_offset = entry.value().minoffset();
        letters.end = entry.value().maxoffset();
        GANTRY_ASSIGN_OR_RETURN(const auto done, committed(calls, broker.address, letters.queue));
        letters.first = std::clamp(
            done.value_or(0), letters.min_offset, std::max(letters.min_offset, letters.end));
        if (letters.count() > 0) {
            GANTRY_ASSIGN_OR_RETURN(letters.oldest_ms, oldest_ms(calls, source));
            letters.newest_ms = entry.value().lastupdatetimestamp();
        }
        into.push_back(std::move(source));
    }
    return ok();
}

}  // namespace

Result<std::vector<DeadLetterSource>> find_dead_letters(AdminCalls& calls, std::string_view group) {
    GANTRY_ASSIGN_OR_RETURN(const std::vector<BrokerAddress> brokers, calls.brokers());
    const std::string wanted = group.empty() ? std::string() : wire::dead_letter_topic(group);
    std::vector<DeadLetterSource> found;
    for (const BrokerAddress& broker : brokers) {
        if (broker.broker_id != 0) {
            continue;
        }
        GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> topics,
                                topics_on(calls, broker.address));
        for (const std::string& topic : topics) {
            if (wanted.empty() || topic == wanted) {
                GANTRY_TRY(add_topic(calls, broker, topic, found));
            }
        }
    }
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
        return a.letters.queue < b.letters.queue;
    });
    return found;
}

Result<DeadLetterPage> read_page(AdminCalls& calls,
                                 const std::string& address,
                                 const QueueId& queue,
                                 std::int64_t from,
                                 std::uint32_t count) {
    const wire::PullMessageRequest fields = pull_of(queue, from, count);
    return calls.ask<DeadLetterPage>(
        address,
        wire::RequestCode::kPullMessage,
        &fields,
        [address, from](Result<net::Received>& result) { return page_of(result, address, from); });
}

Status commit_dead_letters(AdminCalls& calls,
                           const std::string& address,
                           const QueueId& queue,
                           std::int64_t offset) {
    wire::UpdateConsumerOffsetRequest fields;
    fields.set_consumergroup(std::string(kDeadLetterGroup));
    fields.set_topic(queue.topic);
    fields.set_queueid(queue.queue);
    fields.set_commitoffset(offset);
    return calls.ask_status(address, wire::RequestCode::kUpdateConsumerOffset, &fields);
}

}  // namespace gantry::client
