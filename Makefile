# Each target installs what it needs in .venv, and again if pyproject.toml changes.
#
#   make demo    list, fetch and delete messages on a built-in demo server
#   make test    run the tests on all cores; ARGS="-k apop" selects some
#   make test-all   run all tests, with the long campaigns
#   make check   check format, types, architecture and documents
#   make clean   remove everything that make has created

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PIP := .venv/bin/python -m pip --quiet --disable-pip-version-check
ARGS ?=

# Each worker imports all tests, which takes a third of the time if they are kept compiled.
unexport PYTHONDONTWRITEBYTECODE

# Each worker creates what tests share once, so tests that are next to each other stay together.
# More workers than cores, as some tests wait for the time-outs of hostile servers.
PARALLEL = --numprocesses $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) * 3 / 2 ))) --dist worksteal
SAMPLES := -m 'not slow'

.PHONY: help demo test test-all check clean
help:
	@sed -n 's/^#   //p' Makefile

demo: .venv/ready-for-demo
	.venv/bin/pop3fetch demo

test-all: SAMPLES =
test: .venv/ready-for-test
test-all: .venv/ready-for-test
test test-all:
	@.ci/need '.venv/bin/python -c "from tests.support.dovecot import *; exit(missing())"' dovecot-pop3d \
		'no test against a real server'
	@.ci/unpack .venv/cyrus '.venv/bin/python -c "from tests.support.cyrus import *; exit(missing())"' \
		'no login is bound to a real channel' cyrus-pop3d cyrus-imapd cyrus-common sasl2-bin libsasl2-modules
	@.ci/need 'test -e /usr/lib/dovecot/imap' dovecot-imapd 'no test of IMAP at a real server'
	@.ci/need 'test -e /usr/lib/dovecot/lmtp' dovecot-lmtpd 'no test of LMTP at a real server'
	@.ci/need 'ls /usr/lib/dovecot/modules/lib*_sieve_plugin.so' dovecot-sieve 'no recipe with Sieve is followed'
	@.ci/need 'command -v exim4' exim4-daemon-light 'no test of SMTP at a real server'
	@.ci/need 'command -v strace' strace 'no test of what is written in which order'
	@.ci/need 'command -v mandoc' mandoc 'the manual pages are not linted'
	@.ci/need 'command -v microsocks' microsocks 'no test through a real SOCKS proxy'
	@.ci/need 'command -v dbus-daemon' dbus 'no test of a real keyring'
	@.ci/need 'command -v gnome-keyring-daemon' gnome-keyring 'no test of a real keyring'
	@.ci/need 'command -v maildrop' maildrop 'no test of --exec with maildrop'
	@.ci/need 'command -v procmail' procmail 'no test of --exec with procmail, nor of its locks'
	@.ci/need 'command -v mutt' mutt 'no mbox is read by mutt'
	@.ci/need 'command -v dotlockfile' liblockfile-bin 'no lock is tried by liblockfile'
	@.ci/need 'command -v less' less 'the first steps of the README are not tested'
	@.ci/need 'command -v jq' jq 'no recipe with jq is followed'
	@.ci/need 'command -v parallel' parallel 'the recipe with GNU parallel is not followed'
	@.ci/need 'command -v mpop' mpop 'no import from a real mpop'
	@.ci/need 'command -v fetchmail' fetchmail 'no import from a real fetchmail'
	@.ci/need 'command -v getmail' getmail6 'no import from a real getmail6'
	@# Debian 13 has no fdm.
	@.ci/need 'command -v fdm || grep -E "^(1[3-9]|[a-z])" /etc/debian_version' fdm 'no import from a real fdm'
	@.ci/need 'command -v logrotate || test -e /usr/sbin/logrotate' logrotate 'the recipe with logrotate is not followed'
	@.ci/need 'command -v zsh' zsh 'no completion in zsh'
	@.ci/need 'command -v fish' fish 'no completion in fish'
	@.ci/need 'test -e /usr/share/bash-completion/bash_completion' bash-completion 'no completion in bash'
	.venv/bin/python -m pytest $(PARALLEL) $(SAMPLES) $(ARGS)

check: .venv/ready-for-check
	@.ci/need 'command -v mandoc' mandoc 'the manual pages are not linted'
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/python -m pytest --quiet tests/test_architecture.py tests/test_dependencies.py tests/test_documents.py

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage build dist mutants
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/ready-for-demo: EXTRAS =
.venv/ready-for-test: EXTRAS = [test]
.venv/ready-for-check: EXTRAS = [test,check]
.venv/ready-for-dist: EXTRAS = [dist,oauth]
.venv/ready-for-installs: EXTRAS = [installs]
.venv/ready-for-audit: EXTRAS = [audit]
.venv/ready-for-fuzz: EXTRAS = [test,fuzz]
.venv/ready-for-mutants: EXTRAS = [test,mutants]
.venv/ready-for-%: pyproject.toml | .venv/bin/python
	$(PIP) install --editable '.$(EXTRAS)'
	@touch $@

.venv/bin/python:
	@test -n '$(PYTHON)' || { echo 'pop3fetch needs Python 3.11 or newer: make PYTHON=/path/to/it' >&2; exit 1; }
	@.ci/need '$(PYTHON) -c "import ensurepip"' python3-venv 'no virtual environment can be made'
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

