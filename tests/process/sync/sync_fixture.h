// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/client.h"
#include "client/message.h"
#include "client/producer.h"
#include "tests/harness/cluster.h"
#include "tests/harness/faulty_proxy.h"
#include "tests/harness/process.h"
#include "tests/harness/rpc_client.h"
#include "tests/harness/temp_directory.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace gantry::harness {

/// Fails the test with the error.
void require_ok(const Status& status);

/// The seed of a random test; GANTRY_TEST_SEED replaces it.
std::uint64_t sync_seed();

/// gantry-sync, as built beside the tests, with a file of routes of its own.
class SyncProcess {
public:
    /// `name` tells the daemons of one test apart.
    SyncProcess(std::filesystem::path directory, std::string name, const std::string& routes);

    /// Starts it and waits for READY.
    void start();
    /// SIGKILL.
    void kill();
    /// SIGTERM; the exit code.
    int stop();
    /// Writes another file of routes, which it follows.
    void set_routes(const std::string& routes);

    std::uint16_t http_port() const { return http_port_; }

    const std::filesystem::path& routes_file() const { return file_; }

    Process& process() { return *process_; }

private:
    std::filesystem::path directory_;
    std::string name_;
    std::filesystem::path file_;
    std::uint16_t http_port_ = 0;
    std::unique_ptr<Process> process_;
};

/// A message as it was found in a queue.
struct Found {
    std::string body;
    std::string from;    ///< GANTRY_FROM
    std::string hops;    ///< GANTRY_HOPS
    std::string origin;  ///< GANTRY_ORIGIN
    std::string tag;
    std::string keys;
    std::string born_host;
    std::string kept_host;  ///< GANTRY_BORN_HOST
    std::string route;      ///< GANTRY_ROUTE
    std::string number;     ///< the property
    WallMs born_ms = 0;
    client::QueueId queue;
    std::int64_t offset = 0;
};

/// One cluster as its clients see it.
class SiteView {
public:
    explicit SiteView(std::string nameserver) : nameserver_(std::move(nameserver)) {}

    const std::string& nameserver() const { return nameserver_; }

    std::shared_ptr<client::Client> connect() const;
    void create(const std::string& topic, int queues) const;
    /// Sends "<prefix>0", "<prefix>1", ... to the queues in turn, with keys "k0" to "k9" in turn;
    /// waits for all.
    void send(const std::string& topic, const std::string& prefix, int count) const;
    /// Everything in the topic's queues, by queue and offset.
    std::vector<Found> read(const std::string& topic) const;
    /// How much that is; 0 when the topic is not there, or a broker is away.
    std::int64_t count(const std::string& topic) const;
    /// Waits until there are that many.
    bool wait_for(const std::string& topic, std::int64_t count) const;

private:
    std::string nameserver_;
};

/// A cluster of lone brokers.
class Site : public SiteView {
public:
    explicit Site(std::size_t brokers = 1, const Settings& broker_settings = {});

    Cluster& cluster() { return *cluster_; }

private:
    explicit Site(std::unique_ptr<Cluster> cluster);

    std::unique_ptr<Cluster> cluster_;
};

/// What somebody far away sees of a site with one broker: a nameserver that names a proxy in place
/// of the broker. For topics that exist.
class FarView {
public:
    FarView(Site& site, const std::vector<std::string>& topics, int queues);

    std::string nameserver() const { return nameserver_.address(); }

    FaultyProxy& link() { return *link_; }

private:
    TempDirectory directory_;
    NameserverProcess nameserver_;
    std::unique_ptr<FaultyProxy> link_;
    std::unique_ptr<RpcClient> registrar_;  ///< the routes last as long as its connection
};

/// A producer that sends "<prefix>0", "<prefix>1", ... one after the other into all queues of a
/// topic, with keys "k0" to "k9" in turn, through whatever happens to its broker, each once.
class Flood {
public:
    Flood(const SiteView& site, std::string topic, int per_second, std::string prefix = "");
    ~Flood();
    Flood(const Flood&) = delete;
    Flood& operator=(const Flood&) = delete;

    /// Ends it and waits for what is under way; how many were stored.
    std::int64_t end();

    std::int64_t sent() const { return sent_; }

private:
    void run();

    std::string topic_;
    std::string prefix_;
    int per_second_;
    std::unique_ptr<client::Producer> producer_;
    std::atomic<bool> is_ending_{false};
    std::atomic<std::int64_t> sent_{0};
    std::atomic<std::int64_t> stored_{0};
    std::atomic<std::int64_t> failed_{0};
    std::thread thread_;
};

/// What is wrong with copies, in messages.
struct CopyFaults {
    std::size_t missing = 0;
    std::size_t twice = 0;
    std::size_t strange = 0;     ///< no original has that place and body
    std::size_t disordered = 0;  ///< behind a later one of its source queue

    bool operator==(const CopyFaults&) const = default;
};

/// Holds copies against their originals, by source queue and offset.
CopyFaults compare(const std::vector<Found>& originals, const std::vector<Found>& copies);

/// Checks that `copies` are all of `originals`, each once, and in order by source queue.
void check_same(const std::vector<Found>& originals, const std::vector<Found>& copies);

/// A file with clusters a, b, ... of these nameservers, and routes. Those of `rocketmq` are spoken
/// to as RocketMQ is.
std::string routes_of(const std::map<std::string, std::string>& clusters,
                      const std::string& routes,
                      const std::set<std::string>& rocketmq = {});

/// A route's table: "[[routes]]" with name, from, to, topics and more lines.
std::string route_of(const std::string& name,
                     const std::string& from,
                     const std::string& to,
                     const std::string& more = "");

}  // namespace gantry::harness
