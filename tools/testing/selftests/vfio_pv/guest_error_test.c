// SPDX-License-Identifier: GPL-2.0-only
/*
 * A user of VFIO hears of each error of a device: also of those that come when the host
 * has cut the device off already. Run by guest_error.sh, with the disk bound to vfio-pci.
 */
#include <stdlib.h>

#include "lib/guest_ask.h"
#include "lib/guest_test.h"

#define WAIT_MS		60000

FIXTURE(error)
{
	struct vfiopv c;
	struct vfiopv_dev dev;
	int port;
};

FIXTURE_SETUP(error)
{
	const char *bdf = getenv("ERROR_DEVICE"), *port = getenv("ERROR_PORT");

	if (!bdf || !port)
		SKIP(return, "is run by guest_error.sh");
	self->port = atoi(port);
	ASSERT_EQ(0, vfiopv_open(&self->c, VFIO_PV_IOMMU));
	ASSERT_EQ(0, vfiopv_dev_open(&self->c, &self->dev, bdf));
}

FIXTURE_TEARDOWN(error)
{
	vfiopv_dev_close(&self->dev);
	vfiopv_close(&self->c);
}

static bool hears_of_it(const struct vfiopv *c)
{
	struct vfio_pv_event event;
	int ms;

	for (ms = 0; ms < WAIT_MS; ms += 100, usleep(100000))
		while (vfiopv_read_events(c, &event, 1) == 1)
			if (event.type == VFIO_PV_EVENT_ISOLATED)
				return true;
	return false;
}

TEST_F_TIMEOUT(error, each_is_heard_of, 1800)
{
	ASSERT_TRUE(share_raise_error(self->port, "vfio1"));
	EXPECT_TRUE(hears_of_it(&self->c));
	ASSERT_TRUE(share_raise_error(self->port, "vfio2"));
	EXPECT_TRUE(hears_of_it(&self->c));
}

TEST_HARNESS_MAIN
