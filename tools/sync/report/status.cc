// SPDX-License-Identifier: Apache-2.0
#include "sync/report/status.h"

#include "cli/table.h"
#include "common/unique_fd.h"
#include "protocol/net/socket.h"

#include <nlohmann/json.hpp>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <system_error>
#include <unistd.h>

namespace gantry::sync {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kHttpSeconds = 5;

std::string place_of(const client::QueueId& queue) {
    return queue.topic + '/' + queue.broker + '/' + std::to_string(queue.queue);
}

Json json_of(const QueueReport& queue, WallMs now) {
    Json targets = Json::array();
    for (const client::QueueId& target : queue.targets) {
        targets.push_back(place_of(target));
    }
    return {{"source", place_of(queue.source)},
            {"targets", targets},
            {"state", name_of(queue.state)},
            {"reason", queue.reason},
            {"done", queue.done},
            {"end", queue.end},
            {"lag_messages", queue.lag()},
            {"lag_bytes", queue.lag_bytes()},
            {"lag_seconds", queue.lag_seconds(now)},
            {"frames_in_flight", queue.flying},
            {"messages", queue.counts.messages},
            {"bytes", queue.counts.bytes},
            {"skipped", queue.counts.skipped},
            {"lost", queue.counts.lost},
            {"retries", queue.counts.retries},
            {"rewinds", queue.counts.rewinds},
            {"repeats", queue.counts.repeats}};
}

std::string decimal(double value) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.1f", value);
    return text.data();
}

Result<UniqueFd> connect_to(const std::string& address) {
    GANTRY_ASSIGN_OR_RETURN(const net::HostPort place, net::split_host_port(address));
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const std::string port = std::to_string(place.port);
    if (const int code = ::getaddrinfo(place.host.c_str(), port.c_str(), &hints, &found);
        code != 0) {
        return Error{Errc::kGone, address + ": " + ::gai_strerror(code)};
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> freed(found, &::freeaddrinfo);
    timeval limit{};
    limit.tv_sec = kHttpSeconds;
    std::string why;
    for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
        UniqueFd socket(::socket(one->ai_family, one->ai_socktype | SOCK_CLOEXEC, 0));
        ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        if (::connect(socket.get(), one->ai_addr, one->ai_addrlen) == 0) {
            return socket;
        }
        why = errno == EINPROGRESS ? "no answer in " + std::to_string(kHttpSeconds) + " s"
                                   : std::generic_category().message(errno);
    }
    return Error{Errc::kGone, address + ": " + why};
}

/// A row of a route as a whole.
void add_route(cli::Table& table, const Json& route) {
    const auto add = [&](const std::string& state, const std::string& why) {
        table.add({route.value("name", ""), "-", "-", state, "-", "-", "-", "-", "-", why});
    };
    if (const auto problem = route.value("problem", ""); !problem.empty()) {
        add("problem", problem);
    } else if (route.at("queues").empty()) {
        add("idle",
            "no topic of " + route.value("from", "") +
                " fits, or other daemons have all its queues");
    }
}

void add_queue(cli::Table& table, const std::string& route, const Json& queue) {
    const Json& targets = queue.at("targets");
    const std::string target = targets.empty()       ? "-"
                               : targets.size() == 1 ? targets[0].get<std::string>()
                                                     : std::to_string(targets.size()) + " queues";
    const bool is_end_known = queue.value("end", std::int64_t{-1}) >= 0;
    table.add({route,
               queue.value("source", ""),
               target,
               queue.value("state", ""),
               is_end_known ? std::to_string(queue.value("lag_messages", std::int64_t{0})) : "-",
               is_end_known ? decimal(queue.value("lag_seconds", 0.0)) : "-",
               std::to_string(queue.value("messages", std::uint64_t{0})),
               std::to_string(queue.value("skipped", std::uint64_t{0})),
               std::to_string(queue.value("lost", std::uint64_t{0})),
               queue.value("reason", "")});
}

}  // namespace

std::string status_json(const std::vector<RouteReport>& reports, WallMs now) {
    Json routes = Json::array();
    for (const RouteReport& report : reports) {
        Json queues = Json::array();
        for (const QueueReport& queue : report.queues) {
            queues.push_back(json_of(queue, now));
        }
        routes.push_back({{"name", report.name},
                          {"from", report.from},
                          {"to", report.to},
                          {"problem", report.problem},
                          {"queues", queues}});
    }
    return Json{{"routes", routes}}.dump() + '\n';
}

Result<std::string> status_table(const std::string& json) {
    cli::Table table(
        {"ROUTE", "SOURCE", "TARGET", "STATE", "LAG", "LAG S", "COPIED", "SKIPPED", "LOST", "WHY"});
    try {
        const Json status = Json::parse(json);
        for (const Json& route : status.at("routes")) {
            add_route(table, route);
            for (const Json& queue : route.at("queues")) {
                add_queue(table, route.value("name", ""), queue);
            }
        }
    } catch (const Json::exception&) {
        return Error{Errc::kCorrupt, "no status of gantry-sync: " + json.substr(0, 100)};
    }
    return table.rows() == 0 ? "no routes\n" : table.text();
}

Result<std::string> http_get(const std::string& address, const std::string& path) {
    GANTRY_ASSIGN_OR_RETURN(const UniqueFd socket, connect_to(address));
    const std::string request =
        "GET " + path + " HTTP/1.1\r\nHost: " + address + "\r\nConnection: close\r\n\r\n";
    if (::send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request.size())) {
        return Error{Errc::kGone, address + " took no request"};
    }
    std::string answer;
    std::array<char, 16'384> part{};
    for (;;) {
        const ssize_t got = ::recv(socket.get(), part.data(), part.size(), 0);
        if (got <= 0) {
            break;
        }
        answer.append(part.data(), static_cast<std::size_t>(got));
    }
    const std::size_t head = answer.find("\r\n\r\n");
    if (head == std::string::npos || answer.find(" 200 ") > answer.find("\r\n")) {
        const std::string said = answer.substr(0, answer.find("\r\n"));
        return Error{Errc::kIo, address + path + ": " + (said.empty() ? "no answer" : said)};
    }
    return answer.substr(head + 4);
}

}  // namespace gantry::sync
