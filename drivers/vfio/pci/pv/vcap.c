// SPDX-License-Identifier: GPL-2.0-only
/*
 * Virtual capabilities of an endpoint: finding a place for them in config space,
 * and handling reads and writes of them.
 *
 * vfio_pci_core has two arrays for an enabled device: pci_config_map says for each
 * byte which capability it belongs to, and vconfig holds what the user sees of the
 * bytes that are virtualized. The pointers that form the capability lists are among
 * these, so a capability is linked by writing its offset there. Each enable sets up
 * both arrays anew. Accesses to the bytes of the capability itself reach neither the
 * core nor the device.
 *
 * Room for a capability is counted in dwords, as capabilities are aligned. A dword
 * is used if the core knows a capability there. Capabilities that the core does not
 * know, and hides, are assumed to extend to the next one. What belongs to no
 * capability is free if it read 0 when the device was bound: users can write there, and
 * what one of them has left must not keep the next one from its capability.
 */
#include <linux/align.h>
#include <linux/array_size.h>
#include <linux/bitmap.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>
#include <linux/pci.h>
#include <linux/pv_iommu_host.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vfio_pci_core.h>
#include <uapi/linux/pv_iommu.h>

#include "vcap.h"

/* In pci_config_map: no capability that the core knows */
#define VCAP_MAP_FREE	0xff

#define VCAP_STD_FIRST	(PCI_STD_HEADER_SIZEOF / 4)
#define VCAP_EXT_FIRST	(PCI_CFG_SPACE_SIZE / 4)
#define VCAP_DWORDS	(PCI_CFG_SPACE_EXP_SIZE / 4)
/* Assumed size of an unknown extended capability that nothing follows */
#define VCAP_EXT_GUESS	(256 / 4)

/* The next field of an extended capability's header */
#define VCAP_EXT_NEXT_SHIFT	20
#define VCAP_EXT_NEXT_MASK	(0xffcU << VCAP_EXT_NEXT_SHIFT)
/* How many bytes longer the headers of an extended capability are than a standard one's */
#define VCAP_EXT_SHIFT	(PVIOMMU_VSEC_LEN - PVIOMMU_CAP_LEN)
#define VCAP_VSEC_REV	1

enum vcap_place {
	VCAP_PLACE_AUTO,
	VCAP_PLACE_STD,
	VCAP_PLACE_EXT,
};

static const char * const vcap_place_names[] = {
	[VCAP_PLACE_AUTO] = "auto",
	[VCAP_PLACE_STD] = "std",
	[VCAP_PLACE_EXT] = "ext",
};

static enum vcap_place vcap_place = VCAP_PLACE_AUTO;

static int vcap_place_set(const char *val, const struct kernel_param *kp)
{
	int ret = sysfs_match_string(vcap_place_names, val);

	if (ret < 0)
		return ret;
	WRITE_ONCE(vcap_place, ret);
	return 0;
}

static int vcap_place_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%s\n", vcap_place_names[READ_ONCE(vcap_place)]);
}

static const struct kernel_param_ops vcap_place_ops = {
	.set = vcap_place_set,
	.get = vcap_place_get,
};

module_param_cb(place, &vcap_place_ops, NULL, 0644);
MODULE_PARM_DESC(place, "Where the capability is placed, from the next open of a device on: auto, std (first 256 bytes of config space) or ext (extended config space)");

/* --- finding room ----------------------------------------------------- */

/**
 * pv_vcap_find_filled() - note which parts of a device's config space are not blank
 * @cap: its capabilities, which can be placed there
 * @pdev: the device, which is being bound and in nobody's hands yet
 */
void pv_vcap_find_filled(struct pv_vcap *cap, struct pci_dev *pdev)
{
	u32 val;
	int pos;

	for (pos = 0; pos < pdev->cfg_size; pos += sizeof(val))
		if (pci_read_config_dword(pdev, pos, &val) || val)
			__set_bit(pos / 4, cap->filled);
}

/**
 * struct vcap_room - which dwords of config space are taken
 * @start: a capability starts here, whether the user sees it or not
 * @used: belongs to the header or to a capability, or was not blank
 * @written: what is blank no longer will do, if there is nothing better
 */
