// SPDX-License-Identifier: Apache-2.0
#include "nameserver/nameserver.h"
