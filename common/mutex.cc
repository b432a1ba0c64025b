// SPDX-License-Identifier: Apache-2.0
#include "common/mutex.h"

#include <pthread.h>

namespace gantry {

void set_thread_name(const char* name) noexcept {
    ::pthread_setname_np(::pthread_self(), name);
}

}  // namespace gantry
