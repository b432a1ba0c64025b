// SPDX-License-Identifier: Apache-2.0
#include "storage/cold/run_delay.h"

#include <array>
#include <charconv>
#include <cstddef>
#include <fcntl.h>
#include <string_view>
#include <unistd.h>

namespace gantry::storage {
namespace {

/// The second number of schedstat: nanoseconds in the run queue.
std::optional<std::chrono::nanoseconds> read_waited(int file) {
    std::array<char, 96> text{};
    const ssize_t got = ::pread(file, text.data(), text.size(), 0);
    if (got <= 0) {
        return std::nullopt;
    }
    const std::string_view line(text.data(), static_cast<std::size_t>(got));
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) {
        return std::nullopt;
    }
    std::int64_t waited = 0;
    const std::string_view number = line.substr(space + 1);
    const auto read = std::from_chars(number.data(), number.data() + number.size(), waited);
    if (read.ec != std::errc()) {
        return std::nullopt;
    }
    return std::chrono::nanoseconds(waited);
}

}  // namespace

std::optional<RunDelay::Sample> RunDelay::sample(SteadyTime now) {
    const auto [found, is_new] = threads_.try_emplace(::gettid());
    Thread& thread = found->second;
    if (is_new) {
        thread.file = UniqueFd(::open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC));
    }
    if (!is_new && now < thread.at + kInterval) {
        return std::nullopt;
    }
    const auto waited = read_waited(thread.file.get());
    if (!waited) {
        thread.at = now;
        return std::nullopt;
    }
    const Sample sample{*waited - thread.waited, now - thread.at};
    thread.waited = *waited;
    thread.at = now;
    return is_new ? std::nullopt : std::optional(sample);
}

}  // namespace gantry::storage
