// SPDX-License-Identifier: GPL-2.0-only
/*
 * The balloon of the guest's IOMMU driver, which gives free memory back to the host. That
 * QEMU has less memory then is checked by guests_lend.sh; what becomes of mappings of such
 * memory, by guest_table_test.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "lib/guest_balloon.h"
#include "lib/guest_ram.h"
#include "lib/nobody.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	900

#define MIB	1048576ULL

FIXTURE(balloon)
{
};

FIXTURE_SETUP(balloon)
{
	if (access(BALLOON, F_OK))
		SKIP(return, "needs debugfs of pviommu_guest");
	ASSERT_EQ(0, balloon_set(0));
}

FIXTURE_TEARDOWN(balloon)
{
	EXPECT_EQ(0, balloon_set(0));
}

TEST_F(balloon, grows_and_shrinks)
{
	static const __u64 sizes[] = { 4096, 2 * MIB, 24 * MIB + 12288, 24 * MIB, 32 * MIB };
	__u64 size, freed;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		ASSERT_EQ(0, balloon_set(sizes[i]));
		ASSERT_EQ(0, balloon_get(&size, &freed));
		/* The host gets whole blocks only, so it may have less than was asked for */
		EXPECT_LE(sizes[i] > 24 * MIB ? sizes[i] : 0, size);
		EXPECT_GE(sizes[i], size);
		EXPECT_LE(size, freed);
	}
	ASSERT_EQ(0, balloon_set(0));
	ASSERT_EQ(0, balloon_get(&size, &freed));
	EXPECT_EQ(0, size);
	EXPECT_EQ(0, freed);
}

/* What was freed of memory that the balloon has no longer does not count */
TEST_F(balloon, shrinks_in_part)
{
	__u64 size, freed;

	ASSERT_EQ(0, balloon_set(16 * MIB));
	ASSERT_EQ(0, balloon_set(8 * MIB));
	ASSERT_EQ(0, balloon_get(&size, &freed));
	EXPECT_LT(0, size);
	EXPECT_GE(size, freed);
}

TEST_F(balloon, has_memory_of_the_kernel)
{
	unsigned long before = ram_free_kb(), in;

	ASSERT_LT(48 * 1024, before);
	ASSERT_EQ(0, balloon_set(32 * MIB));
	in = ram_free_kb();
	EXPECT_GT(before - 24 * 1024, in);
	ASSERT_EQ(0, balloon_set(0));
	EXPECT_LT(in + 24 * 1024, ram_free_kb());
}

/* All that can be spared is given away; what is needed then comes back, and nobody is killed */
TEST_F(balloon, shrinks_when_memory_is_out)
{
	const size_t needed = 48 * MIB;
	__u64 before, after, freed;
	char *p;

	EXPECT_EQ(-ENOMEM, balloon_set(1ULL << 40));
	ASSERT_EQ(0, balloon_get(&before, &freed));
	p = mmap(NULL, needed, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, p);
	munmap(p, needed);
	ASSERT_EQ(0, balloon_get(&after, &freed));
	EXPECT_LE(4 * MIB, before - after);
	EXPECT_LT(before / 2, after);
}

/* Values that are refused */
TEST_F(balloon, bad_values)
{
	int fd = open(BALLOON, O_WRONLY | O_CLOEXEC);

	ASSERT_LE(0, fd);
	EXPECT_EQ(-EINVAL, balloon_set(4097));
	EXPECT_EQ(-1, write(fd, "much", 4));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, write(fd, "-4096", 5));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, write(fd, "99999999999999999999999", 23));
	EXPECT_EQ(ERANGE, errno);
	close(fd);
}

TEST_F(balloon, is_not_for_everybody)
{
	int fd = open(BALLOON, O_WRONLY | O_CLOEXEC);

	ASSERT_LE(0, fd);
	EXPECT_TRUE(nobody_sees(write(fd, "4096", 4) == -1 && errno == EPERM));
	close(fd);
}

TEST_HARNESS_MAIN
