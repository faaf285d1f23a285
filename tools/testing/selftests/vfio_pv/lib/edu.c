// SPDX-License-Identifier: GPL-2.0-only
#include <unistd.h>

#include "edu.h"

#define EDU_VENDOR_DEVICE	0x11e81234
#define EDU_ID			0x00
#define EDU_ID_MAGIC		0x000000ed	/* low byte; the rest is the version */
#define EDU_DMA_SRC		0x80
#define EDU_DMA_DST		0x88
#define EDU_DMA_COUNT		0x90
#define EDU_DMA_CMD		0x98
#define EDU_DMA_RUN		1
#define EDU_DMA_TO_RAM		2
#define EDU_BUFFER		0x40000

/* The device takes 0.1 s for each transfer, of any length */
#define POLL_US			5000
#define POLLS			2000

static volatile void *edu_reg(const struct vfio_dev *dev, unsigned int reg)
{
	return (volatile char *)dev->mmio + reg;
}

static __u64 edu_read(const struct vfio_dev *dev, unsigned int reg, size_t len)
{
	__u64 value = 0;

	if (dev->bar0 < 0)
		return len == 4 ? *(volatile __u32 *)edu_reg(dev, reg) :
				  *(volatile __u64 *)edu_reg(dev, reg);
	if (pread(dev->fd, &value, len, dev->bar0 + reg) != (ssize_t)len)
		return ~0ULL;
	return value;
}

static bool edu_write(const struct vfio_dev *dev, unsigned int reg, __u64 value)
{
	if (dev->bar0 >= 0)
		return pwrite(dev->fd, &value, sizeof(value), dev->bar0 + reg) == sizeof(value);
	*(volatile __u64 *)edu_reg(dev, reg) = value;
	return true;
}

bool edu_is(const struct vfio_dev *dev)
{
	return vfio_config_read32(dev, 0) == EDU_VENDOR_DEVICE &&
	       (edu_read(dev, EDU_ID, 4) & 0xff) == EDU_ID_MAGIC;
}

static bool edu_begin(const struct vfio_dev *dev, __u64 src, __u64 dst, unsigned int len,
		      unsigned int cmd)
{
	return edu_write(dev, EDU_DMA_SRC, src) && edu_write(dev, EDU_DMA_DST, dst) &&
	       edu_write(dev, EDU_DMA_COUNT, len) &&
	       edu_write(dev, EDU_DMA_CMD, cmd | EDU_DMA_RUN);
}

bool edu_is_busy(const struct vfio_dev *dev)
{
	return edu_read(dev, EDU_DMA_CMD, 8) & EDU_DMA_RUN;
}

bool edu_wait(const struct vfio_dev *dev)
{
	unsigned int i;

	for (i = 0; i < POLLS; i++) {
		if (!edu_is_busy(dev))
			return true;
		usleep(POLL_US);
	}
	return false;
}

static bool edu_dma(const struct vfio_dev *dev, __u64 src, __u64 dst, unsigned int len,
		    unsigned int cmd)
{
	return edu_begin(dev, src, dst, len, cmd) && edu_wait(dev);
}

/* A transfer beyond the device's buffer would end the machine */
static bool in_buffer(unsigned int off, unsigned int len)
{
	return len && len <= EDU_BUFFER_SIZE && off <= EDU_BUFFER_SIZE - len;
}

bool edu_to_ram(const struct vfio_dev *dev, __u64 iova, unsigned int off, unsigned int len)
{
	return in_buffer(off, len) &&
	       edu_dma(dev, EDU_BUFFER + off, iova, len, EDU_DMA_TO_RAM);
}

bool edu_to_ram_begin(const struct vfio_dev *dev, __u64 iova, unsigned int off,
		      unsigned int len)
{
	return in_buffer(off, len) &&
	       edu_begin(dev, EDU_BUFFER + off, iova, len, EDU_DMA_TO_RAM);
}

bool edu_from_ram(const struct vfio_dev *dev, __u64 iova, unsigned int off, unsigned int len)
{
	return in_buffer(off, len) && edu_dma(dev, iova, EDU_BUFFER + off, len, 0);
}

bool edu_round_trip(const struct vfio_dev *dev, __u64 iova, __u64 *mem)
{
	static __u64 count;
	__u64 data = __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED) * 0x9e3779b97f4a7c15ULL;

	*mem = data;
	if (!edu_from_ram(dev, iova, 0, sizeof(data)))
		return false;
	*mem = 0;
	return edu_to_ram(dev, iova, 0, sizeof(data)) && *mem == data;
}
