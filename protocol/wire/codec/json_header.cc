// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/codec/json_header.h"

#include "common/check.h"
#include "protocol/wire/codec/ext_fields.h"
#include "protocol/wire/codec/java_text.h"

#include <nlohmann/json.hpp>

#include <array>
#include <charconv>
#include <exception>

namespace gantry::wire {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kDepthMax = 32;
constexpr std::size_t kExtDepth = 2;
constexpr std::int32_t kResponseBit = 1;
constexpr std::int32_t kOnewayBit = 2;

// The header's own keys.
enum class Key { kOther, kCode, kExtFields, kFlag, kLanguage, kOpaque, kRemark, kVersion };

Key key_of(std::string_view name) noexcept {
    struct Known {
        std::string_view name;
        Key key;
    };

    static constexpr std::array<Known, 7> kKnown = {{{"code", Key::kCode},
                                                     {"extFields", Key::kExtFields},
                                                     {"flag", Key::kFlag},
                                                     {"language", Key::kLanguage},
                                                     {"opaque", Key::kOpaque},
                                                     {"remark", Key::kRemark},
                                                     {"version", Key::kVersion}}};
    for (const Known& known : kKnown) {
        if (known.name == name) {
            return known.key;
        }
    }
    return Key::kOther;
}

Language language_of(std::string_view text) noexcept {
    if (const auto number = parse_java_int32(text)) {
        return *number >= 0 && *number <= static_cast<std::int32_t>(Language::kNodeJs)
                   ? static_cast<Language>(*number)
                   : Language::kUnknown;
    }
    for (std::uint8_t i = 0; i <= static_cast<std::uint8_t>(Language::kNodeJs); ++i) {
        if (name_of(static_cast<Language>(i)) == text) {
            return static_cast<Language>(i);
        }
    }
    return Language::kUnknown;
}

// Receives the parser's events and fills a Header. Every scalar arrives as text: the header's own
// numbers may be strings and extFields may be numbers. Its function names are the library's.
class HeaderSax {
public:
    explicit HeaderSax(Header& header) noexcept : header_(header) {}

    bool null() { return depth_ > 0 || fail("no JSON object"); }

    bool boolean(bool value) { return scalar(value ? "true" : "false"); }

    bool number_integer(std::int64_t value) { return integer(value); }

    bool number_unsigned(std::uint64_t value) { return integer(value); }

    bool number_float(double, const std::string& text) { return scalar(text); }

    bool string(const std::string& text) { return scalar(text); }

    bool binary(const Json::binary_t&) { return false; }

    bool start_object(std::size_t) {
        if (depth_ == 0) {
            ++depth_;
            return true;
        }
        if (depth_ == 1 && key_ == Key::kExtFields) {
            header_.ext.clear();
            in_ext_ = true;
            ++depth_;
            return true;
        }
        return enter();
    }

    bool end_object() {
        in_ext_ = in_ext_ && depth_ != kExtDepth;
        --depth_;
        return true;
    }

    bool start_array(std::size_t) { return enter(); }

    bool end_array() {
        --depth_;
        return true;
    }

    bool key(const std::string& name) {
        if (depth_ == 1) {
            key_ = key_of(name);
        } else if (in_ext_) {
            ext_name_ = keep(name);
        }
        return true;
    }

    bool parse_error(std::size_t position, const std::string&, const std::exception&) {
        return fail("not JSON at byte " + std::to_string(position));
    }

    std::string error;

private:
    bool fail(std::string why) {
        if (error.empty()) {
            error = std::move(why);
        }
        return false;
    }

    // Objects and arrays that mean nothing to a header are passed over.
    bool enter() {
        if (depth_ == 0) {
            return fail("no JSON object");
        }
        if (in_ext_) {
            return fail("extFields value of \"" + std::string(ext_name_) + "\" is no scalar");
        }
        if (depth_ == 1 && key_ != Key::kOther) {
            return fail("a field of the header is an array or object");
        }
        if (depth_ == kDepthMax) {
            return fail("nested deeper than " + std::to_string(kDepthMax));
        }
        ++depth_;
        return true;
    }

    template <class T>
    bool integer(T value) {
        std::array<char, 24> text{};
        const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
        return scalar({text.data(), static_cast<std::size_t>(end - text.data())});
    }

    bool scalar(std::string_view text) {
        if (depth_ == 0) {
            return fail("no JSON object");
        }
        if (in_ext_) {
            if (header_.ext.size() == kExtFieldsMax) {
                return fail("more than " + std::to_string(kExtFieldsMax) + " extFields");
            }
            header_.ext.push_back({ext_name_, keep(text)});
            return true;
        }
        return depth_ != 1 || own(text);
    }

