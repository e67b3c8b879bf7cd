#!/bin/sh
# Sees to it that this machine can run Seaworthy, and says what it does. Run by the Makefile:
#
#   setup.sh run    Rust, a C compiler, and Postgres and Redis: in containers where Docker answers, else native
#   setup.sh test   the same, native in any case, and what the tests' own dependencies need to build
#
# What is missing is installed with the system's package manager (apt-get, dnf or brew).
set -eu

purpose=${1:-run}
say() { printf 'setup: %s\n' "$*" >&2; }

manager=none
for candidate in apt-get dnf brew; do
    if command -v $candidate >/dev/null 2>&1; then manager=$candidate && break; fi
done

# install WHAT DEBIAN FEDORA HOMEBREW: installs a package under its name for this system.
updated=''
install() {
    what=$1
    case $manager in
    apt-get) package=$2 ;;
    dnf) package=$3 ;;
    brew) package=$4 ;;
    *)
        say "$what is missing and there is no package manager that we know; install it (on Debian: $2) and try again"
        exit 3
        ;;
    esac
    sudo=''
    if [ "$manager" != brew ] && [ "$(id -u)" -ne 0 ]; then
        sudo=sudo
        command -v sudo >/dev/null 2>&1 || { say "$what is missing; as root, run: $manager install $package"; exit 3; }
    fi
    say "$what is missing: installing $package with $manager"
    case $manager in
    apt-get)
        [ -n "$updated" ] || $sudo apt-get update -qq
        updated=yes
        # Only the binaries are wanted. Debian starts a service with its package unless the system's policy says no, so it does
        # while we install.
        policy=/usr/sbin/policy-rc.d
        if [ ! -e $policy ]; then
            printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
            $sudo chmod +x $policy
            trap '$sudo rm -f $policy' EXIT INT TERM
        fi
        # shellcheck disable=SC2086
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $package >/dev/null
        ;;
    dnf) $sudo dnf install -y -q $package >/dev/null ;;
    brew) brew install -q $package >/dev/null ;;
    esac
}

command -v cargo >/dev/null 2>&1 || { say "cargo is missing: install Rust from https://rustup.rs and try again"; exit 3; }
command -v cc >/dev/null 2>&1 || install 'a C compiler' 'gcc libc6-dev' gcc gcc

has_postgres() {
    [ -n "${SEAWORTHY_POSTGRES:-}" ] || command -v postgres >/dev/null 2>&1 ||
        ls /usr/lib/postgresql/*/bin/postgres /usr/pgsql-*/bin/postgres /opt/homebrew/opt/postgresql*/bin/postgres \
            /usr/local/opt/postgresql*/bin/postgres 2>/dev/null | grep -q .
}

has_redis() { [ -n "${SEAWORTHY_REDIS:-}" ] || command -v redis-server >/dev/null 2>&1; }

# Whether Docker can give us every service: a daemon answers, and each image is here or can be pulled.
docker_works() {
    command -v docker >/dev/null 2>&1 && docker info >/dev/null 2>&1 || return 1
    for pair in "${SEAWORTHY_POSTGRES_IMAGE:-postgres:17-alpine} seaworthy/postgres:offline" \
        "${SEAWORTHY_REDIS_IMAGE:-redis:7-alpine} seaworthy/redis:offline" \
        "${SEAWORTHY_APP_IMAGE:-debian:stable-slim} seaworthy/app:offline"; do
        official=${pair% *} offline=${pair#* }
        docker image inspect "$official" >/dev/null 2>&1 || docker image inspect "$offline" >/dev/null 2>&1 ||
            docker pull -q "$official" >/dev/null 2>&1 || return 1
    done
}

if [ "$purpose" = run ] && docker_works; then
    say "Docker answers and has the images"
else
    has_postgres || install Postgres postgresql postgresql-server postgresql@17
    has_redis || install Redis redis-server redis redis
    say "Postgres and Redis are here, as native binaries"
    # For the scenario in which clocks jump, which is skipped without it.
    if [ $manager = apt-get ]; then
        command -v faketime >/dev/null 2>&1 || install libfaketime faketime libfaketime libfaketime
    fi
fi

# A server of a kind that the harness' users bring: the tests of those kinds are skipped without it.
if [ "$purpose" = test ] && [ $manager = apt-get ]; then
    command -v nats-server >/dev/null 2>&1 || [ -x /usr/sbin/nats-server ] || install NATS nats-server nats-server nats-server
fi

# One client that the tests drive the fault proxy with links OpenSSL; on macOS it uses the system's own library.
if [ "$purpose" = test ] && [ "$(uname)" = Linux ]; then
    command -v pkg-config >/dev/null 2>&1 || install pkg-config pkg-config pkgconf-pkg-config pkg-config
    pkg-config --exists openssl || install 'OpenSSL for development' libssl-dev openssl-devel openssl@3
fi
