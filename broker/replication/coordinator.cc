// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/coordinator.h"

#include <fstream>
#include <sys/stat.h>

namespace gantry::broker {

std::string place_of(const std::filesystem::path& directory) {
    std::string run;
    std::ifstream("/proc/sys/kernel/random/boot_id") >> run;

    struct stat found {};

    if (run.empty() || ::stat(directory.c_str(), &found) != 0) {
        return {};
    }
    return run + "/" + std::to_string(found.st_dev) + "/" + std::to_string(found.st_ino);
}

}  // namespace gantry::broker
