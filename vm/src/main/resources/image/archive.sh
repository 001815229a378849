# shellcheck shell=bash
# For scripts that build an initramfs: kernel modules in the order in which they load, and an archive
# whose bytes depend on nothing but what is put in. Sourced; expects the functions fail, unpack_xz
# and, for add_libraries, library, which finds a shared library by its name; compile, which compiles
# programs into $work; and the folder $work.
# shellcheck disable=SC2154

declare -A module_file=() built_in=() module_taken=()
order=()

# the_one WHAT PATH...: the only path given, or the script ends.
the_one() {
    (($# == 2)) || fail "there are $(($# - 1)) of $1 where one is needed:" \
        "unpack one linux-image package into a folder of its own with dpkg -x"
    printf '%s' "$2"
}

# begin_image OUT KERNEL_DEB_DIR TOOL...: looks whether this host can build an image, with these tools
# beside those that every one needs, and sets $vmlinuz, $modules, $out and the folder $work, which goes
# when the script ends. It lies beside the results, so that each is put in place by a rename. A compiler
# is needed only where no programs were compiled beforehand; see take_programs.
begin_image() {
    local tool
    for tool in objcopy readelf strip "${@:3}"; do
        command -v "$tool" >/dev/null || fail "$tool is missing, install binutils and xz-utils"
    done
    [[ -n ${HYPERFRESH_PROGRAMS-} ]] || require_compiler
    shopt -s nullglob
    # Newer kernels have their image beside their modules.
    vmlinuz=$(the_one 'boot/vmlinuz-*' "$2"/{boot/vmlinuz-*,usr/lib/modules/*/vmlinuz})
    modules=$(the_one 'lib/modules/*' "$2"/{,usr/}lib/modules/*/)
    mkdir -p -- "$1"
    out=$(cd -- "$1" && pwd)
    work=$(mktemp -d "$out/.build.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    index_modules "$modules"
}

require_compiler() {
    local tool
    for tool in gcc ld; do
        command -v "$tool" >/dev/null || fail "$tool is missing, install gcc and binutils"
    done
    [[ -e /usr/include/stdio.h ]] || fail "the C headers are missing, install libc6-dev"
}

# take_programs NAME...: puts these programs into $work: those of the folder HYPERFRESH_PROGRAMS, which were
# compiled beforehand from the same sources, or else what compile makes.
take_programs() {
    local name
    if [[ -z ${HYPERFRESH_PROGRAMS-} ]]; then
        compile
        return
    fi
    for name in "$@"; do
        cp -- "$HYPERFRESH_PROGRAMS/$name" "$work/$name" || fail "$HYPERFRESH_PROGRAMS is not complete"
    done
}

# compile_programs OUT NAME...: compiles them into the folder OUT, for hosts without a compiler.
compile_programs() {
    local name
    require_compiler
    mkdir -p -- "$1"
    out=$(cd -- "$1" && pwd)
    work=$(mktemp -d "$out/.build.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    compile
    for name in "${@:2}"; do mv -f -- "$work/$name" "$out"; done
}

# end_image NAME...: puts the kernel, $work/initrd and what is named in $work in their place.
end_image() {
    local name
    cp "$vmlinuz" "$work/vmlinuz"
    for name in vmlinuz initrd "$@"; do
        chmod 0644 "$work/$name"
        mv -f "$work/$name" "$out"
    done
}

# index_modules FOLDER. Module names have underscores where file names may have dashes.
index_modules() {
    local modules=$1 file name
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
    [[ -n $file ]] || fail "the kernel has no module $name as .ko or .ko.xz," \
        "nor is it built in: use a linux-image-*-cloud-amd64 package"
    module_taken[$name]=1
    if [[ $file == *.xz ]]; then
        unpack_xz "$file" >"$work/$name.raw"
    else
        cp "$file" "$work/$name.raw"
    fi
    needed=$(dependencies "$work/$name.raw")
    for dependency in $needed; do add_module "$dependency"; done
    # Debugging data, type data and signatures only make the archive larger and the boot longer.
    strip --strip-debug -R .BTF -R .BTF.base -o "$work/$name.ko" "$work/$name.raw"
    order+=("$name")
}

# add_libraries BINARY: what it needs at any depth, into $library_taken.
declare -A library_taken=()
add_libraries() {
    local name source
    while IFS= read -r name; do
        [[ -z ${library_taken[$name]-} ]] || continue
        source=$(library "$name")
        library_taken[$name]=$source
        add_libraries "$source"
    done < <(readelf -dW -- "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]$/\1/p')
}

# archive_libraries: the folders lib64 and usr/lib/x86_64-linux-gnu must be there.
archive_libraries() {
    local name
    while IFS= read -r name; do
        strip --strip-unneeded -o "$work/library" "${library_taken[$name]}"
        if [[ $name == ld-linux* ]]; then
            file "lib64/$name" 0100755 "$work/library"
        else
            file "usr/lib/x86_64-linux-gnu/$name" 0100644 "$work/library"
        fi
    done < <(printf '%s\n' "${!library_taken[@]}" | sort)
}

# archive_modules: the folder lib must be there.
archive_modules() {
    local name
    folder lib/modules
    printf '%s.ko\n' "${order[@]}" >"$work/order"
    file lib/modules/order 0100644 "$work/order"
    for name in "${order[@]}"; do file "lib/modules/$name.ko" 0100644 "$work/$name.ko"; done
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

# file NAME MODE SOURCE
file() {
    local bytes
    bytes=$(stat -L -c %s "$3")
    header "$1" "$2" "$bytes"
    cat "$3"
    archived=$((archived + bytes))
    pad
}

# link NAME TARGET
link() {
    header "$1" 0120777 ${#2}
    printf '%s' "$2"
    archived=$((archived + ${#2}))
    pad
}

end_archive() { header 'TRAILER!!!' 0 0; }
