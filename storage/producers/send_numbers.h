// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "protocol/wire/numbers.pb.h"
#include "storage/store.h"

#include <string_view>

namespace gantry::storage {

/// Who has numbered sends to the queues of a topic, and which number comes next of each. Copies the
/// whole table of producers: not for a loop's thread.
wire::SendNumberList send_numbers_of(Store& store, std::string_view topic);

}  // namespace gantry::storage
