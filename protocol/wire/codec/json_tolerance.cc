// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/codec/json_tolerance.h"

#include "protocol/wire/codec/java_text.h"

#include <array>

namespace gantry::wire {
namespace {

constexpr std::string_view kBlanks = " \t\r\n\f\b";
constexpr std::string_view kEndsBareName = " \t\r\n\f\b:,{}[]\"'\\";

enum class ObjectKeys : bool { kRefused, kAllowed };

class Rewriter {
public:
    Rewriter(std::string_view text, ObjectKeys object_keys) : text_(text), keys_(object_keys) {
        out_.reserve(text.size() + text.size() / 8);
    }

    Result<std::string> run() {
        while (at_ < text_.size()) {
            if (kBlanks.find(text_[at_]) != std::string_view::npos) {
                ++at_;
                continue;
            }
            GANTRY_TRY(expects_name_ ? name() : other());
        }
        return std::move(out_);
    }

private:
    Error corrupt(std::string_view what) const {
        return Error{Errc::kCorrupt, std::string(what) + " at byte " + std::to_string(at_)};
    }

    Status name() {
        const char c = text_[at_];
        if (c == '}' || c == ',') {
            return other();
        }
        expects_name_ = false;
        if (c == '"' || c == '\'') {
            return quoted();
        }
        if (c == '{') {
            return object_key();
        }
        const std::size_t end = text_.find_first_of(kEndsBareName, at_);
        const std::string_view bare = text_.substr(at_, end - at_);
        if (bare.empty()) {
            return corrupt("no name of a JSON field");
        }
        append_json_string(out_, bare);
        at_ += bare.size();
        return ok();
    }

    Status other() {
        const char c = text_[at_];
        switch (c) {
            case '"':
            case '\'':
                return quoted();
            case '{':
            case '[':
                if (depth_ == kJsonDepthMax) {
                    return corrupt("JSON nested deeper than " + std::to_string(kJsonDepthMax));
                }
                is_object_[depth_++] = c == '{';
                expects_name_ = c == '{';
                break;
            case '}':
            case ']':
                if (depth_ == 0) {
                    return corrupt("a JSON bracket too many");
                }
                --depth_;
                expects_name_ = false;
                break;
            case ',':
                expects_name_ = depth_ > 0 && is_object_[depth_ - 1];
                break;
            default:
                break;
        }
        out_ += c;
        ++at_;
        return ok();
    }

    // The position behind the string that starts at `at`; npos when it does not end.
    std::size_t end_of_string(std::size_t at) const noexcept {
        const char quote = text_[at];
        for (++at; at < text_.size(); ++at) {
            if (text_[at] == quote) {
                return at + 1;
            }
            if (text_[at] == '\\') {
                ++at;
            }
        }
        return std::string_view::npos;
    }

    Status quoted() {
        const std::size_t end = end_of_string(at_);
        if (end == std::string_view::npos) {
            return corrupt("a JSON string without end");
        }
        const std::string_view token = text_.substr(at_, end - at_);
        if (token.front() == '"') {
            out_.append(token);
        } else {
            requote(token.substr(1, token.size() - 2));
        }
        at_ = end;
        return ok();
    }

    void requote(std::string_view content) {
        out_ += '"';
        for (std::size_t i = 0; i < content.size(); ++i) {
            if (content[i] == '"') {
                out_ += '\\';
            } else if (content[i] == '\\' && i + 1 < content.size()) {
                ++i;
                if (content[i] != '\'') {
                    out_ += '\\';
                }
            }
            out_ += content[i];
        }
        out_ += '"';
    }

    // The position behind the object that starts at `at`; npos when it does not end.
    std::size_t end_of_object(std::size_t at) const noexcept {
        std::size_t open = 0;
        while (at < text_.size()) {
            const char c = text_[at];
            if (c == '"' || c == '\'') {
                at = end_of_string(at);
                continue;
            }
            ++at;
            if (c == '{') {
                ++open;
            } else if (c == '}' && --open == 0) {
                return at;
            }
        }
        return std::string_view::npos;
    }

    Status object_key() {
        const std::size_t end = end_of_object(at_);
        if (keys_ == ObjectKeys::kRefused || end == std::string_view::npos) {
            return corrupt("an object as the name of a JSON field");
        }
        GANTRY_ASSIGN_OR_RETURN(const std::string key,
                                Rewriter(text_.substr(at_, end - at_), ObjectKeys::kRefused).run());
        append_json_string(out_, key);
        at_ = end;
        return ok();
    }

    std::string_view text_;
    ObjectKeys keys_;
    std::string out_;
    std::size_t at_ = 0;
    std::size_t depth_ = 0;
    std::array<bool, kJsonDepthMax> is_object_{};
    bool expects_name_ = false;
};

}  // namespace

Result<std::string> strict_json(std::string_view text) {
    return Rewriter(text, ObjectKeys::kAllowed).run();
}

}  // namespace gantry::wire