struct vcap_room {
	DECLARE_BITMAP(start, VCAP_DWORDS);
	DECLARE_BITMAP(used, VCAP_DWORDS);
	bool written;
};

static void vcap_scan_core(struct vfio_pci_core_device *core,
			   struct vcap_room *room)
{
	int i;

	for (i = 0; i < core->pdev->cfg_size; i++)
		if (core->pci_config_map[i] != VCAP_MAP_FREE)
			__set_bit(i / 4, room->used);
}

/* Scan the device's own list, which also has the capabilities that the core hides */
static void vcap_scan_std(struct pci_dev *pdev, struct vcap_room *room)
{
	int ttl = VCAP_EXT_FIRST - VCAP_STD_FIRST;
	u16 status;
	u8 pos;

	if (pci_read_config_word(pdev, PCI_STATUS, &status) ||
	    !(status & PCI_STATUS_CAP_LIST) ||
	    pci_read_config_byte(pdev, PCI_CAPABILITY_LIST, &pos))
		return;

	while (ttl-- && pos >= PCI_STD_HEADER_SIZEOF) {
		pos = ALIGN_DOWN(pos, 4);
		__set_bit(pos / 4, room->start);
		if (pci_read_config_byte(pdev, pos + PCI_CAP_LIST_NEXT, &pos))
			return;
	}
}

static void vcap_scan_ext(struct pci_dev *pdev, struct vcap_room *room)
{
	int ttl = VCAP_DWORDS - VCAP_EXT_FIRST;
	int pos = PCI_CFG_SPACE_SIZE;
	u32 header;

	if (pdev->cfg_size < PCI_CFG_SPACE_EXP_SIZE)
		return;

	while (ttl-- && pos >= PCI_CFG_SPACE_SIZE) {
		if (pci_read_config_dword(pdev, pos, &header) ||
		    !header || PCI_POSSIBLE_ERROR(header))
			return;
		__set_bit(pos / 4, room->start);
		pos = PCI_EXT_CAP_NEXT(header);
	}
}

/*
 * A capability of which the core knows at most one dword is one that it hides (and may have
 * kept as the anchor of the list), as no capability is that small. Mark all of it as used.
 */
static void vcap_extend_hidden(struct vcap_room *room)
{
	unsigned int pos, end;

	for_each_set_bit(pos, room->start, VCAP_DWORDS) {
		if (pos < VCAP_EXT_FIRST)
			end = VCAP_EXT_FIRST;
		else
			end = min(pos + VCAP_EXT_GUESS, VCAP_DWORDS);
		end = find_next_bit(room->start, end, pos + 1);

		if (pos + 1 < end && test_bit(pos + 1, room->used))
			continue;
		bitmap_set(room->used, pos, end - pos);
	}
}

static bool vcap_reads_zero(struct pci_dev *pdev, int pos, int len)
{
	int end = pos + len;
	u32 val;

	for (; pos < end; pos += 4)
		if (pci_read_config_dword(pdev, pos, &val) || val)
			return false;
	return true;
}

/*
 * Find the highest place in dwords [first, end) for @len bytes. Return: its offset, or 0. The
 * highest, as devices that have registers outside of capabilities have them at low offsets;
 * and a VMM that assumes that a capability extends to the next one then cuts off least of the
 * capability before ours. One that still reads 0 is better: others may be registers after all.
 */
static int vcap_find_gap(struct pci_dev *pdev, const struct vcap_room *room,
			 int first, int end, int len)
{
	int n = len / 4;
	int written = 0;
	int pos;

	for (pos = end - n; pos >= first; pos--) {
		if (find_next_bit(room->used, pos + n, pos) < pos + n)
			continue;
		if (vcap_reads_zero(pdev, pos * 4, len))
			return pos * 4;
		if (room->written && !written)
			written = pos * 4;
	}
	return written;
}

/* --- linking ----------------------------------------------------------- */

