/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stands in for drivers/vfio/vfio.h when building out of tree, so that sources
 * say #include "vfio.h" in both cases.
 */
#include "../vfio_private.h"
