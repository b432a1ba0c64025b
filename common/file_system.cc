// SPDX-License-Identifier: Apache-2.0
#include "common/file_system.h"
