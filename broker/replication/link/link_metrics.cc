// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/link/link_metrics.h"

#include <string>

namespace gantry::broker {

LinkMetrics::LinkMetrics(MetricRegistry* registry)
    : registry_(registry != nullptr ? *registry : own_),
      sent_frames(registry_.counter("gantry_replica_sent_frames_total",
                                    "Frames of log bytes and heartbeats sent to slaves.")),
      sent_bytes(registry_.counter("gantry_replica_sent_bytes_total", "Log bytes sent to slaves.")),
      window_stalls(registry_.counter("gantry_replica_window_stalls_total",
                                      "Times a slave had to be waited for with its window full.")),
      acks(registry_.counter("gantry_replica_acks_total",
                             "Acknowledgements that came from slaves.")),
      refused(registry_.counter("gantry_replica_refused_total",
                                "Peers and messages of the replication port that were refused.")),
      received_frames(registry_.counter("gantry_replica_received_frames_total",
                                        "Frames that came from the master.")),
      received_bytes(registry_.counter("gantry_replica_received_bytes_total",
                                       "Log bytes that came from the master.")),
      reconnects(registry_.counter("gantry_replica_reconnects_total",
                                   "Links to the master that were lost.")),
      checksum_errors(registry_.counter("gantry_replica_checksum_errors_total",
                                        "Frames and acknowledgements that failed their sum.")) {}

void LinkMetrics::set_lag(std::int64_t member, std::int64_t bytes) {
    std::shared_ptr<std::atomic<std::int64_t>>& lag = lags_[member];
    if (lag == nullptr) {
        lag = std::make_shared<std::atomic<std::int64_t>>(0);
        registry_.gauge("gantry_replica_lag_bytes{replica=\"" + std::to_string(member) + "\"}",
                        "Log bytes that a slave has not acknowledged.",
                        [lag] { return static_cast<double>(lag->load()); });
    }
    lag->store(bytes, std::memory_order_relaxed);
}

}  // namespace gantry::broker
