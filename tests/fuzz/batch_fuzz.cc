// SPDX-License-Identifier: Apache-2.0
// A stock client's batch body. What was accepted is encoded again and must come back the same.
#include "protocol/wire/batch.h"
#include "tests/fuzz/fuzz.h"

using namespace gantry;
using namespace gantry::wire;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::uint32_t kCountMax = 64;
    const auto elements = parse_batch(fuzz_input(data, size), kCountMax);
    if (!elements) {
        GANTRY_ASSERT(elements.error().code == Errc::kCorrupt ||
                      elements.error().code == Errc::kRefused);
        return 0;
    }
    GANTRY_ASSERT(elements->size() <= kCountMax);
    std::string bytes;
    for (const BatchElement& element : *elements) {
        append_batch_element(bytes, element);
    }
    GANTRY_ASSERT(bytes.size() == size);
    const auto again = parse_batch(as_bytes(bytes), kCountMax);
    GANTRY_ASSERT(again);
    GANTRY_ASSERT(again->size() == elements->size());
    for (std::size_t i = 0; i < again->size(); ++i) {
        GANTRY_ASSERT((*again)[i].flag == (*elements)[i].flag);
        GANTRY_ASSERT(as_text((*again)[i].body) == as_text((*elements)[i].body));
        GANTRY_ASSERT((*again)[i].properties == (*elements)[i].properties);
    }
    return 0;
}
