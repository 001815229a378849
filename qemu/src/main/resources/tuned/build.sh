# Builds the emulator in a Debian of its own: unpacks Debian's source package, applies Debian's patches and ours, and
# leaves /build/qemu-system-x86_64.
#
#   build.sh PACKAGER JOBS
#
# The features are those of Debian's emulator for x86 that a machine or what is behind it can have. What Debian has in
# packages of its own (block drivers for networks, windows, sound, SPICE, OpenGL) is left out. Nothing is a module: one of
# Debian's would be refused.
set -eu
packager=$1
jobs=$2

# What the scripts of packages would have made.
ln -sfn bash /usr/bin/sh
ln -sfn gcc /usr/bin/cc
ln -sfn gawk /usr/bin/awk
cat /usr/share/ca-certificates/*/*.crt >/etc/ssl/certs/ca-certificates.crt # pip does not start without, and fetches nothing

cd /build
export HOME=/build TMPDIR=/build/tmp
mkdir -p source tmp
echo "step: unpacking the source"
tar -xf ./*.orig.tar.xz -C source --strip-components=1 --no-same-owner
tar -xf ./*.debian.tar.xz -C source --no-same-owner
cd source

apply() {
  patch -s -p1 --no-backup-if-mismatch "$@" || {
    echo "error: the patch $name does not apply to this source"
    exit 1
  }
}
while read -r name; do
  case $name in
    '' | '#'*) ;;
    *) apply -i "debian/patches/$name" ;;
  esac
done <debian/patches/series
for patch in /build/recipe/*.patch; do
  name=${patch##*/}
  apply --fuzz=0 -i "$patch"
done

echo "step: configuring"
mkdir b
cd b
../configure \
  --with-pkgversion="$packager" --prefix=/usr --sysconfdir=/etc --localstatedir=/var \
  --libdir=/usr/lib/x86_64-linux-gnu --libexecdir=/usr/lib/qemu \
  --firmwarepath=/usr/share/qemu:/usr/share/seabios:/usr/lib/ipxe/qemu \
  --target-list=x86_64-softmmu --disable-user --disable-tools --disable-guest-agent --disable-docs \
  --disable-install-blobs --disable-relocatable --disable-download --disable-containers --disable-modules \
  --disable-debug-info --disable-werror --disable-xkbcommon --disable-xen --audio-drv-list= \
  --extra-cflags="-O2 -ffile-prefix-map=/build/source/= -fstack-clash-protection -fcf-protection" \
  --extra-ldflags="-Wl,-z,relro -Wl,-z,now -Wl,--as-needed" \
  --enable-kvm --enable-tcg --enable-tpm --enable-fdt=system --enable-slirp --enable-seccomp --enable-cap-ng \
  --enable-virtfs --enable-attr --enable-linux-aio --enable-linux-io-uring --enable-numa --enable-libpmem \
  --enable-bpf --enable-vhost-kernel --enable-vhost-net --enable-vhost-user --enable-vhost-vdpa --enable-vhost-crypto \
  --enable-libusb --enable-usb-redir --enable-smartcard \
  --enable-pixman --enable-vnc --enable-vnc-sasl --enable-vnc-jpeg --enable-png --enable-gnutls --enable-nettle \
  --enable-zstd \
  --disable-gtk --disable-sdl --disable-opengl --disable-virglrenderer --disable-spice --disable-dbus-display \
  --disable-curses --disable-brlapi --disable-vte --disable-fuse --disable-vde --disable-rdma --disable-capstone \
  --disable-curl --disable-libssh --disable-libnfs --disable-libiscsi --disable-rbd --disable-glusterfs \
  --disable-blkio --disable-libudev --disable-mpath ||
  { tail -n 20 config.log meson-logs/meson-log.txt 2>/dev/null; exit 1; }

echo "step: compiling"
ninja -j "$jobs" qemu-system-x86_64
strip -o /build/qemu-system-x86_64 qemu-system-x86_64
