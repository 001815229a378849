# state_directory: the daemon's, as the configuration file has it. A purge finds that file gone already, so
# the removal before it writes the directory down.
state_directory() {
  named=
  if [ -e /etc/hyperfresh/hyperfresh.yaml ]; then
    named=$(sed -n "s/^[\"']\{0,1\}state[\"']\{0,1\}[[:space:]]*:[[:space:]]*[\"']\{0,1\}\([^\"'#[:space:]]*\).*/\1/p" \
      /etc/hyperfresh/hyperfresh.yaml | head -n 1)
  elif [ -e /run/hyperfresh/state ]; then
    read -r named </run/hyperfresh/state || true
  fi
  named=${named%/}
  printf '%s' "${named:-/var/lib/hyperfresh}"
}

# recorded DIR: the processes that the guests below DIR have, as their records say, since the host's last boot.
recorded() {
  read -r boot </proc/sys/kernel/random/boot_id
  for record in "$1"/guests/*/guest.properties; do
    if grep -qs "^running\.boot=$boot" "$record"; then
      sed -n 's/^running\.pid=\([1-9][0-9]*\)$/\1/p' "$record"
    fi
  done
}

# runs_guests PROCESS DIR: whether its program is one that guests, machines and operating systems need: QEMU, by its
# own loader too, an emulated TPM, what serves files to them, or whatever lies below DIR, as releases do.
runs_guests() {
  case $(cat "$1/comm" 2>/dev/null || true) in
    qemu* | kvm* | ld-linux* | swtpm* | virtiofsd*) return 0 ;;
  esac
  case $(readlink "$1/exe" 2>/dev/null || true) in
    "$2"/* | /var/lib/hyperfresh/*) return 0 ;;
  esac
  return 1
}

# tenants: the processes of guests, machines and operating systems that run, in one line, each with its name. Each
# has a path of the state directory among its arguments, a user that was given to a guest, a control group of a
# guest, or a record of its guest. What the state directory is by default is looked at too.
tenants() {
  state=$(state_directory)
  found=' '
  for process in /proc/[0-9]*; do
    number=${process#/proc/}
    case $(tr '\0' ' ' 2>/dev/null <"$process/cmdline" || true) in
      *[" =:,"]"$state/"* | "$state/"* | *[" =:,"]/var/lib/hyperfresh/* | /var/lib/hyperfresh/*)
        if runs_guests "$process" "$state"; then
          found="$found$number "
          continue
        fi
        ;;
    esac
    user=$(sed -n 's/^Uid:[[:space:]]*[0-9]*[[:space:]]*\([0-9]*\).*/\1/p' "$process/status" || true)
    if [ -n "$user" ] && [ -e "/run/hyperfresh/users/$user" ]; then
      found="$found$number "
    elif grep -qsE '[:/]hyperfresh/[A-Za-z][A-Za-z0-9-]*\.[0-9]+$' "$process/cgroup"; then
      found="$found$number "
    fi
  done 2>/dev/null
  for number in $(recorded "$state") $(recorded /var/lib/hyperfresh); do
    case $found in
      *" $number "*) ;;
      *) [ ! -d "/proc/$number" ] || found="$found$number " ;;
    esac
  done
  named=
  for number in $found; do
    named="$named${named:+, }$number ($(cat "/proc/$number/comm" 2>/dev/null || true))"
  done
  printf '%s' "$named"
}
