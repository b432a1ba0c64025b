// SPDX-License-Identifier: Apache-2.0
#include "nameserver/request_handler.h"

#include "common/log.h"
#include "protocol/wire/header.h"
#include "protocol/wire/names.h"
#include "protocol/wire/status.h"

#include <algorithm>
#include <utility>

namespace gantry::nameserver {
namespace {

constexpr Logger kLog("nameserver");

constexpr std::chrono::seconds kExpiryPeriod{1};
constexpr std::int64_t kSuspendMsMax = 60'000;
/// Clients from this release on (4.9.4) read standard JSON.
constexpr std::int32_t kStandardJsonVersion = 401;

}  // namespace

RequestHandler::RequestHandler(const Parts& parts, const NameserverSettings& settings)
    : loop_(parts.loop),
      clock_(parts.clock),
      kv_file_(parts.kv_file),
      kv_bytes_max_(static_cast<std::uint64_t>(settings.kv_bytes_max)),
      watches_(static_cast<std::uint64_t>(settings.watched_topics_max)),
      routes_(parts.clock,
              {std::chrono::milliseconds(settings.expiry_ms),
               static_cast<std::uint64_t>(settings.brokers_max),
               static_cast<std::uint64_t>(settings.topics_per_broker_max)},
              [this](const std::string& topic) { watches_.mark(topic); }),
      kv_(kv_bytes_max_),
      route_requests_(parts.metrics.counter("gantry_nameserver_route_requests_total",
                                            "Requests about routes, topics and clusters.")),
      broker_requests_(
          parts.metrics.counter("gantry_nameserver_broker_requests_total",
                                "Registrations, deltas, heartbeats and unregistrations.")),
      kv_requests_(parts.metrics.counter("gantry_nameserver_kv_requests_total",
                                         "Requests about KV entries.")),
      unknown_requests_(parts.metrics.counter("gantry_nameserver_unknown_requests_total",
                                              "Requests with a code that is not supported.")),
      refused_registrations_(
          parts.metrics.counter("gantry_nameserver_refused_registrations_total",
                                "Registrations and deltas answered with an error.")),
      expired_brokers_(parts.metrics.counter("gantry_nameserver_expired_brokers_total",
                                             "Brokers removed because they were silent.")) {
    const auto gauge = [&parts](const char* name, const char* help, const auto& count) {
        parts.metrics.gauge(name, help, [&count] {
            return static_cast<double>(count.load(std::memory_order_relaxed));
        });
    };
    gauge("gantry_nameserver_brokers", "Brokers registered.", counts_.brokers);
    gauge("gantry_nameserver_topics", "Topics with a route.", counts_.topics);
    gauge("gantry_nameserver_parked_watches", "Route watches waiting.", counts_.watches);
    gauge("gantry_nameserver_rejected_topics",
          "Topics left out of registrations for their name or numbers.",
          counts_.rejected_topics);
}

RequestHandler::~RequestHandler() = default;

Status RequestHandler::load() {
    if (kv_file_ == nullptr) {
        return ok();
    }
    // JSON escapes take up to six characters for a byte.
    GANTRY_ASSIGN_OR_RETURN(const std::string text, kv_file_->read(kv_bytes_max_ * 8));
    if (text.empty()) {
        return ok();
    }
    if (const Status loaded = kv_.load(text); !loaded) {
        return Error{loaded.error().code,
                     "kv.file " + kv_file_->path().string() + ": " + loaded.error().detail};
    }
    return ok();
}

void RequestHandler::start() {
    expiry_timer_ = std::make_unique<net::Timer>(loop_, [this] {
        expired_brokers_.add(routes_.expire());
        settle();
    });
    expiry_timer_->start_every(kExpiryPeriod);
    watch_timer_ = std::make_unique<net::Timer>(loop_, [this] { answer_expired_watches(); });
}

void RequestHandler::on_open(net::Connection& connection) {
    connections_.emplace(connection.id(), &connection);
}

void RequestHandler::on_close(net::Connection& connection, const Error& why) {
    kLog.debug("connection_closed", {{"peer", connection.peer()}, {"why", why}});
    connections_.erase(connection.id());
    watches_.drop_connection(connection.id());
    routes_.connection_lost(connection.id());
    settle();
}

void RequestHandler::on_frame(const net::Received& frame) {
    if (frame.header.is_response) {
        return;
    }
    if (!handle_routes(frame) && !handle_brokers(frame) && !handle_kv(frame)) {
        unknown_requests_.add();
        frame.connection.reply(
            net::reply_to(frame),
            wire::ResponseCode::kRequestCodeNotSupported,
            " request type " + std::to_string(frame.header.code) + " not supported");
    }
    settle();
}

bool RequestHandler::handle_routes(const net::Received& frame) {
    switch (frame.header.request()) {
        case wire::RequestCode::kGetRouteInfoByTopic:
            get_route(frame);
            break;
        case wire::RequestCode::kWatchRoutes:
            if (frame.header.codec != wire::Codec::kNative) {
                return false;
            }
            watch_routes(frame);
            break;
        case wire::RequestCode::kGetBrokerClusterInfo:
            reply_body(frame, routes_.cluster_info());
            break;
        case wire::RequestCode::kGetAllTopicListFromNameserver:
            list_topics(frame, "");
            break;
        case wire::RequestCode::kGetTopicsByCluster:
            get_topics_of_cluster(frame);
            break;
        case wire::RequestCode::kGetSystemTopicListFromNs:
            reply_body(frame, routes_.system_topics());
            break;
        case wire::RequestCode::kDeleteTopicInNamesrv:
            delete_topic(frame);
            break;
        case wire::RequestCode::kWipeWritePermOfBroker:
            change_write_permission(frame, true);
            break;
        case wire::RequestCode::kAddWritePermOfBroker:
            change_write_permission(frame, false);
            break;
        default:
            return false;
    }
    route_requests_.add();
    return true;
}

bool RequestHandler::read(const net::Received& frame, google::protobuf::Message& fields) {
    if (const Status decoded = wire::decode_fields(frame.header, fields); !decoded) {
        refuse(frame, decoded.error());
        return false;
    }
    return true;
}

void RequestHandler::refuse(const net::Received& frame, const Error& why) {
    const net::ReplyTo to = net::reply_to(frame);
    frame.connection.reply(to, wire::response_code(why.code, to.codec), why.detail);
}

void RequestHandler::reply_body(const net::Received& frame, const google::protobuf::Message& body) {
    const net::ReplyTo to = net::reply_to(frame);
    std::string bytes;
    wire::append_body(bytes, to.codec, body);
    frame.connection.reply(to, wire::ResponseCode::kSuccess, "", nullptr, bytes);
}

bool RequestHandler::fill_route(const std::string& topic, wire::TopicRouteData& route) const {
    if (!routes_.route(topic, route)) {
        return false;
    }
    if (const std::string* const order = kv_.get(kOrderNamespace, topic)) {
        route.set_ordertopicconf(*order);
    }
    return true;
}

void RequestHandler::get_route(const net::Received& frame) {
    wire::TopicRequest request;
    if (!read(frame, request)) {
        return;
    }
    const net::ReplyTo to = net::reply_to(frame);
    wire::TopicRouteData route;
    if (!fill_route(request.topic(), route)) {
        // The name goes back as it came, but not more of it than a name can have.
        const std::string name = request.topic().substr(0, wire::kDerivedTopicNameBytesMax);
        frame.connection.reply(to,
                               wire::ResponseCode::kTopicNotExist,
                               "No topic route info in name server for the topic: " + name);
        return;
    }
    if (to.codec != wire::Codec::kNative) {
        for (wire::BrokerData& broker : *route.mutable_brokerdatas()) {
            broker.clear_epoch();
        }
    }
    std::string body;
    wire::append_body(
        body,
        to.codec,
        route,
        request.acceptstandardjsononly() || frame.header.version >= kStandardJsonVersion);
    frame.connection.reply(to, wire::ResponseCode::kSuccess, "", nullptr, body);
}

void RequestHandler::watch_routes(const net::Received& frame) {
    wire::WatchRoutesRequest request;
    if (!read(frame, request)) {
        return;
    }
    Watch watch;
    watch.to = net::reply_to(frame);
    const std::int64_t wait_ms =
        std::clamp<std::int64_t>(request.suspendtimeoutmillis(), 0, kSuspendMsMax);
    watch.deadline = clock_.steady() + std::chrono::milliseconds(wait_ms);
    watch.topics.reserve(static_cast<std::size_t>(request.topics_size()));
    bool is_due = wait_ms == 0;
    for (const auto& entry : request.topics()) {
        is_due = is_due || routes_.version(entry.topic()) != entry.version();
        watch.topics.push_back({entry.topic(), entry.version()});
    }
    if (is_due || watch.to.is_oneway) {
        answer_watch(watch);
        return;
    }
    if (const Status parked = watches_.park(std::move(watch)); !parked) {
        refuse(frame, parked.error());
        return;
    }
    arm_watch_timer();
}

void RequestHandler::answer_watch(const Watch& watch) {
    const auto connection = connections_.find(watch.to.connection);
    if (connection == connections_.end()) {
        return;
    }
    wire::WatchRoutesBody body;
    for (const Watch::Entry& entry : watch.topics) {
        const std::uint64_t version = routes_.version(entry.topic);
        if (version == entry.version) {
            continue;
        }
        wire::WatchRoutesBody::Entry& changed = *body.add_changed();
        changed.set_topic(entry.topic);
        changed.set_version(version);
        changed.set_exists(fill_route(entry.topic, *changed.mutable_route()));
        if (!changed.exists()) {
            changed.clear_route();
        }
    }
    std::string bytes;
    wire::append_body(bytes, watch.to.codec, body);
    connection->second->reply(watch.to, wire::ResponseCode::kSuccess, "", nullptr, bytes);
}

void RequestHandler::answer_expired_watches() {
    for (const Watch& watch : watches_.take_expired(clock_.steady())) {
        answer_watch(watch);
    }
    arm_watch_timer();
    settle();
}

void RequestHandler::arm_watch_timer() {
    const std::optional<SteadyTime> next = watches_.next_deadline();
    if (next) {
        const auto wait = std::chrono::ceil<std::chrono::milliseconds>(*next - clock_.steady());
        watch_timer_->start_once(std::max(wait, std::chrono::milliseconds(1)));
    }
}

void RequestHandler::get_topics_of_cluster(const net::Received& frame) {
    wire::ClusterRequest request;
    if (!read(frame, request)) {
        return;
    }
    list_topics(frame, request.cluster());
}

/// Lists are made once for all who ask between two changes: making one takes long enough to delay
/// others when somebody asks again and again.
void RequestHandler::list_topics(const net::Received& frame, const std::string& cluster) {
    const net::ReplyTo to = net::reply_to(frame);
    if (topic_lists_.change_count != routes_.change_count()) {
        topic_lists_.bodies.clear();
        topic_lists_.change_count = routes_.change_count();
    }
    std::string made;
    const std::string* body = &made;
    const auto cached = topic_lists_.bodies.find({cluster, to.codec});
    if (cached != topic_lists_.bodies.end()) {
        body = &cached->second;
    } else {
        const wire::TopicList list =
            cluster.empty() ? routes_.topics() : routes_.topics_of_cluster(cluster);
        wire::append_body(made, to.codec, list);
        // Empty lists are quick to make, and their names are the client's choice.
        if (list.topiclist_size() > 0) {
            body = &topic_lists_.bodies.emplace(std::pair(cluster, to.codec), std::move(made))
                        .first->second;
        }
    }
    frame.connection.reply(to, wire::ResponseCode::kSuccess, "", nullptr, *body);
}

void RequestHandler::delete_topic(const net::Received& frame) {
    wire::TopicRequest request;
    if (!read(frame, request)) {
        return;
    }
    routes_.delete_topic(request.topic(), request.clustername());
    frame.connection.reply(net::reply_to(frame), wire::ResponseCode::kSuccess, "");
}

void RequestHandler::change_write_permission(const net::Received& frame, bool wipe) {
    wire::BrokerNameRequest request;
    if (!read(frame, request)) {
        return;
    }
    wire::WritePermResponse response;
    if (wipe) {
        response.set_wipetopiccount(routes_.wipe_write_permission(request.brokername()));
    } else {
        response.set_addtopiccount(routes_.restore_write_permission(request.brokername()));
    }
    kLog.info(wipe ? "write_permission_wiped" : "write_permission_restored",
              {{"broker", request.brokername()},
               {"topics", wipe ? response.wipetopiccount() : response.addtopiccount()},
               {"peer", frame.connection.peer()}});
    frame.connection.reply(net::reply_to(frame), wire::ResponseCode::kSuccess, "", &response);
}

/// Asks for the pass-end work that is due, and publishes the counts.
void RequestHandler::settle() {
    loop_.role().assert_held();
    if (watches_.has_due() || (!kv_waiting_.empty() && !is_kv_writing_)) {
        loop_.at_pass_end(*this);
    }
    counts_.brokers.store(routes_.broker_count(), std::memory_order_relaxed);
    counts_.topics.store(routes_.topic_count(), std::memory_order_relaxed);
    counts_.watches.store(watches_.size(), std::memory_order_relaxed);
    counts_.rejected_topics.store(routes_.rejected_topics(), std::memory_order_relaxed);
}

void RequestHandler::on_pass_end() {
    for (const Watch& watch : watches_.take_due()) {
        answer_watch(watch);
    }
    save_kv();
    settle();
}

}  // namespace gantry::nameserver
