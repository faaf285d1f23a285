// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "edu.h"
#include "guest_dma.h"

/* splitmix64 over a counter that all calls share */
void dma_pattern(void *memory, size_t len)
{
	static __u64 state;
	__u8 *bytes = memory;
	__u64 z = 0;
	size_t i;

	if (!state)
		state = time(NULL) ^ (__u64)getpid() << 40;
	for (i = 0; i < len; i++, z >>= 8) {
		if (i % sizeof(z) == 0) {
			z = state += 0x9e3779b97f4a7c15ULL;
			z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
			z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
			z ^= z >> 31;
		}
		bytes[i] = z;
	}
}

static int try_read(const struct vfio_dev *dev, __u64 iova, const void *memory, size_t len,
		    const struct dma_window *window, bool *reached)
{
	__u8 fresh[EDU_BUFFER_SIZE];

	dma_pattern(window->memory, len);
	if (!edu_from_ram(dev, window->iova, 0, len) || !edu_from_ram(dev, iova, 0, len))
		return -EIO;
	dma_pattern(fresh, len);
	memcpy(window->memory, fresh, len);
	if (!edu_to_ram(dev, window->iova, 0, len))
		return -EIO;
	*reached = !memcmp(window->memory, memory, len);
	/* If the window did not work, everything would look refused. */
	return memcmp(window->memory, fresh, len) ? 0 : -EIO;
}

int dma_try(const struct vfio_dev *dev, __u64 iova, void *memory, size_t len,
	    const struct dma_window *window, struct dma_reach *reach)
{
	__u8 before[EDU_BUFFER_SIZE];
	int ret;

	if (len > sizeof(before))
		return -EINVAL;
	dma_pattern(before, len);
	memcpy(memory, before, len);

	ret = try_read(dev, iova, memory, len, window, &reach->read);
	if (ret)
		return ret;
	dma_pattern(window->memory, len);
	if (!edu_from_ram(dev, window->iova, 0, len) || !edu_to_ram(dev, iova, 0, len))
		return -EIO;
	reach->wrote = !memcmp(memory, window->memory, len);
	reach->damaged = !reach->wrote && memcmp(memory, before, len);
	return 0;
}

int dma_works(const struct vfio_dev *dev, __u64 iova, void *memory,
	      const struct dma_window *window)
{
	struct dma_reach reach;

	return dma_try(dev, iova, memory, 64, window, &reach) ?: reach.read && reach.wrote;
}

int dma_refused(const struct vfio_dev *dev, __u64 iova, void *memory,
		const struct dma_window *window)
{
	struct dma_reach reach;

	return dma_try(dev, iova, memory, 64, window, &reach) ?:
	       !reach.read && !reach.wrote && !reach.damaged;
}
