// SPDX-License-Identifier: Apache-2.0
#include "tests/storage/faults/writer_child.h"

#include "common/failpoint/failpoint.h"
#include "common/random.h"
#include "common/unique_fd.h"
#include "tests/storage/store_fixture.h"

#include <array>
#include <csignal>
#include <cstdio>
#include <deque>
#include <span>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

namespace gantry::storage {
namespace {

/// No plan takes a fraction of that on the slowest machine.
constexpr unsigned kWriterSeconds = 100;

[[noreturn]] void give_up(const char* what, const Error& error) {
    std::fprintf(stderr, "writer: %s: %s\n", what, to_string(error).c_str());
    std::_Exit(3);
}

template <class T>
void must(const char* what, const Result<T>& result) {
    if (!result) {
        give_up(what, result.error());
    }
}

/// The life of the process. No doctest in here.
class Writer {
public:
    Writer(const WriterPlan& plan, int pipe)
        : plan_(plan), pipe_(pipe), random_(plan.seed), next_(plan.first_number) {}

    void run() {
        must("failpoints", failpoint::set_from_text(plan_.failpoints));
        auto opened = Store::open(*files_, clock_, metrics_, plan_.options);
        must("open", opened);
        store_ = std::move(opened->store);
        ensure_topic();
        const std::uint32_t end = next_ + plan_.appends;
        while (next_ < end) {
            random_.below(3) == 0 ? append_plain() : append_batch();
            if (random_.below(4) == 0) {
                store_->flush_soon();
            }
            tell();
        }
        while (!waiting_.empty()) {
            store_->flush_soon();
            tell();
        }
        must("close", store_->close());
        store_.reset();
    }

private:
    struct Waiting {
        LogOffset end;
        Acknowledged message;
    };

    void ensure_topic() {
        if (store_->find_topic("t") == nullptr) {
            wire::StateRecord changes;
            wire::TopicConfig& put = *changes.add_changes()->mutable_topicput();
            put.set_topicname("t");
            put.set_readqueuenums(kWriterQueues);
            put.set_writequeuenums(kWriterQueues);
            put.set_perm(perm::kRead | perm::kWrite);
            must("topic", store_->state().commit(changes));
        }
        topic_ = store_->find_topic("t");
    }

    Queue& some_queue() {
        return *topic_->queue(static_cast<std::int32_t>(random_.below(kWriterQueues)));
    }

    void appended(const Queue& queue, std::uint32_t first, const Appended& at) {
        for (std::uint32_t i = 0; i < at.count; ++i) {
            waiting_.push_back({at.end, {at.queue_offset.value + i, queue.queue_id, first + i}});
        }
    }

    /// Records in stored form, as a native producer sends them.
    void append_batch() {
        Queue& queue = some_queue();
        const auto count = static_cast<std::uint32_t>(1 + random_.below(4));
        const std::uint32_t first = next_;
        std::string bytes;
        for (std::uint32_t i = 0; i < count; ++i) {
            const std::string body = numbered_body(next_, writer_body_bytes(next_));
            bytes += record_of(queue, body, writer_key(next_));
            ++next_;
        }
        const auto at = store_->append_records(queue, as_bytes(bytes), count, true);
        must("append", at);
        appended(queue, first, *at);
    }

    static std::string record_of(const Queue& queue,
                                 const std::string& body,
                                 const std::string& key) {
        std::string properties;
        must("key", wire::append_property(properties, wire::property::kKeys, key));
        wire::Record record;
        record.queue_id = queue.queue_id;
        record.topic = queue.topic;
        record.body = as_bytes(body);
        record.properties = properties;
        std::string bytes(wire::record_bytes(record), '\0');
        wire::encode_record(record, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()});
        return bytes;
    }

    /// A message, as a stock producer sends it.
    void append_plain() {
        Queue& queue = some_queue();
        const std::uint32_t number = next_++;
        const std::string body = numbered_body(number, writer_body_bytes(number));
        std::string properties;
        must("key", wire::append_property(properties, wire::property::kKeys, writer_key(number)));
        wire::Record record;
        record.body = as_bytes(body);
        record.properties = properties;
        const auto at = store_->append_messages(queue, {&record, 1});
        must("append", at);
        appended(queue, number, *at);
    }

    void tell() {
        const LogOffset durable = store_->watermarks().confirmed;
        while (!waiting_.empty() && waiting_.front().end <= durable) {
            const Acknowledged& message = waiting_.front().message;
            if (::write(pipe_, &message, sizeof(message)) !=
                static_cast<ssize_t>(sizeof(message))) {
                std::_Exit(5);
            }
            waiting_.pop_front();
        }
    }

    const WriterPlan& plan_;
    const int pipe_;
    Random random_;
    std::uint32_t next_;
    std::unique_ptr<FileSystem> files_ = make_posix_file_system();
    SystemClock clock_;
    MetricRegistry metrics_;
    std::unique_ptr<Store> store_;
    Topic* topic_ = nullptr;
    std::deque<Waiting> waiting_;
};

}  // namespace

std::size_t writer_body_bytes(std::uint32_t number) noexcept {
    return 20 + std::size_t{number} * 37 % 2'500;
}

std::string writer_key(std::uint32_t number) {
    return "key" + std::to_string(number);
}

WriterEnd run_writer(const WriterPlan& plan) {
    std::array<int, 2> ends{};
    REQUIRE(::pipe(ends.data()) == 0);
    const UniqueFd read_end(ends[0]);
    UniqueFd write_end(ends[1]);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::alarm(kWriterSeconds);
        Writer(plan, write_end.get()).run();
        std::_Exit(0);
    }
    write_end.reset();
    WriterEnd end;
    Acknowledged said;
    while (::read(read_end.get(), &said, sizeof(said)) == static_cast<ssize_t>(sizeof(said))) {
        end.acknowledged.push_back(said);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    end.was_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    const bool has_ended_well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    const bool is_expected = end.was_killed || has_ended_well;
    REQUIRE_MESSAGE(is_expected, "the writer ended with status " << status);
    return end;
}

}  // namespace gantry::storage
