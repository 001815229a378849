# shellcheck shell=bash
# How the JVM of the command is started, from the sources and from the package.
# shellcheck disable=SC2034 # variables in capitals are read by the scripts that source this

MAIN=dev.hyperfresh.cli.Main

# The JVM takes the encoding of paths and of the terminal from the locale, and plain C means ASCII.
case ${LC_ALL:-${LC_CTYPE:-${LANG:-}}} in
  *[Uu][Tt][Ff]*8*) ;;
  *) export LC_ALL=C.UTF-8 ;;
esac

# The same for every run: the cache is made and used with them. What the JVM has to say goes to
# standard error, since standard output may be read by a program; that a cache does not fit is not
# worth saying.
# UTF-8 whatever the locale says: terminals have it, also those of a user with LANG=C.
JVM_OPTIONS=(
  --enable-native-access=ALL-UNNAMED
  -Dstdout.encoding=UTF-8
  -Dstderr.encoding=UTF-8
  -XX:+UseSerialGC
  -Xlog:disable
  '-Xlog:all=warning,aot*=off,cds*=off:stderr'
)

# class_path FOLDER: sets JARS to all in it. Its order must not change, or the cache is of no use.
class_path() {
  local LC_ALL=C jar
  JARS=
  for jar in "$1"/*.jar; do
    [[ ! -e $jar ]] || JARS+=${JARS:+:}$jar
  done
  [[ -n $JARS ]]
}

# make_aot JAVA FILE LOG: has the JVM write an ahead-of-time cache; fails if it cannot. The heap is as small as
# when the cache is used: with that of a host with much memory, pointers are longer, and no other JVM takes it.
make_aot() {
  "$1" "${JVM_OPTIONS[@]}" -Xmx256m "-XX:AOTCacheOutput=$2" -cp "$JARS" "$MAIN" --version --help \
    >"$3" 2>&1 </dev/null || rm -f -- "$2"
  rm -f -- "$2".config
  [[ -e $2 ]]
}

# A daemon idles most of its life, so it begins with a small heap and gives back what it no longer
# uses: the heap at a collection, what the C library holds every ten seconds. By itself the JVM would begin
# with a part of the host's memory. A daemon without memory ends at once, with status 3: half of it would
# go on in an unknown state, and the next daemon loses nothing.
DAEMON_OPTIONS=(
  -Xms16m
  -Xmx512m
  -XX:MinHeapFreeRatio=20
  -XX:MaxHeapFreeRatio=40
  -XX:-ShrinkHeapInSteps
  -XX:TrimNativeHeapInterval=10000
  -XX:+ExitOnOutOfMemoryError
)

# start JAVA CACHE OPTION... -- ARGUMENT...: becomes the JVM. CACHE, an ahead-of-time cache, may be
# missing or empty.
#
# What runs for long is worth the optimizing compiler; a short command is over before it pays. No
# guest is to wait for a command; what starts guests itself or measures is not put behind them. The C
# library would give each processor's threads a pool of their own; hypervisors do not inherit the variable.
start() {
  local java=$1 cache=$2 argument
  local -a options=() brief=(-XX:TieredStopAtLevel=1 -Xmx256m) behind=(nice -n 10)
  shift 2
  [[ ! -s $cache ]] || options+=("-XX:AOTCache=$cache")
  while [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done
  shift
  for argument in "$@"; do
    case $argument in
      daemon) brief=("${DAEMON_OPTIONS[@]}") behind=(env MALLOC_ARENA_MAX=2) ;;
      demo | bench) brief=(-Xmx512m) behind=() ;;
      doctor | soak | tune) behind=() ;;
    esac
  done
  exec "${behind[@]}" "$java" "${JVM_OPTIONS[@]}" "${options[@]}" "${brief[@]}" -cp "$JARS" "$MAIN" "$@"
}
