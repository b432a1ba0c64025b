// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/send_number.h"

#include <array>
#include <charconv>

namespace gantry::wire {
namespace {

constexpr std::size_t kProducerDigits = 16;
constexpr int kHex = 16;

template <class Number>
void append_hex(std::string& out, Number number) {
    std::array<char, kProducerDigits> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number, kHex).ptr;
    out.append(digits.data(), end);
}

/// Takes hex digits up to `end`, all of them.
template <class Number>
bool take_hex(const char* begin, const char* end, Number& number) {
    const auto parsed = std::from_chars(begin, end, number, kHex);
    return parsed.ec == std::errc{} && parsed.ptr == end;
}

}  // namespace

std::string format_send_number(const SendNumber& number) {
    std::string producer;
    append_hex(producer, number.producer);
    std::string text(kProducerDigits - producer.size(), '0');
    text.reserve(kSendNumberBytesMax);
    text += producer;
    text += '.';
    append_hex(text, number.epoch);
    text += '.';
    append_hex(text, number.sequence);
    return text;
}

Result<SendNumber> parse_send_number(std::string_view text) {
    SendNumber number;
    const std::size_t first = text.find('.');
    const std::size_t second = first == std::string_view::npos ? first : text.find('.', first + 1);
    const char* const at = text.data();
    if (first != kProducerDigits || second == std::string_view::npos ||
        !take_hex(at, at + first, number.producer) ||
        !take_hex(at + first + 1, at + second, number.epoch) ||
        !take_hex(at + second + 1, at + text.size(), number.sequence) || number.sequence < 0) {
        return Error{
            Errc::kRefused,
            "GSEQ \"" + std::string(text) + "\" is not <16 hex digits>.<hex epoch>.<hex sequence>"};
    }
    return number;
}

}  // namespace gantry::wire
