# The few things one does here. `make test` is what CI runs.

CARGO ?= cargo
# Tools that the tests need and a bare Rust toolchain lacks are installed here, once.
TOOLS := $(CURDIR)/target/tools
CARGO_DENY_VERSION := 0.20.2
CARGO_CYCLONEDX_VERSION := 0.5.9
CARGO_FUZZ_VERSION := 0.13.2
COSIGN_VERSION := 3.1.3
export PATH := $(TOOLS)/bin:$(PATH)

# What is fuzzed, for how many seconds each, and how. Only a nightly toolchain has sanitizers:
# `make fuzz FUZZ_SANITIZER=address FUZZ_CARGO="cargo +nightly"`.
FUZZ_TARGETS ?= $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
FUZZ_SECONDS ?= 60
FUZZ_SANITIZER ?= none
FUZZ_CARGO ?= $(CARGO)
# The longest input, in bytes, and the longest that one may take, in seconds.
FUZZ_LIMITS ?= -max_len=4096 -timeout=20

# How many inputs of each law `make laws` tries.
PROPTEST_CASES ?= 2000

# How many tests run at once: most of them wait most of the time.
TEST_THREADS ?= $(shell echo $$((3 * $$(nproc))))

# How many schedules of the ledger `make explore` runs.
SCHEDULES ?= 1000000

# What is shipped: for which target, and what the image is called.
RUST_TARGET ?= $(shell uname -m)-unknown-linux-gnu
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
IMAGE ?= isthmus:$(VERSION)
# The image that the binary is built in, unless BINARY=prebuilt. With a digest (NAME@sha256:…) it is
# taken as it is; otherwise the digest that the name has now is looked up, and written into the image.
RUST_IMAGE ?= rust:$(shell sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)-bookworm
# The builder of images, the first that is there.
CONTAINER ?= $(firstword $(foreach tool,podman docker buildah,$(if $(shell command -v $(tool)),$(tool))))
# What links for another architecture than this machine's.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER ?= \
	$(if $(filter aarch64,$(shell uname -m)),cc,aarch64-linux-gnu-gcc)
# The architecture of the image.
PLATFORM := $(if $(filter aarch64%,$(RUST_TARGET)),linux/arm64,linux/amd64)
# Nothing of this machine is in the binary, neither its libraries nor its paths.
CARGO_HOME ?= $(HOME)/.cargo
# The public certificate authorities (CAs) that the image trusts, of Debian's package ca-certificates.
CA_BUNDLE ?= /etc/ssl/certs/ca-certificates.crt
STATIC_RUSTFLAGS := -C target-feature=+crt-static \
	--remap-path-prefix=$(CURDIR)=/isthmus --remap-path-prefix=$(CARGO_HOME)=/cargo
STATIC_CFLAGS := -g0 -ffile-prefix-map=$(CURDIR)=/isthmus -ffile-prefix-map=$(CARGO_HOME)=/cargo

.PHONY: help run demo test format lint core unit laws explore pages faults control-plane docs deny advisories bench limits \
	golden fuzz fuzz-corpus release static image dist chart krew attest sign version clean

help: ## Print what can be made.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: ## Serve the example mesh over HTTPS, with a certificate made on the spot.
	$(CARGO) run --release -- serve --inventory manifests/examples/mesh

demo: control-plane ## Show isthmus before a real control plane: an example mesh, and what it refuses.
	$(CARGO) build --locked
	tests/kubernetes/demo

test: format lint core unit docs deny ## All that must hold before a change lands.

format: ## Check the format of the code.
	$(CARGO) fmt --check

lint: ## Clippy, without a warning.
	$(CARGO) clippy --locked --all-targets -- -D warnings

core: ## Check that the core builds without anything that does I/O.
	$(CARGO) check --locked --lib --no-default-features
	@! $(CARGO) tree --locked --no-default-features --edges normal --prefix none \
		| grep -E '^(tokio|axum|kube|hyper|rustls) ' \
		|| { echo "the core depends on an edge" >&2; exit 1; }

