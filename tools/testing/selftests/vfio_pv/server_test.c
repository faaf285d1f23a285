// SPDX-License-Identifier: GPL-2.0-only
/*
 * Servers of memory types, by the ioctls of /dev/pv-iommu, where no KVM watches pages: claims
 * and their ring, and who may do what. What servers hear of writes is tested with a guest, by
 * guest_types_test.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <linux/pv_iommu_server.h>

#include "lib/nobody.h"
#include "lib/pv_test.h"

#define ENTRIES		16
#define DEVICE		"/dev/pv-iommu"
#define RING_SIZE	(sizeof(struct pviommu_server_ring) + \
			 ENTRIES * sizeof(struct pviommu_server_record))

FIXTURE(server)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
	__u32 id;
	int fd;
};

FIXTURE_SETUP(server)
{
	self->before = pv_begin();
	pv_setup_vm(&self->vm, 1, 1, PV_LOW_SIZE);
	self->r = &self->vm.ring[0];
	pv_start(&self->vm, 1, 6);
	self->fd = open(DEVICE, O_RDWR);
	ASSERT_LE(0, self->fd);
	self->id = pv_newest_vm();
	ASSERT_NE(0, self->id);
}

FIXTURE_TEARDOWN(server)
{
	if (self->fd >= 0)
		close(self->fd);
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
}

static struct pviommu_server_claim claim_of(__u32 vm)
{
	return (struct pviommu_server_claim) {
		.argsz = sizeof(struct pviommu_server_claim),
		.flags = PVIOMMU_CLAIM_WRITES,
		.vm = vm,
		.type = PVIOMMU_MEM_IOREQ_SERVER,
		.entries = ENTRIES,
		.eventfd = -1,
	};
}

static int do_claim(int fd, struct pviommu_server_claim req)
{
	return ioctl(fd, PVIOMMU_SERVER_CLAIM, &req) ? -errno : 0;
}

static int disclaim(int fd, __u32 vm)
{
	struct pviommu_server_claim req = claim_of(vm);

	req.flags = 0;
	req.entries = 0;
	return do_claim(fd, req);
}

#define refused(err, field, value) do {						\
	struct pviommu_server_claim __req = claim_of(self->id);			\
										\
	__req.field = value;							\
	EXPECT_EQ(-(err), do_claim(self->fd, __req));				\
} while (0)

TEST_F(server, claim_refuses)
{
	refused(EINVAL, argsz, sizeof(struct pviommu_server_claim) - 4);
	refused(EOPNOTSUPP, flags, 2);
	refused(EOPNOTSUPP, type, PVIOMMU_MEM_RAM_RW);
	refused(EOPNOTSUPP, type, 2);
	refused(ENOENT, vm, 0);
	refused(ENOENT, vm, self->id + 1000000);
	refused(EINVAL, entries, 0);
	refused(EINVAL, entries, 8);
	refused(EINVAL, entries, 48);
	refused(EINVAL, entries, 1 << 17);
	refused(EINVAL, eventfd, -2);
	refused(EBADF, eventfd, 999);
	refused(EINVAL, eventfd, self->fd);
	EXPECT_EQ(0, do_claim(self->fd, claim_of(self->id)));
	EXPECT_EQ(-1, ioctl(self->fd, _IO(PVIOMMU_SERVER_MAGIC, 99), 0));
	EXPECT_EQ(ENOTTY, errno);
}

/* Longer than what the kernel knows: only if nothing is said there */
static int do_long(int fd, unsigned long request, const void *req, __u32 size, __u32 argsz,
		   unsigned char last)
{
	unsigned char arg[2 * 4096] = {};

	memcpy(arg, req, size);
	memcpy(arg, &argsz, sizeof(argsz));
	arg[argsz - 1] = last;
	return ioctl(fd, request, arg) ? -errno : 0;
}

#define long_args(good, request, req) do {					\
	EXPECT_EQ(-E2BIG, do_long(self->fd, request, &(req), sizeof(req),	\
				  sizeof(req) + 1, 1));				\
	EXPECT_EQ(-E2BIG, do_long(self->fd, request, &(req), sizeof(req), 4096, 1)); \
	EXPECT_EQ(-E2BIG, do_long(self->fd, request, &(req), sizeof(req), 4097, 0)); \
	EXPECT_EQ(good, do_long(self->fd, request, &(req), sizeof(req), 4096, 0)); \
} while (0)

