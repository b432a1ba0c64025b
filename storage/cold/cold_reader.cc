// SPDX-License-Identifier: Apache-2.0
#include "storage/cold/cold_reader.h"

#include "common/log.h"
#include "storage/cold/cold_job.h"
#include "storage/index/queue_index.h"

#include <algorithm>
#include <cstring>
#include <sys/resource.h>
#include <unistd.h>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");
constexpr std::uint64_t kChunkBytes = ChunkCache::kChunkBytes;

/// Below the loops and the flusher: who waits for the disk anyway can wait for a processor.
constexpr int kNiceness = 5;

/// Without a read for that long the chunks' memory is given back.
constexpr std::chrono::seconds kMemoryIdle{5};

/// Threads look at the clock that often at least, while anything is kept.
constexpr std::chrono::milliseconds kLookAgain{500};

const Segment& segment_of(const LogRun& run) noexcept {
    return *static_cast<const Segment*>(run.pin.get());
}

/// The first `bytes` of a reply, which it keeps.
LogRun run_of(const std::shared_ptr<PageBuffer>& reply, std::uint64_t bytes) {
    LogRun run;
    run.memory = Bytes(reply->bytes()).first(bytes);
    run.length = bytes;
    run.pin = reply;
    return run;
}

LogOffset end_of(const LogRun& run) noexcept {
    return run.at + static_cast<std::int64_t>(run.length);
}

}  // namespace

ColdReader::Numbers::Numbers(MetricRegistry& m)
    : reads(m.counter("gantry_store_cold_reads_total", "Replies read from the disk.")),
      bytes(m.counter("gantry_store_cold_bytes_total", "Bytes of replies read from the disk.")),
      disk_reads(m.counter("gantry_store_cold_disk_reads_total",
                           "Reads of the disk for cold readers, ahead of them included.")),
      disk_bytes(m.counter("gantry_store_cold_disk_bytes_total", "Bytes of these reads.")),
      errors(m.counter("gantry_store_cold_errors_total", "Reads that the disk failed.")),
      damaged(m.counter("gantry_store_cold_damaged_total", "Damaged records found by reads.")) {
    const auto gauge = [&](const char* name, const char* help, auto member) {
        m.gauge(name, help, [levels = levels, member] {
            return static_cast<double>(((*levels).*member).load(std::memory_order_relaxed));
        });
    };
    gauge("gantry_store_cold_rate_bytes_per_second",
          "What cold reads may take in total now.",
          &Levels::rate);
    gauge("gantry_store_cold_memory_bytes", "Chunks kept for cold reads.", &Levels::memory_bytes);
    gauge("gantry_store_cold_loop_lag_microseconds",
          "How late loops get to cold replies, smoothed.",
          &Levels::lag_us);
    gauge("gantry_store_cold_waiting", "Cold reads that wait for their turn.", &Levels::waiting);
}

ColdReader::ColdReader(ColdSource& source,
                       const Clock& clock,
                       MetricRegistry& metrics,
                       const ColdOptions& options)
    : source_(source),
      clock_(clock),
      options_(options),
      numbers_(metrics),
      blocks_(options.is_direct),
      pace_(options.bytes_per_second, clock.steady()),
      waiting_(options.group_bytes_per_second),
      chunks_(options.memory_bytes) {}

ColdReader::~ColdReader() {
    stop();
}

void ColdReader::start() {
    if (!threads_.empty()) {
        return;
    }
    {
        const MutexLock lock(mutex_);
        is_stopping_ = false;
    }
    for (std::uint32_t i = 0; i < options_.threads; ++i) {
        threads_.emplace_back([this, i] {
            set_thread_name(("cold-" + std::to_string(i)).c_str());
            static_cast<void>(
                ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kNiceness));
            run();
        });
    }
}

void ColdReader::stop() {
    std::deque<JobPtr> dropped;
    {
        const MutexLock lock(mutex_);
        is_stopping_ = true;
        dropped = waiting_.take_all();
        std::move(runnable_.begin(), runnable_.end(), std::back_inserter(dropped));
        runnable_.clear();
        for (auto& [at, jobs] : for_chunk_) {
            std::move(jobs.begin(), jobs.end(), std::back_inserter(dropped));
        }
        for_chunk_.clear();
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) {
        thread.join();
    }
    threads_.clear();
    for (const JobPtr& job : dropped) {
        job->done(Error{Errc::kClosed, "the store is closing"});
    }
}

