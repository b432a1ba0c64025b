// SPDX-License-Identifier: Apache-2.0
#include "sync/report/report_metrics.h"

#include <algorithm>

namespace gantry::sync {

void ReportMetrics::count(const std::string& name,
                          const std::string& labels,
                          const std::string& help,
                          std::uint64_t total) {
    const std::string full = name + labels;
    std::uint64_t& before = totals_[full];
    // A queue that went to another daemon takes its counts with it.
    metrics_.counter(full, help).add(total > before ? total - before : 0);
    before = total;
}

void ReportMetrics::set_lag(const std::string& labels,
                            const QueueReport& sum,
                            double seconds,
                            double bytes) {
    std::shared_ptr<Lag>& lag = lags_[labels];
    if (lag == nullptr) {
        lag = std::make_shared<Lag>();
        const auto gauge = [&](const char* name, const char* help, double Lag::*member) {
            metrics_.gauge(name + labels, help, [kept = lag, member] {
                const MutexLock lock(kept->mutex);
                return (*kept).*member;
            });
        };
        gauge("gantry_sync_lag_messages", "Messages at the source, not done yet", &Lag::messages);
        gauge("gantry_sync_lag_bytes", "The same in bytes, about", &Lag::bytes);
        gauge("gantry_sync_lag_seconds", "Age of the oldest of them", &Lag::seconds);
        gauge("gantry_sync_frames_in_flight", "Frames that are not answered", &Lag::frames);
    }
    const MutexLock lock(lag->mutex);
    lag->messages = static_cast<double>(sum.lag());
    lag->bytes = bytes;
    lag->seconds = seconds;
    lag->frames = static_cast<double>(sum.flying);
}

void ReportMetrics::take(const std::vector<RouteReport>& reports, WallMs now) {
    for (const RouteReport& route : reports) {
        const std::string name = "{route=\"" + route.name + "\"";
        QueueReport sum;
        sum.end = 0;
        double seconds = 0;
        double bytes = 0;
        for (const QueueReport& queue : route.queues) {
            const std::string labels = name + ",topic=\"" + queue.source.topic + "\",broker=\"" +
                                       queue.source.broker + "\",queue=\"" +
                                       std::to_string(queue.source.queue) + "\"}";
            set_lag(labels, queue, queue.lag_seconds(now), queue.lag_bytes());
            sum.end += queue.lag();
            sum.flying += queue.flying;
            bytes += queue.lag_bytes();
            seconds = std::max(seconds, queue.lag_seconds(now));
        }
        const std::string all = name + "}";
        set_lag(all, sum, seconds, bytes);
        const CopyCounts total = route.total();
        count("gantry_sync_copied_messages_total", all, "Messages stored", total.messages);
        count("gantry_sync_copied_bytes_total", all, "Bytes of them", total.bytes);
        count("gantry_sync_skipped_messages_total",
              all,
              "Messages that were in the target's cluster before",
              total.skipped);
        count("gantry_sync_lost_messages_total",
              all,
              "Messages gone at the source, or refused by the target",
              total.lost);
        count("gantry_sync_retries_total", all, "Times a queue began again", total.retries);
        count("gantry_sync_rewinds_total",
              all,
              "Times the target had lost what it acknowledged",
              total.rewinds);
        count("gantry_sync_repeated_messages_total",
              all,
              "Messages sent again to a target that may have had them",
              total.repeats);
    }
}

}  // namespace gantry::sync
