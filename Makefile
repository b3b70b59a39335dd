# The few things one does here. `make test` is what CI runs.

CARGO ?= cargo
# Tools that the tests need and a bare Rust toolchain lacks are installed here, once.
TOOLS := $(CURDIR)/target/tools
CARGO_DENY_VERSION := 0.20.2
export PATH := $(TOOLS)/bin:$(PATH)

.PHONY: help run demo test format lint core unit control-plane docs deny bench golden release clean

help: ## Print what can be made.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: ## Serve the example mesh over HTTPS, with a certificate made on the spot.
	$(CARGO) run --release -- serve --inventory manifests/examples/mesh

demo: control-plane ## Show isthmus before a real control plane: an example mesh, and what it refuses.
	$(CARGO) build --locked
	tests/control-plane/demo

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

unit: control-plane ## Run every test.
	$(CARGO) test --locked --lib --test integration

control-plane: ## Build the etcd, kube-apiserver, kubectl and helm that tests and demo start, once.
	@test -n "$$KUBEBUILDER_ASSETS" || tests/control-plane/build

docs: ## Build the documentation of the code, without a broken link.
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --lib

deny: $(TOOLS)/bin/cargo-deny ## Check dependencies: bans, licenses, sources.
	$< --locked --log-level error check bans licenses sources

$(TOOLS)/bin/cargo-deny:
	$(CARGO) install cargo-deny --locked --debug --version $(CARGO_DENY_VERSION) --root $(TOOLS)

bench: ## Measure what docs/benchmarks.md records.
	$(CARGO) bench --bench core --bench memory

golden: ## Write the expected texts and the README's picture anew; read the difference before you commit it.
	UPDATE_GOLDEN=1 $(CARGO) test --locked --test integration

release: ## Build the binary that is shipped.
	$(CARGO) build --locked --release

clean: ## Remove all that was built.
	$(CARGO) clean
