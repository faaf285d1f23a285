// SPDX-License-Identifier: GPL-2.0-only
/*
 * Grants: the administrator's permission for one VM to map memory of another.
 *
 * A grant is on the list of the VM that it is given to, and only that list is searched.
 * So a VM without a grant can't tell whether the other VM exists, or where it has memory.
 * A grant ends when it is taken back, or when either VM ends. What was mapped by it is
 * unmapped then.
 */
#include <linux/slab.h>

#include "pviommu_private.h"

/* Grants to one VM: each op that names another VM goes through all of them */
#define MAX_GRANTS	256

/* All grants of all VMs, by number; the lock also protects which VMs have which */
static DEFINE_MUTEX(pviommu_grants_lock);
static DEFINE_XARRAY_ALLOC1(pviommu_grants);
static u32 next_grant;

static void grant_put(struct pviommu_grant *grant)
{
	if (refcount_dec_and_test(&grant->refs))
		kfree(grant);
}

static bool grant_covers(const struct pviommu_grant *grant, u32 from, u64 gpa,
			 u64 last, u8 prot)
{
	u8 access = prot & (PVIOMMU_PROT_READ | PVIOMMU_PROT_WRITE);

	return (grant->from->id == from) & (gpa >= grant->gpa) &
	       (last <= grant->last) & ((access & ~grant->prot) == 0);
}

/**
 * pviommu_grant_find() - find a grant by which a VM may map memory of another
 * @to: the VM that wants to map
 * @from: number of the other VM, which need not exist
 * @gpa: first address of the memory
 * @last: last address of the memory
 * @prot: PVIOMMU_PROT_* that are wanted
 *
 * Does the same work whatever the answer, so that timing tells nothing.
 *
 * Return: a grant that covers all of it, held until pviommu_grant_release(), as is
 * grant->from; or NULL.
 */
struct pviommu_grant *pviommu_grant_find(struct pviommu_vm *to, u32 from,
					 u64 gpa, u64 last, u8 prot)
{
	struct pviommu_grant *grant, *found = NULL;

	spin_lock(&to->grants_lock);
	list_for_each_entry(grant, &to->grants, entry)
		if (grant_covers(grant, from, gpa, last, prot))
			found = grant;
	if (found)
		pviommu_grant_hold(found);
	spin_unlock(&to->grants_lock);
	return found;
}

/**
 * pviommu_grant_hold() - take references on a grant and on the VM that it is from
 * @grant: a grant that is held already, or is on a list that is locked
 */
void pviommu_grant_hold(struct pviommu_grant *grant)
{
	refcount_inc(&grant->refs);
	refcount_inc(&grant->from->users);
}

/**
 * pviommu_grant_release() - undo pviommu_grant_hold()
 * @grant: the grant
 */
void pviommu_grant_release(struct pviommu_grant *grant)
{
	pviommu_vm_put(grant->from);
	grant_put(grant);
}

static u32 count_grants(struct pviommu_vm *vm)
{
	struct pviommu_grant *grant;
	u32 n = 0;

	lockdep_assert_held(&pviommu_grants_lock);

	list_for_each_entry(grant, &vm->grants, entry)
		n++;
	return n;
}

static int grant_publish(struct pviommu_grant *grant)
{
	int ret;

	lockdep_assert_held(&pviommu_grants_lock);

	if (count_grants(grant->to) >= MAX_GRANTS)
		return -ENOSPC;
	ret = xa_alloc_cyclic(&pviommu_grants, &grant->id, grant, xa_limit_31b,
			      &next_grant, GFP_KERNEL);
	if (ret < 0)
		return ret;
	spin_lock(&grant->to->grants_lock);
	list_add_tail(&grant->entry, &grant->to->grants);
	spin_unlock(&grant->to->grants_lock);
	return 0;
}

/**
 * pviommu_grant_add() - create a grant
 * @from: number of the VM whose memory it is
 * @to: number of the VM that may map it
 * @gpa: first address, page aligned
 * @last: last address, the last of a page
 * @prot: PVIOMMU_PROT_READ, PVIOMMU_PROT_WRITE
 * @id: set to the grant's number
 *
 * @from need not have memory there (yet).
 *
 * Context: process.
 * Return: 0; -ENOENT no such VM; -EINVAL a bad value, or twice the same VM;
 * -ENOSPC @to has too many grants; -ENOMEM.
 */
