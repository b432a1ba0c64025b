// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "protocol/wire/codes.h"
#include "protocol/wire/frame.h"

namespace gantry::wire {

/// The code that tells a peer of `codec` why its request failed. Codecs 0 and 1 get RocketMQ's own
/// numbers only; a handler that knows a more exact one (kMessageIllegal, kQueryNotFound, ...)
/// sends that instead.
ResponseCode response_code(Errc code, Codec codec) noexcept;

/// The class of a failure code for the caller of a request. Codes that acknowledge less than was
/// asked for (kFlushDiskTimeout, ...) and unknown codes are kUnknown: the message may be stored.
/// kSuccess is no failure; it yields kUnknown too.
Errc errc_of(ResponseCode code) noexcept;

}  // namespace gantry::wire
