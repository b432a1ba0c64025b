// SPDX-License-Identifier: Apache-2.0
#include "bench/run.h"

#include "bench/drain.h"
#include "bench/load.h"
#include "client/admin_client.h"
#include "common/random.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

namespace gantry::bench {
namespace {

using client::Client;
using Clients = std::vector<std::shared_ptr<Client>>;

Result<std::shared_ptr<Client>> start_client(const Options& options) {
    Client::Options wanted;
    wanted.nameservers = options.nameservers;
    wanted.spin = std::chrono::microseconds(options.spin_us);
    wanted.memory_bytes_max = std::uint64_t{2} << 30U;
    return Client::start(wanted);
}

Status make_topics(const std::shared_ptr<Client>& client, const Options& options) {
    GANTRY_ASSIGN_OR_RETURN(const auto admin, client::AdminClient::create(client, {}));
    client::TopicSpec spec;
    spec.read_queues = spec.write_queues = static_cast<std::int32_t>(options.queues);
    for (std::uint32_t i = 0; i < options.topics; ++i) {
        spec.topic = topic_name(options, i);
        const Status made = admin->create_topic(spec);
        if (!made && made.error().code != Errc::kConflict) {
            return made.error();
        }
    }
    return ok();
}

/// The queues the run is about.
Result<std::vector<client::QueueStatus>> status_of(const std::shared_ptr<Client>& client,
                                                   const Options& options) {
    GANTRY_ASSIGN_OR_RETURN(const auto admin, client::AdminClient::create(client, {}));
    GANTRY_ASSIGN_OR_RETURN(auto status, admin->topic_status(options.topic));
    std::erase_if(status, [&](const client::QueueStatus& of) {
        return options.queue >= 0 && of.queue.queue != options.queue;
    });
    return status;
}

std::uint64_t stored_of(const std::vector<client::QueueStatus>& status) {
    std::uint64_t stored = 0;
    for (const client::QueueStatus& queue : status) {
        stored += static_cast<std::uint64_t>(queue.max_offset - queue.min_offset);
    }
    return stored;
}

/// Messages in all topics.
Result<std::uint64_t> count_stored(const std::shared_ptr<Client>& client, const Options& options) {
    GANTRY_ASSIGN_OR_RETURN(const auto admin, client::AdminClient::create(client, {}));
    std::uint64_t stored = 0;
    for (std::uint32_t i = 0; i < options.topics; ++i) {
        GANTRY_ASSIGN_OR_RETURN(const auto status, admin->topic_status(topic_name(options, i)));
        stored += stored_of(status);
    }
    return stored;
}

/// The same once there are that many, or after kSettleMax: where sends wait for the master alone,
/// readers and counts see them a moment later, when other copies have them too.
Result<std::uint64_t> count_settled(const std::shared_ptr<Client>& client,
                                    const Options& options,
                                    std::uint64_t expected) {
    constexpr std::chrono::seconds kSettleMax{10};
    constexpr std::chrono::milliseconds kLook{20};
    const auto deadline = std::chrono::steady_clock::now() + kSettleMax;
    for (;;) {
        GANTRY_ASSIGN_OR_RETURN(const std::uint64_t stored, count_stored(client, options));
        if (stored >= expected || std::chrono::steady_clock::now() > deadline) {
            return stored;
        }
        std::this_thread::sleep_for(kLook);
    }
}

using Loads = std::vector<std::unique_ptr<Load>>;
using Drains = std::vector<std::unique_ptr<Drain>>;

Result<Loads> make_loads(const std::shared_ptr<Client>& client,
                         const Options& options,
                         std::uint64_t run) {
    Loads loads;
    for (std::uint32_t i = 0; i < options.producers; ++i) {
        Load::Plan plan;
        plan.producer = i;
        plan.run = run;
        plan.messages = options.messages / options.producers +
                        (i < options.messages % options.producers ? 1 : 0);
        plan.warmup = options.warmup / options.producers;
        plan.rate = static_cast<double>(options.rate) / options.producers;
        GANTRY_ASSIGN_OR_RETURN(auto load, Load::create(client, options, plan));
        loads.push_back(std::move(load));
    }
    return loads;
}

/// Starts all loads and returns when each has finished; the time of the start.
std::uint64_t run_loads(const Loads& loads, const Options& options) {
    const std::uint64_t start = monotonic_ns();
    for (const auto& load : loads) {
        load->start();
    }
    const auto unfinished = [&] {
        return std::any_of(
            loads.begin(), loads.end(), [](const auto& load) { return !load->finished(); });
    };
    while (options.rate != 0 && unfinished()) {
        std::this_thread::sleep_for(std::chrono::microseconds(100));
        for (const auto& load : loads) {
            load->pump();
        }
    }
    for (const auto& load : loads) {
        load->wait();
    }
    return start;
}

std::uint64_t add_loads(const Loads& loads, Report& report) {
    std::uint64_t last = 0;
    for (const auto& load : loads) {
        report.acked += load->acked().count();
        report.failed += load->failed();
        report.unknown += load->unknown();
        report.checksum_expected += load->checksum();
        last = std::max(last, load->last_ns());
        if (report.first_error.empty()) {
            report.first_error = load->first_error();
        }
    }
    return last;
}

Result<Report> run_produce(const std::shared_ptr<Client>& client, const Options& options) {
    GANTRY_TRY(make_topics(client, options));
    GANTRY_ASSIGN_OR_RETURN(const std::uint64_t before, count_stored(client, options));
    GANTRY_ASSIGN_OR_RETURN(const Loads loads, make_loads(client, options, random_seed()));
    std::uint64_t start = run_loads(loads, options);
    Report report;
    const std::uint64_t last = add_loads(loads, report);
    for (const auto& load : loads) {
        report.latency.merge(load->latency());
        start = std::max(start, load->first_ns());
    }
    report.messages = report.acked - std::min(report.acked, options.warmup);
    report.bytes = report.messages * options.size_bytes;
    report.seconds = static_cast<double>(last - start) / 1e9;
    report.checksum = report.checksum_expected;
    GANTRY_ASSIGN_OR_RETURN(const std::uint64_t after,
                            count_settled(client, options, before + report.acked));
    const std::uint64_t stored = after - before;
    report.lost = stored < report.acked ? report.acked - stored : 0;
    report.duplicates =
        stored > report.acked + report.unknown ? stored - report.acked - report.unknown : 0;
    return report;
}

Result<Drains> make_drains(const Clients& clients, const Options& options, Drain::Plan plan) {
    GANTRY_ASSIGN_OR_RETURN(const auto status, status_of(clients.front(), options));
    std::vector<std::vector<client::QueueId>> shares(
        options.pop
            ? options.consumers
            : std::min<std::size_t>(options.consumers, std::max<std::size_t>(status.size(), 1)));
    for (std::size_t i = 0; i < status.size(); ++i) {
        shares[i % shares.size()].push_back(status[i].queue);
    }
    Drains drains;
    for (std::size_t i = 0; i < shares.size(); ++i) {
        plan.queues = shares[i];
        GANTRY_ASSIGN_OR_RETURN(auto drain,
                                Drain::create(clients[i % clients.size()], options, plan));
        drains.push_back(std::move(drain));
    }
    return drains;
}

using Count = std::uint64_t (Drain::*)() const noexcept;

std::uint64_t sum_of(const Drains& drains, Count count) {
    std::uint64_t sum = 0;
    for (const auto& drain : drains) {
        sum += ((*drain).*count)();
    }
    return sum;
}

/// Waits until `wanted` messages have come by `count`, or none came for the send time-out, or the
/// run's seconds are over.
void wait_for(const Drains& drains, Count count, std::uint64_t wanted, const Options& options) {
    std::uint64_t seen = sum_of(drains, count);
    const std::uint64_t begin = monotonic_ns();
    std::uint64_t since = begin;
    while (seen < wanted) {
        if (options.seconds != 0 &&
            monotonic_ns() - begin > std::uint64_t{options.seconds} * 1'000'000'000U) {
            return;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        const std::uint64_t now = sum_of(drains, count);
        if (now != seen) {
            seen = now;
            since = monotonic_ns();
        } else if (monotonic_ns() - since > std::uint64_t{options.send_timeout_ms} * 1'000'000U) {
            return;
        }
    }
}

std::uint64_t add_drains(const Drains& drains, bool is_popped, Report& report) {
    std::uint64_t last = 0;
    for (const auto& drain : drains) {
        drain->stop();
        report.messages += drain->checker().distinct();
        report.lost_told += drain->lost_told();
        report.duplicates += drain->checker().duplicates();
        // What is popped has no order.
        if (!is_popped) {
            report.out_of_order += drain->checker().out_of_order();
            report.offset_gaps += drain->checker().offset_gaps();
        }
        report.checksum += drain->checker().checksum();
        report.bytes += drain->bytes();
        report.latency.merge(drain->latency());
        last = std::max(last, drain->last_ns());
    }
    return last;
}

Result<Report> run_consume(const Clients& clients, const Options& options) {
    GANTRY_ASSIGN_OR_RETURN(const auto status, status_of(clients.front(), options));
    const std::uint64_t wanted = stored_of(status);
    GANTRY_ASSIGN_OR_RETURN(const Drains drains, make_drains(clients, options, {}));
    const std::uint64_t start = monotonic_ns();
    for (const auto& drain : drains) {
        drain->start();
    }
    wait_for(drains, &Drain::received, wanted, options);
    Report report;
    const std::uint64_t last = add_drains(drains, options.pop, report);
    report.seconds = last > start ? static_cast<double>(last - start) / 1e9 : 0;
    const std::uint64_t seen = report.messages + report.duplicates + report.lost_told;
    // A run cut short by its time has not seen everything.
    report.lost = wanted > seen && options.seconds == 0 ? wanted - seen : 0;
    return report;
}

Result<Report> run_e2e(const Clients& clients, const Options& options) {
    GANTRY_TRY(make_topics(clients.front(), options));
    Drain::Plan plan;
    plan.run = random_seed() | 1U;
    plan.from_start = false;
    plan.record_latency = true;
    GANTRY_ASSIGN_OR_RETURN(const Drains drains, make_drains({clients.back()}, options, plan));
    GANTRY_ASSIGN_OR_RETURN(const Loads loads, make_loads(clients.front(), options, plan.run));
    for (const auto& drain : drains) {
        drain->start();
    }
    const std::uint64_t start = run_loads(loads, options);
    Report report;
    add_loads(loads, report);
    for (const auto& load : loads) {
        report.send_latency.merge(load->latency());
    }
    wait_for(drains, &Drain::distinct, report.acked, options);
    const std::uint64_t last = add_drains(drains, options.pop, report);
    report.seconds = last > start ? static_cast<double>(last - start) / 1e9 : 0;
    // Queues are disjoint, producers are not: a message is lost when no drain has it.
    for (const auto& load : loads) {
        std::uint64_t seen = 0;
        for (const auto& drain : drains) {
            seen += load->acked().count() -
                    drain->checker().lost(plan.run, load->producer(), load->acked());
        }
        report.lost += load->acked().count() > seen ? load->acked().count() - seen : 0;
    }
    return report;
}

}  // namespace

Result<Report> run(const Options& given) {
    Options options = given;
    if (options.pop) {
        // What a group popped once it does not get again.
        options.group += '-' + std::to_string(random_seed());
    }
    // Consumers get clients of their own: what they read must not queue behind what is sent.
    Clients clients;
    const std::uint32_t count = options.command == "e2e" ? 2 : 1;
    for (std::uint32_t i = 0; i < count; ++i) {
        GANTRY_ASSIGN_OR_RETURN(auto client, start_client(options));
        clients.push_back(std::move(client));
    }
    if (options.command == "produce") {
        return run_produce(clients.front(), options);
    }
    if (options.command == "consume") {
        return run_consume(clients, options);
    }
    return run_e2e(clients, options);
}

}  // namespace gantry::bench
