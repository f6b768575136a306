# Everything is done through this file, here and in CI. "make help" lists it.
# The tests need root (Docker engines, mounts, loop devices).

GO      ?= go
BIN     := bin
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X mooring.dev/mooring/pkg/version.stamp=$(VERSION)
GOBUILD := CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'
LINT    := .cache/bin/golangci-lint

# All packages but the end-to-end tests.
PACKAGES = $(shell $(GO) list ./... | grep -v '^mooring.dev/mooring/e2e')
# One line per fuzz target: package and name.
FUZZ     = $(shell grep -rho --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's/^func //' | sort -u)
FUZZTIME ?= 20s

.PHONY: help
help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- build -------------------------------------------------------------------

.PHONY: build
build: ## static binaries in bin/
	$(GOBUILD) -o $(BIN)/ ./hostsvc/cmd/mooringd ./hostsvc/cmd/mooring ./plugin/cmd/mooring-plugin

.PHONY: plugin
plugin: build ## the managed plugin's folder for "docker plugin create", in dist/plugin
	$(GO) run ./packaging/plugin/rootfs -plugin $(BIN)/mooring-plugin -version $(VERSION) -out dist/plugin

.PHONY: deb
deb: build ## Debian packages in dist/
	packaging/deb/build.sh dist $(VERSION)

.PHONY: man
man: build ## man pages in dist/man
	$(BIN)/mooring man dist/man

.PHONY: completion
completion: build ## shell completion scripts in dist/completion
	mkdir -p dist/completion
	for s in bash zsh fish; do $(BIN)/mooring completion $$s >dist/completion/mooring.$$s || exit 1; done

# --- tests -------------------------------------------------------------------

.PHONY: setup
setup: ## install the Debian packages the tests need
	tools/setup.sh test

# Programs that tests compare with and run against, built from the versions in
# tools/peers/go.mod; nothing of them is in the product's go.mod.
PEERS := .cache/bin/kopia .cache/bin/versitygw
# What the browser tests look at pages with.
AXE   := .cache/axe/node_modules/axe-core/axe.min.js

.PHONY: peers
peers: $(PEERS) $(AXE) ## the programs that tests run against: kopia, an S3 server, axe-core

$(PEERS) &: tools/peers/go.mod tools/peers/go.sum
	cd tools/peers && CGO_ENABLED=0 $(GO) build -o ../../.cache/bin/ github.com/kopia/kopia github.com/versity/versitygw/cmd/versitygw

$(AXE): tools/axe/package.json tools/axe/package-lock.json
	mkdir -p .cache/axe
	cp tools/axe/package.json tools/axe/package-lock.json .cache/axe/
	cd .cache/axe && npm ci --no-audit --no-fund
	touch $@

.PHONY: test
test: setup peers race faults e2e ## all tests: packages with the race detector, faults, then end to end (root)

.PHONY: unit
unit: peers ## tests of the packages, without the race detector
	$(GO) test -count=1 $(PACKAGES)

# The inner loops of deriving a repository's key, of compressing, of hashing and
# of SQLite are not watched for races, nor for misuse of pointers: they take up to
# twelve times as long then. Only packages whose code nobody else shares may stand
# here: a generic type compiled unwatched hides what orders others. The loop of
# pbkdf2 is generic itself: all who call it must be here, or one's copy is watched.
UNWATCHED := crypto/internal/fips140/sha256 crypto/internal/fips140/hmac crypto/internal/fips140/pbkdf2 crypto/pbkdf2 \
	golang.org/x/crypto/pbkdf2 golang.org/x/crypto/scrypt github.com/kopia/kopia/internal/crypto github.com/jackc/pgx/v5/pgconn \
	github.com/klauspost/compress/zstd github.com/klauspost/compress/huff0 github.com/klauspost/compress/fse \
	github.com/zeebo/blake3/... github.com/klauspost/reedsolomon modernc.org/sqlite/lib
NORACE := $(foreach p,$(UNWATCHED),-gcflags='$(p)=-race=false -d=checkptr=0')

# Tests of the backup service, its repositories and of vSphere that let every call
# fail, or kill it, in turn, that live through one history after the other, that
# are large, or repeat the contract for one more kind of disk, and those that ask
# each endpoint as each role: the race detector makes minutes of them half an hour.
FAULTS := ^(TestEveryListedPointRestores|TestEveryStepFails|TestEveryStepOfAVMFails|TestKilledAtEveryCall|TestVMBackupKilled|TestVMRestoreKilled|TestVMCopyAndDrillKilled|TestALostReplyIsNoLostDisk|TestACutConnectionIsNoLostDisk|TestWhatWasKilledBetweenStepsIsCompletedByARepeat|TestEachCallForAVMCanFailOrLoseItsReply|TestATransportThatWasKilledIsTakenOut|TestWhatAKilledSendingLeavesIsSwept|TestContractOfVMDKs|TestContractOnESXi|TestContractOfObjects|TestContractOfATransporter|TestModelOfARepository|TestLargeRepository|TestManyPointsInARepository|TestStandardKopia|TestTenantsLearnNothingOfEachOther|TestTheCheckFindsDefects|TestEveryFieldMeetsHostileNames)$$