Status ColdReader::read(ColdRequest request, ColdDone done) {
    auto job = std::make_unique<Job>();
    job->request = std::move(request);
    job->done = std::move(done);
    {
        const MutexLock lock(mutex_);
        if (is_stopping_) {
            return Error{Errc::kClosed, "the store is closing"};
        }
        if (waiting_.size() >= kWaitingMax) {
            return Error{Errc::kBusy,
                         "cold reads waiting " + std::to_string(waiting_.size()) + " = limit " +
                             std::to_string(kWaitingMax)};
        }
        const std::string group = job->request.group;
        const std::int64_t place = place_of(job->request);
        waiting_.push(group, std::move(job), place);
    }
    wake_.notify_one();
    return ok();
}

void ColdReader::answered_after(std::chrono::nanoseconds lag) {
    const MutexLock lock(mutex_);
    pace_.answered_after(lag);
    if (const auto delay = loop_delay_.sample(clock_.steady())) {
        pace_.waited(delay->waited, delay->elapsed);
    }
    std::atomic<std::uint64_t>& smoothed = numbers_.levels->lag_us;
    const auto us = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(lag).count());
    smoothed.store((smoothed.load(std::memory_order_relaxed) * 15 + us) / 16,
                   std::memory_order_relaxed);
}

void ColdReader::run() {
    for (;;) {
        JobPtr job;
        LogOffset ahead;
        if (!pick(job, ahead)) {
            return;
        }
        if (job != nullptr) {
            work(std::move(job));
        } else {
            read_ahead(ahead);
        }
    }
}

bool ColdReader::pick(JobPtr& job, LogOffset& ahead) {
    const auto [flushes, flush_us] = source_.flushes();
    MutexLock lock(mutex_);
    pace_.flushed(flushes, std::chrono::microseconds(flush_us));
    for (;;) {
        if (is_stopping_) {
            return false;
        }
        const SteadyTime now = clock_.steady();
        numbers_.levels->rate.store(pace_.rate(), std::memory_order_relaxed);
        numbers_.levels->memory_bytes.store(chunks_.bytes(), std::memory_order_relaxed);
        numbers_.levels->waiting.store(waiting_.size(), std::memory_order_relaxed);
        if (pick_locked(now, job, ahead)) {
            busy_at_ = now;
            return true;
        }
        wait_locked(lock, now);
    }
}

bool ColdReader::pick_locked(SteadyTime now, JobPtr& job, LogOffset& ahead) {
    // What has begun is finished, whatever the pace: others may wait for its chunks.
    if (!runnable_.empty()) {
        job = std::move(runnable_.front());
        runnable_.pop_front();
        return true;
    }
    if (!pace_.may_go(now)) {
        return false;
    }
    if (auto next = waiting_.pop(now)) {
        job = std::move(*next);
        return true;
    }
    while (!ahead_.empty()) {
        ahead = ahead_.front();
        ahead_.pop_front();
        is_ahead_.erase(ahead);
        if (!chunks_.contains(ahead)) {
            return true;
        }
    }
    return false;
}

void ColdReader::wait_locked(MutexLock& lock, SteadyTime now) {
    std::optional<SteadyTime> at;
    if (!pace_.may_go(now)) {
        at = pace_.goes_at(now);
    } else if (waiting_.size() != 0) {
        at = waiting_.next_at(now);
    }
    if (at) {
        lock.wait_until(wake_, std::max(*at, now + std::chrono::microseconds(50)));
        return;
    }
    if (chunks_.bytes() == 0 && streams_.empty()) {
        lock.wait(wake_);
        return;
    }
    lock.wait_until(wake_, now + kLookAgain);
    const SteadyTime later = clock_.steady();
    forget_streams(later);
    if (later - busy_at_ > kMemoryIdle) {
        chunks_.drop_all();
    }
}

void ColdReader::forget_chunks() {
    const MutexLock lock(mutex_);
    chunks_.drop_all();
}

