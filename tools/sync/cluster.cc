// SPDX-License-Identifier: Apache-2.0
#include "sync/cluster.h"

namespace gantry::sync {

Result<std::shared_ptr<client::Client>> connect(const ClusterConfig& cluster) {
    client::Client::Options options;
    options.nameservers = cluster.nameservers;
    options.dialect = cluster.dialect;
    return client::Client::start(options);
}

bool is_rocketmq(const client::Client& client) noexcept {
    return client.dialect() == client::Dialect::kRocketMq;
}

}  // namespace gantry::sync
