// SPDX-License-Identifier: Apache-2.0
#include "broker/handlers/describe_handler.h"

#include "broker/dispatcher.h"
#include "broker/reply/reply_handler.h"
#include "common/version.h"
#include "protocol/wire/header.h"
#include "protocol/wire/names.h"
#include "protocol/wire/topic.pb.h"
#include "storage/state_machine.h"

#include <algorithm>
#include <cstdio>
#include <string>
#include <sys/statvfs.h>

namespace gantry::broker {

namespace {

using wire::RequestCode;
using Table = google::protobuf::Map<std::string, std::string>;

struct Volume {
    std::uint64_t total_bytes = 0;
    std::uint64_t free_bytes = 0;
};

Volume volume_of(const std::string& directory) {
    struct statvfs found {};

    if (::statvfs(directory.c_str(), &found) != 0) {
        return {};
    }
    return {found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize};
}

std::string running_time(std::int64_t milliseconds) {
    const long long seconds = milliseconds / 1'000;
    char text[128];
    std::snprintf(text,
                  sizeof text,
                  "[ %lld days, %lld hours, %lld minutes, %lld seconds ]",
                  seconds / 86'400,
                  seconds / 3'600 % 24,
                  seconds / 60 % 60,
                  seconds % 60);
    return text;
}

void add_build(const Context& context, Table& table) {
    const WallMs now = context.clock.wall_ms();
    table["brokerVersionDesc"] = "V4_9_8";
    table["brokerVersion"] = std::to_string(kRocketmqVersion);
    table["bootTimestamp"] = std::to_string(context.start_ms);
    table["startAcceptSendRequestTimeStamp"] = "0";
    table["brokerActive"] = "true";
    table["runtime"] = running_time(now - context.start_ms);
}

void add_traffic(const Context& context, Table& table) {
    // mqadmin splits the rates at blanks and reads the first: they may not be empty.
    for (const char* const key : {"putTps",
                                  "getTotalTps",
                                  "getFoundTps",
                                  "getMissTps",
                                  "getTransferedTps",
                                  "getTransferredTps"}) {
        table[key] = "0.0 0.0 0.0 ";
    }
    const std::string in = std::to_string(context.counters.messages_in.value());
    const std::string out = std::to_string(context.counters.messages_out.value());
    for (const char* const key : {"msgPutTotalYesterdayMorning",
                                  "msgPutTotalTodayMorning",
                                  "msgGetTotalYesterdayMorning",
                                  "msgGetTotalTodayMorning"}) {
        table[key] = "0";
    }
    table["msgPutTotalTodayNow"] = in;
    table["msgGetTotalTodayNow"] = out;
    table["putMessageTimesTotal"] = in;
    table["putMessageSizeTotal"] = std::to_string(context.counters.bytes_in.value());
    table["putMessageFailedTimes"] = "0";
    table["putMessageEntireTimeMax"] = "0";
    table["getMessageEntireTimeMax"] = "0";
    const std::uint64_t count = std::max<std::uint64_t>(context.counters.messages_in.value(), 1);
    table["putMessageAverageSize"] = std::to_string(context.counters.bytes_in.value() / count);
    table["putMessageDistributeTime"] = "[<=0ms]:0 ";
}

void add_queues(Table& table) {
    for (const char* const pool : {"send", "pull", "query", "litePull", "ack"}) {
        const std::string name = std::string(pool) + "ThreadPoolQueue";
        table[name + "Size"] = "0";
        table[name + "Capacity"] = "10000";
        table[name + "HeadWaitTimeMills"] = "0";
    }
    table["EndTransactionQueueSize"] = "0";
    table["EndTransactionThreadPoolQueueCapacity"] = "0";
    table["dispatchMaxBuffer"] = "0";
    table["dispatchBehindBytes"] = "0";
    table["pageCacheLockTimeMills"] = "0";
    for (const char* const key : {"timerReadBehind",
                                  "timerOffsetBehind",
                                  "timerCongestNum",
                                  "timerEnqueueTps",
                                  "timerDequeueTps"}) {
        table[key] = "0";
    }
}

void add_store(const Context& context, Table& table) {
    const storage::Watermarks marks = context.store->watermarks();
    const Volume volume = volume_of(context.options.store_directory);
    const double used = volume.total_bytes == 0 ? 0.0
                                                : 1.0 - static_cast<double>(volume.free_bytes) /
                                                            static_cast<double>(volume.total_bytes);
    char ratio[32];
    std::snprintf(ratio, sizeof ratio, "%.4f", used);
    table["commitLogDiskRatio"] = ratio;
    table["consumeQueueDiskRatio"] = ratio;
    table["commitLogMinOffset"] = std::to_string(marks.first.value);
    table["commitLogMaxOffset"] = std::to_string(marks.appended.value);
    table["remainHowManyDataToFlush"] = std::to_string(marks.appended - marks.flushed) + " B";
    table["remainHowManyDataToCommit"] = "0 B";
    table["remainTransientStoreBufferNumbs"] = "0";
    const double gib = 1024.0 * 1024.0 * 1024.0;
    char capacity[96];
    std::snprintf(capacity,
                  sizeof capacity,
                  "Total : %.1f GiB, Free : %.1f GiB.",
                  static_cast<double>(volume.total_bytes) / gib,
                  static_cast<double>(volume.free_bytes) / gib);
    table["commitLogDirCapacity"] = capacity;
    std::string first_time = "-1";
    const Result<std::string> oldest = context.store->record_at(marks.first);
    if (oldest) {
        if (const auto record = wire::parse_record(as_bytes(*oldest))) {
            first_time = std::to_string(record->store_ms);
        }
    }
    table["earliestMessageTimeStamp"] = first_time;
}

void add_retention(const Context& context, wire::BrokerDescription& about) {
    const storage::RetentionStatus status = context.store->retention_status();
    about.set_roomtakenpercent(status.percent_taken);
    about.set_roomalarm(status.alarm);
    about.set_retentionhours(context.options.retention_hours);
    about.set_retentionbytes(context.options.retention_bytes);
    for (const auto& [group, messages] : status.unconsumed) {
        (*about.mutable_deletedunconsumed())[group] = messages;
    }
}

}  // namespace

void DescribeHandler::add_to(Dispatcher& dispatcher) {
    dispatcher.add(RequestCode::kGetBrokerRuntimeInfo, *this, &DescribeHandler::runtime_info);
    dispatcher.add(RequestCode::kDescribeBroker, *this, &DescribeHandler::describe);
}

void DescribeHandler::runtime_info(Call& call) {
    answer_from_pool(call, [&context = context_, codec = call.to.codec] {
        wire::KvTable info;
        Table& table = *info.mutable_table();
        add_build(context, table);
        add_traffic(context, table);
        add_queues(table);
        add_store(context, table);
        Answer answer;
        wire::append_body(answer.body, codec, info);
        return answer;
    });
}

void DescribeHandler::describe(Call& call) {
    answer_from_pool(call, [&context = context_, codec = call.to.codec] {
        wire::BrokerDescription about;
        about.set_clustername(context.options.cluster);
        about.set_brokername(context.options.name);
        about.set_brokerid(broker_id(*context.replica, context.options.id));
        about.set_address(context.address);
        about.set_version(std::string(kVersion));
        about.set_startms(context.start_ms);
        about.set_flushmode(context.options.store_flush);
        about.set_storedirectory(context.options.store_directory);
        const std::string reason = context.store->read_only_reason();
        about.set_state(reason.empty() ? "writable" : "read_only");
        about.set_statereason(reason);
        const storage::Watermarks marks = context.store->watermarks();
        about.set_minlogoffset(marks.first.value);
        about.set_appendedlogoffset(marks.appended.value);
        about.set_flushedlogoffset(marks.flushed.value);
        about.set_confirmedlogoffset(marks.confirmed.value);
        const std::string replies = reply_topic(context.options);
        std::uint64_t topics = 0;
        std::uint64_t queues = 0;
        for (const storage::Topic* const topic : context.store->topics()) {
            if (!wire::is_system_topic(topic->name()) && topic->name() != replies) {
                ++topics;
                queues += static_cast<std::uint64_t>(
                    std::max(topic->read_queues(), topic->write_queues()));
            }
        }
        about.set_topics(topics);
        about.set_queues(queues);
        about.set_groups(context.store->state().groups().size());
        about.set_connections(static_cast<std::uint64_t>(context.counters.connections.load()));
        for (const auto& [name, value] : context.metrics.values()) {
            (*about.mutable_counters())[name] = value;
        }
        add_retention(context, about);
        about.set_freebytes(volume_of(context.options.store_directory).free_bytes);
        Answer answer;
        wire::append_body(answer.body, codec, about);
        return answer;
    });
}

}  // namespace gantry::broker
