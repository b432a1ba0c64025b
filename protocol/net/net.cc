// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/server.h"