TEST_F(server, long_arguments)
{
	struct pviommu_server_claim claim = claim_of(self->id);
	struct pviommu_server_read read = { .gpa = PV_DATA, .addr = (unsigned long)&read,
					    .size = 8 };

	long_args(-ENOENT, PVIOMMU_SERVER_READ, read);
	long_args(0, PVIOMMU_SERVER_CLAIM, claim);
}

TEST_F(server, one_claim)
{
	int other = open(DEVICE, O_RDWR);

	ASSERT_LE(0, other);
	EXPECT_EQ(-EACCES, disclaim(self->fd, self->id));
	EXPECT_EQ(0, do_claim(self->fd, claim_of(self->id)));
	EXPECT_EQ(-EBUSY, do_claim(self->fd, claim_of(self->id)));
	EXPECT_EQ(-EBUSY, do_claim(other, claim_of(self->id)));
	EXPECT_EQ(-EACCES, disclaim(other, self->id));
	EXPECT_EQ(-EACCES, disclaim(self->fd, self->id + 1));
	EXPECT_EQ(0, disclaim(self->fd, self->id));
	EXPECT_EQ(-EACCES, disclaim(self->fd, self->id));
	EXPECT_EQ(0, do_claim(other, claim_of(self->id)));
	EXPECT_EQ(-EBUSY, do_claim(self->fd, claim_of(self->id)));
	close(other);
	EXPECT_EQ(0, do_claim(self->fd, claim_of(self->id)));
}

/* Without the right to open the device nobody can become a server */
TEST_F(server, needs_a_right)
{
	EXPECT_TRUE(nobody_sees(open(DEVICE, O_RDWR) < 0 && (errno == EACCES || errno == EPERM)));
}

/* A process that was given the file of a claim can use it for this VM, but claim no other VM */
TEST_F(server, file_is_of_one_vm)
{
	int other = open(DEVICE, O_RDWR);

	ASSERT_LE(0, other);
	ASSERT_EQ(0, do_claim(self->fd, claim_of(self->id)));
	EXPECT_TRUE(nobody_sees(!disclaim(self->fd, self->id) &&
				do_claim(self->fd, claim_of(self->id + 1)) == -EPERM &&
				do_claim(self->fd, claim_of(0)) == -EPERM &&
				do_claim(other, claim_of(self->id)) == -EPERM &&
				!do_claim(self->fd, claim_of(self->id))));
	EXPECT_EQ(0, disclaim(self->fd, self->id));
	close(other);
}

TEST_F(server, ring_outlives_the_claim)
{
	struct pviommu_server_claim req = claim_of(self->id);
	struct pviommu_server_ring *ring;
	struct pollfd poll_fd = { .events = POLLIN };

	EXPECT_EQ(MAP_FAILED, mmap(NULL, RING_SIZE, PROT_READ, MAP_SHARED, self->fd, 0));
	poll_fd.fd = eventfd(0, 0);
	ASSERT_LE(0, poll_fd.fd);
	req.eventfd = poll_fd.fd;
	ASSERT_EQ(0, do_claim(self->fd, req));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 1 << 20, PROT_READ, MAP_SHARED, self->fd, 0));
	ring = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, ring);
	EXPECT_EQ(ENTRIES, ring->entries);
	EXPECT_EQ(0, ring->prod);
	EXPECT_EQ(PVIOMMU_SERVER_ACTIVE, ring->state);
	EXPECT_EQ(0, poll(&poll_fd, 1, 0));
	/* The VM ends, and with it the claim */
	pv_vm_close_devices(&self->vm);
	pv_vm_close_groups(&self->vm);
	pv_vm_close_container(&self->vm);
	EXPECT_EQ(1, poll(&poll_fd, 1, 60000));
	EXPECT_EQ(PVIOMMU_SERVER_ENDED, ring->state);
	EXPECT_EQ(-EACCES, disclaim(self->fd, self->id));
	close(self->fd);
	self->fd = -1;
	EXPECT_EQ(ENTRIES, ring->entries);
	munmap(ring, RING_SIZE);
	close(poll_fd.fd);
}

