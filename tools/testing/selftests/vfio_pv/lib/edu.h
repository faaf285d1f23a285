/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Driver for QEMU's "edu" device: real DMA, to and from any IOVA.
 *
 * The device has a buffer of 4 KiB and copies between it and memory. It does not tell
 * whether memory could be reached: look whether the data has arrived.
 *
 * BAR 0 is accessed by reads and writes of the file, or as memory if dev->bar0 is -1.
 */
#ifndef EDU_H
#define EDU_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#include "vfio_dev.h"

/* Half of the buffer: QEMU 7.2 aborts on a transfer that reaches its end */
#define EDU_BUFFER_SIZE	2048

bool edu_is(const struct vfio_dev *dev);

/*
 * Copy @len bytes at @off of the buffer to @iova, or from there. Memory space and bus
 * mastering must be on. False if the device did not finish.
 */
bool edu_to_ram(const struct vfio_dev *dev, __u64 iova, unsigned int off, unsigned int len);
bool edu_from_ram(const struct vfio_dev *dev, __u64 iova, unsigned int off, unsigned int len);

/*
 * Copy a new value from @mem, which must be mapped at @iova, into the buffer and back. Has it
 * arrived?
 */
bool edu_round_trip(const struct vfio_dev *dev, __u64 iova, __u64 *mem);

/* Begin to copy to @iova, and return. Is a copy under way? Wait until none is */
bool edu_to_ram_begin(const struct vfio_dev *dev, __u64 iova, unsigned int off,
		      unsigned int len);
bool edu_is_busy(const struct vfio_dev *dev);
bool edu_wait(const struct vfio_dev *dev);

#endif /* EDU_H */
