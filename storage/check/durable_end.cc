// SPDX-License-Identifier: Apache-2.0
#include "storage/check/durable_end.h"

#include "storage/checkpoint.h"
#include "storage/log/block_sums.h"

#include <algorithm>
#include <optional>
#include <vector>

namespace gantry::storage {

Result<LogOffset> durable_end(FileSystem& files, const std::filesystem::path& store) {
    GANTRY_ASSIGN_OR_RETURN(const std::optional<Checkpoint> checkpoint,
                            load_checkpoint(files, store / "checkpoint"));
    LogOffset end = checkpoint ? checkpoint->at : LogOffset(0);
    if (files.exists(store / "checksum")) {
        const BlockSums sums(files, store / "checksum");
        GANTRY_ASSIGN_OR_RETURN(const std::vector<LogOffset> bases, sums.segments());
        if (!bases.empty()) {
            GANTRY_ASSIGN_OR_RETURN(const std::vector<BlockSum> last, sums.load(bases.back()));
            end = last.empty() ? end : std::max(end, last.back().end());
        }
    }
    return end;
}

}  // namespace gantry::storage
