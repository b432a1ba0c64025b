// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/compression.h"

#include <cstdint>
#include <string>

namespace gantry::client {

/// Compresses `body` in place, if that makes it smaller. The bits of sysFlag that say so; 0: it is
/// as it was. Never fails: what a library refuses to compress is sent as it is.
std::int32_t compress_body(std::string& body, const Compression& compression);

}  // namespace gantry::client