#   make bench   compare with mpop, fetchmail, getmail6, poplib and curl; ARGS="--quick --only keep --against REVISION"
.PHONY: bench
bench: .venv/ready-for-test .venv/bench/bin/pop3fetch
	@.ci/need '.venv/bin/python -c "from tests.support.dovecot import *; exit(missing())"' dovecot-pop3d 'no benchmark'
	@.ci/need 'test -e /usr/lib/dovecot/imap' dovecot-imapd 'no benchmark of destinations'
	@.ci/need 'test -e /usr/lib/dovecot/lmtp' dovecot-lmtpd 'no benchmark of destinations'
	@.ci/need 'command -v mpop' mpop 'mpop does not take part'
	@.ci/need 'command -v fetchmail' fetchmail 'fetchmail does not take part'
	@.ci/need 'command -v getmail' getmail6 'getmail6 does not take part'
	@.ci/need 'command -v curl' curl 'curl does not take part'
	.venv/bin/python -m bench $(ARGS)

#   make accounts   fetch from 200 accounts at once, and compare with an mpop for each
#   make polls   let one process poll ten thousand times, and compare its memory and CPU
.PHONY: accounts polls
accounts polls: .venv/ready-for-test .venv/bench/bin/pop3fetch
	.venv/bin/python -m bench.$@ $(ARGS)

# Installed alone and not editable, because other packages in an environment slow down every start.
.venv/bench/bin/pop3fetch: pyproject.toml $(shell find pop3fetch -name "*.py") | .venv/bin/python
	.venv/bin/python -m venv .venv/bench
	.venv/bench/bin/python -m pip --quiet --disable-pip-version-check install --force-reinstall .
	@touch $@

#   make crash   test a crash at every system call; ARGS="--only disks --sample 500"
.PHONY: crash
crash: .venv/ready-for-test
	@.ci/need 'command -v strace' strace 'no call of the system is disturbed'
	.venv/bin/python -m tests.crash $(ARGS)

#   make night   simulate nights in which a server is down, with a run every ten minutes; ARGS="--only 'in use'"
.PHONY: night
night: .venv/ready-for-test
	.venv/bin/python -m tests.night $(ARGS)

#   make audit   check the installed libraries for known vulnerabilities; needs the network
.PHONY: audit
audit: .venv/ready-for-audit
	.venv/bin/pip-audit --progress-spinner off --timeout 10 --strict --skip-editable

#   make fuzz    fuzz the core of the protocol with atheris; SECONDS=60
#   make mutants test the tests of the core with mutmut
SECONDS ?= 60
.PHONY: fuzz mutants
fuzz: .venv/ready-for-fuzz
	.venv/bin/python -m tests.fuzz.target $(SECONDS)

mutants: .venv/ready-for-mutants
	.venv/bin/mutmut run
	.venv/bin/mutmut results

#   make test-debian12, make test-debian13   run demo, check and test on a bare Debian; needs root and debootstrap
.PHONY: test-debian12 test-debian13
test-debian12 test-debian13: export ARGS := $(ARGS)
test-debian12:
	.ci/debian bookworm
test-debian13:
	.ci/debian trixie

#   make dist    build source distribution and wheel, byte-for-byte reproducible
.PHONY: dist
dist: .venv/ready-for-dist
	.venv/bin/python -m hatchling build --directory dist

# The time that what is built bears: of the last commit; in a source distribution, which has none, of its files.
dist deb: export SOURCE_DATE_EPOCH ?= $(shell if [ -e PKG-INFO ]; then date -r PKG-INFO +%s; else git log -1 --format=%ct; fi)

#   make deb     build a Debian package of the single portable file, dist/pop3fetch_*_all.deb, reproducible, too
.PHONY: deb
deb: .venv/ready-for-dist
	@.ci/need 'command -v dpkg-deb' dpkg 'no package can be built'
	.venv/bin/python -m release.deb dist

#   make zipapp  build a single portable file, dist/pop3fetch.pyz; it uses cryptography if that is installed
.PHONY: zipapp
zipapp: .venv/ready-for-dist
	.venv/bin/python -m release.zipapp dist/pop3fetch.pyz

#   make installs   try pip, pipx, uv, the single file and the Debian package in fresh homes; ARGS="pipx uv" tries some
.PHONY: installs
installs: .venv/ready-for-installs dist zipapp deb
	@.ci/need 'command -v man' man-db 'no manual page is looked for'
	@.ci/need 'command -v zsh' zsh 'no completion in zsh'
	@.ci/need 'command -v fish' fish 'no completion in fish'
	@.ci/need 'test -e /usr/share/bash-completion/bash_completion' bash-completion 'no completion in bash'
	PYTHON='$(PYTHON)' .ci/installs $(ARGS)

#   make picture draw the picture in the README from a real run
.PHONY: picture
picture: .venv/ready-for-test
	.venv/bin/python -m release.picture docs/picture.svg

#   make versions run the tests with every installed Python from 3.11 on; ARGS as above
#   make lowest   run the tests with the oldest supported libraries; ARGS as above
.PHONY: versions lowest
versions: .venv/bin/python
	.ci/versions $(PARALLEL) $(SAMPLES) $(ARGS)

lowest: .venv/ready-for-dist
	.venv/bin/python -m release.lowest >.venv/lowest.txt
	test -e .venv/lowest || .venv/bin/python -m venv .venv/lowest
	.venv/lowest/bin/python -m pip --quiet --disable-pip-version-check install \
		--constraint .venv/lowest.txt --editable '.[test]'
	.venv/lowest/bin/python -m pytest $(PARALLEL) $(SAMPLES) $(ARGS)