/* Link at the head of the list, so that no other capability changes */
static bool vcap_place_std(struct pv_vcap *cap,
			   struct vfio_pci_core_device *core,
			   const struct vcap_room *room)
{
	__le16 *status = (__le16 *)&core->vconfig[PCI_STATUS];
	u8 *head = &core->vconfig[PCI_CAPABILITY_LIST];
	int pos;

	pos = vcap_find_gap(core->pdev, room, VCAP_STD_FIRST, VCAP_EXT_FIRST,
			    PVIOMMU_CAP_LEN);
	if (!pos)
		return false;

	cap->pos = pos;
	cap->len = PVIOMMU_CAP_LEN;
	cap->next = 0;
	if (*status & cpu_to_le16(PCI_STATUS_CAP_LIST))
		cap->next = ALIGN_DOWN(*head, 4);
	*head = pos;
	*status |= cpu_to_le16(PCI_STATUS_CAP_LIST);
	return true;
}

static bool vcap_ext_visible(struct vfio_pci_core_device *core, int pos)
{
	return pos >= PCI_CFG_SPACE_SIZE &&
	       core->pci_config_map[pos] != VCAP_MAP_FREE;
}

/* The header of the last extended capability, NULL if there is none */
static __le32 *vcap_ext_last(struct vfio_pci_core_device *core)
{
	int ttl = VCAP_DWORDS - VCAP_EXT_FIRST;
	int next = PCI_CFG_SPACE_SIZE;
	__le32 *last = NULL;

	while (ttl-- && vcap_ext_visible(core, next)) {
		last = (__le32 *)&core->vconfig[next];
		next = PCI_EXT_CAP_NEXT(le32_to_cpu(*last));
	}
	return last;
}

/*
 * Find room in extended config space, and append it to the list, which always starts at 256.
 * Return: its offset, or 0.
 */
static int vcap_append_ext(struct vfio_pci_core_device *core,
			   const struct vcap_room *room, int len)
{
	struct pci_dev *pdev = core->pdev;
	int end = VCAP_DWORDS;
	__le32 *last;
	int pos;

	if (!pci_is_pcie(pdev) || pdev->cfg_size < PCI_CFG_SPACE_EXP_SIZE)
		return 0;

	last = vcap_ext_last(core);
	if (!last)
		end = VCAP_EXT_FIRST + len / 4;
	pos = vcap_find_gap(pdev, room, VCAP_EXT_FIRST, end, len);
	if (pos && last) {
		*last &= cpu_to_le32(~VCAP_EXT_NEXT_MASK);
		*last |= cpu_to_le32(pos << VCAP_EXT_NEXT_SHIFT);
	}
	return pos;
}

static bool vcap_place_ext(struct pv_vcap *cap,
			   struct vfio_pci_core_device *core,
			   const struct vcap_room *room)
{
	int pos = vcap_append_ext(core, room, PVIOMMU_VSEC_LEN);

	if (!pos)
		return false;

	cap->pos = pos;
	cap->len = PVIOMMU_VSEC_LEN;
	cap->next = 0;
	return true;
}

static bool vcap_is_ext(const struct pv_vcap *cap)
{
	return cap->pos >= PCI_CFG_SPACE_SIZE;
}

/*
 * A guest's kernel uses PASIDs only if the device has this capability. The device's own one is
 * hidden by the core, and the guest does not need it: the host's IOMMU driver enables PASIDs,
 * and a PASID is blocked until the guest has attached a domain there.
 */
static void vcap_place_pasid(struct pv_vcap *cap, struct vfio_pci_core_device *core,
			     struct vcap_room *room, u32 bits)
{
	struct pci_dev *pdev = core->pdev;
	int pos;

	if (vcap_is_ext(cap)) {
		/* Our capability is the last one, and its header is not in the core's array */
		bitmap_set(room->used, cap->pos / 4, cap->len / 4);
		pos = vcap_find_gap(pdev, room, VCAP_EXT_FIRST, VCAP_DWORDS,
				    PCI_EXT_CAP_PASID_SIZEOF);
		cap->next = pos;
	} else {
		pos = vcap_append_ext(core, room, PCI_EXT_CAP_PASID_SIZEOF);
	}
	if (!pos)
		pci_info(pdev, "no room in config space: the guest will find no PASIDs\n");
	cap->pasid.pos = pos;
	cap->pasid.bits = bits;
}

static bool vcap_place_any(struct pv_vcap *cap, struct vfio_pci_core_device *core,
			   const struct vcap_room *room)
{
	enum vcap_place place = READ_ONCE(vcap_place);

	if (place != VCAP_PLACE_EXT && vcap_place_std(cap, core, room))
		return true;
	return place != VCAP_PLACE_STD && vcap_place_ext(cap, core, room);
}

