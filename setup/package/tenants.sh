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

# tenants: the processes of guests, machines and operating systems that run, in one line. Each has a path of
# the state directory among its arguments, a user that was given to a guest, a control group of a guest, or a
# record of its guest. What the state directory is by default is looked at too.
tenants() {
  state=$(state_directory)
  found=' '
  for process in /proc/[0-9]*; do
    number=${process#/proc/}
    case $(tr '\0' ' ' 2>/dev/null <"$process/cmdline" || true) in
      *[" =:,"]"$state/"* | "$state/"* | *[" =:,"]/var/lib/hyperfresh/* | /var/lib/hyperfresh/*)
        found="$found$number "
        continue
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
  found=${found# }
  printf '%s' "${found% }"
}
