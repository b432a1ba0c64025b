// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/status.h"

namespace gantry::wire {
namespace {

ResponseCode native_code(Errc code) noexcept {
    switch (code) {
        case Errc::kRefused:
            return ResponseCode::kInvalidParameter;
        case Errc::kNotFound:
            return ResponseCode::kTopicNotExist;
        case Errc::kDenied:
            return ResponseCode::kNoPermission;
        case Errc::kConflict:
            return ResponseCode::kConflict;
        case Errc::kUnsupported:
            return ResponseCode::kRequestCodeNotSupported;
        case Errc::kBusy:
            return ResponseCode::kSystemBusy;
        case Errc::kDiskFull:
            return ResponseCode::kDiskFull;
        case Errc::kReadOnly:
            return ResponseCode::kReadOnly;
        case Errc::kGone:
        case Errc::kClosed:
            return ResponseCode::kServiceNotAvailable;
        case Errc::kTimeout:
        case Errc::kUnknown:
            return ResponseCode::kUnknownOutcome;
        case Errc::kCorrupt:
            return ResponseCode::kMalformed;
        case Errc::kIo:
            break;
    }
    return ResponseCode::kIoError;
}

}  // namespace

ResponseCode response_code(Errc code, Codec codec) noexcept {
    const ResponseCode native = native_code(code);
    if (codec == Codec::kNative || static_cast<std::int32_t>(native) < 10'000) {
        return native;
    }
    // Stock producers go to another broker on 14, and fail a send on 1.
    if (native == ResponseCode::kDiskFull || native == ResponseCode::kReadOnly) {
        return ResponseCode::kServiceNotAvailable;
    }
    return ResponseCode::kSystemError;
}

Errc errc_of(ResponseCode code) noexcept {
    switch (code) {
        case ResponseCode::kSystemError:
        case ResponseCode::kIoError:
            return Errc::kIo;
        case ResponseCode::kSystemBusy:
        case ResponseCode::kFlowControl:
        case ResponseCode::kPollingFull:
            return Errc::kBusy;
        case ResponseCode::kRequestCodeNotSupported:
            return Errc::kUnsupported;
        case ResponseCode::kMessageIllegal:
        case ResponseCode::kInvalidParameter:
        case ResponseCode::kSubscriptionParseFailed:
        case ResponseCode::kIllegalOperation:
            return Errc::kRefused;
        case ResponseCode::kNoPermission:
            return Errc::kDenied;
        case ResponseCode::kTopicNotExist:
        case ResponseCode::kPullNotFound:
        case ResponseCode::kPullRetryImmediately:
        case ResponseCode::kPullOffsetMoved:
        case ResponseCode::kQueryNotFound:
        case ResponseCode::kSubscriptionNotExist:
        case ResponseCode::kSubscriptionGroupNotExist:
        case ResponseCode::kConsumerNotOnline:
        case ResponseCode::kNoMessage:
        case ResponseCode::kPollingTimeout:
        case ResponseCode::kDelayedUnknown:
        case ResponseCode::kOffsetOutOfRange:
            return Errc::kNotFound;
        case ResponseCode::kSubscriptionNotLatest:
        case ResponseCode::kConflict:
        case ResponseCode::kSequenceGap:
        case ResponseCode::kNumbersUnknown:
        case ResponseCode::kDelayedOver:
        case ResponseCode::kFenced:
            return Errc::kConflict;
        case ResponseCode::kServiceNotAvailable:
        case ResponseCode::kReadOnly:
        case ResponseCode::kNotMaster:
        case ResponseCode::kInSyncTooFew:
            return Errc::kReadOnly;
        case ResponseCode::kDiskFull:
            return Errc::kDiskFull;
        case ResponseCode::kMalformed:
        case ResponseCode::kDataLost:
            return Errc::kCorrupt;
        case ResponseCode::kSuccess:
        case ResponseCode::kFlushDiskTimeout:
        case ResponseCode::kSlaveNotAvailable:
        case ResponseCode::kFlushSlaveTimeout:
        case ResponseCode::kUnknownOutcome:
            break;
    }
    return Errc::kUnknown;
}

}  // namespace gantry::wire
