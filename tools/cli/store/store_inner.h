// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/session.h"
#include "protocol/wire/state.pb.h"
#include "storage/check/store_dump.h"

#include <string>

namespace gantry::cli {

/// "topic orders: read 4, write 4, perm 6", "offset of group g for topic t queue 0: 5".
std::string change_text(const wire::StateChange& change);

/// Prints what stands beside the log: `what` is state, units, sums or checkpoint. Units take the
/// options' topic, queue, queue offsets and limit; a live store is refused, as its files change.
/// kRefused: another `what`, or is_live. kConflict: a broker has the store open. kNotFound: there
/// is no such thing in the store. kCorrupt: it is damaged. kIo.
Status dump_inner(Session& session,
                  FileSystem& files,
                  const storage::DumpOptions& options,
                  const std::string& what);

}  // namespace gantry::cli