# A change is judged by the same inputs each time; `make laws` looks for others.
unit: control-plane ## Run every test.
	PROPTEST_RNG_SEED=1 $(CARGO) test --locked --lib --test integration --test explore -- \
		--test-threads=$(TEST_THREADS) --skip complexity::
	# Costs are compared with each other, which nothing should disturb.
	$(CARGO) test --locked --test integration complexity:: -- --test-threads=1

laws: ## Look for inputs that break a law: PROPTEST_CASES of each, other ones each time.
	PROPTEST_CASES=$(PROPTEST_CASES) $(CARGO) test --locked --test integration laws::

explore: ## Run SCHEDULES of the ledger's replicas against each other, and find each safeguard that is left out.
	ISTHMUS_SCHEDULES=$(SCHEDULES) nice $(CARGO) test --locked --profile explore --no-default-features \
		--test explore -- --nocapture --test-threads=1

pages: $(TOOLS)/pages/node_modules ## Look at the pages of `isthmus map` in Chromium: errors, requests, accessibility (needs chromium and npm).
	$(CARGO) build --locked
	NODE_PATH=$< node tests/pages/check.cjs target/debug/isthmus target/pages

$(TOOLS)/pages/node_modules: tests/pages/package.json tests/pages/package-lock.json
	mkdir -p $(@D) && cp $^ $(@D)
	cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

faults: control-plane ## Run the tests of faults that take minutes: silence, etcd restored, a hundred rotations, races of replicas that die, clocks that step (needs faketime).
	$(CARGO) test --locked --test integration faults:: -- --ignored

control-plane: ## Build the etcd, kube-apiserver, kubectl and helm that tests and demo start, and fetch published schemas, once.
	@test -n "$$KUBEBUILDER_ASSETS" || tests/kubernetes/build
	@tests/kubernetes/published/fetch

docs: ## Build the documentation of the code, without a broken link.
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --lib

deny: $(TOOLS)/bin/cargo-deny ## Check dependencies: bans, licenses, sources.
	$< --locked --log-level error check bans licenses sources

advisories: $(TOOLS)/bin/cargo-deny ## Check dependencies for known vulnerabilities, by a database from the network.
	$< --locked check advisories

$(TOOLS)/bin/cargo-deny:
	$(CARGO) install cargo-deny --locked --debug --version $(CARGO_DENY_VERSION) --root $(TOOLS)

bench: ## Measure what docs/benchmarks.md records.
	$(CARGO) bench --bench core --bench check --bench memory --bench complexity --bench serve

limits: control-plane ## Show that a release build stays within its limits under the worst of everything.
	MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=131072 MALLOC_TRIM_THRESHOLD_=131072 \
		$(CARGO) test --locked --release --test limits -- --nocapture

golden: ## Write the expected texts and the README's picture anew; read the difference before you commit it.
	UPDATE_GOLDEN=1 $(CARGO) test --locked --test integration

fuzz: $(TOOLS)/bin/cargo-fuzz ## Look for inputs that break a law: FUZZ_TARGETS, FUZZ_SECONDS for each. Needs a C++ compiler.
	for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/found/$$target && \
		$(FUZZ_CARGO) fuzz run --sanitizer $(FUZZ_SANITIZER) --target-dir target/fuzz $$target \
			fuzz/found/$$target fuzz/corpus/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) $(FUZZ_LIMITS) -print_final_stats=1 || exit; \
	done

