// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "protocol/wire/header.h"

namespace gantry::wire {

/// Decodes a NativeHeader by hand: Header::fields and ::remark stay views into `bytes`. Unknown
/// fields are skipped. kCorrupt: not Protocol Buffers.
Status decode_native_header(Bytes bytes, Header& header);

/// Appends prefix and header of a frame in codec 2, straight into `out`.
void append_native_head(std::string& out, const HeaderToSend& header, std::size_t body_bytes);

}  // namespace gantry::wire
