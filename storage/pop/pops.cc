// SPDX-License-Identifier: Apache-2.0
#include "storage/pop/pops.h"

#include "storage/state_machine.h"

namespace gantry::storage {

Status Pops::write(What what) {
    const bool leases_only = what == What::kLeases;
    bool has_more = table().has_changes(leases_only);
    while (has_more) {
        wire::StateRecord record;
        const Result<Appended> appended = state_.commit_pops([&] {
            has_more = table().take_changes(record, kRecordBytes, leases_only);
            return record;
        });
        if (!appended) {
            table().write_failed(record);
            return appended.error();
        }
    }
    return ok();
}

PopTable& Pops::table() noexcept {
    return state_.pops();
}

const PopTable& Pops::table() const noexcept {
    return state_.pops();
}

}  // namespace gantry::storage
