// SPDX-License-Identifier: Apache-2.0
#include "filter/sql_lexer.h"

#include <algorithm>
#include <array>
#include <utility>

namespace gantry::filter {
namespace {

using Kind = SqlToken::Kind;

constexpr std::size_t kShownBytesMax = 32;

constexpr std::array<std::pair<std::string_view, Kind>, 12> kKeywords{{
    {"NOT", Kind::kNot},
    {"AND", Kind::kAnd},
    {"OR", Kind::kOr},
    {"BETWEEN", Kind::kBetween},
    {"IN", Kind::kIn},
    {"TRUE", Kind::kTrue},
    {"FALSE", Kind::kFalse},
    {"NULL", Kind::kNull},
    {"IS", Kind::kIs},
    {"CONTAINS", Kind::kContains},
    {"STARTSWITH", Kind::kStartsWith},
    {"ENDSWITH", Kind::kEndsWith},
}};

bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

char upper(char c) noexcept {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

bool starts_name(char c) noexcept {
    return (upper(c) >= 'A' && upper(c) <= 'Z') || c == '_' || c == '$';
}

Kind kind_of_word(std::string_view word) noexcept {
    const auto is_word = [word](const auto& keyword) {
        return std::equal(word.begin(),
                          word.end(),
                          keyword.first.begin(),
                          keyword.first.end(),
                          [](char a, char b) { return upper(a) == b; });
    };
    const auto found = std::find_if(kKeywords.begin(), kKeywords.end(), is_word);
    return found == kKeywords.end() ? Kind::kName : found->second;
}

/// Reads tokens off the front of the text.
class SqlCutter {
public:
    explicit SqlCutter(std::string_view text) : text_(text) {}

    Result<SqlToken> next();

private:
    char peek(std::size_t ahead = 0) const noexcept {
        return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
    }

    SqlToken token(Kind kind, std::size_t bytes) {
        const SqlToken made{kind, at_, text_.substr(at_, bytes)};
        at_ += made.text.size();
        return made;
    }

    Status skip_blanks();
    Result<SqlToken> text_token();
    SqlToken number();
    std::size_t digits_at(std::size_t ahead) const noexcept;
    std::size_t exponent_at(std::size_t ahead) const noexcept;

    std::string_view text_;
    std::size_t at_ = 0;
};

Status SqlCutter::skip_blanks() {
    constexpr std::string_view kBlanks = " \t\n\r\f";
    for (;;) {
        at_ = std::min(text_.find_first_not_of(kBlanks, at_), text_.size());
        if (peek() == '-' && peek(1) == '-') {
            at_ = std::min(text_.find_first_of("\n\r", at_), text_.size());
        } else if (peek() == '/' && peek(1) == '*') {
            const std::size_t end = text_.find("*/", at_ + 2);
            if (end == std::string_view::npos) {
                return sql_error(token(Kind::kSign, 2), "the comment has no end");
            }
            at_ = end + 2;
        } else {
            return ok();
        }
    }
}

Result<SqlToken> SqlCutter::next() {
    GANTRY_TRY(skip_blanks());
    if (at_ == text_.size()) {
        return token(Kind::kEnd, 0);
    }
    const char c = peek();
    if (starts_name(c)) {
        std::size_t bytes = 1;
        while (starts_name(peek(bytes)) || is_digit(peek(bytes))) {
            ++bytes;
        }
        return token(kind_of_word(text_.substr(at_, bytes)), bytes);
    }
    if (c == '\'') {
        return text_token();
    }
    if (is_digit(c) || (c == '.' && is_digit(peek(1)))) {
        return number();
    }
    const std::string_view two = text_.substr(at_, 2);
    if (two == "<>" || two == "<=" || two == ">=") {
        return token(Kind::kSign, 2);
    }
    if (std::string_view("=<>(),+-").find(c) != std::string_view::npos) {
        return token(Kind::kSign, 1);
    }
    return sql_error(token(Kind::kSign, 1), "no expression has this here");
}

Result<SqlToken> SqlCutter::text_token() {
    for (std::size_t bytes = 1; at_ + bytes < text_.size(); ++bytes) {
        if (peek(bytes) != '\'') {
            continue;
        }
        if (peek(bytes + 1) != '\'') {
            return token(Kind::kText, bytes + 1);
        }
        ++bytes;
    }
    return sql_error(token(Kind::kText, text_.size()), "the text has no closing quote");
}

std::size_t SqlCutter::digits_at(std::size_t ahead) const noexcept {
    std::size_t end = ahead;
    while (is_digit(peek(end))) {
        ++end;
    }
    return end - ahead;
}

/// Bytes of the exponent there; 0 when there is none.
std::size_t SqlCutter::exponent_at(std::size_t ahead) const noexcept {
    if (upper(peek(ahead)) != 'E') {
        return 0;
    }
    const std::size_t sign = peek(ahead + 1) == '+' || peek(ahead + 1) == '-' ? 1 : 0;
    const std::size_t digits = digits_at(ahead + 1 + sign);
    return digits == 0 ? 0 : 1 + sign + digits;
}

SqlToken SqlCutter::number() {
    const std::size_t whole = digits_at(0);
    if (peek(whole) == '.') {
        const std::size_t mantissa = whole + 1 + digits_at(whole + 1);
        return token(Kind::kReal, mantissa + exponent_at(mantissa));
    }
    if (const std::size_t exponent = exponent_at(whole); exponent != 0) {
        return token(Kind::kReal, whole + exponent);
    }
    if (peek() == '0') {
        return token(Kind::kWhole, 1);
    }
    return token(Kind::kWhole, whole + (upper(peek(whole)) == 'L' ? 1 : 0));
}

}  // namespace

Result<std::vector<SqlToken>> cut_sql(std::string_view text) {
    std::vector<SqlToken> tokens;
    SqlCutter cutter(text);
    do {
        GANTRY_ASSIGN_OR_RETURN(const SqlToken token, cutter.next());
        tokens.push_back(token);
    } while (tokens.back().kind != Kind::kEnd);
    return tokens;
}

std::string unquoted(const SqlToken& token) {
    const std::string_view inner = token.text.substr(1, token.text.size() - 2);
    std::string text;
    text.reserve(inner.size());
    for (std::size_t i = 0; i < inner.size(); ++i) {
        text += inner[i];
        i += inner[i] == '\'' ? 1 : 0;
    }
    return text;
}

Error sql_error(const SqlToken& token, std::string_view why) {
    std::string what = "SQL92 expression, position " + std::to_string(token.at + 1);
    if (token.kind == Kind::kEnd) {
        what += ", its end: ";
    } else {
        what += ", at \"" + std::string(token.text.substr(0, kShownBytesMax));
        what += token.text.size() > kShownBytesMax ? "...\": " : "\": ";
    }
    return Error{Errc::kRefused, what + std::string(why)};
}

}  // namespace gantry::filter
