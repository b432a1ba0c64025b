// SPDX-License-Identifier: Apache-2.0
#include "broker/pop/pop_replies.h"

#include "broker/context.h"
#include "broker/delivery/runs.h"
#include "broker/loop_state.h"
#include "common/failpoint/failpoint.h"
#include "common/log.h"
#include "storage/pop/pops.h"

#include <utility>

namespace gantry::broker {

namespace {

constexpr Logger kLog("broker");

}  // namespace

PopReplies::PopReplies(Context& context, LoopState& loop) : context_(context), loop_(loop) {}

PopReplies::~PopReplies() {
    loop_.loop().role().assert_held();
    loop_.loop().forget(*this);
}

void PopReplies::want_pass_end() {
    loop_.loop().role().assert_held();
    loop_.loop().at_pass_end(*this);
}

void PopReplies::add(PopReply reply) {
    replies_.push_back(std::move(reply));
    want_pass_end();
}

void PopReplies::add(std::function<void()> answer) {
    answers_.push_back(std::move(answer));
    want_pass_end();
}

void PopReplies::write_all() {
    writes_all_ = true;
    want_pass_end();
}

void PopReplies::on_pass_end() {
    using What = storage::Pops::What;
    GANTRY_FAILPOINT("pop.handed_out");
    const Status written = context_.store->pops().write(
        std::exchange(writes_all_, false) ? What::kAll : What::kLeases);
    GANTRY_FAILPOINT("pop.written");
    if (!written) {
        context_.counters.pops.unwritten.add();
        kLog.debug("pops_not_written", {{"error", written.error()}});
    }
    for (PopReply& reply : std::exchange(replies_, {})) {
        send(reply);
    }
    for (const auto& answer : std::exchange(answers_, {})) {
        answer();
    }
}

void PopReplies::send(PopReply& reply) {
    Peer* const peer = loop_.find_peer(reply.to.peer);
    if (peer == nullptr || !peer->connection->is_open()) {
        take_back(reply);
        return;
    }
    net::Connection& connection = *peer->connection;
    const std::size_t bytes = reply.copies.empty() ? reply.found.bytes : reply.copies.size();
    connection.begin_reply(
        reply.to.to, wire::ResponseCode::kSuccess, "FOUND", &reply.fields, bytes);
    if (reply.copies.empty()) {
        append_runs(connection.output(), reply.found);
    } else {
        connection.output().append_owned(std::move(reply.copies));
    }
    context_.counters.messages_out.add(reply.found.count);
    context_.counters.bytes_out.add(bytes);
}

/// They were not delivered: others get them at once.
void PopReplies::take_back(const PopReply& reply) {
    const WallMs pop_ms = reply.fields.poptime();
    context_.store->pops().table().with(
        reply.group, reply.queue->topic, [&](storage::PopShare& share) {
            storage::PopQueue* const queue = share.find(reply.queue->queue_id);
            for (const storage::OffsetSpan& span : reply.spans) {
                if (queue != nullptr) {
                    queue->renew(span, pop_ms, {pop_ms, pop_ms, 1});
                }
            }
            return true;
        });
}

}  // namespace gantry::broker