void ColdReader::work(JobPtr job) {
    if (!job->is_begun && !begin(*job)) {
        finish(std::move(job), ok());
        return;
    }
    while (!job->is_copied()) {
        const Result<bool> goes_on = advance(job);
        if (!goes_on) {
            finish(std::move(job), goes_on.error());
            return;
        }
        if (!*goes_on) {
            return;
        }
    }
    check(*job);
    finish(std::move(job), ok());
}

bool ColdReader::begin(Job& job) {
    job.is_begun = true;
    if (replies_.taken_bytes() > options_.memory_bytes / 2) {
        // Peers do not take their answers: small ones only, so that the others go on.
        job.request.units.count_max = 1;
    }
    job.result = source_.find(*job.request.queue, job.units());
    if (job.result.status != ReadStatus::kFound || !job.result.is_cold) {
        return false;
    }
    job.reply = replies_.take(job.result.bytes);
    if (job.reply == nullptr) {
        // No memory now: the reader asks again.
        ReadResult nothing;
        nothing.status = ReadStatus::kNoMatch;
        nothing.next = job.request.units.from;
        nothing.min = job.result.min;
        nothing.max = job.result.max;
        job.result = std::move(nothing);
        return false;
    }
    plan(job);
    return true;
}

void ColdReader::plan(Job& job) {
    const std::vector<LogRun>& runs = job.result.runs;
    std::vector<LogOffset> needed;
    for (const LogRun& run : runs) {
        const LogOffset last = chunk_of(segment_of(run), end_of(run) - 1);
        for (LogOffset at = chunk_of(segment_of(run), run.at); at <= last;
             at += static_cast<std::int64_t>(kChunkBytes)) {
            if (needed.empty() || needed.back() != at) {
                needed.push_back(at);
            }
        }
    }
    job.first = runs.front().at;
    job.last = end_of(runs.back());
    job.is_sparse = job.result.bytes < needed.size() * kChunkBytes / kSparseShare;
    if (job.is_sparse) {
        return;
    }
    // The first one is read by this thread, the others by those that are free.
    const MutexLock lock(mutex_);
    for (auto at = needed.rbegin(); at != needed.rend() - 1; ++at) {
        if (!chunks_.contains(*at) && is_ahead_.insert(*at).second) {
            ahead_.push_front(*at);
            wake_.notify_one();
        }
    }
}

/// One step: true when the job goes on, false when somebody else has it now.
Result<bool> ColdReader::advance(JobPtr& job) {
    const LogRun& run = job->result.runs[job->run];
    const Segment& segment = segment_of(run);
    const LogOffset at = chunk_of(segment, job->at());
    ChunkCache::ChunkPtr chunk;
    bool is_mine = false;
    {
        const MutexLock lock(mutex_);
        chunk = chunks_.find(at);
        // What was read before the end of the log moved on may lack the end of it.
        const auto inside = static_cast<std::uint64_t>(job->at() - at);
        if (chunk != nullptr &&
            chunk->valid < inside + std::min(job->run_left(), kChunkBytes - inside)) {
            chunk = nullptr;
        }
        if (chunk == nullptr && chunks_.is_reading(at)) {
            for_chunk_[at.value].push_back(std::move(job));
            return false;
        }
        if (chunk == nullptr && !job->is_sparse) {
            chunk = chunks_.begin(at);
            is_mine = chunk != nullptr;
        }
    }
    if (is_mine) {
        const Status read = fill(segment, *chunk);
        filled(chunk, read);
        chunk = read ? chunk : nullptr;
    }
    if (chunk == nullptr) {
        GANTRY_TRY(read_alone(*job));
    } else {
        copy(*job, *chunk);
    }
    return true;
}

void ColdReader::copy(Job& job, const ChunkCache::Chunk& chunk) {
    const auto inside = static_cast<std::uint64_t>(job.at() - chunk.at);
    const std::uint64_t bytes = std::min(job.run_left(), kChunkBytes - inside);
    if (inside + bytes > chunk.valid) {
        // The file is shorter than its units say: what is missing fails its check.
        const std::vector<std::byte> nothing(bytes);
        job.take(nothing.data(), bytes);
        return;
    }
    job.take(chunk.memory.bytes().data() + inside, bytes);
}

