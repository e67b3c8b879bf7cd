#!/bin/sh
# Builds the images of the docker provider from Debian packages alone, for machines that reach a Debian mirror and no
# image registry:
#
#   seaworthy/postgres:offline   seaworthy/redis:offline   seaworthy/nats:offline   seaworthy/app:offline
#
# They take the settings of the official images, as far as the harness uses them. Needs root (or sudo), debootstrap and a
# running Docker daemon. SEAWORTHY_MIRROR and SEAWORTHY_SUITE name another mirror and another release of Debian.
set -eu

say() { printf 'offline images: %s\n' "$*" >&2; }

if [ "$(id -u)" -ne 0 ]; then
    say "debootstrap needs root, so this goes on with sudo"
    exec sudo --preserve-env=DOCKER_HOST,SEAWORTHY_MIRROR,SEAWORTHY_SUITE sh "$0" "$@"
fi
docker info >/dev/null 2>&1 || { say "no Docker daemon answers; start one first"; exit 3; }
if ! command -v debootstrap >/dev/null; then
    say "installing debootstrap with apt-get"
    apt-get install -y -qq debootstrap >/dev/null
fi

suite=${SEAWORTHY_SUITE:-$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")}
root=$(mktemp -d)
container=''
trap 'rm -rf "$root"; [ -z "$container" ] || docker rm -f "$container" >/dev/null' EXIT
trap 'exit 130' INT TERM

say "building a Debian $suite with Postgres, Redis and NATS in $root"
if ! debootstrap --variant=minbase --include=postgresql,redis-server,nats-server "$suite" "$root" ${SEAWORTHY_MIRROR:-} >"$root.log" 2>&1; then
    tail -20 "$root.log" >&2
    rm -f "$root.log"
    say "debootstrap failed; its last lines are above"
    exit 3
fi
rm -rf "$root.log" "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/doc "$root"/var/lib/postgresql/*/main

cat >"$root/usr/local/bin/postgres-entrypoint" <<'ENTRYPOINT'
#!/bin/sh
# Makes a cluster on the first start, then runs the command as the user postgres.
set -eu
: "${PGDATA:=/var/lib/postgresql/data}" "${POSTGRES_USER:=postgres}"
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA" ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"}
    chown postgres "$PGDATA" ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"}
    chmod 700 "$PGDATA"
    password=$(mktemp)
    printf '%s' "${POSTGRES_PASSWORD:?must be set}" >"$password"
    chown postgres "$password"
    as_postgres initdb --username "$POSTGRES_USER" --pwfile "$password" --auth md5 --encoding UTF8 --locale C \
        ${POSTGRES_INITDB_WALDIR:+--waldir "$POSTGRES_INITDB_WALDIR"} ${POSTGRES_INITDB_ARGS:-} --pgdata "$PGDATA"
    rm "$password"
    echo 'host all all all md5' >>"$PGDATA/pg_hba.conf"
fi
exec setpriv --reuid=postgres --regid=postgres --init-groups "$@"
ENTRYPOINT
cat >"$root/usr/local/bin/redis-entrypoint" <<'ENTRYPOINT'
#!/bin/sh
# Runs the command as the user redis, in its data folder.
set -eu
cd /var/lib/redis
exec setpriv --reuid=redis --regid=redis --init-groups "$@"
ENTRYPOINT
chmod 755 "$root"/usr/local/bin/*-entrypoint

say "importing it into Docker"
bin=/usr/lib/postgresql/$(ls "$root/usr/lib/postgresql" | sort -n | tail -1)/bin
tar -C "$root" -c . | docker import --change "ENV PATH=$bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
    - seaworthy/app:offline >/dev/null

# The others differ in their settings only, so they share its layer. derive IMAGE ENTRYPOINT COMMAND VERSION
derive() {
    container=$(docker create seaworthy/app:offline true)
    docker commit --change "ENTRYPOINT [\"$2\"]" --change "CMD [$3]" --change "LABEL seaworthy.version=$4" "$container" "$1" >/dev/null
    docker rm -f "$container" >/dev/null
    container=''
}
version_of() { docker run --rm --entrypoint "$1" seaworthy/app:offline --version | grep -o '[0-9][0-9.]*[0-9]' | head -1; }
derive seaworthy/postgres:offline /usr/local/bin/postgres-entrypoint '"postgres"' "$(version_of postgres)"
derive seaworthy/redis:offline /usr/local/bin/redis-entrypoint '"redis-server"' "$(version_of redis-server)"
derive seaworthy/nats:offline /usr/sbin/nats-server '' "$(version_of nats-server)"
docker image ls --format '{{.Repository}}:{{.Tag}}  {{.Size}}' 'seaworthy/*' >&2
