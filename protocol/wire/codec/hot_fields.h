// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "protocol/wire/header.h"

#include <span>

namespace gantry::wire {

class PullMessageRequest;
class SendMessageRequest;

/// fields_from_ext written out for the requests of every message; same results, several times
/// faster.
Status send_fields_from_ext(std::span<const ExtField> ext, SendMessageRequest& fields);
Status pull_fields_from_ext(std::span<const ExtField> ext, PullMessageRequest& fields);

}  // namespace gantry::wire
