// SPDX-License-Identifier: Apache-2.0
#include "broker/settings.h"
#include "common/settings.h"
#include "tests/harness/temp_directory.h"

#include <doctest/doctest.h>

#include <fstream>
#include <string>

namespace gantry::broker {
namespace {

std::string refusal(const ReplicationOptions& options, std::int64_t port = 10'911) {
    const Status checked = check_replication(options, port);
    return checked ? "" : checked.error().detail;
}

ReplicationOptions static_member() {
    ReplicationOptions options;
    options.mode = "static";
    options.member = 1;
    options.peers = {"127.0.0.1:10922"};
    return options;
}

TEST_SUITE("replication options") {
    TEST_CASE("a broker alone needs none of them") {
        CHECK(refusal({}).empty());
        CHECK_FALSE(BrokerOptions().replication.is_on());
    }

    TEST_CASE("what cannot work is refused with the setting's name") {
        CHECK(refusal(static_member()).empty());
        ReplicationOptions options = static_member();
        options.member = 0;
        CHECK(refusal(options).find("replication.member 0") == 0);
        options = static_member();
        options.listen_port = 10'911;
        CHECK(refusal(options).find("replication.listen_port 10911") == 0);
        options = static_member();
        CHECK(refusal(options, 65'535).find("replication.listen_port 0") == 0);
        options.peers = {"nowhere"};
        CHECK(refusal(options).find("replication.peers") == 0);
        options = static_member();
        options.lag_ms_max = 100;
        CHECK(refusal(options).find("replication.lag_ms_max 100") == 0);
        options = static_member();
        options.mode = "etcd";
        CHECK(refusal(options).find("replication.etcd ''") == 0);
        options.etcd = {"127.0.0.1:2379"};
        CHECK(refusal(options).find("replication.etcd '127.0.0.1:2379' must be http://") == 0);
        options.etcd = {"http://127.0.0.1:2379"};
        CHECK(refusal(options).empty());
        options.etcd_prefix = "gantry";
        CHECK(refusal(options).find("replication.etcd_prefix 'gantry'") == 0);
    }

    TEST_CASE("members talk one port above clients, unless told otherwise") {
        ReplicationOptions options = static_member();
        CHECK(replication_port(options, 10'911) == 10'912);
        CHECK(replication_port(options, 0) == 0);
        options.listen_port = 7'000;
        CHECK(replication_port(options, 10'911) == 7'000);
    }

    TEST_CASE("the secret is the file's content without what surrounds it") {
        const harness::TempDirectory directory;
        ReplicationOptions options = static_member();
        CHECK(replication_secret(options).value().empty());
        options.secret_file = directory.path() / "secret";
        CHECK_FALSE(replication_secret(options).has_value());
        std::ofstream(options.secret_file) << "  open sesame\n";
        CHECK(replication_secret(options).value() == "open sesame");
        std::ofstream(options.secret_file) << "\n";
        CHECK_FALSE(replication_secret(options).has_value());
    }
}

}  // namespace
}  // namespace gantry::broker
