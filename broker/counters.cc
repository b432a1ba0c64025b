// SPDX-License-Identifier: Apache-2.0
#include "broker/counters.h"

#include <string>

namespace gantry::broker {

PopCounters::PopCounters(MetricRegistry& r)
    : asked(r.counter("gantry_broker_pops_total", "Pop requests.")),
      parked(r.counter("gantry_broker_pops_parked_total", "Pops that had to wait.")),
      woken(r.counter("gantry_broker_pops_woken_total", "Waiting pops tried again.")),
      again(r.counter("gantry_broker_pop_messages_again_total",
                      "Messages handed out again because their invisible time was over.")),
      acked(r.counter("gantry_broker_pop_messages_acked_total", "Popped messages acknowledged.")),
      stale(r.counter("gantry_broker_pop_messages_stale_total",
                      "Popped messages acknowledged or re-timed too late, or twice.")),
      unwritten(r.counter("gantry_broker_pops_unwritten_total",
                          "Times that the store did not take what was handed out.")) {}

ShareCounters::ShareCounters(MetricRegistry& r)
    : granted(r.counter("gantry_broker_shares_granted_total", "Queues granted to group members.")),
      members_expired(r.counter("gantry_broker_share_members_expired_total",
                                "Members that lost their queues by silence.")),
      commits_fenced(r.counter("gantry_broker_commits_fenced_total",
                               "Offsets refused because the queue has another owner.")),
      out_of_range(r.counter("gantry_broker_offsets_out_of_range_total",
                             "Pulls from an offset that does not exist.")) {}

DelayCounters::DelayCounters(MetricRegistry& r)
    : in(r.counter("gantry_broker_delayed_in_total", "Messages stored for later.")),
      out(r.counter("gantry_broker_delayed_out_total", "Delayed messages delivered.")),
      cancelled(r.counter("gantry_broker_delayed_cancelled_total", "Delayed messages taken back.")),
      dropped(r.counter("gantry_broker_delayed_dropped_total",
                        "Due messages dropped because their topic is gone.")) {}

FlowCounters::FlowCounters(MetricRegistry& r)
    : refused(r.counter("gantry_broker_flow_refused_total",
                        "Requests refused by a limit of rates or of memory.")),
      delayed(r.counter("gantry_broker_flow_delayed_total",
                        "Times that pulls and pops had to wait for a limit of rates.")),
      memory_refused(r.counter("gantry_broker_memory_refused_total",
                               "Requests refused because limits.memory_bytes_max is held.")) {}

ReplyCounters::ReplyCounters(MetricRegistry& r)
    : pushed(r.counter("gantry_broker_replies_pushed_total",
                       "Replies sent to the client that asked.")),
      unserved(r.counter("gantry_broker_replies_unserved_total",
                         "Replies whose client was not connected.")) {}

Counters::Counters(MetricRegistry& r)
    : requests(r.counter("gantry_broker_requests_total", "Requests received.")),
      messages_in(r.counter("gantry_broker_messages_in_total", "Messages stored for producers.")),
      bytes_in(r.counter("gantry_broker_bytes_in_total", "Bytes of records stored.")),
      sends_repeated(r.counter("gantry_broker_sends_repeated_total",
                               "Numbered sends that were stored before, and answered so.")),
      sends_misnumbered(r.counter(
          "gantry_broker_sends_misnumbered_total",
          "Sends refused because one before them is missing, or their numbers are over.")),
      messages_out(r.counter("gantry_broker_messages_out_total", "Messages given to consumers.")),
      bytes_out(r.counter("gantry_broker_bytes_out_total", "Bytes of records given out.")),
      expired(r.counter("gantry_broker_expired_total",
                        "Messages that pulls left out because their time was over.")),
      pulls(r.counter("gantry_broker_pulls_total", "Pull requests.")),
      pulls_parked(r.counter("gantry_broker_pulls_parked_total", "Pulls that had to wait.")),
      pulls_woken(r.counter("gantry_broker_pulls_woken_total", "Waiting pulls tried again.")),
      cold_reads(r.counter("gantry_broker_cold_reads_total", "Reads not in the page cache.")),
      filter_scanned(
          r.counter("gantry_broker_filter_scanned_total", "Messages looked at for SQL92 filters.")),
      filter_matched(r.counter("gantry_broker_filter_matched_total",
                               "Messages that an SQL92 filter matched.")),
      filter_failed(r.counter("gantry_broker_filter_failed_total",
                              "Messages left out because a property is not the number an SQL92 "
                              "filter compares it with.")),
      lost_told(r.counter("gantry_broker_lost_told_total",
                          "Lost messages that pulls were told of or led around.")),
      offset_commits(r.counter("gantry_broker_offset_commits_total", "Committed offsets logged.")),
      offsets_lost(r.counter("gantry_broker_offset_commits_lost_total",
                             "One-way offset commits the store refused.")),
      sent_back(r.counter("gantry_broker_sent_back_total", "Messages consumers sent back.")),
      dead_letters(r.counter("gantry_broker_dead_letters_total", "Messages delivered too often.")),
      fenced(r.counter("gantry_broker_fenced_total",
                       "Requests refused because another client has the queue, or none has.")),
      transactions_begun(
          r.counter("gantry_broker_transactions_begun_total", "Half messages stored.")),
      transactions_committed(
          r.counter("gantry_broker_transactions_committed_total", "Transactions committed.")),
      transactions_rolled_back(
          r.counter("gantry_broker_transactions_rolled_back_total", "Transactions rolled back.")),
      transactions_asked(r.counter("gantry_broker_transactions_asked_total",
                                   "Producers asked for the outcome of a transaction.")),
      transactions_unserved(r.counter("gantry_broker_transactions_unserved_total",
                                      "Outcomes that no producer was there to be asked for.")),
      transactions_given_up(r.counter("gantry_broker_transactions_given_up_total",
                                      "Transactions ended because nobody knew the outcome.")),
      transactions_lost(r.counter("gantry_broker_transactions_lost_total",
                                  "Transactions whose half message cannot be read any more.")),
      member_changes(r.counter("gantry_broker_member_changes_total", "Changes of group members.")),
      requests_failed(r.counter("gantry_broker_requests_failed_total", "Requests refused.")),
      delayed(r),
      flow(r),
      replies(r),
      pops(r),
      shares(r) {
    add_failures(r);
    add_gauges(r);
}

void Counters::add_failures(MetricRegistry& r) {
    for (std::size_t i = 0; i < kErrcCount; ++i) {
        const std::string name(to_string(static_cast<Errc>(i)));
        failed_by_class[i] = &r.counter("gantry_broker_requests_failed_" + name + "_total",
                                        "Requests refused as " + name + ".");
    }
}

void Counters::add_gauges(MetricRegistry& r) {
    r.gauge("gantry_broker_pending_acks", "Requests that wait for the disk.", [this] {
        return static_cast<double>(pending_acks.load(std::memory_order_relaxed));
    });
    r.gauge("gantry_broker_connections", "Open client connections.", [this] {
        return static_cast<double>(connections.load(std::memory_order_relaxed));
    });
}

}  // namespace gantry::broker
