# SPDX-License-Identifier: Apache-2.0
# With GANTRY_PCH the heavy headers that are not ours are compiled once: about half of what an
# unoptimised build costs. A header that a source forgot to include goes unnoticed then, so of the
# builds that must notice, release does so for tests only (TESTS), and clang not at all (OFF).
set(GANTRY_PRECOMPILED
    <algorithm> <array> <atomic> <charconv> <chrono> <condition_variable> <cstdint> <cstdio>
    <cstdlib> <cstring> <deque> <filesystem> <fstream> <functional> <future> <map> <memory> <mutex>
    <optional> <set> <span> <sstream> <string> <string_view> <thread> <unordered_map> <utility>
    <vector> <nlohmann/json.hpp> <protocol/wire/group.pb.h> <protocol/wire/header.pb.h>
    <protocol/wire/message.pb.h> <protocol/wire/nameserver.pb.h> <protocol/wire/topic.pb.h>)

# gantry_precompiled_headers(NAME target HEADERS ... LINKS ...): what others reuse.
function(gantry_precompiled_headers)
  cmake_parse_arguments(P "" "NAME" "HEADERS;LINKS" ${ARGN})
  set(source ${CMAKE_BINARY_DIR}/${P_NAME}.cc)
  file(CONFIGURE OUTPUT ${source} CONTENT "// Nothing: the target is its headers.\n" @ONLY)
  add_library(${P_NAME} OBJECT ${source})
  target_link_libraries(${P_NAME} PRIVATE gantry_warnings ${P_LINKS})
  target_precompile_headers(${P_NAME} PRIVATE ${P_HEADERS})
endfunction()

# Lets the target use them, where they are: gantry_reuse_precompiled(target gantry_precompiled)
function(gantry_reuse_precompiled target from)
  if(TARGET ${from})
    target_precompile_headers(${target} REUSE_FROM ${from})
  endif()
endfunction()

if(GANTRY_PCH AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # ccache compares what the file holds, not when it was made.
  add_compile_options("SHELL:-Xclang -fno-pch-timestamp")
endif()
if(GANTRY_PCH STREQUAL "ON")
  gantry_precompiled_headers(NAME gantry_precompiled HEADERS ${GANTRY_PRECOMPILED}
                             LINKS gantry_schema nlohmann_json::nlohmann_json)
endif()