int pviommu_grant_add(u32 from, u32 to, u64 gpa, u64 last, u8 prot, u32 *id)
{
	struct pviommu_grant *grant;
	int ret = -ENOENT;

	if (from == to || gpa > last || !PAGE_ALIGNED(gpa) ||
	    !PAGE_ALIGNED(last + 1) || !prot ||
	    prot & ~(PVIOMMU_PROT_READ | PVIOMMU_PROT_WRITE))
		return -EINVAL;
	grant = kzalloc(sizeof(*grant), GFP_KERNEL);
	if (!grant)
		return -ENOMEM;
	refcount_set(&grant->refs, 1);
	grant->gpa = gpa;
	grant->last = last;
	grant->prot = prot;

	/* Under the lock: pviommu_grants_end() of a VM comes before this or sees the grant */
	mutex_lock(&pviommu_grants_lock);
	grant->from = pviommu_vm_get(from);
	grant->to = pviommu_vm_get(to);
	if (grant->from && grant->to)
		ret = grant_publish(grant);
	if (!ret)
		*id = grant->id;
	/* A grant needs no references: a VM that ends first ends its grants */
	if (grant->from)
		pviommu_vm_put(grant->from);
	if (grant->to)
		pviommu_vm_put(grant->to);
	mutex_unlock(&pviommu_grants_lock);
	if (ret)
		grant_put(grant);
	return ret;
}

/* Take a grant off all lists; keeps both its VMs until grant_end() */
static void grant_withdraw(struct pviommu_grant *grant)
{
	lockdep_assert_held(&pviommu_grants_lock);

	/* Not 0 yet: a VM that ends takes this lock before it drops its own reference */
	refcount_inc(&grant->from->users);
	refcount_inc(&grant->to->users);
	xa_erase(&pviommu_grants, grant->id);
	spin_lock(&grant->to->grants_lock);
	list_del(&grant->entry);
	spin_unlock(&grant->to->grants_lock);
}

/*
 * End a withdrawn grant: on return nothing is mapped by it. That may wait for the owner's
 * VMM, and so must not be done under pviommu_grants_lock, which all VMs share.
 */
static void grant_end(struct pviommu_grant *grant)
{
	struct pviommu_vm *from = grant->from, *to = grant->to;

	pviommu_loans_end(grant);
	grant_put(grant);
	pviommu_vm_put(from);
	pviommu_vm_put(to);
}

/**
 * pviommu_grant_remove() - take a grant back
 * @id: its number
 *
 * On return what was mapped by it is unmapped, flushed and unpinned, and the borrower has
 * got events that name it.
 *
 * Context: process; may sleep.
 *
 * Return: 0, or -ENOENT.
 */
int pviommu_grant_remove(u32 id)
{
	struct pviommu_grant *grant;

	mutex_lock(&pviommu_grants_lock);
	grant = xa_load(&pviommu_grants, id);
	if (grant)
		grant_withdraw(grant);
	mutex_unlock(&pviommu_grants_lock);
	if (!grant)
		return -ENOENT;
	grant_end(grant);
	return 0;
}

/* Withdraw the next grant, from number @id on, that is from or to a VM; NULL if there is none */
static struct pviommu_grant *withdraw_next(struct pviommu_vm *vm, unsigned long id)
{
	struct pviommu_grant *grant;

	mutex_lock(&pviommu_grants_lock);
	xa_for_each_start(&pviommu_grants, id, grant, id)
		if (grant->from == vm || grant->to == vm)
			break;
	if (grant)
		grant_withdraw(grant);
	mutex_unlock(&pviommu_grants_lock);
	return grant;
}

/**
 * pviommu_grants_end() - end all grants from and to a VM that ends
 * @vm: the VM, which can't be looked up any more
 *
 * A grant that another thread is just ending holds a reference on the VM.
 *
 * Context: process; may sleep.
 */
void pviommu_grants_end(struct pviommu_vm *vm)
{
	struct pviommu_grant *grant;
	unsigned long id = 0;

	while ((grant = withdraw_next(vm, id))) {
		id = grant->id + 1;
		grant_end(grant);
	}
}

/**
 * pviommu_grant_next() - describe the next grant to the administrator
 * @id: lowest number to look for; set to that of the grant
 * @info: filled in
 *
 * Return: false if there is no further one.
 */
bool pviommu_grant_next(unsigned long *id, struct pviommu_grant_info *info)
{
	struct pviommu_grant *grant;

	mutex_lock(&pviommu_grants_lock);
	grant = xa_find(&pviommu_grants, id, ULONG_MAX, XA_PRESENT);
	if (grant)
		*info = (struct pviommu_grant_info) {
			.id = grant->id,
			.from = grant->from->id,
			.to = grant->to->id,
			.gpa = grant->gpa,
			.last = grant->last,
			.prot = grant->prot,
			.pages = atomic64_read(&grant->pages),
		};
	mutex_unlock(&pviommu_grants_lock);
	return grant;
}
