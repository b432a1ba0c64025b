// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace gantry::chaos {

/// A chaos run.
struct RunOptions {
    std::chrono::milliseconds length{60'000};  ///< of the faults; start and end come on top
    std::chrono::milliseconds pause_max{8'000};
    std::chrono::milliseconds fault_max{60'000};  ///< no fault lasts longer
    std::chrono::milliseconds warm_up{3'000};     ///< load before the first fault
    std::chrono::milliseconds silence{6'000};     ///< after which consumers have all they get
    std::uint64_t seed = 0;
    std::filesystem::path directory;  ///< stores, histories, logs; exists
    std::vector<std::string> faults;  ///< names; empty: all
    bool by_namespaces = true;        ///< else by proxies
    std::uint32_t producers = 2;
    std::uint32_t per_second = 100;  ///< messages of each producer
    /// Where one line at a time goes.
    std::function<void(const std::string&)> say;
};

/// Starts a cluster and its clients, makes the faults of the seed one after the other, heals,
/// waits, reads everything, and judges. True: nothing was broken. Setting `stops` ends the faults
/// early. An error: the run itself failed; kDenied, kNotFound: this machine has not what it needs.
Result<bool> run_chaos(const RunOptions& options, const std::atomic<bool>& stops);

}  // namespace gantry::chaos
