// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who may use a device whose interrupts are not isolated. This runs at the host level, where
 * the kernel knows whether the IOMMU remaps interrupts, and in a guest, whose kernel has to be
 * told by the host. If the host remaps interrupts (-v isolated), a program that uses type 1
 * needs no permission; if not (-v unsafe), it is refused without it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "lib/vfio_dev.h"

/* An emulated machine may stand still for a while */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	900

#define PERMISSION	"/sys/module/%s/parameters/allow_unsafe_interrupts"

/* The driver of the devices at each level, and the module that decides about them */
static const struct level {
	const char *driver;
	const char *module;
} levels[] = {
	{ "pviommu-vfio-pci", "pviommu_host" },
	{ "vfio-pci", "vfio_pv" },
};

static const char type1[] = "vfio_iommu_type1";

static int permission(const char *module, int flags)
{
	char path[128];

	snprintf(path, sizeof(path), PERMISSION, module);
	return open(path, flags | O_CLOEXEC);
}

static bool permitted(const char *module)
{
	int fd = permission(module, O_RDONLY);
	char c = 0;

	if (fd < 0 || read(fd, &c, 1) != 1)
		c = 0;
	close(fd);
	return c == 'Y';
}

static bool permit(const char *module, bool yes)
{
	int fd = permission(module, O_WRONLY);
	bool good = fd >= 0 && write(fd, yes ? "1" : "0", 1) == 1;

	close(fd);
	return good;
}

static int open_device(const char *bdf)
{
	struct vfiopv_dev dev;
	struct vfiopv c;
	int ret = vfiopv_open(&c, VFIO_TYPE1v2_IOMMU);

	if (ret)
		return ret;
	ret = vfiopv_dev_open(&c, &dev, bdf);
	if (!ret)
		vfiopv_dev_close(&dev);
	vfiopv_close(&c);
	return ret;
}

FIXTURE(interrupts)
{
	const char *module;
	char bdf[16];
	bool was_permitted;
	bool was_permitted_type1;
};

FIXTURE_VARIANT(interrupts)
{
	int ret;
};

FIXTURE_VARIANT_ADD(interrupts, isolated)
{
	.ret = 0,
};

FIXTURE_VARIANT_ADD(interrupts, unsafe)
{
	.ret = -EPERM,
};

FIXTURE_SETUP(interrupts)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(levels) && !self->module; i++)
		if (vfiopv_find(levels[i].driver, &self->bdf, 1))
			self->module = levels[i].module;
	if (!self->module)
		SKIP(return, "needs a device bound to vfio-pci or pviommu-vfio-pci");
	self->was_permitted = permitted(self->module);
	self->was_permitted_type1 = permitted(type1);
	ASSERT_TRUE(permit(type1, false));
}

FIXTURE_TEARDOWN(interrupts)
{
	permit(self->module, self->was_permitted);
	permit(type1, self->was_permitted_type1);
}

TEST_F(interrupts, without_permission)
{
	ASSERT_TRUE(permit(self->module, false));
	EXPECT_EQ(variant->ret, open_device(self->bdf));
}

TEST_F(interrupts, with_permission)
{
	ASSERT_TRUE(permit(self->module, true));
	EXPECT_EQ(0, open_device(self->bdf));
}

/* The permission is looked up each time */
TEST_F(interrupts, permission_comes_and_goes)
{
	int i;

	for (i = 0; i < 3; i++) {
		ASSERT_TRUE(permit(self->module, false));
		EXPECT_EQ(variant->ret, open_device(self->bdf));
		ASSERT_TRUE(permit(self->module, true));
		EXPECT_EQ(0, open_device(self->bdf));
	}
}

TEST_HARNESS_MAIN
