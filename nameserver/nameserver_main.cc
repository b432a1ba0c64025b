// SPDX-License-Identifier: Apache-2.0
#include "nameserver/nameserver.h"

int main() {
    return 0;
}
