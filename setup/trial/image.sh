# shellcheck shell=bash
# Makes the trial's disk: Debian from packages, a local repository of what the trial installs later, and the
# script that runs inside. Nothing is mounted on this host but what mmdebstrap mounts in a namespace of its own.
# shellcheck disable=SC2154 # variables of the script that sources this

# What a small host with QEMU has. The package brings its own dependencies from the repository.
INCLUDED=systemd,systemd-sysv,dbus,udev,iproute2,kmod,initramfs-tools,linux-image-cloud-amd64,qemu-system-x86

# make_image: $folder/disk.raw, vmlinuz and initrd.img.
make_image() {
  say "building Debian $suite from packages (some hundred MB to download) ..."
  make_root
  place_packages
  place_trial
  index_repository
  cp -L -- "$folder/root"/boot/vmlinuz-* "$folder/vmlinuz"
  cp -L -- "$folder/root"/boot/initrd.img-* "$folder/initrd.img"
  mke2fs -q -t ext4 -L trial -d "$folder/root" "$folder/disk.raw" 4G >>"$folder/image.log" 2>&1 ||
    die "mke2fs failed: $(tail -n 1 "$folder/image.log")"
  rm -rf --one-file-system -- "$folder/root"
}

make_root() {
  write_sources
  mmdebstrap --mode=root --variant=apt --include="$INCLUDED" \
    --aptopt='Acquire::Retries "2"' \
    --customize-hook="$ROOT/setup/trial/repository \"\$1\" $later" \
    "$suite" "$folder/root" "$folder/sources.list" >"$folder/image.log" 2>&1 ||
    die "mmdebstrap failed: $(grep -m 1 '^E: ' "$folder/image.log" || tail -n 1 "$folder/image.log")"
}

write_sources() {
  local by='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
  {
    echo "deb $by http://deb.debian.org/debian $suite main"
    echo "deb $by http://deb.debian.org/debian-security $suite-security main"
    echo "deb $by http://deb.debian.org/debian $suite-backports main"
  } >"$folder/sources.list"
}

# The package, and the same with a higher version, for the upgrade. It is not compressed: that would only take
# time.
place_packages() {
  local next=$folder/next version
  version=$(dpkg-deb -f "$deb" Version)
  cp -- "$deb" "$folder/root/opt/repo"
  dpkg-deb -R "$deb" "$next"
  sed -i "s/^Version: .*/Version: $version+next/" "$next/DEBIAN/control"
  dpkg-deb --root-owner-group -Znone --build "$next" "$folder/root/opt/repo/hyperfresh_next.deb" >/dev/null
  rm -rf -- "$next"
  mkdir -p "$folder/root/opt/trial"
  printf '%s\n' "$version" >"$folder/root/opt/trial/version"
  printf '%s\n' "$version+next" >"$folder/root/opt/trial/next"
}

place_trial() {
  local root=$folder/root unit
  install -m 755 -- "$ROOT/setup/trial/inside" "$root/opt/trial/inside"
  as --32 -o "$folder/tick.o" "$ROOT/testkit/guests/bare/tick.S"
  ld -m elf_i386 -T "$ROOT/testkit/guests/bare/bare.ld" -o "$root/opt/trial/tick.elf" "$folder/tick.o"
  # Users that guests have read it on their way.
  chmod 755 -- "$root/opt/trial"
  printf 'trial\n' >"$root/etc/hostname"
  printf '/dev/vda / ext4 defaults 0 1\n' >"$root/etc/fstab"
  : >"$root/etc/machine-id"
  rm -f -- "$root"/etc/apt/sources.list.d/*
  printf 'deb [trusted=yes] file:/opt/repo ./\n' >"$root/etc/apt/sources.list"
  cat >"$root/etc/systemd/system/trial.service" <<'UNIT'
[Unit]
Description=The trial of the package
[Service]
ExecStart=/opt/trial/inside
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
KillMode=process
[Install]
WantedBy=multi-user.target
UNIT
  mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
  ln -s ../trial.service "$root/etc/systemd/system/multi-user.target.wants/trial.service"
  for unit in serial-getty@ttyS0.service getty@tty1.service apt-daily.timer apt-daily-upgrade.timer \
    systemd-resolved.service systemd-timesyncd.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
  done
}

# apt's index of the repository.
index_repository() {
  local repo=$folder/root/opt/repo file
  for file in "$repo"/*.deb; do
    dpkg-deb -f "$file"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "${file##*/}" "$(stat -c %s -- "$file")" \
      "$(sha256sum -- "$file" | cut -d ' ' -f 1)"
  done >"$repo/Packages"
}
