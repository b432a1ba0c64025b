# SPDX-License-Identifier: Apache-2.0
# Everything Gantry links, found in Debian 12's own packages; script/bootstrap installs them.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(OpenSSL 3 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(Protobuf 3.21 REQUIRED)
find_package(spdlog 1.10 CONFIG REQUIRED)
find_package(cxxopts 3.1 CONFIG REQUIRED)
find_package(nlohmann_json 3.11 CONFIG REQUIRED)
find_package(tomlplusplus 3.3 CONFIG REQUIRED)
pkg_check_modules(LIBEVENT REQUIRED libevent_core>=2.1 libevent_extra>=2.1)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(ISAL REQUIRED IMPORTED_TARGET libisal)

# The .pc files of libevent's add-ons pull the combined library in beside libevent_core: the same
# code twice in one process. Linking the split libraries by name keeps it to one.
add_library(gantry_event INTERFACE)
target_link_libraries(gantry_event INTERFACE event_openssl event_pthreads event_extra event_core
                                             OpenSSL::SSL OpenSSL::Crypto Threads::Threads)
