// SPDX-License-Identifier: Apache-2.0
#include "common/bytes.h"

#include "common/checksum.h"

#include <doctest/doctest.h>

#include <array>

namespace gantry {

TEST_SUITE("common/bytes") {
    TEST_CASE("integers are stored big-endian") {
        std::array<std::byte, 4> at{};
        store_be<std::uint32_t>(at.data(), 0x01020304U);
        CHECK(at[0] == std::byte{1});
        CHECK(at[3] == std::byte{4});
        CHECK(load_be<std::int32_t>(at.data()) == 0x01020304);
    }

    TEST_CASE("a read past the end fails for good and yields zero") {
        ByteReader reader(as_bytes("abc"));
        CHECK(reader.read<std::uint16_t>() == 0x6162);
        CHECK(reader.read<std::uint16_t>() == 0);
        CHECK(reader.failed());
        CHECK(reader.read<std::uint8_t>() == 0);
        CHECK(reader.take(1).empty());
    }
}

TEST_SUITE("common/checksum") {
    TEST_CASE("crc32 is zlib's and can be continued") {
        CHECK(crc32(as_bytes("123456789")) == 0xCBF43926U);
        CHECK(crc32(as_bytes("6789"), crc32(as_bytes("12345"))) == 0xCBF43926U);
    }

    TEST_CASE("xxh3 has the reference value") {
        CHECK(xxh3({}) == 0x2D06800538D394C2ULL);
    }
}

}  // namespace gantry