/**
 * pv_vcap_place() - put the capabilities into a device's config space
 * @cap: filled in
 * @core: the device, enabled and not yet accessible to the user
 * @pasid_bits: the width of its PASIDs, 0 if it has none
 *
 * Return: false if there was no room: then pv_vcap_covers() is false for any access.
 */
bool pv_vcap_place(struct pv_vcap *cap, struct vfio_pci_core_device *core, u32 pasid_bits)
{
	struct vcap_room room = {};

	cap->gpa = 0;
	cap->len = 0;
	cap->pasid = (struct pv_vcap_pasid){};
	vcap_scan_core(core, &room);
	vcap_scan_std(core->pdev, &room);
	vcap_scan_ext(core->pdev, &room);
	vcap_extend_hidden(&room);
	bitmap_or(room.used, room.used, cap->filled, VCAP_DWORDS);

	if (!vcap_place_any(cap, core, &room)) {
		room.written = true;
		if (!vcap_place_any(cap, core, &room))
			return false;
	}
	room.written = true;
	if (pasid_bits)
		vcap_place_pasid(cap, core, &room, pasid_bits);
	return true;
}

/**
 * pv_vcap_remove() - remove the capabilities of a device that is being closed
 * @cap: its capabilities
 */
void pv_vcap_remove(struct pv_vcap *cap)
{
	cap->len = 0;
	cap->pasid.pos = 0;
}

/* --- registers --------------------------------------------------------- */

/* All of the capability as the user reads it */
union vcap_image {
	__le32 word[PVIOMMU_VSEC_LEN / 4];
	u8 byte[PVIOMMU_VSEC_LEN];
};

/* Fill in the headers. Return: by how many bytes they shift the registers */
static int vcap_image_headers(const struct pv_vcap *cap,
			      union vcap_image *image)
{
	if (!vcap_is_ext(cap)) {
		image->word[0] = cpu_to_le32(PCI_CAP_ID_VNDR | cap->next << 8 |
					     cap->len << 16 |
					     PVIOMMU_ABI_VERSION << 24);
		return 0;
	}

	image->word[0] = cpu_to_le32(PCI_EXT_CAP_ID_VNDR | 1 << 16 |
				     cap->next << VCAP_EXT_NEXT_SHIFT);
	image->word[1] = cpu_to_le32(PVIOMMU_VSEC_ID | VCAP_VSEC_REV << 16 |
				     cap->len << 20);
	return VCAP_EXT_SHIFT;
}

static void vcap_fill_image(struct pv_vcap *cap, struct pviommu_endpoint *ep,
			    union vcap_image *image)
{
	__le32 *reg = image->word + vcap_image_headers(cap, image) / 4;
	u64 gpa;

	mutex_lock(&cap->lock);
	gpa = cap->gpa;
	mutex_unlock(&cap->lock);

	reg[PVIOMMU_CAP_SIGNATURE_OFF / 4] = cpu_to_le32(PVIOMMU_CAP_SIGNATURE);
	reg[PVIOMMU_CAP_ENDPOINT_OFF / 4] = cpu_to_le32(pviommu_endpoint_id(ep));
	reg[PVIOMMU_CAP_FEATURES_OFF / 4] =
		cpu_to_le32(pviommu_endpoint_features(ep));
	reg[PVIOMMU_CAP_GPA_LO_OFF / 4] = cpu_to_le32(lower_32_bits(gpa));
	reg[PVIOMMU_CAP_GPA_HI_OFF / 4] = cpu_to_le32(upper_32_bits(gpa));
	reg[PVIOMMU_CAP_CONTROL_OFF / 4] =
		cpu_to_le32(pviommu_endpoint_status(ep));
	reg[PVIOMMU_CAP_DOORBELL_OFF / 4] = 0;
}

static void vcap_set_gpa(struct pv_vcap *cap, u32 val, unsigned int shift)
{
	mutex_lock(&cap->lock);
	cap->gpa &= ~((u64)U32_MAX << shift);
	cap->gpa |= (u64)val << shift;
	mutex_unlock(&cap->lock);
}

/*
 * The engine is called without cap->lock: it may take long, and a doorbell of one vCPU must
 * not wait for the command of another.
 */
