// SPDX-License-Identifier: Apache-2.0
// A receive buffer: frames are split off until an error or an incomplete one; each header is
// decoded.
#include "protocol/wire/frame.h"
#include "protocol/wire/header.h"
#include "tests/fuzz/fuzz.h"

using namespace gantry;
using namespace gantry::wire;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Bytes rest = fuzz_input(data, size);
    const FrameLimits limits = {.frame_bytes_max = 4096, .header_bytes_max = 1024};
    Header header;
    while (true) {
        const auto frame = find_frame(rest, limits);
        if (!frame) {
            GANTRY_ASSERT(frame.error().code == Errc::kCorrupt);
            return 0;
        }
        if (!frame->has_value()) {
            GANTRY_ASSERT(frame_bytes_needed(rest) > rest.size());
            return 0;
        }
        GANTRY_ASSERT((*frame)->frame_bytes == frame_bytes_needed(rest));
        GANTRY_ASSERT((*frame)->frame_bytes <= rest.size());
        GANTRY_ASSERT((*frame)->header.size() <= limits.header_bytes_max);
        GANTRY_ASSERT(kFramePrefixBytes + (*frame)->header.size() + (*frame)->body.size() ==
                      (*frame)->frame_bytes);
        const Status decoded = decode_header(**frame, header);
        GANTRY_ASSERT(decoded || decoded.error().code == Errc::kCorrupt);
        rest = rest.subspan((*frame)->frame_bytes);
    }
}
