// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/check.h"

#include <cstddef>
#include <cstdint>

/// What libFuzzer calls with each input, and corpus_main.cc with each file of the corpus. A broken
/// promise of the code under test ends the process.
// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace gantry::wire {

/// The input as the wire's functions take it.
inline Bytes fuzz_input(const std::uint8_t* data, std::size_t size) noexcept {
    return {reinterpret_cast<const std::byte*>(data), size};
}

/// Takes the first byte off the input, which is not empty: it chooses what to try.
inline std::size_t take_choice(Bytes& input) noexcept {
    const auto choice = std::to_integer<std::size_t>(input.front());
    input = input.subspan(1);
    return choice;
}

}  // namespace gantry::wire
