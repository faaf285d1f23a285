/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether a device reaches memory. The edu device does not notice that an access is refused, so
 * the data that it reads and writes must tell.
 */
#ifndef GUEST_DMA_H
#define GUEST_DMA_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#include "vfio_dev.h"

struct dma_reach {
	bool read;	/* the device has read the memory's contents */
	bool wrote;	/* the memory has what the device wrote */
	bool damaged;	/* the memory has neither that nor what it had before */
};

/* Memory that the device can always reach, to look at its buffer by */
struct dma_window {
	__u64 iova;
	void *memory;
};

/*
 * Let the device read and write @len bytes at @iova. @memory is where @iova leads, led, or would
 * lead. The memory and the device's buffer are filled with different random patterns, and both
 * are compared after each copy; the buffer by way of @window.
 *
 * Return: 0, or -EIO if the device or the window does not work: then nothing is known.
 */
int dma_try(const struct vfio_dev *dev, __u64 iova, void *memory, size_t len,
	    const struct dma_window *window, struct dma_reach *reach);

/* For tests: 1 if both directions work; 1 if neither does and no harm is done. Else 0, or -EIO */
int dma_works(const struct vfio_dev *dev, __u64 iova, void *memory,
	      const struct dma_window *window);
int dma_refused(const struct vfio_dev *dev, __u64 iova, void *memory,
		const struct dma_window *window);

/* Fill memory with data that has not been used before */
void dma_pattern(void *memory, size_t len);

#endif /* GUEST_DMA_H */
