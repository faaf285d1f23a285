// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pv_late.h"
#include "pv_op.h"
#include "pv_owner.h"
#include "pv_sys.h"

#define LOW_SIZE	(16ULL << 20)
#define DONE		PV_PEER_DONE
#define FAILED		PV_PEER_FAILED

static bool is_released(struct pv_vm *vm, __u64 size)
{
	struct pviommu_event ev = {};

	return pv_event_wait(vm, &ev, 10000) && ev.type == PVIOMMU_EV_RELEASED && ev.size == size;
}

static bool begin_release(struct pv_vm *vm, __u32 count)
{
	return !__pv_start(vm, 1, 6) && !__pv_exec(&vm->ring[0], pv_op_release(count, 0));
}

static bool release(struct pv_vm *vm)
{
	pv_list(vm)[0] = PV_DATA >> 12;
	pv_list(vm)[1] = (PV_DATA >> 12) + 2;
	return begin_release(vm, 2) && is_released(vm, 2 * PV_PAGE);
}

/* A file for bring_in(), or -1 */
static int make_late(void *page)
{
	int fd = pv_late_open();

	if (fd >= 0 && pv_late_begin(fd, page))
		return fd;
	close(fd);
	return -1;
}

static bool bring_in(int fd, void *page)
{
	return pv_late_end(fd, page, NULL) && !close(fd);
}

/* Who waits for the page must not lock the VMM's address space: it can be changed */
static bool is_waited_for(int fd)
{
	void *any;

	if (!pv_late_is_waited_for(fd))
		return false;
	any = mmap(NULL, PV_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return any != MAP_FAILED && !munmap(any, PV_PAGE);
}

/* A write to the file, which keeps the file locked until its data, a page, comes */
struct slow_write {
	int file, fault;
	void *page;
	pthread_t thread;
};

static void *write_slowly(void *arg)
{
	struct slow_write *slow = arg;

	return pwrite(slow->file, slow->page, 16, 0) == 16 ? arg : NULL;
}

/* The RELEASE has to free a page of the file, and waits for the write */
static char begin_slow_release(struct pv_vm *vm, struct slow_write *slow)
{
	struct pviommu_event ev;

	slow->file = memfd_create("guest", 0);
	slow->page = mmap(NULL, PV_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	slow->fault = make_late(slow->page);
	if (slow->fault < 0)
		return PV_OWNER_UNABLE;
	if (ftruncate(slow->file, PV_PAGE) ||
	    mmap(pv_mem(vm, PV_OWNER_FILED), PV_PAGE, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, slow->file, 0) == MAP_FAILED ||
	    pthread_create(&slow->thread, NULL, write_slowly, slow) ||
	    !pv_late_is_waited_for(slow->fault))
		return FAILED;
	pv_list(vm)[0] = PV_OWNER_FILED >> 12;
	if (!begin_release(vm, 1))
		return FAILED;
	/* It must not end by itself */
	usleep(300000);
	return pv_event_next(vm, &ev) ? FAILED : DONE;
}

static bool end_slow_release(struct pv_vm *vm, struct slow_write *slow)
{
	void *ret;

	return bring_in(slow->fault, slow->page) && !pthread_join(slow->thread, &ret) && ret &&
	       is_released(vm, PV_PAGE);
}

/* All but the VM's memory, which an op of the borrower may still use */
static void *close_vm(void *arg)
{
	struct pv_vm *vm = arg;

	pv_vm_close_devices(vm);
	pv_vm_close_groups(vm);
	pv_vm_close_container(vm);
	return NULL;
}

static bool fill(char *data)
{
	int i;

	for (i = 0; i < PV_OWNER_LEN; i++)
		data[i] = PV_OWNER_FILLED(i);
	return true;
}

static bool is_written(const char *data)
{
	int i;

	for (i = 0; i < PV_OWNER_LEN && data[i] == PV_OWNER_WRITTEN(i); i++)
		;
	return i == PV_OWNER_LEN;
}

static bool is_zero(const char *data)
{
	int i;

	for (i = 0; i < PV_OWNER_LEN && !data[i]; i++)
		;
	return i == PV_OWNER_LEN;
}

static bool perform(struct pv_vm *vm, enum pv_owner_request what, int late, struct slow_write *slow)
{
	static pthread_t closer;

	switch (what) {
	case PV_OWNER_FILL:
		return fill(pv_mem(vm, PV_DATA));
	case PV_OWNER_CHECK:
		return is_written(pv_mem(vm, PV_DATA));
	case PV_OWNER_IS_ZERO:
		return is_zero(pv_mem(vm, PV_DATA));
	case PV_OWNER_UNPLUG:
		return !pv_region_unmap(vm, &vm->low);
	case PV_OWNER_RELEASE:
		return release(vm);
	case PV_OWNER_AWAIT_USER:
		return is_waited_for(late);
	case PV_OWNER_BRING_IN:
		return bring_in(late, pv_mem(vm, PV_OWNER_LATE));
	case PV_OWNER_CLOSE:
		return !pthread_create(&closer, NULL, close_vm, vm);
	case PV_OWNER_END_RELEASE:
		return end_slow_release(vm, slow);
	default:
		return false;
	}
}

static char answer_to(struct pv_vm *vm, char what)
{
	static struct slow_write slow;
	static int late = -1;

	switch (what) {
	case PV_OWNER_MAKE_LATE:
		late = make_late(pv_mem(vm, PV_OWNER_LATE));
		return late < 0 ? PV_OWNER_UNABLE : DONE;
	case PV_OWNER_SLOW_RELEASE:
		return begin_slow_release(vm, &slow);
	default:
		return perform(vm, what, late, &slow) ? DONE : FAILED;
	}
}

static void owner_main(int dev, int in, int out)
{
	struct pv_vm vm;
	char what, answer = DONE;

	if (pv_vm_init_from(&vm, dev, 1, LOW_SIZE))
		_exit(1);
	if (!pv_param_set("default_blocked", "1") || pv_vm_open_rest(&vm))
		answer = FAILED;
	while (write(out, &answer, 1) == 1 && read(in, &what, 1) == 1 && what != PV_OWNER_EXIT)
		answer = answer_to(&vm, what);
	pv_vm_close(&vm);
	_exit(0);
}

pid_t pv_owner_start(int dev, int *to, int *from)
{
	pid_t pid = pv_peer_fork(to, from);

	if (!pid)
		owner_main(dev, *from, *to);
	return pid;
}

void pv_owner_end(pid_t *pid, int sig)
{
	int status;

	if (*pid > 0) {
		kill(*pid, sig);
		waitpid(*pid, &status, 0);
	}
	*pid = 0;
}
