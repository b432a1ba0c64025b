// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/link/link_proof.h"

#include "common/bytes.h"
#include "common/check.h"
#include "common/checksum.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>
#include <concepts>

namespace gantry::broker {

namespace {

/// Fields laid end to end so that no two messages give the same bytes: numbers big-endian in eight
/// bytes, texts behind their length.
class FieldBytes {
public:
    template <std::integral T>
    FieldBytes& add(T number) {
        std::array<std::byte, sizeof(std::uint64_t)> bytes;
        store_be(bytes.data(), static_cast<std::uint64_t>(number));
        text_ += as_text(bytes);
        return *this;
    }

    FieldBytes& add(std::string_view text) {
        add(text.size());
        text_ += text;
        return *this;
    }

    template <class Marks>
    FieldBytes& add_epochs(const Marks& marks) {
        add(marks.size());
        for (const wire::EpochMark& mark : marks) {
            add(mark.epoch()).add(mark.id()).add(mark.start());
        }
        return *this;
    }

    std::string_view text() const noexcept { return text_; }

private:
    std::string text_;
};

std::string hmac(std::string_view secret, std::string_view text) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
    unsigned int bytes = 0;
    const unsigned char* const done = ::HMAC(EVP_sha256(),
                                             secret.data(),
                                             static_cast<int>(secret.size()),
                                             reinterpret_cast<const unsigned char*>(text.data()),
                                             text.size(),
                                             digest.data(),
                                             &bytes);
    GANTRY_ASSERT(done != nullptr);
    return {reinterpret_cast<const char*>(digest.data()), bytes};
}

}  // namespace

std::string make_nonce() {
    std::array<unsigned char, kNonceBytes> bytes;
    GANTRY_ASSERT(::RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string proof_of(std::string_view secret,
                     std::string_view nonce,
                     const wire::ReplicaHello& hello) {
    FieldBytes fields;
    fields.add("hello").add(nonce).add(hello.group()).add(hello.cluster());
    fields.add(hello.member()).add(hello.storageid()).add(hello.epoch());
    fields.add(hello.logfirst()).add(hello.logend()).add_epochs(hello.epochs());
    fields.add(hello.segmentbytes()).add(hello.isempty()).add(hello.address()).add(hello.nonce());
    return hmac(secret, fields.text());
}

std::string proof_of(std::string_view secret,
                     std::string_view nonce,
                     const wire::ReplicaWelcome& welcome) {
    FieldBytes fields;
    fields.add("welcome").add(nonce).add(welcome.epoch()).add(welcome.from()).add(welcome.cutat());
    fields.add(welcome.needsseed()).add(welcome.isforeign()).add(welcome.heartbeatmillis());
    fields.add(welcome.master()).add(welcome.masteraddress());
    return hmac(secret, fields.text());
}

std::string proof_of(std::string_view secret,
                     std::string_view nonce,
                     const wire::LogRangeRequest& request) {
    FieldBytes fields;
    fields.add("range").add(nonce).add(request.group()).add(request.member());
    fields.add(request.offset()).add(request.length()).add_epochs(request.epochs());
    return hmac(secret, fields.text());
}

bool is_same_proof(std::string_view a, std::string_view b) noexcept {
    return a.size() == b.size() && ::CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::uint64_t sum_of(const wire::ReplicaFrame& frame, std::uint64_t body_sum) {
    FieldBytes fields;
    fields.add(frame.epoch()).add(frame.offset()).add(frame.length()).add(frame.confirmed());
    fields.add(frame.sentat()).add(frame.logend()).add(body_sum);
    return xxh3(as_bytes(fields.text()));
}

std::uint64_t sum_of(const wire::ReplicaAck& ack) {
    FieldBytes fields;
    fields.add(ack.epoch()).add(ack.end()).add(ack.received()).add(ack.sentat());
    return xxh3(as_bytes(fields.text()));
}

}  // namespace gantry::broker
