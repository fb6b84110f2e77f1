# gsmeval: `make run` sets everything up and does a first run, `make test` passes the tests.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(GSMEVAL_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/gsmeval)
GOLANGCI_LINT_VERSION := v2.12.0
GOFUMPT_VERSION := v0.9.2
# Every recipe that needs libtorch begins with the environment that scripts/deps.sh wrote.
WITH_DEPS := source .deps/env;
PURE := ./internal/condition/... ./internal/keys/... ./internal/thought/... ./noise/operation/... ./datasets/... ./scoring/... ./results/... ./internal/config/... ./decode/chat/... ./decode/checkpoint/... ./noise/philox/... ./noise/alpha/... ./noise/fidelity/... ./internal/plots/... ./internal/hub/... ./internal/builtin/... ./harness/submit/... ./internal/files/... ./internal/lease/... ./internal/device/...

.PHONY: help run smollm2 finetune test test-slurm test-container aarch64 build deps env lint fmt fuzz bench bench-scale study dist dist-check wheel wheel-check bundle release-check gpu-check clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 12

run: build ## set everything up, then run the bundled model on the bundled data (configs/first_light.yaml)
	@echo "run: 200 problems under three noises; less than a minute on two cores"
	bin/gsmeval run configs/first_light.yaml

smollm2: ## fetch a real language model, SmolLM2-135M-Instruct, into the cache (93 MB); configs/smollm2.yaml runs it
	@scripts/smollm2.sh "$(CACHE)"

MINUTES ?= 60
finetune: smollm2 ## fine-tune that model on gsm-synth, and with GSM8K=path/to/gsm8k on it too, for MINUTES (60), into models/smollm2-gsm
	@"$$(scripts/venv.sh train)/bin/python" scripts/finetune_smollm2.py --minutes $(MINUTES) $(if $(GSM8K),--gsm8k "$(GSM8K)") $(FINETUNE_ARGS)

deps: ## fetch libtorch and build libtokenizers into the cache (first time: 530 MB and about four minutes)
	@scripts/deps.sh

build: deps ## build bin/gsmeval (the first time compiles gotch's C++, about four minutes)
	@echo "build: bin/gsmeval (the first build compiles gotch's C++ for some minutes)"
	@$(WITH_DEPS) go build -o bin/gsmeval ./cmd/gsmeval

test: deps ## all tests; those of the pure-Go packages under the race detector
	@echo "test: pure-Go packages, with the race detector"
	go test -race -timeout 30m $(PURE)
	@echo "test: everything, on libtorch"
	@$(WITH_DEPS) go test -timeout 30m ./...

test-slurm: build ## a job array on a one-machine Slurm (root; slurm-wlm and munge), and manifests against Kubernetes' types
	@test/slurm/run.sh
	@cd test/kubernetes && go test ./...

test-container: wheel ## the Containerfile built to its end and the image run (root; buildah and debootstrap; 2 GB to fetch)
	@test/container.sh

aarch64: ## a cross build for aarch64 Linux into bin/, tried under qemu (g++-aarch64-linux-gnu, qemu-user-static)
	@scripts/aarch64.sh

env: deps ## print what an editor or a bare `go test ./...` needs: eval "$$(make -s env)"
	@cat .deps/env

lint: deps ## go vet, golangci-lint and gofumpt (the first time they are built, and the C++ once for them: about ten minutes)
	@scripts/tools.sh "$(CACHE)" golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint $(GOLANGCI_LINT_VERSION)
	@scripts/tools.sh "$(CACHE)" gofumpt mvdan.cc/gofumpt $(GOFUMPT_VERSION)
	@scripts/lint.sh "$(CACHE)" "$(CACHE)/tools/golangci-lint-$(GOLANGCI_LINT_VERSION)" "$(CACHE)/tools/gofumpt-$(GOFUMPT_VERSION)"

fmt: ## format the Go files
	@scripts/tools.sh "$(CACHE)" gofumpt mvdan.cc/gofumpt $(GOFUMPT_VERSION)
	@"$(CACHE)/tools/gofumpt-$(GOFUMPT_VERSION)" -extra -w .

study: build ## the study of docs/preregistration.md, about two hours on two cores; see scripts/study.sh
	@scripts/study.sh

FUZZTIME ?= 60
fuzz: ## run the fuzz targets for FUZZTIME seconds in all (60)
	@scripts/fuzz.sh $(FUZZTIME)

SCALE ?= runs/bench-scale
bench-scale: build ## 1,000 shards of 600,000 samples by a fake engine: plan, status and merge (4 GB of disk in SCALE)
	@mkdir -p $(SCALE)
	@$(WITH_DEPS) GSMEVAL_SCALE=$(abspath $(SCALE)) go test -run '^$$' -bench ThousandShards -benchtime 1x -timeout 60m ./harness/runner

# The peers live in a virtual environment, and models made for them beside it, outside the repository.
BENCH ?= bundled,shape05b,noise,memory,lmeval,busy,flat,soak,profile,ops
BENCH_VENV ?= $(CACHE)/bench-venv
BENCH_WORK ?= $(CACHE)/bench
BENCH_FLAGS = --parts $(BENCH) --work "$(BENCH_WORK)" $(if $(QUICK),--quick) $(if $(RESUME),--resume) $(if $(SOAK),--soak $(SOAK)) $(if $(EARLIER),--earlier "$(EARLIER)") $(BENCH_ARGS)
bench: build ## compare with the peers and write docs/benchmarks/PROCESSOR.md; QUICK=1: a quarter of an hour; BENCH=bundled,lmeval: parts
	@scripts/bench/venv.sh "$(BENCH_VENV)"
	@$(WITH_DEPS) go build -o bin/bench-step ./scripts/bench/step
	@"$(BENCH_VENV)/bin/python" scripts/bench/bench.py $(BENCH_FLAGS)

dist: build ## make the archive for other machines in dist/: program, bundled model and data, docs, licences, setup
	@scripts/dist.sh

# DIST_TORCH=DIR saves the download.
dist-check: dist ## try that archive as a new user would, in a bare directory (530 MB to download)
	@scripts/dist_check.sh $(if $(DIST_TORCH),--torch $(DIST_TORCH))

wheel: build ## make the Python wheel in dist/: program, module, bundled model, data and configs; runs with the torch beside it
	@scripts/wheel.sh

# WHEEL_TORCH=DIR, an unpacked libtorch, saves the download.
wheel-check: wheel ## try that wheel in a fresh virtual environment: install, run, interrupt, resume, module, notebook, uninstall
	@scripts/wheel_check.sh $(if $(WHEEL_TORCH),--torch $(WHEEL_TORCH))

release-check: ## build wheel, archive and bundle twice, from two clean clones: equal bytes, the version of CHANGELOG.md, sha256s
	@scripts/release_check.sh

bundle: build ## pack what a machine with a GPU and without Go needs to check this build there (docs/gpu.md)
	@scripts/bundle.sh

gpu-check: build ## on a machine with an NVIDIA GPU: check and measure everything on it, into gpu-report.md
	@scripts/gpu_check.sh

clean: ## remove what was built here; the cache stays (rm -r $(CACHE) removes that too)
	rm -rf bin .deps dist
