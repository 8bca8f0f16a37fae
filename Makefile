# SPDX-License-Identifier: Apache-2.0
# A thin front for Meson.  `make help` lists what there is.
#
#   DEPS=skip       do not install anything
#   SANITIZE=...    address,undefined or thread: an instrumented build in a folder of its own
#   CC=clang        another compiler

SHELL := /bin/bash
SANITIZE ?=
NAME ?=
SEEDS ?= 10
SECONDS_EACH ?= 60
VERSION ?= 18
FULL ?=
PREFIX ?= /usr/local
comma := ,
ifeq ($(SANITIZE),)
BUILD ?= build
SETUP :=
else
BUILD ?= build-$(subst $(comma),-,$(SANITIZE))
SETUP := -Db_sanitize=$(SANITIZE) -Db_lundef=false
export ASAN_OPTIONS ?= detect_leaks=1:strict_string_checks=1
export UBSAN_OPTIONS ?= print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS ?= halt_on_error=1:second_deadlock_stack=1
endif
NINJA = ninja -C $(BUILD)

.PHONY: all deps setup build demo test unit flow check headers layers style docs fmt fault migrate-on migrate18 fuzz bench install clean help

all: build

deps:
	@tools/deps $(DEPS) build

$(BUILD)/build.ninja: meson.build
	@$(MAKE) --no-print-directory deps
	@if [ -f $(BUILD)/build.ninja ]; then meson setup --reconfigure $(BUILD) $(SETUP) >/dev/null; \
	else meson setup $(BUILD) $(SETUP) >$(BUILD).setup.log 2>&1 || { cat $(BUILD).setup.log; exit 1; }; fi
	@rm -f $(BUILD).setup.log; touch $@

setup: $(BUILD)/build.ninja

build: setup
	@$(NINJA)

demo: build
	@tools/deps $(DEPS) test
	@tools/demo $(BUILD)

test: deps
	@tools/deps $(DEPS) test
	@$(MAKE) --no-print-directory build
	@tools/test $(BUILD) unit flow

unit flow: build
	@tools/deps $(DEPS) test
	@tools/test $(BUILD) $@

# Broken worlds: kill -9, immediate stops, full disks, races.  Minutes.
fault: build
	@tools/deps $(DEPS) test
	@SEEDS=$(SEEDS) tools/test $(BUILD) fault

# What banyan migrate knows of PostgreSQL 15, again on another major (14, 16, 17, 18: from registries, into the build folder).
# The long ones of make fault, FULL=1 puts them on top.
MIGRATE = $(addprefix migrate-,effect$(if $(FULL),-all) oracle books batches bound run$(if $(FULL),-all) run_crash run_two throttle sync plan_rows \
	plan-walk$(if $(FULL),-all) plan_forms$(if $(FULL),-all) swap$(if $(FULL),-all) rehearse-copy kill random live) 540-migrate
migrate-on: build
	@tools/deps $(DEPS) test majors
	@bin=$$(tools/deps-postgres $(VERSION) $(BUILD)/postgres$(VERSION)) && \
	PG_BIN=$$bin meson test -C $(BUILD) --num-processes 2 --timeout-multiplier 4 --no-rebuild --print-errorlogs $(MIGRATE)

migrate18:
	@$(MAKE) --no-print-directory migrate-on VERSION=18

bench: build
	@tools/deps $(DEPS) test
	@tools/bench $(BUILD) $(NAME)

fuzz:
	@tools/deps $(DEPS) build fuzz
	@tools/fuzz $(SECONDS_EACH)

check: build
	@tools/deps $(DEPS) test check
	@$(MAKE) --no-print-directory fmt-check layers headers style docs
	@tools/test $(BUILD) unit

.PHONY: fmt-check
fmt-check:
	@files=$$(git ls-files '*.c' '*.h'); clang-format --dry-run --Werror $$files && echo "format: ok"

fmt:
	@clang-format -i $$(git ls-files '*.c' '*.h')

layers:
	@tools/check-layers

headers:
	@tools/check-headers

style:
	@tools/check-style

docs: build
	@tools/check-docs $(BUILD)

# The build folder is only a staging place: the prefix is given when installing.
install: build
	@meson configure $(BUILD) --prefix $(abspath $(PREFIX)) && $(NINJA) install

clean:
	@rm -rf build build-*

help:
	@echo "make               install what is missing, build $(BUILD)/banyan"
	@echo "make demo          the main job on a throwaway PostgreSQL; figures in build/demo/report.json"
	@echo "make test          unit and flow tests"
	@echo "make check         format, layers, headers, style, docs drift, unit tests"
	@echo "make fault SEEDS=n broken worlds: kill -9, immediate stops, races"
	@echo "make migrate-on VERSION=18   the tests of banyan migrate on another PostgreSQL: 14, 16, 17, 18; FULL=1: all of them"
	@echo "make bench NAME=x  benchmarks against their references; build/bench/results.jsonl"
	@echo "make fuzz          fuzzers, SECONDS_EACH=n"
	@echo "make install       PREFIX=/usr/local"
	@echo "SANITIZE=address,undefined or thread: the same, instrumented.  DEPS=skip: install nothing."
