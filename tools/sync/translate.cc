// SPDX-License-Identifier: Apache-2.0
#include "sync/translate.h"

namespace gantry::sync {

Result<std::string> translate(const SyncConfig&, std::string_view, const std::string&, bool) {
    return Error{Errc::kUnsupported, ""};
}

}  // namespace gantry::sync
