#!/usr/bin/env bash
# Install aitbc for systemd on this machine, or upgrade it: the same command, as often as you like. As root, from a clone or an unpacked release.
#
#   deploy/install.sh              the user aitbc, /opt/aitbc, the units; /etc/aitbc/.env is made once and never changed again
#   deploy/install.sh --root DIR   the same into a tree that will be the / of another machine; this one stays as it is
#
# PYTHON names the interpreter: 3.11 or later (python3). Every package is pinned, with its hash (constraints.txt).
set -euo pipefail

fail() {
    echo "deploy/install.sh: $1" >&2
    exit 1
}

root=
while [[ $# -gt 0 ]]; do
    case $1 in
        --root) [[ -d ${2:-} ]] || fail "--root needs a directory that exists"; root=$(realpath "$2"); shift 2 ;;
        *) fail "unknown option $1; there is only --root DIR" ;;
    esac
done
from=$(realpath "$(dirname "$0")/..")
python=$(command -v "${PYTHON:-python3}") || fail "there is no ${PYTHON:-python3}"
[[ $(id -u) -eq 0 ]] || fail "run it as root"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$python is older than 3.11: PYTHON names another"
"$python" -c 'import ensurepip, venv' 2>/dev/null || fail "$python makes no venvs: apt install python3-venv"
for tool in systemctl systemd-sysusers; do
    command -v $tool >/dev/null || fail "there is no $tool: these are services for systemd"
done

units=(aitbc-agent-coordinator.service aitbc-agent-coordinator-worker@.service aitbc-agent-coordinator-flower.service)
parts=(aitbc celeryconfig.py constraints.txt constraints-dev.txt setup.cfg pyproject.toml README.md LICENSE)
opt=$root/opt/aitbc
settings=$root/etc/aitbc/.env

# What a release is made of is in its name: one that is there already is not built again.
release_id() {
    local version
    version=$(sed -n 's/^version = //p' "$from/setup.cfg")
    cd "$from"
    { "$python" -VV; find "${parts[@]}" -type f ! -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum; } |
        sha256sum | sed "s/^\(.\{12\}\).*/$version-\1/"
}

# Built beside the release that runs: what fails on the way leaves that as it is.
build() {
    local building=$1 final=$2 copy
    rm -rf "$building"
    copy=$(mktemp -d)  # a build leaves its traces in its source
    (cd "$from" && cp -R "${parts[@]}" "$copy")
    # Setuptools builds the package; the rest of that file is for development.
    { cat "$from/constraints.txt" && sed -n '/^setuptools==/,/[0-9a-f]$/p' "$from/constraints-dev.txt"; } >"$copy/pinned.txt"
    if cmp -s "$copy/pinned.txt" "$opt/current/pinned.txt" && [[ $("$opt/current/bin/python" -VV) == "$("$python" -VV)" ]]; then
        cp -a "$opt/current/." "$building"  # the same packages, byte for byte
    else
        "$python" -m venv "$building"
        "$building/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$copy/pinned.txt"
    fi
    "$building/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation --force-reinstall "$copy"
    cp "$copy/pinned.txt" "$building/"
    rm -rf "$copy"
    # Scripts of a venv hold its path: the one that it will have where it runs.
    { grep -rlI -e '/opt/aitbc/releases/' "$building/bin" "$building/pyvenv.cfg" || true; } |
        xargs -r sed -i "s|[^ \"'!=]*/opt/aitbc/releases/[^/ \"']*|$final|g"
    chmod -R u=rwX,go=rX "$building"
    mv -T "$building" "$root$final"
}

install -d -m 0755 "$opt/releases" "$opt/bin" "$root/etc/systemd/system" "$root/usr/lib/sysusers.d" "$root/usr/local/bin"
id=$(release_id)
[[ -d $opt/releases/$id ]] || build "$opt/releases/.new" "/opt/aitbc/releases/$id"

install -m 0644 "$from/deploy/aitbc.sysusers" "$root/usr/lib/sysusers.d/aitbc.conf"
systemd-sysusers ${root:+--root="$root"} aitbc.conf
IFS=: read -r uid gid < <(awk -F: '$1 == "aitbc" {print $3 ":" $4}' "$root/etc/passwd")
install -d -m 0750 -o root -g "$gid" "$root/etc/aitbc"
install -d -m 0700 -o "$uid" -g "$gid" "$root/var/lib/aitbc"
install -m 0640 -o root -g "$gid" "$from/.env.example" "$root/etc/aitbc/.env.example"
first=
if [[ ! -e $settings ]]; then
    first=yes
    key=$(head -c 32 /dev/urandom | base64)
    admin=aitbc_admin_$(head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d =)
    sed "s|^#AITBC_SECRET_KEY=.*|AITBC_SECRET_KEY=$key|; s|^#AITBC_ADMIN_KEY=.*|AITBC_ADMIN_KEY=$admin|" "$from/.env.example" >"$settings.new"
    chown "root:$gid" "$settings.new"
    chmod 0640 "$settings.new"
    mv "$settings.new" "$settings"
fi

install -m 0755 "$from/deploy/aitbc" "$opt/bin/aitbc"
ln -sfn /opt/aitbc/bin/aitbc "$root/usr/local/bin/aitbc"
for unit in "${units[@]}"; do
    install -m 0644 "$from/deploy/$unit" "$root/etc/systemd/system/$unit"
done
before=$(readlink "$opt/current" || true)
ln -sfn "releases/$id" "$opt/current.new"
mv -T "$opt/current.new" "$opt/current"  # in one step: there is always a release
find "$opt/releases" -mindepth 1 -maxdepth 1 ! -name "$id" ! -name "$(basename "$before")" -exec rm -rf {} +

if [[ -n $first ]]; then
    systemctl ${root:+--root="$root"} --quiet enable aitbc-agent-coordinator.service aitbc-agent-coordinator-worker@1.service
fi
if [[ -z $root && -d /run/systemd/system ]]; then
    systemctl daemon-reload
    systemctl try-restart 'aitbc-agent-coordinator*.service'  # those that run; a worker lets its calls end first
fi
echo "aitbc $id is in ${root:-/}"
if [[ -n $first ]]; then
    echo "Set REDIS_URL in $settings (all nodes need the same AITBC_SECRET_KEY and AITBC_ADMIN_KEY), then:"
    echo "  systemctl start aitbc-agent-coordinator aitbc-agent-coordinator-worker@1"
fi
