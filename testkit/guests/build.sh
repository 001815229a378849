#!/bin/bash
# Builds the test guests: OUT/vmlinuz and OUT/initrd (Linux), OUT/ring3.elf and sweep.elf. See README.md.
# Needs gcc, binutils, libc6-dev and a static busybox; no root and no network. The same inputs give
# the same bytes.
set -euo pipefail
export LC_ALL=C
umask 022

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

# Loaded by /init in the order of this list, each after what it depends on. virtio_mmio is for
# microvm; button and evdev turn the ACPI power button into a power-off; crc32c_generic is what ext4
# asks the kernel for by name and does not list as a dependency.
wanted=(virtio_pci virtio_mmio virtio_net virtio_blk button evdev crc32c_generic ext4)

fail() {
    echo "build.sh: $*" >&2
    exit 1
}

# the_one WHAT PATH...: the only path given, or the script ends.
the_one() {
    (($# == 2)) || fail "$kernel_deb holds $(($# - 1)) of $1 where one is needed:" \
        "unpack one linux-image package into it with dpkg -x"
    printf '%s' "$2"
}

# build_ring3 NAME [ASSEMBLER_OPTION...]
build_ring3() {
    gcc -m32 -c "${@:2}" -o "$work/$1.o" "$here/ring3/ring3.S"
    ld -m elf_i386 -n -s --build-id=none -T "$here/ring3/ring3.ld" \
        -o "$work/$1.elf" "$work/$1.o"
}

build_guest() {
    gcc -std=c11 -O2 -static -s -pthread -Wall -Wextra -Wconversion \
        -Wl,--build-id=none -o "$work/guest" "$here/linux/guest.c"
}

# Module names have underscores where file names may have dashes.
index_modules() {
    local file name
    while IFS= read -r -d '' file; do
        name=${file##*/}
        name=${name%%.ko*}
        module_file[${name//-/_}]=$file
    done < <(find "$modules" -name '*.ko' -print0 -o -name '*.ko.xz' -print0)
    while IFS= read -r file; do
        name=${file##*/}
        name=${name%.ko}
        built_in[${name//-/_}]=1
    done <"$modules/modules.builtin"
}

# The section is lines of key=value that end in NUL; a module without dependencies says depends=.
dependencies() {
    objcopy -O binary --only-section=.modinfo "$1" "$work/modinfo"
    tr '\0' '\n' <"$work/modinfo" | sed -n 's/^depends=//p' | tr ',-' '\n_'
}

# add_module NAME: takes NAME and, before it, all that it depends on, into $order.
add_module() {
    local name=$1 file=${module_file[$1]-} needed dependency
    [[ -z ${module_taken[$name]-}${built_in[$name]-} ]] || return 0
    [[ -n $file ]] || fail "the kernel in $kernel_deb has no module $name as .ko or .ko.xz," \
        "nor is it built in: use a linux-image-*-cloud-amd64 package"
    module_taken[$name]=1
    if [[ $file == *.xz ]]; then
        "$work/busybox" unxz -c "$file" >"$work/$name.raw"
    else
        cp "$file" "$work/$name.raw"
    fi
    needed=$(dependencies "$work/$name.raw")
    for dependency in $needed; do add_module "$dependency"; done
    # Unstripped modules and their signatures only make the archive larger and the boot longer.
    strip --strip-debug -o "$work/$name.ko" "$work/$name.raw"
    order+=("$name")
}

# The archive is written here and not by cpio, because link counts, owners and times of staged files
# differ from one file system and user to another.
inode=0
archived=0

# header NAME MODE BYTES: one newc header with the name, padded to four bytes.
header() {
    local name=$1 mode=$2 bytes=$3
    inode=$((inode + 1))
    printf '070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\0' \
        "$inode" "$mode" 0 0 1 0 "$bytes" 0 0 0 0 $((${#name} + 1)) 0 "$name"
    archived=$((archived + 110 + ${#name} + 1))
    pad
}

pad() {
    while ((archived % 4)); do
        printf '\0'
        archived=$((archived + 1))
    done
}

folder() { header "$1" 0040755 0; }

file() {
    local bytes
    bytes=$(stat -c %s "$3")
    header "$1" "$2" "$bytes"
    cat "$3"
    archived=$((archived + bytes))
    pad
}

link() {
    header "$1" 0120777 ${#2}
    printf '%s' "$2"
    archived=$((archived + ${#2}))
    pad
}

write_archive() {
    local name
    for name in bin data dev lib lib/modules proc root run sys; do folder "$name"; done
    file init 0100755 "$here/linux/init"
    file bin/busybox 0100755 "$work/busybox"
    file bin/guest 0100755 "$work/guest"
    while IFS= read -r name; do
        [[ $name == busybox ]] || link "bin/$name" busybox
    done <"$work/applets"
    printf '%s.ko\n' "${order[@]}" >"$work/order"
    file lib/modules/order 0100644 "$work/order"
    for name in "${order[@]}"; do file "lib/modules/$name.ko" 0100644 "$work/$name.ko"; done
    header 'TRAILER!!!' 0 0
}

(($# == 3)) || fail "usage: build.sh OUT KERNEL_DEB_DIR BUSYBOX_BINARY"
[[ -d $2 ]] || fail "$2 is not a folder, give one with an unpacked linux-image package"
[[ -f $3 && -x $3 ]] || fail "$3 is not a program, give a static busybox"
kernel_deb=$(cd -- "$2" && pwd)
for tool in gcc ld objcopy readelf strip; do
    command -v "$tool" >/dev/null || fail "$tool is missing, install gcc and binutils"
done
[[ $(readelf -lW -- "$3") != *INTERP* ]] ||
    fail "$3 is linked dynamically, give the one of busybox-static"
shopt -s nullglob
vmlinuz=$(the_one 'boot/vmlinuz-*' "$kernel_deb"/boot/vmlinuz-*)
modules=$(the_one 'lib/modules/*' "$kernel_deb"/{,usr/}lib/modules/*/)

mkdir -p -- "$1"
out=$(cd -- "$1" && pwd)
# Beside the results, so that each is put in place by a rename.
work=$(mktemp -d "$out/.build.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Under this name, because a busybox looks at the name it is called by.
cp -- "$3" "$work/busybox"
"$work/busybox" --list | sort -u >"$work/applets" || fail "$3 is no busybox"
declare -A module_file=() built_in=() module_taken=()
order=()
index_modules
for module in "${wanted[@]}"; do add_module "$module"; done

build_ring3 ring3
build_ring3 sweep -Wa,--defsym,SWEEP_MIB=1008
build_guest
write_archive >"$work/initrd"
cp "$vmlinuz" "$work/vmlinuz"
results=("$work/vmlinuz" "$work/initrd" "$work/ring3.elf" "$work/sweep.elf")
chmod 0644 "${results[@]}"
mv -f "${results[@]}" "$out"
