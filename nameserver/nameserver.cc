// SPDX-License-Identifier: Apache-2.0
#include "nameserver/nameserver.h"

#include <chrono>
#include <utility>

namespace gantry::nameserver {
namespace {

constexpr std::chrono::milliseconds kDrainLimit{1'000};
/// Answers one connection may have waiting before its next request is handled; more would let a
/// client that asks and does not read keep the loop from others.
constexpr std::uint64_t kOutputBytesMax = std::uint64_t{1} << 20U;

}  // namespace

Result<std::unique_ptr<Nameserver>> Nameserver::start(const NameserverSettings& settings,
                                                      Clock& clock) {
    auto nameserver = std::make_unique<Nameserver>(Private{});
    GANTRY_TRY(nameserver->open(settings, clock));
    return nameserver;
}

Status Nameserver::open(const NameserverSettings& settings, Clock& clock) {
    files_ = make_posix_file_system();
    net::EventLoop::Options loop_options;
    loop_options.name = "nameserver";
    GANTRY_ASSIGN_OR_RETURN(loop_, net::EventLoop::create(loop_options));
    if (!settings.kv_file.empty()) {
        kv_file_ = std::make_unique<KvFile>(*files_, settings.kv_file);
    }
    handler_ = std::make_unique<RequestHandler>(
        RequestHandler::Parts{*loop_, clock, metrics_, kv_file_.get()}, settings);
    GANTRY_TRY(handler_->load());

    net::Server::Options options;
    options.address = settings.base.listen_address;
    options.port = static_cast<std::uint16_t>(settings.base.listen_port);
    options.connections_max = static_cast<std::uint32_t>(settings.connections_max);
    options.connection.output_bytes_max = kOutputBytesMax;
    GANTRY_ASSIGN_OR_RETURN(server_, net::Server::listen(options, {loop_.get()}, *handler_));
    metrics_.gauge("gantry_nameserver_connections", "Open connections.", [this] {
        return static_cast<double>(server_->connection_count());
    });

    net::HttpServer::Options http_options;
    http_options.address = settings.base.http_address;
    http_options.port = static_cast<std::uint16_t>(settings.base.http_port);
    GANTRY_ASSIGN_OR_RETURN(
        http_, net::HttpServer::listen(http_options, metrics_, [] { return std::string(); }));
    handler_->start();
    loop_->start_thread();
    http_->start();
    is_running_ = true;
    return ok();
}

Nameserver::~Nameserver() {
    stop();
    http_.reset();
    server_.reset();
}

std::uint16_t Nameserver::port() const {
    return server_->port();
}

std::uint16_t Nameserver::http_port() const {
    return http_->port();
}

void Nameserver::stop() {
    if (!std::exchange(is_running_, false)) {
        return;
    }
    http_->stop();
    server_->stop(kDrainLimit);
    loop_->stop();
    loop_->join();
}

}  // namespace gantry::nameserver
