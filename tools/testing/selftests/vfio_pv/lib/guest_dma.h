/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Does a device reach memory, or is it kept out? The edu device itself does
 * not notice that an access is refused, so it is told by what it read and wrote.
 */
#ifndef GUEST_DMA_H
#define GUEST_DMA_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#include "vfio_dev.h"

struct dma_reach {
	bool read;	/* the device got hold of the memory's contents */
	bool wrote;	/* the memory holds what the device sent */
	bool damaged;	/* the memory holds neither that nor what it held */
};

/* Memory that the device may use: where we send what we want to look at */
struct dma_window {
	__u64 iova;
	void *memory;
};

/*
 * Let the device read and write @len bytes at @iova, and see what came of it.
 * @memory is what @iova leads to, led to, or would lead to. It is filled with
 * one random pattern and the device's buffer with another, and both are looked
 * at after each copy; the buffer by way of @window.
 *
 * Return: 0, or -EIO if the device, or the window, does not work: then nothing
 * is known.
 */
int dma_try(const struct vfio_dev *dev, __u64 iova, void *memory, size_t len,
	    const struct dma_window *window, struct dma_reach *reach);

/* For tests: both ways, or neither way and nothing touched. -EIO as above. */
int dma_works(const struct vfio_dev *dev, __u64 iova, void *memory,
	      const struct dma_window *window);
int dma_refused(const struct vfio_dev *dev, __u64 iova, void *memory,
		const struct dma_window *window);

/* Fill with what was never there before */
void dma_pattern(void *memory, size_t len);

#endif /* GUEST_DMA_H */
