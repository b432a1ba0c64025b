// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/register_body.h"

#include "protocol/wire/codec/java_text.h"
#include "protocol/wire/codec/utf8.h"
#include "protocol/wire/header.h"
#include "protocol/wire/nameserver.pb.h"
#include "protocol/wire/record.h"

#include <algorithm>
#include <array>
#include <string>
#include <zlib.h>

namespace gantry::wire {
namespace {

constexpr std::byte kZlibMark{0x78};
constexpr std::size_t kTopicWords = 5;

Error corrupt(std::string what) {
    return Error{Errc::kCorrupt, "registration body: " + std::move(what)};
}

// Ends an inflate stream with its scope.
class InflateStream {
public:
    InflateStream() noexcept : is_ready_(::inflateInit(&stream_) == Z_OK) {}

    InflateStream(const InflateStream&) = delete;
    InflateStream& operator=(const InflateStream&) = delete;

    ~InflateStream() {
        if (is_ready_) {
            ::inflateEnd(&stream_);
        }
    }

    bool is_ready() const noexcept { return is_ready_; }

    z_stream& get() noexcept { return stream_; }

private:
    z_stream stream_{};
    bool is_ready_;
};

Result<std::string> inflated(Bytes bytes) {
    InflateStream owner;
    if (!owner.is_ready()) {
        return corrupt("zlib does not start");
    }
    z_stream& stream = owner.get();
    // zlib only reads through next_in.
    stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(bytes.data()));
    stream.avail_in = static_cast<uInt>(bytes.size());
    std::string out;
    std::array<char, std::size_t{16} << 10U> chunk{};
    int state = Z_OK;
    while (state == Z_OK) {
        stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
        stream.avail_out = static_cast<uInt>(chunk.size());
        state = ::inflate(&stream, Z_NO_FLUSH);
        out.append(chunk.data(), chunk.size() - stream.avail_out);
        if (out.size() > kRegisterBytesMax) {
            return corrupt("inflates to more than " + std::to_string(kRegisterBytesMax) + " B");
        }
    }
    if (state != Z_STREAM_END) {
        return corrupt("zlib reports " + std::to_string(state));
    }
    return out;
}

// A byte string behind its signed length; fails the reader when that is negative.
std::string_view take_text(ByteReader& reader) noexcept {
    return as_text(reader.take(static_cast<std::size_t>(reader.read<std::int32_t>())));
}

Result<TopicConfig> parse_topic(std::string_view text) {
    std::array<std::string_view, kTopicWords> words;
    std::string_view rest = text;
    for (std::string_view& word : words) {
        word = rest.substr(0, rest.find(' '));
        rest.remove_prefix(std::min(rest.size(), word.size() + 1));
    }
    const auto reads = parse_java_int32(words[1]);
    const auto writes = parse_java_int32(words[2]);
    const auto perm = parse_java_int32(words[3]);
    if (words[0].empty() || !reads || !writes || !perm || !is_utf8(words[0]) ||
        !is_utf8(words[4])) {
        return corrupt("topic \"" + std::string(text.substr(0, 64)) + '"');
    }
    TopicConfig topic;
    topic.set_topicname(words[0].data(), words[0].size());
    topic.set_readqueuenums(*reads);
    topic.set_writequeuenums(*writes);
    topic.set_perm(*perm);
    topic.set_topicfiltertype(words[4].data(), words[4].size());
    return topic;
}

Status parse_topics(ByteReader& reader, TopicConfigTable& table) {
    const auto count = reader.read<std::int32_t>();
    for (std::int32_t i = 0; i < count && !reader.failed(); ++i) {
        const std::string_view text = take_text(reader);
        if (reader.failed()) {
            break;
        }
        GANTRY_ASSIGN_OR_RETURN(TopicConfig topic, parse_topic(text));
        const std::string name = topic.topicname();
        (*table.mutable_topicconfigtable())[name] = std::move(topic);
    }
    return ok();
}

Status parse_binary(Bytes bytes, RegisterBrokerBody& body) {
    ByteReader reader(bytes);
    TopicConfigTable& table = *body.mutable_topicconfigserializewrapper();
    const std::string_view version = take_text(reader);
    GANTRY_TRY(parse_topics(reader, table));
    const std::string_view servers = take_text(reader);
    if (reader.failed()) {
        return corrupt("lengths that do not add up");
    }
    GANTRY_TRY(decode_body(Codec::kJson, as_bytes(version), *table.mutable_dataversion()));
    RegisterBrokerBody lists;
    const std::string wrapped = "{\"filterServerList\":" + std::string(servers) + '}';
    GANTRY_TRY(decode_body(Codec::kJson, as_bytes(wrapped), lists));
    *body.mutable_filterserverlist() = std::move(*lists.mutable_filterserverlist());
    return ok();
}

}  // namespace

Status decode_register_body(Codec codec, Bytes bytes, std::uint32_t crc, RegisterBrokerBody& body) {
    body.Clear();
    if (crc != 0 && crc != record_body_crc(bytes)) {
        return corrupt("crc32 not match");
    }
    if (bytes.empty()) {
        return ok();
    }
    if (codec == Codec::kNative || bytes.front() != kZlibMark) {
        return decode_body(codec, bytes, body);
    }
    GANTRY_ASSIGN_OR_RETURN(const std::string plain, inflated(bytes));
    return parse_binary(as_bytes(plain), body);
}

}  // namespace gantry::wire
