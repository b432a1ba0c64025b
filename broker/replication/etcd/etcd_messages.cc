// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/etcd/etcd_messages.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <utility>

namespace gantry::broker {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

Error corrupt(const std::string& what) {
    return Error{Errc::kCorrupt, "etcd: " + what};
}

/// The first key behind all that begin with `prefix`, which ends with no 0xFF.
std::string behind(std::string_view prefix) {
    std::string end(prefix);
    end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1U);
    return end;
}

/// An integer field: a number, or one in a string; absent is 0, as is what is none.
template <class Int>
Int number(const Json& object, const char* name) {
    const auto found = object.find(name);
    if (found == object.end()) {
        return 0;
    }
    if (found->is_number_integer()) {
        return found->get<Int>();
    }
    Int value = 0;
    if (found->is_string()) {
        const auto& text = found->get_ref<const std::string&>();
        std::from_chars(text.data(), text.data() + text.size(), value);
    }
    return value;
}

bool flag(const Json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_boolean() && found->get<bool>();
}

std::string text_of(const Json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

/// An object field; an empty one when it is absent.
const Json& part(const Json& object, const char* name) {
    static const Json kNothing = Json::object();
    const auto found = object.find(name);
    return found != object.end() && found->is_object() ? *found : kNothing;
}

const Json& array(const Json& object, const char* name) {
    static const Json kNothing = Json::array();
    const auto found = object.find(name);
    return found != object.end() && found->is_array() ? *found : kNothing;
}

Result<Json> parse(std::string_view body) {
    Json value = Json::parse(body, nullptr, false);
    if (!value.is_object()) {
        return corrupt("the answer is no JSON object: " + std::string(body.substr(0, 200)));
    }
    return value;
}

Result<EtcdKey> key_of(const Json& entry) {
    std::optional<std::string> key = from_base64(text_of(entry, "key"));
    std::optional<std::string> value = from_base64(text_of(entry, "value"));
    if (!entry.is_object() || !key || key->empty() || !value) {
        return corrupt("a key or value is no base64");
    }
    return EtcdKey{.key = std::move(*key),
                   .value = std::move(*value),
                   .revision = number<std::uint64_t>(entry, "mod_revision"),
                   .lease = number<std::int64_t>(entry, "lease")};
}

}  // namespace

std::string to_base64(std::string_view bytes) {
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const std::size_t have = std::min<std::size_t>(3, bytes.size() - i);
        std::uint32_t group = 0;
        for (std::size_t j = 0; j < 3; ++j) {
            group = group << 8U | (j < have ? static_cast<unsigned char>(bytes[i + j]) : 0U);
        }
        for (std::size_t j = 0; j < 4; ++j) {
            text += j <= have ? kAlphabet[group >> (18U - 6U * j) & 0x3FU] : '=';
        }
    }
    return text;
}

std::optional<std::string> from_base64(std::string_view text) {
    if (text.size() % 4 != 0) {
        return std::nullopt;
    }
    std::string bytes;
    for (std::size_t i = 0; i < text.size(); i += 4) {
        const bool is_last = i + 4 == text.size();
        std::size_t pads = is_last && text[i + 3] == '=' ? 1 : 0;
        pads += pads == 1 && text[i + 2] == '=' ? 1 : 0;
        std::uint32_t group = 0;
        for (std::size_t j = 0; j < 4; ++j) {
            const std::size_t digit = j < 4 - pads ? kAlphabet.find(text[i + j]) : 0;
            if (digit == std::string_view::npos) {
                return std::nullopt;
            }
            group = group << 6U | static_cast<std::uint32_t>(digit);
        }
        for (std::size_t j = 0; j < 3 - pads; ++j) {
            bytes += static_cast<char>(group >> (16U - 8U * j) & 0xFFU);
        }
    }
    return bytes;
}

std::string etcd_range_request(std::string_view prefix) {
    return Json{{"key", to_base64(prefix)}, {"range_end", to_base64(behind(prefix))}}.dump();
}

std::string etcd_watch_request(std::string_view prefix, std::uint64_t from_revision) {
    Json create = {{"key", to_base64(prefix)},
                   {"range_end", to_base64(behind(prefix))},
                   {"start_revision", std::to_string(from_revision)}};
    return Json::object({{"create_request", std::move(create)}}).dump();
}