/* Closing the file ends the claim, also while the ring is mapped */
TEST_F(server, ends_with_its_file)
{
	struct pviommu_server_ring *ring;
	int other = open(DEVICE, O_RDWR);

	ASSERT_LE(0, other);
	ASSERT_EQ(0, do_claim(self->fd, claim_of(self->id)));
	ring = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, ring);
	close(self->fd);
	EXPECT_EQ(PVIOMMU_SERVER_ENDED, ring->state);
	EXPECT_EQ(0, do_claim(other, claim_of(self->id)));
	/* The mapping shows the old ring, not the new claim's */
	EXPECT_EQ(PVIOMMU_SERVER_ENDED, ring->state);
	self->fd = other;
	munmap(ring, RING_SIZE);
}

/* A process that inherited the file has the claim, too: it ends with the last of them */
TEST_F(server, ends_with_the_last_who_has_its_file)
{
	struct pviommu_server_ring *ring;
	int other = open(DEVICE, O_RDWR);
	pid_t child;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, do_claim(self->fd, claim_of(self->id)));
	ring = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, ring);
	child = fork();
	ASSERT_LE(0, child);
	while (!child)
		pause();
	close(self->fd);
	EXPECT_EQ(PVIOMMU_SERVER_ACTIVE, ring->state);
	EXPECT_EQ(-EBUSY, do_claim(other, claim_of(self->id)));
	EXPECT_EQ(0, kill(child, SIGKILL));
	EXPECT_EQ(child, waitpid(child, NULL, 0));
	EXPECT_EQ(PVIOMMU_SERVER_ENDED, ring->state);
	EXPECT_EQ(0, do_claim(other, claim_of(self->id)));
	self->fd = other;
	munmap(ring, RING_SIZE);
}

TEST_F(server, reads_only_what_is_its_own)
{
	char buf[8];
	struct pviommu_server_read req = {
		.argsz = sizeof(req),
		.gpa = PV_DATA,
		.addr = (unsigned long)buf,
		.size = sizeof(buf),
	};

	EXPECT_EQ(-1, ioctl(self->fd, PVIOMMU_SERVER_READ, &req));
	EXPECT_EQ(ENOENT, errno);
	ASSERT_EQ(0, do_claim(self->fd, claim_of(self->id)));
	EXPECT_EQ(-1, ioctl(self->fd, PVIOMMU_SERVER_READ, &req));
	EXPECT_EQ(EACCES, errno);
	req.size = 0;
	EXPECT_EQ(-1, ioctl(self->fd, PVIOMMU_SERVER_READ, &req));
	EXPECT_EQ(EINVAL, errno);
	req.size = 8;
	req.gpa = ~7ULL + 4;
	EXPECT_EQ(-1, ioctl(self->fd, PVIOMMU_SERVER_READ, &req));
	EXPECT_EQ(EINVAL, errno);
	req.flags = 1;
	EXPECT_EQ(-1, ioctl(self->fd, PVIOMMU_SERVER_READ, &req));
	EXPECT_EQ(EOPNOTSUPP, errno);
}

/* TYPE_SET and TYPE_GET where nothing watches pages */
TEST_F(server, no_types_without_kvm)
{
	const __u32 plain = PVIOMMU_MEM_RAM_RW;
	struct pviommu_op op;

	ASSERT_EQ(0, do_claim(self->fd, claim_of(self->id)));
	pv_err_exec(PVIOMMU_EOPNOTSUPP, self->r,
		    pv_op_type_set(PV_DATA, PV_PAGE, PVIOMMU_MEM_IOREQ_SERVER));
	pv_err_exec(PVIOMMU_EOPNOTSUPP, self->r, pv_op_type_set(PV_DATA, PV_PAGE, 2));
	pv_err_exec(PVIOMMU_EINVAL, self->r, pv_op_type_set(PV_DATA, 1, plain));
	pv_err_exec(PVIOMMU_ERANGE, self->r, pv_op_type_set(PV_DATA, ~0xfffULL, plain));
	pv_exec(self->r, pv_op_type_get(PV_DATA));
	EXPECT_EQ(plain, self->r->last.result);
	op = pv_op_type_get(PV_NOWHERE);
	pv_err_exec(PVIOMMU_EFAULT, self->r, op);
	op.mem.size = PV_PAGE;
	pv_err_exec(PVIOMMU_EINVAL, self->r, op);
}

TEST_HARNESS_MAIN
