# SPDX-License-Identifier: GPL-2.0-only
#
# Entry point out of tree; "make help" lists the targets. Everything that is built
# goes to build/.

SHELL := /bin/bash
VERSION := $(shell sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' dkms.conf)

export KDIR

.PHONY: all
all: modules

.PHONY: modules
modules:
	+@tools/build/modules modules

.PHONY: modules_install
modules_install:
	+@tools/build/modules modules PVIOMMU_TESTS=
	+@tools/build/modules modules_install PVIOMMU_TESTS=

# --- user space -------------------------------------------------------------

# The kselftest harness comes with the kernel source.
.PHONY: user
user:
	+@tools/build/user

# --- trying and checking ----------------------------------------------------

.PHONY: deps
deps:
	@tools/build/deps build vm

# The emulated machine has a fixed kernel: modules are built for that one,
# whatever kernel runs here.
.PHONY: machine
machine: deps
	@tools/build/kernel-fetch image >/dev/null
	+@export PVIOMMU_KERNEL=$$(tools/build/kernel-fetch release) && \
		$(MAKE) --no-print-directory modules user

# Another kernel for it, with KASAN, lockdep and the like: run-check --kernel lab,
# pvvm --kernel lab
.PHONY: lab
lab: machine
	@tools/build/lab-kernel image >/dev/null
	+@KDIR=$$(tools/build/lab-kernel headers) && $(MAKE) --no-print-directory KDIR="$$KDIR" modules
	@tools/build/kernel-selftests

.PHONY: demo
demo: machine
	@tools/demo

# Some cases need the lab kernel
.PHONY: check
check: lab
	@tools/build/deps check
	@tools/testing/run-check

# All cases on the lab kernel, at the host level and then in the guest
.PHONY: check-lab
check-lab: lab
	@tools/build/deps check
	@tools/testing/run-check --lab $(LAB_CASES)

# hypercall_fuzz_test for longer than in make check, where it runs for a minute
FUZZ_TIME ?= 600
.PHONY: fuzz
fuzz: machine
	@tools/vm/pvvm --host-only --no-guest-drivers --device edu,edu,edu \
		--kernel $(or $(FUZZ_KERNEL),6.12) --host-iommu $(or $(FUZZ_IOMMU),intel) \
		--timeout $$(( $(FUZZ_TIME) * 2 + 600 )) --host-cmd \
		"$(CURDIR)/build/user/vfio_pv/hypercall_fuzz_test --seconds $(FUZZ_TIME) \
		$(if $(FUZZ_SEED),--seed $(FUZZ_SEED))"

# The life cycles of host, guest and device, and random ops, round after round
SOAK_TIME ?= 3600
.PHONY: soak
soak: $(if $(findstring lab,$(SOAK_KERNEL)),lab,machine)
	@tools/testing/run-check --soak $(SOAK_TIME) \
		$(if $(SOAK_KERNEL),--kernel $(SOAK_KERNEL)) $(SOAK_CASES)

# The limits of Documentation/virt/pv-iommu/performance.rst, in boots one after the other
.PHONY: bench
bench: machine
	@tools/bench $(BENCH_ARGS)

.PHONY: static style
static style:
	@tools/build/deps build check
	+@tools/build/style

.PHONY: docs
docs:
	@tools/build/deps docs
	sphinx-build -W --keep-going -q -b html -d build/docs/doctrees Documentation build/docs/html
	@echo "Documentation: build/docs/html/index.html"

# --- putting it elsewhere ---------------------------------------------------

.PHONY: intree
intree:
	@tools/build/intree "$(KSRC)"

.PHONY: install-dkms
install-dkms:
	@tools/build/install-dkms "$(VERSION)"

.PHONY: clean
clean:
	rm -rf build

.PHONY: help
help:
	@echo  'Building:'
	@echo  '  make                  modules for the running kernel if it is supported, otherwise for'
	@echo  '                        a Debian 6.12 kernel whose headers are fetched, in build/<release>'
	@echo  '  make KDIR=dir         modules for the kernel whose build directory or headers are in dir'
	@echo  '  make user             selftests, examples and pvctl, in build/user'
	@echo  '  make docs             documentation, in build/docs/html'
	@echo  '  make clean            remove build/'
	@echo  ''
	@echo  'Trying and checking:'
	@echo  '  make demo             boot a host and a guest in QEMU and show pv-iommu at work'
	@echo  '  make check            build everything and run all tests'
	@echo  '  make check-lab        all tests on the lab kernel, which takes hours; LAB_CASES="..."'
	@echo  '  make lab              build a kernel with KASAN, lockdep and the like, and modules for'
	@echo  '                        it, and its own VFIO selftests; to run all tests on it:'
	@echo  '                        tools/testing/run-check --kernel lab'
	@echo  '  make fuzz             random ops, compared with a model of the host engine, for 600 seconds;'
	@echo  '                        FUZZ_TIME=seconds FUZZ_SEED=n FUZZ_KERNEL=lab FUZZ_IOMMU=amd'
	@echo  '  make soak             life cycles, a hundred times each, and random ops, round after round'
	@echo  '                        for an hour; SOAK_TIME=seconds SOAK_KERNEL=lab SOAK_CASES="..."'
	@echo  '  make bench            measure mapping with pv-iommu, virtio-iommu, emulated VT-d, and type 1'
	@echo  '                        on the host; fails if a limit is exceeded. Takes 10 minutes, and'
	@echo  '                        needs an idle machine; BENCH_ARGS="-r ROUNDS -l ROUNDS -o FILE"'
	@echo  '  make static           static checks: checkpatch, sparse, clang, coccinelle, kernel-doc,'
	@echo  '                        layout rules, ABI layout'
	@echo  ''
	@echo  'Installing:'
	@echo  '  make modules_install  install the modules into /lib/modules of their kernel, below'
	@echo  '                        INSTALL_MOD_PATH if that is set'
	@echo  '  make install-dkms     register with DKMS, which rebuilds the modules for each new kernel'
	@echo  '  make intree KSRC=dir  put the sources into a kernel source tree'
	@echo  ''
	@echo  'Variables: KDIR, PVIOMMU_KERNEL (a Debian kernel release), PVIOMMU_CACHE (directory'
	@echo  'for kernels), V=1 (show commands), C=2 (run sparse)'
