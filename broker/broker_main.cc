// SPDX-License-Identifier: Apache-2.0
#include "broker/broker.h"

int main() {
    return 0;
}
