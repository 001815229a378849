# shellcheck shell=bash
# Finds JDK 25 or newer, or brings one into the private folder.
# shellcheck disable=SC2034 # JDK is read by the scripts that source this

# is_jdk FOLDER: whether it holds a JDK (with a compiler) of version 25 or newer. The release file
# spares starting a JVM on every run.
is_jdk() {
  local line version=
  [[ -x $1/bin/java && -x $1/bin/javac ]] || return 1
  if [[ -r $1/release ]]; then
    while IFS= read -r line; do
      if [[ $line =~ ^JAVA_VERSION=\"?([0-9]+) ]]; then
        version=${BASH_REMATCH[1]}
        break
      fi
    done <"$1/release"
  fi
  if [[ -z $version ]]; then
    version=$("$1/bin/java" -version 2>&1 | sed -nE '1s/.*"([0-9]+).*/\1/p')
  fi
  ((${version:-0} >= 25))
}

# Sets JDK to the folder of the first one found.
find_jdk() {
  local candidate javac
  javac=$(type -P javac) && javac=$(readlink -f -- "$javac")
  for candidate in "${JAVA_HOME:-}" /usr/lib/jvm/* "${javac%/bin/javac}" "$CACHE"/jdk/usr/lib/jvm/*; do
    if [[ -n $candidate ]] && is_jdk "$candidate"; then
      JDK=$candidate
      return
    fi
  done
  return 1
}

require_jdk() {
  if ! find_jdk; then
    # shellcheck source=setup/private-jdk.sh
    . "$ROOT/setup/private-jdk.sh"
    bring_jdk
    find_jdk || die "the private JDK in $CACHE/jdk is not complete; remove that folder and run this again"
  fi
}