/// The current run's part in one chunk, without the rest of the chunk.
Status ColdReader::read_alone(Job& job) {
    const LogRun& run = job.result.runs[job.run];
    const std::uint64_t inside = bytes_between(segment_of(run).base(), job.at());
    const std::uint64_t bytes = std::min(job.run_left(), kChunkBytes);
    const std::uint64_t begin = inside / PageBuffer::kPageBytes * PageBuffer::kPageBytes;
    const PageBuffer scratch(inside + bytes - begin);
    if (scratch.bytes().empty()) {
        return Error{Errc::kBusy, "no memory for a cold read of " + std::to_string(bytes) + " B"};
    }
    numbers_.disk_reads.add();
    numbers_.disk_bytes.add(scratch.bytes().size());
    Result<std::size_t> got = blocks_.read(segment_of(run), begin, scratch.bytes());
    if (!got) {
        numbers_.errors.add();
        return got.error();
    }
    const std::size_t from = inside - begin;
    if (*got < from + bytes) {
        std::memset(scratch.bytes().data() + *got, 0, scratch.bytes().size() - *got);
    }
    job.take(scratch.bytes().data() + from, bytes);
    const MutexLock lock(mutex_);
    pace_.was_read(scratch.bytes().size(), clock_.steady());
    return ok();
}

void ColdReader::check(Job& job) {
    const Bytes bytes = Bytes(job.reply->bytes()).first(job.reply_done);
    const RecordCheck found = check_records(bytes, job.result.runs);
    if (found.why.empty() && found.good_count == job.result.count) {
        job.result.runs = {run_of(job.reply, job.result.bytes)};
        job.result.is_cold = false;
        return;
    }
    numbers_.damaged.add();
    kLog.error("damaged record",
               {{"at", found.bad_at.value}, {"reason", std::string_view(found.why)}});
    // Its size field may be what is damaged: the unit knows where it ends.
    ReadRequest units = job.units();
    units.count_max = found.good_count + 1;
    const ReadResult with = source_.find(*job.request.queue, units);
    const std::uint64_t end = std::max(with.bytes, found.good_bytes + 1);
    source_.damage_found(
        found.bad_at, found.bad_at + static_cast<std::int64_t>(end - found.good_bytes), found.why);
    trim(job, found.good_count);
}

/// Ends the reply behind its first `count` records; without any, says that the next is damaged.
void ColdReader::trim(Job& job, std::uint32_t count) {
    ReadRequest units = job.units();
    units.count_max = std::max<std::uint32_t>(count, 1);
    ReadResult result = source_.find(*job.request.queue, units);
    const bool is_same = result.status == ReadStatus::kFound;
    if (count == 0 && is_same) {
        // What is filtered out around it is not lost.
        const QueueIndex& index = *job.request.queue->index;
        result.status = ReadStatus::kCorrupt;
        result.lost_from =
            std::max(index.lower_bound(result.runs.front().at), job.request.units.from);
        result.next = result.lost_from + 1;
        result.runs.clear();
        result.bytes = result.count = 0;
    } else if (is_same) {
        result.runs = {run_of(job.reply, result.bytes)};
    }
    result.is_cold = false;
    job.result = std::move(result);
}

/// After an error of the disk: whether the reply has whole records, which are given; the next read
/// tells the error.
bool ColdReader::keep_whole_records(Job& job) {
    if (job.reply_done == 0) {
        return false;
    }
    const Bytes bytes = Bytes(job.reply->bytes()).first(job.reply_done);
    const RecordCheck found = check_records(bytes, job.result.runs);
    if (found.good_count == 0) {
        return false;
    }
    trim(job, found.good_count);
    return true;
}

void ColdReader::finish(JobPtr job, const Status& status) {
    const bool is_given = status || keep_whole_records(*job);
    const std::uint64_t bytes = is_given ? job->result.bytes : 0;
    const SteadyTime now = clock_.steady();
    {
        const MutexLock lock(mutex_);
        waiting_.finish(job->request.group, bytes, now);
        pace_.was_given(bytes, now);
        if (is_given && job->reply != nullptr) {
            follow(job->position(), now);
        }
    }
    if (job->reply != nullptr) {
        numbers_.reads.add();
        numbers_.bytes.add(bytes);
    }
    if (is_given) {
        job->done(std::move(job->result));
    } else {
        job->done(status.error());
    }
}

}  // namespace gantry::storage
