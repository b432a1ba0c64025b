// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "protocol/wire/replication.pb.h"
#include "tests/harness/broker_calls.h"
#include "tests/harness/http_get.h"
#include "tests/harness/replication/replicated_group.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::harness {

inline std::unique_ptr<ReplicatedGroup> start_group(const ReplicatedGroup::Options& options) {
    Result<std::unique_ptr<ReplicatedGroup>> group = ReplicatedGroup::start(options);
    REQUIRE_MESSAGE(group.has_value(), (group ? "" : to_string(group.error())));
    return std::move(group).value();
}

inline void require_ok(const Status& status) {
    REQUIRE_MESSAGE(status.has_value(), (status ? "" : to_string(status.error())));
}

/// The log of a store that is closed or at rest: the bytes of its files up to `end`, by name.
inline std::string log_bytes(const std::filesystem::path& store, std::int64_t end) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(store / "commitlog")) {
        if (entry.path().filename().string().find_first_not_of("0123456789") == std::string::npos) {
            files.push_back(entry.path());
        }
    }
    std::sort(files.begin(), files.end());
    std::string bytes;
    for (const auto& file : files) {
        std::ifstream in(file, std::ios::binary);
        bytes.append(std::istreambuf_iterator<char>(in), {});
    }
    bytes.resize(std::min(bytes.size(), static_cast<std::size_t>(end)));
    return bytes;
}

/// Asks a broker to be the master, or what that would mean.
inline Answer promote(ReplicatedGroup& group, std::size_t index, bool confirm, bool accept_loss) {
    wire::PromoteRequest request;
    request.set_confirm(confirm);
    request.set_acceptloss(accept_loss);
    RpcClient client(group.broker(index).address());
    return client.call(wire::RequestCode::kPromote, &request);
}

/// Whether a broker says so at /readyz.
inline std::string readiness(ReplicatedGroup& group, std::size_t index) {
    const Result<HttpAnswer> answer = http_get(group.broker(index).http_port(), "/readyz");
    return answer ? answer->body : to_string(answer.error());
}

}  // namespace gantry::harness
