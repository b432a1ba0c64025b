// SPDX-License-Identifier: Apache-2.0
#include "broker/delivery/runs.h"

#include "protocol/net/output_queue.h"
#include "storage/log/run_bytes.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace gantry::broker {
namespace {

using storage::LogRun;

constexpr std::uint64_t kSendfileBytes = 32U << 10U;
constexpr std::uint64_t kCopyBytes = 1U << 10U;

/// Bytes of a run that was not mapped, and what keeps the file they came from.
struct LoadedRun {
    std::vector<std::byte> bytes;
    std::shared_ptr<const void> file;
};

Status load(LogRun& run) {
    auto loaded = std::make_shared<LoadedRun>();
    loaded->bytes.resize(run.length);
    loaded->file = run.pin;
    GANTRY_TRY(storage::read_run(run, MutableBytes(loaded->bytes)));
    run.memory = Bytes(loaded->bytes);
    run.pin = std::move(loaded);
    return ok();
}

}  // namespace

void append_runs(net::OutputQueue& output, const storage::ReadResult& found) {
    for (const LogRun& run : found.runs) {
        const bool is_mapped = !run.memory.empty();
        if (is_mapped && run.length < kCopyBytes) {
            output.append_copy(run.memory);
        } else if (is_mapped && (run.fd < 0 || run.length < kSendfileBytes)) {
            output.append_reference(run.memory, run.pin);
        } else {
            output.append_file({run.fd, run.file_offset, run.length, run.pin});
        }
    }
}

bool are_in_memory(const storage::ReadResult& found) {
    return std::none_of(
        found.runs.begin(), found.runs.end(), [](const LogRun& run) { return run.memory.empty(); });
}

Status load_runs(storage::ReadResult& found) {
    for (LogRun& run : found.runs) {
        if (run.memory.empty()) {
            GANTRY_TRY(load(run));
        }
    }
    return ok();
}

}  // namespace gantry::broker
