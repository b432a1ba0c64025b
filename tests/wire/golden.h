// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/wire/hex.h"

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <string>

namespace gantry::wire {

/// The bytes of tests/wire/golden/<name>.hex, written by make_golden.py.
inline std::string golden(const std::string& name) {
    std::ifstream file(std::string(GANTRY_GOLDEN_DIRECTORY) + '/' + name + ".hex");
    REQUIRE_MESSAGE(file.good(), ("golden file " + name));
    return from_hex(std::string(std::istreambuf_iterator<char>(file), {}));
}

}  // namespace gantry::wire