static void vcap_set_register(struct pv_vcap *cap, struct pviommu_endpoint *ep,
			      int reg, u32 val)
{
	u64 gpa;

	switch (reg) {
	case PVIOMMU_CAP_GPA_LO_OFF:
		vcap_set_gpa(cap, val, 0);
		break;
	case PVIOMMU_CAP_GPA_HI_OFF:
		vcap_set_gpa(cap, val, 32);
		break;
	case PVIOMMU_CAP_CONTROL_OFF:
		mutex_lock(&cap->lock);
		/* It may be a cookie, which is a secret: nobody may read it from the registers */
		gpa = cap->gpa;
		cap->gpa = 0;
		mutex_unlock(&cap->lock);
		pviommu_endpoint_control(ep, val, gpa);
		break;
	case PVIOMMU_CAP_DOORBELL_OFF:
		pviommu_endpoint_kick(ep, val);
		break;
	}
}

/* --- accesses ---------------------------------------------------------- */

/*
 * The part of an access that is in one of our capabilities is handled here, the rest by the
 * core. The two capabilities are not adjacent, and an access may overlap both.
 */

static loff_t vcap_end(const struct pv_vcap *cap)
{
	return cap->pos + cap->len;
}

static bool vcap_overlaps(loff_t pos, size_t count, loff_t start, loff_t end)
{
	return count && pos < end && pos + count > start;
}

static bool vcap_touches(const struct pv_vcap *cap, loff_t pos, size_t count)
{
	return cap->len && vcap_overlaps(pos, count, cap->pos, vcap_end(cap));
}

static bool vcap_touches_pasid(const struct pv_vcap *cap, loff_t pos, size_t count)
{
	int start = cap->pasid.pos;

	return start && vcap_overlaps(pos, count, start, start + PCI_EXT_CAP_PASID_SIZEOF);
}

/**
 * pv_vcap_covers() - does an access overlap one of our capabilities
 * @cap: the capabilities
 * @ppos: offset in the device's file
 * @count: number of bytes
 *
 * Return: whether it does.
 */
bool pv_vcap_covers(const struct pv_vcap *cap, loff_t ppos, size_t count)
{
	loff_t pos = ppos & VFIO_PCI_OFFSET_MASK;

	if (VFIO_PCI_OFFSET_TO_INDEX(ppos) != VFIO_PCI_CONFIG_REGION_INDEX)
		return false;
	return vcap_touches(cap, pos, count) || vcap_touches_pasid(cap, pos, count);
}

/* How many bytes from @pos on all belong to the same capability of ours, or to none */
static size_t vcap_piece(const struct pv_vcap *cap, loff_t pos, size_t count)
{
	const loff_t bounds[] = {
		cap->len ? cap->pos : 0, cap->len ? vcap_end(cap) : 0,
		cap->pasid.pos, cap->pasid.pos ? cap->pasid.pos + PCI_EXT_CAP_PASID_SIZEOF : 0,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(bounds); i++)
		if (bounds[i] > pos)
			count = min_t(loff_t, count, bounds[i] - pos);
	return count;
}

/* Copy the part of an image, of @len bytes at @start, that was asked for to the user's buffer */
static int vcap_overlay(char __user *buf, loff_t pos, size_t count, const void *image,
			loff_t start, size_t len)
{
	loff_t first = max(pos, start), end = min_t(loff_t, pos + count, start + len);

	return copy_to_user(buf + (first - pos), image + (first - start), end - first) ?
	       -EFAULT : 0;
}

static int vcap_overlay_pasid(const struct pv_vcap *cap, char __user *buf, loff_t pos,
			      size_t count)
{
	const __le32 image[] = {
		cpu_to_le32(PCI_EXT_CAP_ID_PASID | 1 << 16),
		cpu_to_le32(cap->pasid.bits << 8 | (u32)READ_ONCE(cap->pasid.ctrl) << 16),
	};

	return vcap_overlay(buf, pos, count, image, cap->pasid.pos, sizeof(image));
}

/**
 * pv_vcap_read() - read config space where a capability of ours is
 * @cap: the capability
 * @core: the device
 * @ep: its endpoint
 * @buf: where to, in user memory
 * @count: number of bytes
 * @ppos: offset in the device's file, which pv_vcap_covers() has approved
 *
 * Return: number of bytes read, or a negative error.
 */
