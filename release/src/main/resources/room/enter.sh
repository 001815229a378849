# Runs a program in the folder ROOT, which has a Debian in it, as the root of name spaces of its own: it sees no other
# file, no network and no other process.
#
#   enter.sh ROOT PROGRAM ARGUMENTS
set -eu
root=$1
shift
mount --bind "$root" "$root"
cd "$root"
for device in null zero random urandom; do
  : >"dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
pivot_root . mnt
cd /
# umount(8) needs /proc; 2 is MNT_DETACH.
python3 -c 'import ctypes, sys; sys.exit(ctypes.CDLL(None).umount2(b"/mnt", 2))'
exec "$@"
