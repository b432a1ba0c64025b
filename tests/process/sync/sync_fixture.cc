// SPDX-License-Identifier: Apache-2.0
#include "tests/process/sync/sync_fixture.h"

#include "client/admin_client.h"
#include "client/consumer.h"
#include "common/random.h"
#include "protocol/wire/nameserver.pb.h"
#include "tests/harness/sockets/free_port.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <utility>

namespace gantry::harness {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatience{60'000};
constexpr int kKeys = 10;

std::unique_ptr<Cluster> start_cluster(std::size_t brokers, const Settings& broker_settings) {
    Cluster::Options options;
    options.brokers = brokers;
    options.broker_settings = broker_settings;
    options.broker_settings["store.segment_bytes"] = "32MiB";
    options.broker_settings["store.prefault_bytes"] = "0";
    options.broker_settings["store.checkpoint_bytes"] = "4MiB";  // a start reads no more
    options.broker_settings["store.free_bytes_min"] = "0";
    auto started = Cluster::start(options);
    REQUIRE_MESSAGE(started, (started ? "" : to_string(started.error())));
    return std::move(started).value();
}

}  // namespace

void require_ok(const Status& status) {
    REQUIRE_MESSAGE(status.has_value(), (status ? "" : to_string(status.error())));
}

std::uint64_t sync_seed() {
    const char* const given = std::getenv("GANTRY_TEST_SEED");
    const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : random_seed();
    MESSAGE("GANTRY_TEST_SEED=" << seed);
    return seed;
}

SyncProcess::SyncProcess(std::filesystem::path directory,
                         std::string name,
                         const std::string& routes)
    : directory_(std::move(directory)),
      name_(std::move(name)),
      file_(directory_ / (name_ + ".toml")) {
    set_routes(routes);
}

void SyncProcess::set_routes(const std::string& routes) {
    const std::filesystem::path fresh = file_.string() + ".new";
    std::ofstream(fresh) << routes;
    std::filesystem::rename(fresh, file_);
}

void SyncProcess::start() {
    if (http_port_ == 0) {
        http_port_ = free_port().value();
    }
    auto started = Process::start(GANTRY_SYNC_EXECUTABLE,
                                  {"--set",
                                   "routes.file=" + file_.string(),
                                   "--set",
                                   "http.port=" + std::to_string(http_port_),
                                   "--set",
                                   "log.level=debug"},
                                  directory_,
                                  name_);
    REQUIRE_MESSAGE(started, (started ? "" : to_string(started.error())));
    process_ = std::move(started).value();
    const Result<ReadyPorts> ports = process_->wait_ready();
    REQUIRE_MESSAGE(ports, (ports ? "" : to_string(ports.error())));
}

void SyncProcess::kill() {
    process_->kill();
}

int SyncProcess::stop() {
    const Result<ProcessExit> exit = process_->stop();
    return exit ? exit->code : -1;
}

Site::Site(std::size_t brokers, const Settings& broker_settings)
    : Site(start_cluster(brokers, broker_settings)) {}

Site::Site(std::unique_ptr<Cluster> cluster)
    : SiteView(cluster->nameserver_addresses()), cluster_(std::move(cluster)) {}

std::shared_ptr<client::Client> SiteView::connect() const {
    client::Client::Options options;
    options.nameservers = {nameserver_};
    return client::Client::start(options).value();
}

void SiteView::create(const std::string& topic, int queues) const {
    auto admin = client::AdminClient::create(connect(), {}).value();
    client::TopicSpec spec;
    spec.topic = topic;
    spec.read_queues = spec.write_queues = queues;
    require_ok(admin->create_topic(spec));
}

void SiteView::send(const std::string& topic, const std::string& prefix, int count) const {
    client::Producer::Options options;
    options.in_flight_max = static_cast<std::uint32_t>(count);
    auto producer = client::Producer::create(connect(), options).value();
    const std::vector<client::QueueId> queues = producer->queues(topic).value();
    std::atomic<int> failed{0};
    const auto done = [&failed](const Result<client::SendReceipt>& receipt) {
        failed += receipt ? 0 : 1;
    };
    for (int i = 0; i < count; ++i) {
        client::Message message;
        message.topic = topic;
        message.body = prefix + std::to_string(i);
        message.tag = i % 2 == 0 ? "even" : "odd";
        message.keys = {"k" + std::to_string(i % kKeys)};
        message.properties = {{"number", std::to_string(i)}};
        const client::QueueId& queue = queues[static_cast<std::size_t>(i) % queues.size()];
        require_ok(producer->send_async_to(std::move(message), queue, done));
    }
    require_ok(producer->close(kPatience));
    REQUIRE(failed == 0);
}

std::int64_t SiteView::count(const std::string& topic) const {
    auto admin = client::AdminClient::create(connect(), {}).value();
    const auto status = admin->topic_status(topic);
    std::int64_t count = 0;
    if (status) {
        for (const client::QueueStatus& queue : *status) {
            count += queue.max_offset;
        }
    }
    return count;
}

bool SiteView::wait_for(const std::string& topic, std::int64_t wanted) const {
    auto admin = client::AdminClient::create(connect(), {}).value();
    std::int64_t count = 0;
    const bool is_there = wait_until(kPatience, [&] {
        const auto status = admin->topic_status(topic);
        count = 0;
        for (const client::QueueStatus& queue :
             status ? *status : std::vector<client::QueueStatus>{}) {
            count += queue.max_offset;
        }
        return count >= wanted;
    });
    CHECK(count == wanted);
    return is_there && count == wanted;
}

std::vector<Found> SiteView::read(const std::string& topic) const {
    client::PullConsumer::Options options;
    options.start_from.kind = client::StartFrom::Kind::kFirst;
    auto consumer = client::PullConsumer::create(connect(), options).value();
    const std::vector<client::QueueId> queues = consumer->queues(topic).value();
    require_ok(consumer->assign(queues));
    std::int64_t left = 0;
    for (const client::QueueId& queue : queues) {
        left += consumer->max_offset(queue).value() - consumer->min_offset(queue).value();
    }
    std::map<client::QueueId, std::vector<Found>> by_queue;
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (left > 0 && std::chrono::steady_clock::now() < deadline) {
        for (const client::MessageView& message : consumer->poll(milliseconds(100))) {
            Found found;
            found.body = message.body();
            found.from = message.property("GANTRY_FROM");
            found.hops = message.property("GANTRY_HOPS");
            found.origin = message.property("GANTRY_ORIGIN");
            found.tag = message.tag();
            found.keys = message.keys();
            found.born_host = message.born_host();
            found.kept_host = message.property("GANTRY_BORN_HOST");
            found.route = message.property("GANTRY_ROUTE");
            found.number = message.property("number");
            found.born_ms = message.born_ms();
            found.queue = {topic, message.broker(), message.queue()};
            found.offset = message.queue_offset();
            by_queue[found.queue].push_back(std::move(found));
            --left;
        }
    }
    REQUIRE(left == 0);
    std::vector<Found> all;
    for (auto& [queue, found] : by_queue) {
        all.insert(all.end(), found.begin(), found.end());
    }
    return all;
}

FarView::FarView(Site& site, const std::vector<std::string>& topics, int queues)
    : nameserver_(directory_.path(), "far") {
    require_ok(nameserver_.start());
    Result<std::unique_ptr<FaultyProxy>> link = FaultyProxy::start(site.cluster().broker().port());
    REQUIRE(link);
    link_ = std::move(link).value();
    wire::RegisterBrokerRequest request;
    request.set_brokername(site.cluster().broker().name());
    request.set_brokeraddr(link_->address());
    request.set_clustername("c");
    request.set_brokerid(0);
    request.set_heartbeattimeoutmillis(600'000);
    wire::RegisterBrokerBody body;
    for (const std::string& name : topics) {
        wire::TopicConfig topic;
        topic.set_topicname(name);
        topic.set_readqueuenums(queues);
        topic.set_writequeuenums(queues);
        topic.set_perm(6);
        (*body.mutable_topicconfigserializewrapper()->mutable_topicconfigtable())[name] = topic;
    }
    registrar_ = std::make_unique<RpcClient>(nameserver_.address());
    const Answer answer =
        registrar_->call_with_body(wire::RequestCode::kRegisterBroker, &request, body);
    REQUIRE_MESSAGE(answer.summary() == "0", answer.summary());
}

Flood::Flood(const SiteView& site, std::string topic, int per_second, std::string prefix)
    : topic_(std::move(topic)), prefix_(std::move(prefix)), per_second_(per_second) {
    client::Producer::Options options;
    options.idempotent = true;
    options.deadline = std::chrono::seconds(120);
    options.in_flight_max = 4'000;
    producer_ = client::Producer::create(site.connect(), options).value();
    thread_ = std::thread([this] { run(); });
}

Flood::~Flood() {
    if (thread_.joinable()) {
        is_ending_ = true;
        thread_.join();
    }
}

void Flood::run() {
    const auto begin = std::chrono::steady_clock::now();
    while (!is_ending_) {
        const std::chrono::duration<double> past = std::chrono::steady_clock::now() - begin;
        if (static_cast<double>(sent_) > past.count() * per_second_) {
            std::this_thread::sleep_for(milliseconds(2));  // sleeps: until the next is due
            continue;
        }
        client::Message message;
        message.topic = topic_;
        message.body = prefix_ + std::to_string(sent_);
        message.keys = {"k" + std::to_string(sent_ % kKeys)};
        const Status accepted = producer_->send_async(
            std::move(message), [this](const Result<client::SendReceipt>& receipt) {
                ++(receipt ? stored_ : failed_);
            });
        if (accepted) {
            ++sent_;
        } else {
            std::this_thread::sleep_for(milliseconds(2));  // sleeps: until there is room
        }
    }
}

std::int64_t Flood::end() {
    is_ending_ = true;
    thread_.join();
    require_ok(producer_->close(kPatience));
    REQUIRE(failed_ == 0);
    REQUIRE(stored_ == sent_);
    return stored_;
}

CopyFaults compare(const std::vector<Found>& originals, const std::vector<Found>& copies) {
    std::map<std::string, std::string> expected;  // GANTRY_FROM to body
    for (const Found& original : originals) {
        expected[original.queue.topic + '/' + original.queue.broker + '/' +
                 std::to_string(original.queue.queue) + '/' + std::to_string(original.offset)] =
            original.body;
    }
    REQUIRE(expected.size() == originals.size());
    CopyFaults faults;
    std::size_t there = 0;
    std::set<std::string> seen;
    std::map<std::string, std::int64_t> last;  // target queue and source queue to source offset
    for (const Found& copy : copies) {
        const auto original = expected.find(copy.from);
        const bool is_strange = original == expected.end() || original->second != copy.body;
        faults.strange += is_strange ? 1 : 0;
        const bool is_first = seen.insert(copy.from).second;
        faults.twice += is_first ? 0 : 1;
        there += is_first && !is_strange ? 1 : 0;
        const std::size_t slash = copy.from.rfind('/');
        const std::int64_t offset = std::strtoll(copy.from.c_str() + slash + 1, nullptr, 10);
        std::int64_t& before =
            last.try_emplace(copy.queue.broker + '/' + std::to_string(copy.queue.queue) + ' ' +
                                 copy.from.substr(0, slash),
                             -1)
                .first->second;
        faults.disordered += offset <= before ? 1 : 0;
        before = offset;
    }
    faults.missing = originals.size() - there;
    return faults;
}

void check_same(const std::vector<Found>& originals, const std::vector<Found>& copies) {
    const CopyFaults faults = compare(originals, copies);
    CHECK(copies.size() == originals.size());
    CHECK(faults.missing == 0);
    CHECK(faults.twice == 0);
    CHECK(faults.strange == 0);
    CHECK(faults.disordered == 0);
}

std::string routes_of(const std::map<std::string, std::string>& clusters,
                      const std::string& routes,
                      const std::set<std::string>& rocketmq) {
    std::string text;
    for (const auto& [name, nameserver] : clusters) {
        text += "[clusters." + name + "]\nnameservers = [\"" + nameserver + "\"]\n";
        text += rocketmq.count(name) != 0 ? "dialect = \"rocketmq\"\n" : "";
    }
    return text + routes;
}

std::string route_of(const std::string& name,
                     const std::string& from,
                     const std::string& to,
                     const std::string& more) {
    return "[[routes]]\nname = \"" + name + "\"\nfrom = \"" + from + "\"\nto = \"" + to +
           "\"\ntopics = [\"T*\"]\n" + more + "\n";
}

}  // namespace gantry::harness
