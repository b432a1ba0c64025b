// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/admin/admin_calls.h"
#include "client/admin_client.h"

#include <memory>
#include <utility>

namespace gantry::client {

/// What an AdminClient holds.
struct AdminClient::State {
    State(std::shared_ptr<Client> its_client, const Options& options)
        : client(std::move(its_client)), calls(client->runtime(), options.timeout) {}

    const std::shared_ptr<Client> client;
    AdminCalls calls;
};

}  // namespace gantry::client
