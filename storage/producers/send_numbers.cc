// SPDX-License-Identifier: Apache-2.0
#include "storage/producers/send_numbers.h"

#include "protocol/wire/state.pb.h"
#include "storage/state_machine.h"

namespace gantry::storage {

wire::SendNumberList send_numbers_of(Store& store, std::string_view topic) {
    wire::ProducerStates all;
    static_cast<LogStateMachine&>(store.state()).producers().save(all);  // a store has no other
    wire::SendNumberList list;
    for (const wire::ProducerQueue& known : all.queues()) {
        if (all.topics(known.topic()) == topic) {
            wire::SendNumberList::Entry& entry = *list.add_entries();
            entry.set_producer(known.producer());
            entry.set_queueid(static_cast<std::uint32_t>(known.queueid()));
            entry.set_epoch(known.epoch());
            entry.set_next(known.next());
        }
    }
    return list;
}

}  // namespace gantry::storage
