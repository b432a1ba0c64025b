// SPDX-License-Identifier: Apache-2.0
#include "common/checksum.h"

#include <isa-l/crc.h>
#include <xxhash.h>

#if defined(__x86_64__)
#include <xxh_x86dispatch.h>
#endif

namespace gantry {

std::uint32_t crc32(Bytes bytes, std::uint32_t previous) noexcept {
    return crc32_gzip_refl(
        previous, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
}

std::uint64_t xxh3(Bytes bytes) noexcept {
    // Debian's plain entry is built for baseline x86-64 and is 4-10 times slower.
#if defined(__x86_64__)
    return XXH3_64bits_dispatch(bytes.data(), bytes.size());
#else
    return XXH3_64bits(bytes.data(), bytes.size());
#endif
}

}  // namespace gantry