ssize_t pv_vcap_read(struct pv_vcap *cap, struct vfio_pci_core_device *core,
		     struct pviommu_endpoint *ep, char __user *buf,
		     size_t count, loff_t *ppos)
{
	loff_t pos = *ppos & VFIO_PCI_OFFSET_MASK;
	union vcap_image image;
	loff_t rest = *ppos;
	ssize_t ret = 0;

	/* If any of it is not ours, the core reads all of it, or fails */
	if (vcap_piece(cap, pos, count) != count)
		ret = vfio_pci_core_read(&core->vdev, buf, count, &rest);
	if (ret < 0)
		return ret;

	ret = 0;
	if (vcap_touches(cap, pos, count)) {
		vcap_fill_image(cap, ep, &image);
		ret = vcap_overlay(buf, pos, count, image.byte, cap->pos, cap->len);
	}
	if (!ret && vcap_touches_pasid(cap, pos, count))
		ret = vcap_overlay_pasid(cap, buf, pos, count);
	if (ret)
		return ret;

	*ppos += count;
	return count;
}

/* A register write is an aligned 32-bit word. Others, as of saved config space, are ignored. */
static int vcap_write_register(struct pv_vcap *cap, struct pviommu_endpoint *ep,
			       const char __user *buf, size_t count, loff_t pos)
{
	int reg = pos - cap->pos;
	__le32 val;

	if (vcap_is_ext(cap))
		reg -= VCAP_EXT_SHIFT;
	if (count != sizeof(val) || !IS_ALIGNED(pos, sizeof(val)))
		return 0;
	if (copy_from_user(&val, buf, sizeof(val)))
		return -EFAULT;
	vcap_set_register(cap, ep, reg, le32_to_cpu(val));
	return 0;
}

/* The only bit that can be written is in the low byte of the control register */
static int vcap_write_pasid(struct pv_vcap *cap, const char __user *buf, size_t count,
			    loff_t pos)
{
	int at = cap->pasid.pos + PCI_PASID_CTRL - pos;
	u8 val;

	if (at < 0 || at >= count)
		return 0;
	if (copy_from_user(&val, buf + at, sizeof(val)))
		return -EFAULT;
	WRITE_ONCE(cap->pasid.ctrl, val & PCI_PASID_CTRL_ENABLE);
	return 0;
}

/**
 * pv_vcap_write() - write config space where a capability of ours is
 * @cap: the capability
 * @core: the device
 * @ep: its endpoint
 * @buf: where from, in user memory
 * @count: number of bytes
 * @ppos: offset in the device's file, which pv_vcap_covers() has approved
 *
 * Registers take one aligned 32-bit word at a time. A longer write, such as
 * that of a saved config space, gives no commands: it goes to the bytes before
 * and after the capabilities only.
 *
 * Return: number of bytes written, or a negative error.
 */
ssize_t pv_vcap_write(struct pv_vcap *cap, struct vfio_pci_core_device *core,
		      struct pviommu_endpoint *ep, const char __user *buf,
		      size_t count, loff_t *ppos)
{
	loff_t base = *ppos & ~VFIO_PCI_OFFSET_MASK;
	loff_t pos = *ppos & VFIO_PCI_OFFSET_MASK;
	size_t done, n;
	ssize_t ret;

	/* Beyond the end: as in the core nothing is written, so it can handle that */
	if (pos + count > core->pdev->cfg_size)
		return vfio_pci_core_write(&core->vdev, buf, count, ppos);

	for (done = 0; done < count; done += n) {
		loff_t part = base + pos + done;

		n = vcap_piece(cap, pos + done, count - done);
		if (vcap_touches_pasid(cap, pos + done, n))
			ret = vcap_write_pasid(cap, buf + done, n, pos + done);
		else if (!vcap_touches(cap, pos + done, n))
			ret = vfio_pci_core_write(&core->vdev, buf + done, n, &part);
		else if (n == count)
			ret = vcap_write_register(cap, ep, buf, count, pos);
		else
			ret = 0;
		if (ret < 0)
			return ret;
	}
	*ppos += count;
	return count;
}
