// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/admin/admin_calls.h"
#include "common/result.h"
#include "protocol/wire/message.pb.h"
#include "protocol/wire/record.h"

#include <string>
#include <string_view>
#include <vector>

namespace gantry::client {

/// A dead letter on its way back.
struct DeadLetterCopy {
    wire::SendMessageRequest fields;
    std::string body;  ///< as stored: what its producer compressed stays so
};

/// `record` addressed to `topic`, delivered to nobody so far. To the group's retry topic
/// (`is_retry`) it keeps where it came from, to another topic it goes as a message of that.
DeadLetterCopy copy_of(const wire::Record& record, std::string_view topic, bool is_retry);

/// Sends all at once to one broker and waits for every answer; what came of each, in order.
std::vector<Status> send_copies(AdminCalls& calls,
                                const std::string& address,
                                const std::vector<DeadLetterCopy>& copies);

}  // namespace gantry::client
