#!/bin/bash
# Builds the inside of a machine: OUT/vmlinuz and OUT/initrd, an uncompressed initramfs with the agent,
# kernel modules, QEMU with its libraries and firmware, and the window library.
# Needs binutils and xz, and gcc and libc6-dev unless HYPERFRESH_PROGRAMS names a folder with its programs,
# which --programs OUT makes; no root and no network. Libraries that the QEMU folder lacks are this
# host's. The same inputs give the same bytes.
set -euo pipefail
export LC_ALL=C
umask 022

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=vm/src/main/resources/image/archive.sh
. "$here/archive.sh"
# shellcheck source=vm/src/main/resources/agent/agent.sh
. "$here/agent.sh"

# Loaded in this order, each after what it depends on: first what the host waits for. The agent
# leaves out the KVM module that is not for the machine's processor.
wanted=(virtio_pci virtio_console kvm kvm_amd kvm_intel virtio_net virtio_blk tun bridge)

# What q35, pc and microvm read, with and without a kernel given by -kernel. Network cards have no
# boot ROM in guests of HyperFresh; for others there is the one of virtio.
firmware=(bios-256k.bin bios.bin bios-microvm.bin kvmvapic.bin linuxboot.bin linuxboot_dma.bin
    multiboot.bin multiboot_dma.bin pvh.bin vgabios-stdvga.bin vgabios-virtio.bin efi-virtio.rom)

# What is compiled.
programs=(init window.so)

libraries=usr/lib/x86_64-linux-gnu

fail() {
    echo "build.sh: $*" >&2
    exit 1
}

unpack_xz() { xz -dc -- "$1"; }

# library NAME: where it lies, in the QEMU folder or else on this host.
library() {
    local place
    for place in "$qemu_deb"/{usr/lib,lib}/x86_64-linux-gnu /usr/lib/x86_64-linux-gnu \
        /lib/x86_64-linux-gnu /usr/lib64 /lib64; do
        if [[ -e $place/$1 ]]; then
            printf '%s' "$place/$1"
            return
        fi
    done
    fail "$1, which QEMU needs, is neither in $qemu_deb nor on this host"
}

firmware_file() {
    local place
    for place in qemu seabios; do
        if [[ -e $qemu_deb/usr/share/$place/$1 ]]; then
            printf '%s' "$qemu_deb/usr/share/$place/$1"
            return
        fi
    done
    [[ ! -e $qemu_deb/usr/lib/ipxe/qemu/$1 ]] || printf '%s' "$qemu_deb/usr/lib/ipxe/qemu/$1"
}

compile() {
    compile_agent "$work/init"
    gcc -std=c11 -O2 -shared -fPIC -s -Wall -Wextra -Wl,--build-id=none -o "$work/window.so" \
        "$here/window.c"
}

write_archive() {
    local name source
    # devtmpfs comes later, and the kernel looks for a console first.
    for name in dev etc lib lib64 proc run sys tmp usr usr/bin usr/lib "$libraries" \
        usr/lib/hyperfresh usr/share usr/share/qemu var; do
        folder "$name"
    done
    link bin usr/bin
    link lib/x86_64-linux-gnu "../$libraries"
    link usr/share/seabios qemu
    link var/run ../run
    link var/tmp ../tmp
    file init 0100755 "$work/init"
    file usr/lib/hyperfresh/window.so 0100644 "$work/window.so"
    for name in "${firmware[@]}"; do
        source=$(firmware_file "$name")
        [[ -z $source ]] || file "usr/share/qemu/$name" 0100644 "$source"
    done
    archive_libraries
    strip -o "$work/qemu" "$qemu"
    file usr/bin/qemu-system-x86_64 0100755 "$work/qemu"
    archive_modules
    end_archive
}

if [[ ${1-} == --programs ]]; then
    (($# == 2)) || fail "usage: build.sh --programs OUT"
    compile_programs "$2" "${programs[@]}"
    exit
fi
(($# == 3)) || fail "usage: build.sh OUT KERNEL_DEB_DIR QEMU_DEB_DIR"
[[ -d $2 ]] || fail "$2 is not a folder, give one with an unpacked linux-image package"
qemu=$3/usr/bin/qemu-system-x86_64
[[ -f $qemu && -x $qemu ]] || fail "$3 has no QEMU, give a folder with qemu-system-x86 unpacked"
kernel_deb=$(cd -- "$2" && pwd)
qemu_deb=$(cd -- "$3" && pwd)
begin_image "$1" "$kernel_deb" xz
for module in "${wanted[@]}"; do add_module "$module"; done
add_libraries "$qemu"
take_programs "${programs[@]}"
write_archive >"$work/initrd"
end_image