    bool own(std::string_view text) {
        std::int32_t flag = 0;
        switch (key_) {
            case Key::kCode:
                return number(text, header_.code);
            case Key::kFlag:
                if (!number(text, flag)) {
                    return false;
                }
                header_.is_response = (flag & kResponseBit) != 0;
                header_.is_oneway = (flag & kOnewayBit) != 0;
                return true;
            case Key::kLanguage:
                header_.language = language_of(text);
                return true;
            case Key::kOpaque:
                header_.has_opaque = number(text, header_.opaque);
                return header_.has_opaque;
            case Key::kRemark:
                header_.remark = keep(text);
                return true;
            case Key::kVersion:
                return number(text, header_.version);
            case Key::kExtFields:
                return fail("extFields is no object");
            case Key::kOther:
                break;
        }
        return true;
    }

    bool number(std::string_view text, std::int32_t& into) {
        const auto value = parse_java_int32(text);
        if (!value) {
            return fail('"' + std::string(text.substr(0, 32)) + "\" is no int32");
        }
        into = *value;
        return true;
    }

    // Text of a JSON token is never longer than the token, so scratch, reserved for the whole
    // header, does not move.
    std::string_view keep(std::string_view text) {
        std::string& scratch = header_.scratch;
        GANTRY_ASSERT(scratch.capacity() - scratch.size() >= text.size());
        const std::size_t at = scratch.size();
        scratch.append(text);
        return {scratch.data() + at, text.size()};
    }

    Header& header_;
    std::size_t depth_ = 0;
    bool in_ext_ = false;
    Key key_ = Key::kOther;
    std::string_view ext_name_;
};

// The opaque of a header that did not parse, from its bare text: the peer can then be told.
void salvage_opaque(std::string_view text, Header& header) noexcept {
    constexpr std::string_view kName = "\"opaque\":";
    const std::size_t at = text.find(kName);
    if (header.has_opaque || at == std::string_view::npos) {
        return;
    }
    const std::string_view rest = text.substr(at + kName.size());
    const std::string_view digits = rest.substr(0, rest.find_first_not_of("-0123456789"));
    if (const auto opaque = parse_java_int32(digits)) {
        header.opaque = *opaque;
        header.has_opaque = true;
    }
}

Status parse(std::string_view text, Header& header) {
    HeaderSax sax(header);
    try {
        if (Json::sax_parse(text.begin(), text.end(), &sax) && sax.error.empty()) {
            return ok();
        }
    } catch (const std::exception& e) {
        sax.error = e.what();
    }
    return Error{Errc::kCorrupt,
                 "JSON header of " + std::to_string(text.size()) + " B: " + sax.error};
}

void append_number(std::string& out, std::string_view key, std::int32_t value) {
    std::array<char, 16> text{};
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    out.append(key).append(text.data(), end);
}

void append_entry(std::string& out, std::string_view name, std::string_view value) {
    append_json_string(out, name);
    out += ':';
    append_json_string(out, value);
    out += ',';
}

void append_ext_fields(std::string& out, const HeaderToSend& header) {
    out.append(R"(,"extFields":{)");
    append_ext(out, *header.fields, header.short_names, append_entry);
    if (out.back() == ',') {
        out.back() = '}';
    } else {
        out += '}';
    }
}

}  // namespace

Status decode_json_header(Bytes bytes, Header& header) {
    header.scratch.reserve(bytes.size());
    Status status = parse(as_text(bytes), header);
    if (status) {
        header.has_opaque = true;
    } else {
        salvage_opaque(as_text(bytes), header);
    }
    return status;
}

void append_json_head(std::string& out, const HeaderToSend& header, std::size_t body_bytes) {
    const std::size_t start = out.size();
    out.resize(start + kFramePrefixBytes);
    append_number(out, R"({"code":)", header.code);
    if (header.fields != nullptr) {
        append_ext_fields(out, header);
    }
    append_number(out,
                  R"(,"flag":)",
                  (header.is_response ? kResponseBit : 0) | (header.is_oneway ? kOnewayBit : 0));
    out.append(R"(,"language":")").append(name_of(header.language));
    append_number(out, R"(","opaque":)", header.opaque);
    if (!header.remark.empty()) {
        out.append(R"(,"remark":)");
        append_json_string(out, header.remark);
    }
    out.append(R"(,"serializeTypeCurrentRPC":"JSON")");
    append_number(out, R"(,"version":)", header.version);
    out += '}';
    write_frame_prefix(reinterpret_cast<std::byte*>(out.data() + start),
                       Codec::kJson,
                       out.size() - start - kFramePrefixBytes,
                       body_bytes);
}

}  // namespace gantry::wire