std::string etcd_put_request(const EtcdKey& key, const EtcdCondition& condition) {
    const std::string name = to_base64(key.key);
    Json put = {{"key", name}, {"value", to_base64(key.value)}};
    if (key.lease != 0) {
        put["lease"] = std::to_string(key.lease);
    }
    const Json compare = {{"key", name},
                          {"target", "MOD"},
                          {"result", "EQUAL"},
                          {"mod_revision", std::to_string(condition.revision)}};
    return Json{{"compare", Json::array({compare})},
                {"success", Json::array({Json::object({{"request_put", std::move(put)}})})}}
        .dump();
}

std::string etcd_grant_request(std::int64_t seconds) {
    return Json::object({{"TTL", std::to_string(seconds)}}).dump();
}

std::string etcd_lease_request(std::int64_t id) {
    return Json::object({{"ID", std::to_string(id)}}).dump();
}

Result<EtcdListing> parse_etcd_listing(std::string_view body) {
    GANTRY_ASSIGN_OR_RETURN(const Json value, parse(body));
    const Json& header = part(value, "header");
    EtcdListing listing{.cluster = number<std::uint64_t>(header, "cluster_id"),
                        .revision = number<std::uint64_t>(header, "revision"),
                        .keys = {}};
    if (listing.revision == 0) {
        return corrupt("a listing without a revision");
    }
    for (const Json& entry : array(value, "kvs")) {
        GANTRY_ASSIGN_OR_RETURN(EtcdKey key, key_of(entry));
        listing.keys.push_back(std::move(key));
    }
    return listing;
}

Result<std::uint64_t> parse_etcd_put(std::string_view body) {
    GANTRY_ASSIGN_OR_RETURN(const Json value, parse(body));
    const auto revision = number<std::uint64_t>(part(value, "header"), "revision");
    if (revision == 0) {
        return corrupt("an answer without a revision");
    }
    if (!flag(value, "succeeded")) {
        return Error{Errc::kConflict,
                     "the key was changed before; etcd is at revision " + std::to_string(revision)};
    }
    return revision;
}

Result<EtcdLease> parse_etcd_lease(std::string_view body) {
    GANTRY_ASSIGN_OR_RETURN(const Json value, parse(body));
    // A renewal is a stream of one: its answer is wrapped.
    const Json& lease = value.contains("result") ? part(value, "result") : value;
    const EtcdLease parsed{.id = number<std::int64_t>(lease, "ID"),
                           .seconds = number<std::int64_t>(lease, "TTL")};
    if (parsed.id == 0) {
        return corrupt("an answer without a lease");
    }
    if (parsed.seconds <= 0) {
        return Error{Errc::kNotFound, "lease " + std::to_string(parsed.id) + " is over"};
    }
    return parsed;
}

Result<EtcdWatchNews> parse_etcd_watch(std::string_view line) {
    GANTRY_ASSIGN_OR_RETURN(const Json value, parse(line));
    const Json& result = part(value, "result");
    EtcdWatchNews news;
    news.revision = number<std::uint64_t>(part(result, "header"), "revision");
    if (value.contains("error")) {
        news.ended = value["error"].dump();
    } else if (const auto compacted = number<std::uint64_t>(result, "compact_revision");
               compacted != 0) {
        news.ended = "compacted up to revision " + std::to_string(compacted);
    } else if (flag(result, "canceled")) {
        news.ended = "cancelled: " + text_of(result, "cancel_reason");
    }
    for (const Json& event : array(result, "events")) {
        GANTRY_ASSIGN_OR_RETURN(EtcdKey key, key_of(part(event, "kv")));
        news.changes.push_back(
            {.key = std::move(key), .is_deleted = text_of(event, "type") == "DELETE"});
    }
    return news;
}

Error etcd_error(int status, std::string_view body) {
    // gRPC's numbers.
    constexpr int kInvalid = 3;
    constexpr int kMissing = 5;
    constexpr int kForbidden = 7;
    constexpr int kExhausted = 8;
    constexpr int kUnauthenticated = 16;
    const Json value = Json::parse(body, nullptr, false);
    const std::string reason = value.is_object() ? text_of(value, "error") : std::string();
    const std::string detail = "etcd: HTTP " + std::to_string(status) + ": " +
                               (reason.empty() ? std::string(body.substr(0, 200)) : reason);
    switch (value.is_object() ? number<int>(value, "code") : 0) {
        case kInvalid:
            return Error{Errc::kRefused, detail};
        case kMissing:
            return Error{Errc::kNotFound, detail};
        case kForbidden:
        case kUnauthenticated:
            return Error{Errc::kDenied, detail};
        case kExhausted:
            return Error{reason.find("space") != std::string::npos ? Errc::kDiskFull : Errc::kBusy,
                         detail};
        default:
            return Error{Errc::kUnknown, detail};
    }
}

}  // namespace gantry::broker
