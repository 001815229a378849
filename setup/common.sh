# shellcheck shell=bash
# What ./hyperfresh, ./verify and ./package share: messages, the private folder, and tools from apt.
# shellcheck disable=SC2034 # variables in capitals are read by the scripts that source this

HYPERFRESH_NAME=${0##*/}

# shellcheck source=setup/launch.sh
. "$ROOT/setup/launch.sh"

say() {
  printf '%s: %s\n' "$HYPERFRESH_NAME" "$*" >&2
}

die() {
  say "$*"
  exit 1
}

# Sets CACHE: the private folder for what this machine lacks. HOME may be unset, empty or not ours
# to write (system accounts); then a folder under /var/tmp that only this user can have made.
find_cache() {
  local home=${HOME:-}
  if [[ -n ${HYPERFRESH_HOME:-} ]]; then
    CACHE=$HYPERFRESH_HOME
  elif [[ -n ${XDG_CACHE_HOME:-} ]]; then
    CACHE=$XDG_CACHE_HOME/hyperfresh
  else
    if [[ -z $home ]]; then
      home=$(getent passwd "$EUID" | cut -d: -f6) || true
    fi
    CACHE=$home/.cache/hyperfresh
    if [[ -z $home || ! -w $home ]] && [[ ! -w $CACHE ]]; then
      CACHE=/var/tmp/hyperfresh-$EUID
      mkdir -m 700 -- "$CACHE" 2>/dev/null || [[ -O $CACHE && ! -L $CACHE ]] ||
        die "$CACHE belongs to somebody else; set HYPERFRESH_HOME to a folder of your own"
    fi
  fi
  [[ $CACHE == /* ]] || CACHE=$PWD/$CACHE
}

make_cache() {
  mkdir -p -- "$CACHE" 2>/dev/null || true
  [[ -w $CACHE ]] || die "$CACHE cannot be written; set HYPERFRESH_HOME to a folder of your own"
}

# Sets MAVEN_REPO to the options that keep Maven's repository in the private folder where the user
# has no home that could hold one.
find_maven_repository() {
  local home
  home=$(getent passwd "$EUID" | cut -d: -f6) || true
  MAVEN_REPO=()
  if [[ -z $home || ! -w $home ]] && [[ ! -w $home/.m2/repository ]]; then
    make_cache
    MAVEN_REPO=("-Dmaven.repo.local=$CACHE/m2")
  fi
}

# install_packages PACKAGE...: installs from the machine's own sources; fails with a sentence where
# that needs an administrator, or where apt would change what is installed already.
install_packages() {
  local lacking="HyperFresh is built and tested with $*, which this machine lacks"
  local command="apt-get install --no-install-recommends -y $*"
  local log plan package status=0
  local -a as_root=(env DEBIAN_FRONTEND=noninteractive LC_ALL=C)
  if ! type -P apt-get >/dev/null; then
    say "$lacking, and it has no apt-get to install them with; install them another way"
    return 1
  fi
  if ((EUID != 0)); then
    if ! sudo -n true 2>/dev/null; then
      say "$lacking; an administrator has to run: $command"
      return 1
    fi
    as_root=(sudo -n "${as_root[@]}")
  fi
  make_cache
  log=$CACHE/apt-install.log
  if ! plan=$(plan_installation "$@"); then
    say "$lacking; looking for them with apt-get update ..."
    "${as_root[@]}" apt-get -q update >"$log" 2>&1 ||
      say "apt-get update failed: $(first_error "$log")"
    plan=$(plan_installation "$@") || {
      say "apt-get cannot install $*: $(first_error "$log")"
      return 1
    }
  fi
  if grep -qE '^(Remv |Inst [^ ]+ \[)' <<<"$plan"; then
    if (($# > 1)); then
      for package in "$@"; do
        install_packages "$package" || status=1
      done
      return "$status"
    fi
    say "$lacking, and which would change what is installed ($(changed_packages "$plan")); an administrator who agrees can run: $command"
    return 1
  fi
  say "$lacking; installing with apt-get ..."
  if ! "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=300 install --no-install-recommends -y "$@" \
    >"$log" 2>&1 </dev/null; then
    say "apt-get could not install $*: $(first_error "$log"); the whole output is in $log"
    return 1
  fi
}

plan_installation() {
  "${as_root[@]}" apt-get -qq --no-install-recommends --simulate install "$@" 2>"$log"
}

changed_packages() {
  sed -nE 's/^(Remv |Inst )([^ ]+) \[.*/\2/p' <<<"$1" | paste -sd' ' -
}

# The first is the cause; what follows it in apt's output is its consequences.
first_error() {
  grep -m 1 -E '^(E: |W: (Failed|GPG|An error))' "$1" || tail -n 1 "$1"
}

# The build needs Maven; guest programs and machines are compiled, kernel modules come packed with xz,
# tests read the C headers, and networks are set up with ip. Without Maven there is no going on.
install_tools() {
  local -a missing=()
  type -P mvn >/dev/null || missing+=(maven)
  type -P gcc >/dev/null || missing+=(gcc)
  [[ -e /usr/include/stdio.h ]] || missing+=(libc6-dev)
  type -P ld >/dev/null || missing+=(binutils)
  type -P xz >/dev/null || missing+=(xz-utils)
  type -P ip >/dev/null || [[ -x /sbin/ip ]] || missing+=(iproute2)
  if ((${#missing[@]})) && ! install_packages "${missing[@]}"; then
    type -P mvn >/dev/null || exit 1
    say "going on without; what needs it will say so"
  fi
}

# Maven 3.8.7 or newer, with JAVA_HOME exported already.
require_maven() {
  local version
  version=$(mvn -v 2>/dev/null </dev/null | sed -nE 's/.*Apache Maven ([0-9][0-9.]*).*/\1/p')
  [[ -n $version ]] || die "Maven does not start: $(mvn -v 2>&1 </dev/null | tail -n 1)"
  [[ $(printf '%s\n' 3.8.7 "$version" | sort -V | head -n 1) == 3.8.7 ]] ||
    die "Maven $version is too old to build HyperFresh; put Maven 3.8.7 or newer first in PATH"
}