fuzz-corpus: $(TOOLS)/bin/cargo-fuzz ## Keep the smallest of all inputs found that reach as much of the code.
	for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/found/$$target && \
		cp fuzz/corpus/$$target/* fuzz/found/$$target/ && rm -r fuzz/corpus/$$target && \
		mkdir fuzz/corpus/$$target && \
		$(FUZZ_CARGO) fuzz run --sanitizer none --target-dir target/fuzz $$target \
			fuzz/corpus/$$target fuzz/found/$$target -- -set_cover_merge=1 -use_counters=0 -use_cmp=0 -max_len=512 || exit; \
	done

$(TOOLS)/bin/cargo-fuzz:
	$(CARGO) install cargo-fuzz --locked --debug --version $(CARGO_FUZZ_VERSION) --root $(TOOLS)

release: ## Build the binary for this machine.
	$(CARGO) build --locked --release

static: ## Build the binary that is shipped: without libraries, the same bytes wherever it is built.
	RUSTFLAGS="$(STATIC_RUSTFLAGS)" CFLAGS="$(STATIC_CFLAGS)" CARGO_INCREMENTAL=0 \
		$(CARGO) build --locked --release --target $(RUST_TARGET)
	mkdir -p target/static
	cp target/$(RUST_TARGET)/release/isthmus target/static/isthmus
	cp $(CA_BUNDLE) target/static/ca-certificates.crt

image: ## Build the image, as IMAGE=NAME, with podman, docker or buildah; BINARY=prebuilt takes `make static`'s.
	@test -n "$(CONTAINER)" || { echo "image: install podman, docker or buildah" >&2; exit 1; }
	builder=$(if $(BINARY),$(BINARY),$$(CONTAINER="$(CONTAINER)" .ci/pin-image "$(RUST_IMAGE)")) && \
	$(CONTAINER) build --platform $(PLATFORM) --tag $(IMAGE) --build-arg VERSION=$(VERSION) --build-arg BUILDER="$$builder" \
		--build-arg REVISION=$(shell git rev-parse HEAD) \
		$(if $(BINARY),--build-arg BINARY=$(BINARY),--build-arg RUST="$$builder") .

dist: static $(TOOLS)/bin/cargo-cyclonedx ## Build what is released for RUST_TARGET: binary, archive for kubectl, bill of materials, checksums.
	mkdir -p target/dist && rm -f target/dist/*$(VERSION)-$(RUST_TARGET)*
	cp target/static/isthmus target/dist/isthmus-$(VERSION)-$(RUST_TARGET)
	.ci/archive target/static/isthmus target/dist/kubectl-isthmus-$(VERSION)-$(RUST_TARGET).tar.gz
	SOURCE_DATE_EPOCH=$(shell git log -1 --format=%ct) $(CARGO) cyclonedx --quiet --format json \
		--spec-version 1.5 --target $(RUST_TARGET) --no-build-deps --override-filename isthmus.tmp
	sed 's|file://$(CURDIR)|file:///isthmus|g' isthmus.tmp.json \
		> target/dist/isthmus-$(VERSION)-$(RUST_TARGET).cdx.json
	rm isthmus.tmp.json
	cd target/dist && sha256sum *isthmus-* > SHA256SUMS

chart: ## Build the archive of the chart that is released, with Helm.
	mkdir -p target/dist
	helm package manifests/isthmus --destination target/dist

krew: ## Write the manifest for krew of the archives in target/dist, which RELEASE_URL leads to.
	.ci/krew $(VERSION) "$(RELEASE_URL)" > target/dist/isthmus.yaml

attest: $(TOOLS)/bin/cosign ## Sign an image that was pushed, IMAGE=NAME@sha256:…, and attest its bill of materials and, if PROVENANCE names a file, that.
	@case "$(IMAGE)" in *@sha256:*) ;; *) echo "attest: IMAGE must name a digest" >&2; exit 1 ;; esac
	$< sign --yes $(IMAGE)
	$< attest --yes --type cyclonedx \
		--predicate target/dist/isthmus-$(VERSION)-$(RUST_TARGET).cdx.json $(IMAGE)
	$(if $(PROVENANCE),$< attest --yes --type slsaprovenance1 --predicate $(PROVENANCE) $(IMAGE))

sign: $(TOOLS)/bin/cosign ## Sign the checksums in target/dist, and by them all that is released.
	$< sign-blob --yes --bundle target/dist/SHA256SUMS.sigstore.json target/dist/SHA256SUMS

# Go checks the source against its database of checksums.
$(TOOLS)/bin/cosign:
	GOBIN=$(TOOLS)/bin go install github.com/sigstore/cosign/v3/cmd/cosign@v$(COSIGN_VERSION)

version: ## Print the version.
	@echo $(VERSION)

$(TOOLS)/bin/cargo-cyclonedx:
	$(CARGO) install cargo-cyclonedx --locked --debug --version $(CARGO_CYCLONEDX_VERSION) --root $(TOOLS)

clean: ## Remove all that was built.
	$(CARGO) clean
