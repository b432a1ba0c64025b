// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "protocol/net/connection.h"

#include <event2/event.h>
#include <event2/event_struct.h>

namespace gantry::net {

/// libevent's part of a connection; for the connection's own sources.
struct Connection::Events {
    /// The socket has bytes.
    struct event readable {};

    /// The socket takes bytes.
    struct event writable {};

    static void on_readable(evutil_socket_t /*fd*/, short /*what*/, void* context) {
        static_cast<Connection*>(context)->read_ready_in_loop();
    }

    static void on_writable(evutil_socket_t /*fd*/, short /*what*/, void* context) {
        static_cast<Connection*>(context)->write_ready_in_loop();
    }
};

}  // namespace gantry::net
