# shellcheck shell=bash
# Builds the application when a source is newer than it, and the JDK's ahead-of-time cache with it.
# shellcheck disable=SC2034 # variables in capitals are read by the scripts that source this

APP=$ROOT/target/app
BUILT=$ROOT/target/.built
AOT=$APP/hyperfresh.aot

# Directories count too: a deleted source changes the one it was in.
is_stale() {
  local -a sources=()
  local source
  [[ -e $BUILT ]] || return 0
  for source in "$ROOT"/pom.xml "$ROOT"/.mvn "$ROOT"/*/pom.xml "$ROOT"/*/src/main "$ROOT"/testkit/guests; do
    [[ ! -e $source ]] || sources+=("$source")
  done
  [[ -n $(find "${sources[@]}" -newer "$BUILT" -print -quit) ]]
}

# Sets JARS to the class path.
find_application() {
  class_path "$APP/lib"
}

# One build at a time for one copy of the sources; the lock is held until unlock_build.
lock_build() {
  [[ -z ${HYPERFRESH_BUILDING:-} ]] || die "HyperFresh cannot be built from within its own build"
  { mkdir -p -- "$ROOT/target" && [[ -w $ROOT/target ]] && exec 9>"$ROOT/target/.lock"; } 2>/dev/null ||
    die "HyperFresh has to be built, and $ROOT cannot be written by $(id -un 2>/dev/null); copy it to a folder of your own and run it there"
  if ! flock -n 9; then
    say "waiting for another build in $ROOT"
    flock 9
  fi
}

unlock_build() {
  [[ -z ${HYPERFRESH_BUILDING:-} ]] || die "HyperFresh cannot be built from within its own build"
  exec 9>&-
}

# The old jars go first, as new files: a daemon that runs from them keeps them open.
begin_build() {
  touch -- "$ROOT/target/.building"
  rm -rf -- "$APP"
}

end_build() {
  mv -- "$ROOT/target/.building" "$BUILT"
}

maven() {
  (cd -- "$ROOT" && HYPERFRESH_BUILDING=yes JAVA_HOME=$JDK mvn -B -Dstyle.color=never "${MAVEN_REPO[@]}" "$@" 9>&- </dev/null)
}

build() {
  local log=$ROOT/target/build.log
  lock_build
  if is_stale || ! find_application; then
    install_tools
    require_jdk
    JAVA_HOME=$JDK require_maven
    find_maven_repository
    say "building HyperFresh (the first time takes a minute) ..."
    begin_build
    if ! maven -q -Dmaven.test.skip=true -Dspotless.check.skip=true package >"$log" 2>&1; then
      tail -n 25 -- "$log" >&2
      die "the build failed; its whole output is in $log"
    fi
    find_application || die "the build left no application in $APP/lib"
    end_build
  fi
  unlock_build
}

# Makes the cache, if it does not fit. It holds for one JDK and one set of jars and is made again after
# a change of either; -cnewer, because copied jars keep the time of their originals. An empty file says
# that this JDK could not make one.
prepare_aot() {
  local made_with='' release=''
  [[ ! -r $AOT.jdk ]] || IFS= read -r -d '' made_with <"$AOT.jdk" || true
  [[ ! -r $JDK/release ]] || IFS= read -r -d '' release <"$JDK/release" || true
  release+=$JDK
  if [[ $made_with != "$release" || ! -e $AOT || -n $(find "$APP/lib" -cnewer "$AOT" -print -quit) ]]; then
    [[ ! -w $APP ]] || train_aot "$release"
  fi
}

# Under a name of its own until complete: another run may be looking.
train_aot() {
  local new=$AOT.$$
  make_aot "$JDK/bin/java" "$new" "$ROOT/target/aot.log" || : >"$new"
  printf '%s' "$1" >"$AOT.jdk"
  mv -f -- "$new" "$AOT"
}
