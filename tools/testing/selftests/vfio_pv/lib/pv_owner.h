/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM that lends memory to another one: a process of its own with one device, which the
 * test asks by pv_peer_ask() to do the things below.
 */
#ifndef PV_OWNER_H
#define PV_OWNER_H

#include <sys/types.h>

#include "pv_peer.h"
#include "pv_vm.h"

/* What the owner fills its memory with at PV_DATA, and what it expects of the borrower */
#define PV_OWNER_LEN		1024
#define PV_OWNER_FILLED(i)	((char)((i) * 7 + 3))
#define PV_OWNER_WRITTEN(i)	((char)((i) * 5 + 1))

/* Pages of the owner: one that can be made to come late; one of a file */
#define PV_OWNER_LATE		(PV_DATA + 32 * PV_PAGE)
#define PV_OWNER_FILED		(PV_DATA + 48 * PV_PAGE)

#define PV_OWNER_UNABLE		's'	/* the answer if there is no userfaultfd */

enum pv_owner_request {
	PV_OWNER_FILL = 'f',		/* fill the memory at PV_DATA */
	PV_OWNER_CHECK = 'c',		/* is there what the borrower's device writes? */
	PV_OWNER_IS_ZERO = 'z',		/* is there nothing, as at first? */
	PV_OWNER_UNPLUG = 'u',		/* unplug low RAM */
	PV_OWNER_RELEASE = 'r',		/* RELEASE the first and the third page of PV_DATA */
	PV_OWNER_MAKE_LATE = 'l',	/* let the late page come late from now on */
	PV_OWNER_AWAIT_USER = 'w',	/* wait until somebody waits for the late page */
	PV_OWNER_BRING_IN = 'b',	/* let the late page come */
	PV_OWNER_CLOSE = 'k',		/* begin to close devices and container */
	PV_OWNER_SLOW_RELEASE = 's',	/* begin a RELEASE of the file's page, which is held up */
	PV_OWNER_END_RELEASE = 'e',	/* let that RELEASE end */
	PV_OWNER_EXIT = 'x',		/* close everything and exit; no answer */
};

/*
 * The owner, with device number @dev. Its first answer, which tells that the VM is open,
 * takes no request. Returns its process id, or -1.
 */
pid_t pv_owner_start(int dev, int *to, int *from);
/* Send @sig, wait for the end, and set @pid to 0 */
void pv_owner_end(pid_t *pid, int sig);

#endif /* PV_OWNER_H */
