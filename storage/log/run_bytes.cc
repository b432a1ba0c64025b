// SPDX-License-Identifier: Apache-2.0
#include "storage/log/run_bytes.h"

#include "common/check.h"

#include <cerrno>
#include <string>
#include <system_error>
#include <unistd.h>

namespace gantry::storage {

Status read_run(const LogRun& run, MutableBytes into) {
    GANTRY_ASSERT(into.size() == run.length);
    for (std::size_t done = 0; done < into.size();) {
        const ssize_t got = ::pread(run.fd,
                                    into.data() + done,
                                    into.size() - done,
                                    static_cast<off_t>(run.file_offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return Error{Errc::kIo,
                         "read of " + std::to_string(run.length) + " B at log offset " +
                             std::to_string(run.at.value) + ": " +
                             (got < 0 ? std::generic_category().message(errno) : "file too short")};
        }
        done += static_cast<std::size_t>(got);
    }
    return ok();
}

}  // namespace gantry::storage
