// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/etcd/etcd_messages.h"

#include <doctest/doctest.h>

namespace gantry::broker {

TEST_SUITE("broker/replication/etcd_messages") {
    TEST_CASE("base64 comes back as it was, what is none is refused") {
        CHECK(to_base64("") == "");
        CHECK(to_base64("f") == "Zg==");
        CHECK(to_base64("fo") == "Zm8=");
        CHECK(to_base64("foo") == "Zm9v");
        CHECK(to_base64("foobar") == "Zm9vYmFy");
        std::string all;
        for (int byte = 0; byte < 256; ++byte) {
            all += static_cast<char>(byte);
            CHECK(from_base64(to_base64(all)) == all);
        }
        for (const char* const bad : {"Z", "Zg=", "Zg=a", "====", "Z===", "Zm9\n", "Zg==Zg=="}) {
            CHECK_MESSAGE(!from_base64(bad), bad);
        }
    }

    TEST_CASE("requests are as the gateway wants them") {
        CHECK(etcd_range_request("a/") == R"({"key":"YS8=","range_end":"YTA="})");
        CHECK(etcd_watch_request("a/", 7) ==
              R"({"create_request":{"key":"YS8=","range_end":"YTA=","start_revision":"7"}})");
        CHECK(etcd_grant_request(5) == R"({"TTL":"5"})");
        CHECK(etcd_lease_request(9'007'199'254'740'993) == R"({"ID":"9007199254740993"})");
        CHECK(etcd_put_request({.key = "k", .value = "v", .lease = 3}, {.revision = 4}) ==
              R"({"compare":[{"key":"aw==","mod_revision":"4","result":"EQUAL","target":"MOD"}],)"
              R"("success":[{"request_put":{"key":"aw==","lease":"3","value":"dg=="}}]})");
    }

    TEST_CASE("what is zero is left out of the answers") {
        const auto listing = parse_etcd_listing(
            R"({"header":{"cluster_id":"1","revision":"3"},"kvs":[{"key":"aw==",)"
            R"("create_revision":"2","mod_revision":"3","version":"1","value":"dg==","lease":"9"},)"
            R"({"key":"bA==","mod_revision":"1"}],"count":"2"})");
        REQUIRE(listing);
        REQUIRE(listing->keys.size() == 2);
        CHECK(listing->revision == 3);
        CHECK(listing->keys[0].key == "k");
        CHECK(listing->keys[0].value == "v");
        CHECK(listing->keys[0].revision == 3);
        CHECK(listing->keys[0].lease == 9);
        CHECK(listing->keys[1].value.empty());
        CHECK(parse_etcd_listing(R"({"header":{"revision":"1"}})")->keys.empty());
        CHECK(parse_etcd_put(R"({"header":{"revision":"6"},"succeeded":true})").value() == 6);
        CHECK(parse_etcd_put(R"({"header":{"revision":"6"}})").error().code == Errc::kConflict);
        CHECK(parse_etcd_lease(R"({"ID":"5","TTL":"4"})")->seconds == 4);
        CHECK(parse_etcd_lease(R"({"result":{"ID":"5","TTL":"4"}})")->id == 5);
        CHECK(parse_etcd_lease(R"({"result":{"ID":"5"}})").error().code == Errc::kNotFound);
    }

    TEST_CASE("a watch tells what is put, deleted, compacted and cancelled") {
        const auto created =
            parse_etcd_watch(R"({"result":{"header":{"revision":"2"},"created":true}})");
        REQUIRE(created);
        CHECK(created->changes.empty());
        CHECK(created->ended.empty());
        const auto news = parse_etcd_watch(
            R"({"result":{"header":{"revision":"8"},"events":[{"kv":{"key":"aw==","value":"dg==",)"
            R"("mod_revision":"7"}},{"type":"DELETE","kv":{"key":"aw==","mod_revision":"8"}}]}})");
        REQUIRE(news);
        REQUIRE(news->changes.size() == 2);
        CHECK_FALSE(news->changes[0].is_deleted);
        CHECK(news->changes[1].is_deleted);
        CHECK(news->changes[1].key.revision == 8);
        CHECK(parse_etcd_watch(R"({"result":{"canceled":true,"compact_revision":"8"}})")->ended ==
              "compacted up to revision 8");
        CHECK_FALSE(parse_etcd_watch(R"({"error":{"grpc_code":14,"message":"x"}})")->ended.empty());
        CHECK_FALSE(parse_etcd_watch("{\"result\":"));
    }

    TEST_CASE("refusals are told apart by what they mean for the request") {
        CHECK(
            etcd_error(404, R"({"error":"etcdserver: requested lease not found","code":5})").code ==
            Errc::kNotFound);
        CHECK(etcd_error(429, R"({"error":"etcdserver: mvcc: database space exceeded","code":8})")
                  .code == Errc::kDiskFull);
        CHECK(etcd_error(429, R"({"error":"etcdserver: too many requests","code":8})").code ==
              Errc::kBusy);
        CHECK(etcd_error(400, R"({"error":"bad","code":3})").code == Errc::kRefused);
        CHECK(etcd_error(503, R"({"error":"etcdserver: no leader","code":14})").code ==
              Errc::kUnknown);
        CHECK(etcd_error(502, "<html>").code == Errc::kUnknown);
    }

    TEST_CASE("answers that are none are corrupt, not believed") {
        for (const char* const text :
             {"", "null", "[]", "{", "{}", R"({"header":{"revision":[]}})"}) {
            CHECK_FALSE(parse_etcd_listing(text));
            CHECK_FALSE(parse_etcd_put(text));
            CHECK_FALSE(parse_etcd_lease(text));
        }
        CHECK(
            parse_etcd_listing(R"({"header":{"revision":"1"},"kvs":[{"key":"?"}]})").error().code ==
            Errc::kCorrupt);
        CHECK_FALSE(parse_etcd_listing(R"({"header":{"revision":"1"},"kvs":[1]})"));
    }
}

}  // namespace gantry::broker
