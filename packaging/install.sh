#!/bin/sh
# Installs MOznoDS from the directory that the tarball makes, on any distribution with systemd; once more, with a newer
# tarball, upgrades it. `./install.sh --uninstall` removes the program and keeps settings, data and backups.
set -eu

fail() {
    printf 'install.sh: %s\n' "$1" >&2
    exit 1
}

here=$(cd "$(dirname "$0")" && pwd)
units=/etc/systemd/system
data=/var/lib/moznods
backups=/var/backups/moznods

[ "$(id -u)" = 0 ] || fail "this needs root: sudo ./install.sh"
[ -d /run/systemd/system ] || fail "systemd does not run here; start $here/moznods by what this system has instead"

# A link is systemctl's: the unit is masked, as a package that is removed leaves it, or has another name.
is_own() {
    [ -f "$units/$1" ] && [ ! -L "$units/$1" ]
}

case ${1:-} in
'') ;;
--uninstall)
    for unit in moznods-backup.timer moznods-backup.service moznods.service; do
        is_own "$unit" || continue
        systemctl disable --now "$unit" >/dev/null 2>&1 || true
        rm "$units/$unit"
    done
    rm -f /usr/local/bin/moznods
    systemctl daemon-reload
    echo "MOznoDS is removed. Still there, with the user moznods: /etc/moznods, $data, $backups."
    exit 0
    ;;
*) fail "usage: ./install.sh [--uninstall]" ;;
esac

if [ -e /usr/bin/moznods ]; then
    fail "/usr/bin/moznods is there: MOznoDS is installed as a package of this distribution; upgrade or remove it as such"
fi
# dpkg would take the settings with it some day, which are its own until then.
if [ "$(dpkg-query -W -f '${db:Status-Status}' moznods 2>/dev/null)" = config-files ]; then
    fail "the package moznods is removed but not purged, and a purge would take the settings; install the package again, or move /etc/moznods and $data elsewhere, run \`apt purge moznods\`, move both back, and run this again"
fi
for file in moznods moznods.toml glibc systemd/moznods.service; do
    [ -e "$here/$file" ] || fail "$here/$file is missing; unpack the whole tarball"
done
# Asks the program itself: it starts, so it can be run here.
"$here/moznods" --version >/dev/null 2>&1 ||
    fail "the program does not start here: it is for $(sed 's/^/glibc /' "$here/glibc") or newer on its own architecture; this is $(getconf GNU_LIBC_VERSION 2>/dev/null || echo 'another C library') on $(uname -m)"

if ! id moznods >/dev/null 2>&1; then
    nologin=$(command -v nologin || echo /bin/false)
    useradd --system --user-group --home-dir "$data" --no-create-home --shell "$nologin" --comment MOznoDS moznods ||
        fail "the user moznods cannot be made"
fi
install -d -o root -g moznods -m 0750 /etc/moznods
for directory in "$data" "$backups"; do
    [ -d "$directory" ] || install -d -o moznods -g moznods -m 0700 "$directory"
done
if [ ! -e /etc/moznods/moznods.toml ]; then
    install -o root -g moznods -m 0640 "$here/moznods.toml" /etc/moznods/moznods.toml
fi

# Under another name first: the one that runs is in use.
install -d /usr/local/bin
install -m 0755 "$here/moznods" /usr/local/bin/.moznods-new
mv /usr/local/bin/.moznods-new /usr/local/bin/moznods
first=no
is_own moznods.service || first=yes
for unit in "$here"/systemd/*; do
    sed 's|/usr/bin/moznods|/usr/local/bin/moznods|; /^Documentation=/d' "$unit" >"$units/.moznods-new"
    chmod 0644 "$units/.moznods-new"
    mv "$units/.moznods-new" "$units/${unit##*/}"
done
systemctl daemon-reload
if [ "$first" = yes ]; then
    systemctl enable --quiet --now moznods.service
else
    # Who has stopped or disabled it has a reason.
    systemctl try-restart moznods.service
fi || fail "it is installed and does not start; \`journalctl -u moznods\` and \`moznods doctor\` say why"
echo "MOznoDS is installed. Its settings are in /etc/moznods/moznods.toml; \`moznods welcome\` says how to begin."
