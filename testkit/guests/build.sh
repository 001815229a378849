#!/bin/bash
# Builds the test guests: OUT/vmlinuz and OUT/initrd (Linux), OUT/agent and OUT/devices, which are more of its
# initrd, OUT/ring3.elf, sweep.elf, tick.elf and tpm.elf. See README.md. Needs binutils and a static busybox, and gcc and
# libc6-dev unless HYPERFRESH_PROGRAMS names a folder with its programs, which --programs OUT makes; no root
# and no network. Libraries that the agent's folder lacks are this host's. The same inputs give the same
# bytes.
set -euo pipefail
export LC_ALL=C
umask 022

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# Beside this file when both were taken out of the application.
archive=$here/archive.sh
[[ -e $archive ]] || archive=$here/../../vm/src/main/resources/image/archive.sh
# shellcheck source=vm/src/main/resources/image/archive.sh
. "$archive"

# Loaded by /init in the order of this list, each after what it depends on. virtio_mmio is for
# microvm; button and evdev turn the ACPI power button into a power-off; crc32c_generic is what ext4
# asks the kernel for by name and does not list as a dependency.
wanted=(virtio_pci virtio_mmio virtio_net virtio_blk virtio_console button evdev crc32c_generic ext4)

# Loaded after them where the archive with them was given too.
more=(virtio_scsi sd_mod sr_mod virtio_rng virtio_balloon isofs)

# What is compiled.
programs=(ring3.elf sweep.elf tick.elf tpm.elf guest)

fail() {
    echo "build.sh: $*" >&2
    exit 1
}

# build_bare NAME SOURCE [ASSEMBLER_OPTION...]: a guest without an operating system.
build_bare() {
    gcc -m32 -c "${@:3}" -o "$work/$1.o" "$here/bare/$2.S"
    ld -m elf_i386 -n -s --build-id=none -T "$here/bare/bare.ld" \
        -o "$work/$1.elf" "$work/$1.o"
}

build_guest() {
    gcc -std=c11 -O2 -static -s -pthread -Wall -Wextra -Wconversion \
        -Wl,--build-id=none -o "$work/guest" "$here/linux/guest.c"
}

compile() {
    build_bare ring3 ring3
    build_bare sweep ring3 -Wa,--defsym,SWEEP_MIB=1008
    build_bare tick tick
    build_bare tpm tpm
    build_guest
}

# library NAME: where it lies, in the agent's folder or else on this host.
library() {
    local place
    for place in "$agent_deb"/{usr/lib,lib}/x86_64-linux-gnu /usr/lib/x86_64-linux-gnu \
        /lib/x86_64-linux-gnu /usr/lib64 /lib64; do
        if [[ -e $place/$1 ]]; then
            printf '%s' "$place/$1"
            return
        fi
    done
    fail "$1, which the guest agent needs, is neither in $agent_deb nor on this host"
}

unpack_xz() { "$work/busybox" unxz -c "$1"; }

write_archive() {
    local name
    for name in bin data dev lib proc root run sys; do folder "$name"; done
    file init 0100755 "$here/linux/init"
    file bin/busybox 0100755 "$work/busybox"
    file bin/guest 0100755 "$work/guest"
    while IFS= read -r name; do
        [[ $name == busybox ]] || link "bin/$name" busybox
    done <"$work/applets"
    archive_modules
    end_archive
}

# What follows the initrd in a guest that runs the agent.
write_agent() {
    local name
    for name in lib64 sbin usr usr/lib usr/lib/x86_64-linux-gnu usr/sbin; do folder "$name"; done
    # The agent sets the hardware's clock by it.
    link sbin/hwclock ../bin/busybox
    file usr/sbin/qemu-ga 0100755 "$agent_deb/usr/sbin/qemu-ga"
    archive_libraries
    end_archive
}

# What follows the initrd in a guest with more kinds of devices.
write_devices() {
    local name
    printf '%s.ko\n' "${order[@]}" >"$work/more"
    file lib/modules/more 0100644 "$work/more"
    for name in "${order[@]}"; do file "lib/modules/$name.ko" 0100644 "$work/$name.ko"; done
    end_archive
}

if [[ ${1-} == --programs ]]; then
    (($# == 2)) || fail "usage: build.sh --programs OUT"
    compile_programs "$2" "${programs[@]}"
    exit
fi
(($# == 4)) || fail "usage: build.sh OUT KERNEL_DEB_DIR BUSYBOX_BINARY AGENT_DEB_DIR"
[[ -d $2 ]] || fail "$2 is not a folder, give one with an unpacked linux-image package"
[[ -f $3 && -x $3 ]] || fail "$3 is not a program, give a static busybox"
[[ -x $4/usr/sbin/qemu-ga ]] || fail "$4 has no agent, give a folder with qemu-guest-agent unpacked"
kernel_deb=$(cd -- "$2" && pwd)
agent_deb=$(cd -- "$4" && pwd)
begin_image "$1" "$kernel_deb"
[[ $(readelf -lW -- "$3") != *INTERP* ]] ||
    fail "$3 is linked dynamically, give the one of busybox-static"

# Under this name, because a busybox looks at the name it is called by.
cp -- "$3" "$work/busybox"
"$work/busybox" --list | sort -u >"$work/applets" || fail "$3 is no busybox"
for module in "${wanted[@]}"; do add_module "$module"; done

take_programs "${programs[@]}"
write_archive >"$work/initrd"
add_libraries "$agent_deb/usr/sbin/qemu-ga"
write_agent >"$work/agent"
order=()
for module in "${more[@]}"; do add_module "$module"; done
write_devices >"$work/devices"
end_image agent devices ring3.elf sweep.elf tick.elf tpm.elf