# Packages that start nothing: nobody races in them, and their long property
# tests take ten times as long when watched.
ALONE := mooring.dev/mooring/hostsvc/internal/job/schedule mooring.dev/mooring/hostsvc/internal/job/retention mooring.dev/mooring/pkg/vmdk

# Three packages at a time on two processors: several wait for others, such as
# the simulator of a vCenter, most of their time.
.PHONY: race
race: peers ## tests of the packages with the race detector, all but faults
	$(GO) test -race $(NORACE) -p 3 -count=1 -timeout 40m -skip '$(FAULTS)' $(filter-out $(ALONE),$(PACKAGES))
	$(GO) test -count=1 $(ALONE)

.PHONY: faults
faults: peers ## every call of the backup service and to vSphere fails, or is its last; every tenant asks for all
	$(GO) test -count=1 -timeout 20m -run '$(FAULTS)' ./hostsvc/internal/backup ./hostsvc/internal/hypervisor/vsphere ./hostsvc/internal/repository/kopia ./hostsvc/internal/app

.PHONY: e2e
e2e: peers ## end-to-end tests; RUN=pattern selects some, HYPERVISOR=vsphere
	$(if $(filter vsphere,$(HYPERVISOR)),MOORING_E2E_HYPERVISOR=vsphere) $(if $(RUN),$(GO) test -count=1 -timeout 40m -v -run '$(RUN)' $(if $(filter TestPortal%,$(RUN)),./e2e/portal,./e2e),tools/e2e.sh)

.PHONY: cover
cover: peers ## coverage of the packages in dist/cover.html
	mkdir -p dist
	$(GO) test -count=1 -coverprofile=dist/cover.out -coverpkg=./... $(PACKAGES)
	$(GO) tool cover -func=dist/cover.out | tail -1
	$(GO) tool cover -html=dist/cover.out -o dist/cover.html

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (20s)
	@for f in $(FUZZ); do \
		dir=$$(dirname $$(grep -rl --include='*_test.go' "^func $$f(" . | head -1)); \
		echo "== $$dir $$f"; \
		$(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$dir || exit 1; \
	done

.PHONY: bench
bench: peers ## measure volumes and backups against others; MOORING_BENCH_MIB sizes the backup
	tools/setup.sh bench
	$(GO) test -count=1 -timeout 40m -run '^$$' -bench . -benchtime 1x ./e2e/bench

# --- checks ------------------------------------------------------------------

.PHONY: check
check: fmt-check lint tidy-check race faults ## what CI checks, without the end-to-end tests

.PHONY: lint
lint: $(LINT) ## golangci-lint with the layering rules
	$(LINT) run ./...

# The linter is built from the versions in tools/go.mod; nothing of it is in
# the product's go.mod.
$(LINT): tools/go.mod tools/go.sum
	cd tools && CGO_ENABLED=0 $(GO) build -o ../$(LINT) github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: fmt
fmt: ## format the source
	gofmt -l -w $(shell git ls-files '*.go')

.PHONY: fmt-check
fmt-check:
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "not formatted (make fmt):"; echo "$$out"; exit 1; }

.PHONY: fix
fix: ## apply Go's own modernisations
	$(GO) fix ./...

.PHONY: tidy-check
tidy-check:
	$(GO) mod tidy -diff
	$(GO) fix -diff ./...

.PHONY: vuln
vuln: ## known vulnerabilities; needs vuln.go.dev
	$(GO) run golang.org/x/vuln/cmd/govulncheck@latest ./...

# --- a look at it ------------------------------------------------------------

# Who runs the story's machines: local, or vsphere (a simulated vCenter).
HYPERVISOR ?= local

.PHONY: demo
demo: ## the two-team story with real containers on this machine (root); HYPERVISOR=vsphere
	tools/setup.sh demo
	$(MAKE) build plugin $(BIN)/mooring-demo $(if $(filter vsphere,$(HYPERVISOR)),$(BIN)/mooring-simvc)
	MOORING_DEMO_HYPERVISOR=$(HYPERVISOR) $(BIN)/mooring-demo up

.PHONY: demo-down
demo-down: $(BIN)/mooring-demo ## remove everything the demo made
	$(BIN)/mooring-demo down

.PHONY: $(BIN)/mooring-demo
$(BIN)/mooring-demo:
	CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./demo

.PHONY: $(BIN)/mooring-simvc
$(BIN)/mooring-simvc:
	CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./simvc/cmd/mooring-simvc

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BIN) dist
