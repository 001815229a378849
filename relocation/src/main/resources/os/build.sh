#!/bin/bash
# Builds the inside of an OS: OUT/vmlinuz and OUT/initrd, an uncompressed initramfs with the agent, kernel
# modules, runc, CRIU, busybox and the relocation program. Needs binutils and xz, and gcc and libc6-dev unless
# HYPERFRESH_PROGRAMS names a folder with its programs, which --programs OUT makes; no root and no network.
# The same inputs give the same bytes.
set -euo pipefail
export LC_ALL=C
umask 022

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=vm/src/main/resources/image/archive.sh
. "$here/archive.sh"
# shellcheck source=vm/src/main/resources/agent/agent.sh
. "$here/agent.sh"

# Loaded in this order, each after what it depends on: first what the host waits for. The *_diag modules
# list sockets for CRIU, which also looks for nf_tables and for tracked connections before it begins.
wanted=(virtio_pci virtio_console virtio_net virtiofs overlay unix_diag inet_diag tcp_diag udp_diag
    raw_diag af_packet_diag netlink_diag nf_tables nf_conntrack_netlink tun)

# The parts of the program that moves memory.
relocate=(relocate.c memory.c list.c images.c obstacles.c hook.c show.c timers.c sleeps.c tar.c archive.c within.c
    drain.c extents.c window.c gather.c priority.c clock.c)

# What is compiled.
programs=(agent gate keep log relocate)

libraries=usr/lib/x86_64-linux-gnu

fail() {
    echo "build.sh: $*" >&2
    exit 1
}

unpack_xz() { xz -dc -- "$1"; }

# library NAME: where it lies in the userland.
library() {
    local place
    for place in "$userland"/{usr/lib,lib}/x86_64-linux-gnu "$userland"/{usr/lib64,lib64}; do
        if [[ -e $place/$1 ]]; then
            printf '%s' "$place/$1"
            return
        fi
    done
    fail "$1 is not among the packages in $userland"
}

compile() {
    local how=(-std=c11 -O2 -static -s -Wall -Wextra -Wl,--build-id=none)
    local program
    compile_agent "$work/agent"
    for program in gate keep log; do gcc "${how[@]}" -o "$work/$program" "$here/$program.c"; done
    gcc "${how[@]}" -o "$work/relocate" "${relocate[@]/#/$here/}"
}

write_archive() {
    local name
    # devtmpfs comes later, and the kernel looks for a console first.
    for name in bin dev etc lib lib64 proc run sbin sys tmp usr usr/bin usr/lib usr/sbin "$libraries" \
        usr/lib/hyperfresh usr/lib/hyperfresh/bin var; do
        folder "$name"
    done
    link lib/x86_64-linux-gnu "../$libraries"
    link var/run ../run
    link var/tmp ../tmp
    file init 0100755 "$here/init"
    file usr/lib/hyperfresh/agent 0100755 "$work/agent"
    for name in relocate gate keep log; do file "usr/lib/hyperfresh/$name" 0100755 "$work/$name"; done
    link usr/lib/hyperfresh/bin/tar ../relocate
    for name in setup rehearse container tasks; do file "usr/lib/hyperfresh/$name" 0100755 "$here/$name"; done
    file bin/busybox 0100755 "$busybox"
    while IFS= read -r name; do
        link "bin/$name" busybox
    done < <("$busybox" --list | grep -vxE 'busybox|tar' | sort)
    archive_libraries
    for name in criu runc; do file "usr/sbin/$name" 0100755 "$userland/usr/sbin/$name"; done
    # CRIU keeps the content of a tmpfs with options that only GNU tar has.
    file usr/bin/tar 0100755 "$userland/usr/bin/tar"
    archive_modules
    end_archive
}

if [[ ${1-} == --programs ]]; then
    (($# == 2)) || fail "usage: build.sh --programs OUT"
    compile_programs "$2" "${programs[@]}"
    exit
fi
(($# == 3)) || fail "usage: build.sh OUT KERNEL_DEB_DIR USERLAND_DIR"
[[ -d $2 ]] || fail "$2 is not a folder, give one with an unpacked linux-image package"
for program in usr/sbin/criu usr/sbin/runc usr/bin/busybox usr/bin/tar; do
    [[ -f $3/$program ]] || fail "$3 lacks $program"
done
kernel_deb=$(cd -- "$2" && pwd)
userland=$(cd -- "$3" && pwd)
busybox=$userland/usr/bin/busybox
begin_image "$1" "$kernel_deb" xz
for module in "${wanted[@]}"; do add_module "$module"; done
add_libraries "$userland/usr/sbin/criu"
add_libraries "$userland/usr/sbin/runc"
add_libraries "$userland/usr/bin/tar"
take_programs "${programs[@]}"
write_archive >"$work/initrd"
end_image
