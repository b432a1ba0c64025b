// SPDX-License-Identifier: Apache-2.0
#include "cli/message_json.h"
#include "cli/options.h"
#include "cli/produce.h"
#include "client/consumer.h"
#include "client/pop_consumer.h"
#include "common/checksum.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <ostream>

namespace gantry::cli {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Set by the signal handler only; the one global a handler can reach.
volatile std::sig_atomic_t interrupted = 0;

void on_signal(int) {
    interrupted = 1;
}

struct Plan {
    std::string topic;
    std::string group;
    client::MessageSelector selector;
    client::StartFrom start_from;
    std::uint64_t count_max = 0;
    bool until_end = false;
    std::chrono::milliseconds idle{1'000};
    bool pop = false;
    std::chrono::milliseconds invisible{60'000};
};

struct Totals {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    std::uint64_t checksum = 0;  ///< sum of the bodies' XXH3
    std::uint64_t lost = 0;      ///< messages
    SteadyClock::time_point first{};
    SteadyClock::time_point last{};
};

Result<client::StartFrom> start_from(const std::string& text) {
    client::StartFrom from;
    if (text == "earliest") {
        from.kind = client::StartFrom::Kind::kFirst;
    } else if (text == "latest") {
        from.kind = client::StartFrom::Kind::kLast;
    } else {
        from.kind = client::StartFrom::Kind::kTimestamp;
        GANTRY_ASSIGN_OR_RETURN(from.timestamp, parse_time(text));
    }
    return from;
}

Result<Plan> plan_of(const Given& given, const std::string& topic) {
    Plan plan;
    plan.topic = topic;
    plan.group = given["group"].as<std::string>();
    if (given.count("sql") != 0 && given.count("tag") != 0) {
        return Error{Errc::kRefused, "--tag and --sql exclude each other: SQL can say TAGS = 'A'"};
    }
    plan.selector = given.count("sql") != 0
                        ? client::MessageSelector::by_sql(given["sql"].as<std::string>())
                        : client::MessageSelector::by_tag(given["tag"].as<std::string>());
    plan.count_max = given["count"].as<std::uint64_t>();
    plan.until_end = given.count("until-end") != 0;
    plan.idle = std::chrono::milliseconds(given["idle-ms"].as<std::uint32_t>());
    GANTRY_ASSIGN_OR_RETURN(plan.start_from, start_from(given["from"].as<std::string>()));
    plan.pop = given.count("pop") != 0;
    plan.invisible = std::chrono::milliseconds(given["invisible-ms"].as<std::uint32_t>());
    if (plan.pop && plan.group.empty()) {
        return Error{Errc::kRefused, "--pop needs a --group to share with"};
    }
    return plan;
}

Status seek_to_start(client::PullConsumer& consumer, const Plan& plan) {
    for (const client::QueueId& queue : consumer.assignment()) {
        std::int64_t offset = 0;
        switch (plan.start_from.kind) {
            case client::StartFrom::Kind::kFirst: {
                GANTRY_ASSIGN_OR_RETURN(offset, consumer.min_offset(queue));
                break;
            }
            case client::StartFrom::Kind::kLast: {
                GANTRY_ASSIGN_OR_RETURN(offset, consumer.max_offset(queue));
                break;
            }
            case client::StartFrom::Kind::kTimestamp: {
                GANTRY_ASSIGN_OR_RETURN(offset,
                                        consumer.offset_by_time(queue, plan.start_from.timestamp));
                break;
            }
        }
        GANTRY_TRY(consumer.seek(queue, offset));
    }
    return ok();
}

Status join(client::PullConsumer& consumer, const Plan& plan) {
    if (!plan.group.empty()) {
        return consumer.subscribe(plan.topic, plan.selector);
    }
    GANTRY_ASSIGN_OR_RETURN(auto queues, consumer.queues(plan.topic));
    GANTRY_TRY(consumer.assign(std::move(queues), plan.selector));
    return seek_to_start(consumer, plan);
}

/// Members of a group get their queues a while after they joined, and some of a large group none.
bool has_waited_for_queues(client::PullConsumer& consumer,
                           const Plan& plan,
                           std::chrono::nanoseconds idle) {
    constexpr int kIdleTimes = 5;
    return plan.group.empty() || !consumer.assignment().empty() || idle >= kIdleTimes * plan.idle;
}

Result<bool> at_end(client::PullConsumer& consumer) {
    for (const client::QueueId& queue : consumer.assignment()) {
        GANTRY_ASSIGN_OR_RETURN(const std::int64_t end, consumer.max_offset(queue));
        if (consumer.position(queue) < end) {
            return false;
        }
    }
    return true;
}

void print(Session& session, const client::MessageView& message, Totals& totals) {
    if (session.json()) {
        session.print(json_of(message));
    } else {
        session.streams().out << message.body() << '\n';
    }
    ++totals.messages;
    totals.bytes += message.body().size();
    totals.checksum += xxh3(as_bytes(message.body()));
}

/// Called by poll, so in the thread that prints.
void print_lost(Session& session, const client::LostMessages& lost, Totals& totals) {
    const client::QueueId& queue = lost.queue;
    session.streams().err << "warning: topic " << queue.topic << " broker " << queue.broker
                          << " queue " << queue.queue << ": messages " << lost.from << " to "
                          << lost.to - 1 << " are lost (" << name_of(lost.reason) << ")\n";
    if (session.json()) {
        session.print({{"lost",
                        {{"topic", queue.topic},
                         {"broker", queue.broker},
                         {"queue", queue.queue},
                         {"from", lost.from},
                         {"to", lost.to},
                         {"reason", name_of(lost.reason)}}}});
    }
    totals.lost += static_cast<std::uint64_t>(lost.to - lost.from);
}

/// How many messages to ask for at once.
std::size_t wanted_at_once(const Plan& plan, const Totals& totals) {
    constexpr std::uint64_t kAtOnceMax = 4'096;
    return static_cast<std::size_t>(
        plan.count_max == 0 ? kAtOnceMax : std::min(kAtOnceMax, plan.count_max - totals.messages));
}

Status written(Session& session) {
    if (session.streams().out.good() || interrupted != 0) {
        return ok();
    }
    return Error{Errc::kIo, "cannot write to standard output"};
}

Status drain(Session& session, const Plan& plan, client::PullConsumer& consumer, Totals& totals) {
    auto last_message = SteadyClock::now();
    while (interrupted == 0 && session.streams().out.good()) {
        const std::uint64_t lost_before = totals.lost;
        const auto messages =
            consumer.poll(std::chrono::milliseconds(200), wanted_at_once(plan, totals));
        for (const client::MessageView& message : messages) {
            print(session, message, totals);
        }
        const auto now = SteadyClock::now();
        const bool has_moved = !messages.empty() || totals.lost != lost_before;
        if (has_moved && !plan.group.empty()) {
            session.streams().out.flush();
            GANTRY_TRY(consumer.commit());
        }
        if (!messages.empty()) {
            totals.first = totals.first == SteadyClock::time_point{} ? last_message : totals.first;
            totals.last = last_message = now;
            session.streams().out.flush();
        } else if (plan.until_end && now - last_message >= plan.idle &&
                   has_waited_for_queues(consumer, plan, now - last_message)) {
            GANTRY_ASSIGN_OR_RETURN(const bool ended, at_end(consumer));
            if (ended) {
                return ok();
            }
        }
        if (plan.count_max != 0 && totals.messages >= plan.count_max) {
            return ok();
        }
    }
    return written(session);
}

/// The end of the queues is where nothing comes for the idle time.
Status drain_pops(Session& session,
                  const Plan& plan,
                  client::PopConsumer& consumer,
                  Totals& totals) {
    auto last_message = SteadyClock::now();
    while (interrupted == 0 && session.streams().out.good()) {
        const auto messages =
            consumer.poll(std::chrono::milliseconds(200), wanted_at_once(plan, totals));
        for (const client::PoppedMessage& message : messages) {
            print(session, message, totals);
        }
        session.streams().out.flush();
        const auto now = SteadyClock::now();
        if (!messages.empty() && session.streams().out.good()) {
            consumer.ack(messages);
            totals.first = totals.first == SteadyClock::time_point{} ? last_message : totals.first;
            totals.last = last_message = now;
        }
        const bool is_over = plan.until_end && now - last_message >= plan.idle;
        if (is_over || (plan.count_max != 0 && totals.messages >= plan.count_max)) {
            break;
        }
    }
    return written(session);
}

void tell(Session& session, const Totals& totals) {
    const double seconds = totals.messages == 0
                               ? 0
                               : std::chrono::duration<double>(totals.last - totals.first).count();
    char checksum[17];
    std::snprintf(
        checksum, sizeof(checksum), "%016llx", static_cast<unsigned long long>(totals.checksum));
    session.streams().err << totals.messages << " messages, " << totals.bytes << " bytes in "
                          << seconds << " s, checksum " << checksum;
    if (totals.lost > 0) {
        session.streams().err << ", " << totals.lost << " lost";
    }
    session.streams().err << '\n';
}

}  // namespace

void add_consume_options(Options& options) {
    options.add_options()("g,group",
                          "share the queues with the group's members and commit; none: read all",
                          value<std::string>().default_value(""))(
        "from",
        "earliest, latest or a time; where the group never committed",
        value<std::string>().default_value("latest"))(
        "tag", "only these tags: \"A || B\"", value<std::string>().default_value("*"))(
        "sql",
        "only messages whose properties match: \"amount > 100 AND country = 'EU'\"",
        value<std::string>())(
        "pop",
        "share messages rather than queues with the group: any number of consumers; each message "
        "is acknowledged once it is written")(
        "invisible-ms",
        "with --pop: others get a message when it is not acknowledged for so long",
        value<std::uint32_t>().default_value("60000"))(
        "count", "stop after so many", value<std::uint64_t>().default_value("0"))(
        "until-end", "stop at the end of the queues")(
        "idle-ms",
        "with --until-end: look for the end after so long without a message",
        value<std::uint32_t>().default_value("1000"));
}

Status consume_pops(Session& session, const Plan& plan, std::shared_ptr<client::Client> shared) {
    constexpr std::chrono::seconds kCloseLimit{5};
    client::PopConsumer::Options wanted;
    wanted.group = plan.group;
    wanted.start_from = plan.start_from.kind;
    wanted.invisible = plan.invisible;
    GANTRY_ASSIGN_OR_RETURN(const auto consumer,
                            client::PopConsumer::create(std::move(shared), wanted));
    GANTRY_TRY(consumer->subscribe(plan.topic, plan.selector));
    Totals totals;
    Status drained = drain_pops(session, plan, *consumer, totals);
    const Status closed = consumer->close(kCloseLimit);
    tell(session, totals);
    return drained ? closed : drained;
}

Status consume(Session& session, const Given& given, const std::vector<std::string>& arguments) {
    GANTRY_ASSIGN_OR_RETURN(const Plan plan, plan_of(given, arguments[0]));
    std::signal(SIGINT, on_signal);
    std::signal(SIGTERM, on_signal);
    std::signal(SIGPIPE, SIG_IGN);
    GANTRY_ASSIGN_OR_RETURN(auto shared, session.client());
    if (plan.pop) {
        return consume_pops(session, plan, std::move(shared));
    }
    client::PullConsumer::Options wanted;
    wanted.group = plan.group;
    wanted.start_from = plan.start_from;
    Totals totals;
    wanted.on_lost = [&session, &totals](const client::LostMessages& lost) {
        print_lost(session, lost, totals);
    };
    GANTRY_ASSIGN_OR_RETURN(auto consumer, client::PullConsumer::create(std::move(shared), wanted));
    GANTRY_TRY(join(*consumer, plan));
    Status drained = drain(session, plan, *consumer, totals);
    consumer->close();
    tell(session, totals);
    return drained;
}

std::vector<Command> stream_commands() {
    return {
        {"produce",
         "",
         "TOPIC [FILE]",
         "send lines as messages",
         1,
         2,
         add_produce_options,
         produce},
        {"consume", "", "TOPIC", "write messages as lines", 1, 1, add_consume_options, consume},
    };
}

}  // namespace gantry::cli
