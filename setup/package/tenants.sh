# state_directory: the daemon's, as the configuration file has it. A purge finds that file gone already, so
# the removal before it writes the directory down.
state_directory() {
  named=
  if [ -e /etc/hyperfresh/hyperfresh.yaml ]; then
    named=$(sed -n "s/^state:[[:space:]]*[\"']\{0,1\}\([^\"'#[:space:]]*\).*/\1/p" \
      /etc/hyperfresh/hyperfresh.yaml | head -n 1)
  elif [ -e /run/hyperfresh/state ]; then
    read -r named </run/hyperfresh/state || true
  fi
  printf '%s' "${named:-/var/lib/hyperfresh}"
}

# tenants: the processes of guests, machines and operating systems that run, in one line. They have a path
# of the state directory among their arguments.
tenants() {
  state=$(state_directory)
  found=
  for process in /proc/[0-9]*; do
    case $(tr '\0' ' ' 2>/dev/null <"$process/cmdline" || true) in
      *[" =:,"]"$state/"* | "$state/"*) found="$found ${process#/proc/}" ;;
    esac
  done 2>/dev/null
  printf '%s' "${found# }"
}
