# shellcheck shell=bash
# Brings Debian 13's OpenJDK 25 into the private folder, for a Debian machine without JDK 25.
# The packages come from the mirror this machine's apt is configured with and apt checks their
# signatures; nothing is installed. That JDK needs a newer C library than Debian 12 has, so it gets
# its own beside it: its programs are made to name that library, which leaves the environment, and
# with it every program they start, as it was.

JDK_RELEASE=trixie
JDK_PACKAGES=(openjdk-25-jdk-headless openjdk-25-jre-headless libc6 libgcc-s1 libstdc++6 zlib1g patchelf)

bring_jdk() {
  require_debian
  make_cache
  exec 8>"$CACHE/jdk.lock"
  if ! flock -n 8; then
    say "waiting for another run that is fetching a JDK into $CACHE"
    flock 8
  fi
  if ! find_jdk; then
    fetch_jdk
  fi
  exec 8>&-
}

# The subshell keeps its variables, and what fails in it, to itself; in a condition the shell would
# not stop it at an error.
fetch_jdk() {
  say "this machine has no JDK 25 or newer; fetching Debian $JDK_RELEASE's OpenJDK 25 into $CACHE (150 MB to download, 260 MB there; nothing is installed) ..."
  rm -rf -- "$CACHE"/jdk-25.*
  local status=0
  set +e
  (
    set -e
    unpack_jdk "$CACHE/jdk-25.$$"
  )
  status=$?
  set -e
  if ((status != 0)); then
    rm -rf -- "$CACHE"/jdk-25.*
    exit 1
  fi
  ln -sfn -- "jdk-25.$$" "$CACHE/jdk"
}

require_debian() {
  local id
  id=$(sed -nE 's/^ID="?([a-z]+)"?$/\1/p' /etc/os-release 2>/dev/null) || true
  if [[ $id != debian || $(uname -m) != x86_64 ]] || ! type -P apt-get dpkg-deb >/dev/null; then
    die "no JDK 25 or newer found, and only Debian on x86-64 can be given one; install one and set JAVA_HOME to it"
  fi
}

# unpack_jdk FOLDER: the work, all of it in that folder, which is where it stays.
unpack_jdk() {
  local folder=$1
  local apt=$folder/apt lib=$folder/usr/lib/x86_64-linux-gnu home=$folder/usr/lib/jvm/java-25-openjdk-amd64
  local codename archive signed_by package
  mkdir -p -- "$apt"/{lists,archives}/partial
  : >"$apt/status"
  codename=$(sed -nE 's/^VERSION_CODENAME="?([a-z]+)"?$/\1/p' /etc/os-release)
  find_archive "$codename"
  configure_apt
  run_apt update || die_of_apt "the package index of Debian $JDK_RELEASE cannot be had from $archive"
  (cd -- "$apt/archives" && run_apt download "${JDK_PACKAGES[@]}") ||
    die_of_apt "OpenJDK 25 cannot be had from $archive"
  for package in "$apt"/archives/*.deb; do
    dpkg-deb -x "$package" "$folder" 2>>"$apt/log" ||
      die "$package cannot be unpacked: $(tail -n 1 "$apt/log")"
  done
  rm -rf -- "$home/jmods" "$folder/usr/share/doc"
  localize_links
  localize_programs
  if [[ ! -e $home/lib/security/cacerts ]]; then
    make_trust_store
  fi
  rm -rf -- "$apt"
  if ! { "$home/bin/java" -version && "$home/bin/javac" -version; } >"$folder/log" 2>&1; then
    die "the JDK in $folder does not start on this machine: $(tail -n 1 "$folder/log")"
  fi
}

# Sets archive and signed_by from apt's own sources. Other vendors name their suites after Debian's
# releases too: what an archive says of itself counts most, then its path.
find_archive() {
  local entry file
  # shellcheck disable=SC2016 # apt expands these
  local format='$(SITE)|$(RELEASE)|$(SOURCESENTRY)|$(CODENAME)|$(ORIGIN)'
  entry=$(for known in '' --no-release-info; do
    LC_ALL=C apt-get indextargets ${known:+"$known"} --format "$format" \
      'Created-By: Packages' 'Component: main' 2>/dev/null
  done | awk -F'|' -v codename="$1" '
    $1 !~ /^cdrom:/ && ($2 == codename || $4 == codename || $2 == "stable" || $2 == "oldstable") {
      score = 1 + ($5 == "Debian" ? 4 : 0) + ($1 ~ /\/debian/ ? 1 : 0)
      if (score > best) { best = score; entry = $0 }
    }
    END { print entry }')
  [[ -n $entry ]] ||
    die "apt on this machine has no source for Debian $1; add the distribution's own, or install JDK 25 and set JAVA_HOME to it"
  IFS='|' read -r archive _ file _ <<<"$entry"
  file=${file%:*}
  if [[ $file == *.sources ]]; then
    signed_by=$(awk -v site="$archive" '
      function done() { if (ours) { printf "%s", field; exit } ours = inside = 0; field = "" }
      /^[ \t]*$/ { done(); next }
      /^#/ { next }
      /^[^ \t]/ { inside = tolower($1) ~ /^signed-by:/; uris = tolower($1) ~ /^uris:/ }
      inside { field = field $0 "\n" }
      uris && index($0, site) { ours = 1 }
      END { done() }' "$file")
  else
    signed_by=$(grep -v '^ *#' "$file" | grep -F -- "$archive" |
      sed -nE '1s/.*\[.*signed-by=([^] ]+).*\].*/Signed-By: \1/p' | tr , ' ')
  fi
}

# The machine's settings (proxies, certificates) stay; hooks act on the system, so they go.
configure_apt() {
  cat >"$apt/apt.conf" <<CONF
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::Languages;
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
APT::Get::AllowUnauthenticated "false";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Dir::Etc::sourcelist "$apt/private.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "$apt/lists/";
Dir::State::status "$apt/status";
Dir::State::extended_states "$apt/extended_states";
Dir::Cache::archives "$apt/archives/";
Dir::Cache::pkgcache "$apt/pkgcache.bin";
Dir::Cache::srcpkgcache "$apt/srcpkgcache.bin";
CONF
  printf '%s\n' "Types: deb" "URIs: $archive" "Suites: $JDK_RELEASE" "Components: main" \
    "Architectures: amd64" "Targets: Packages" "$signed_by" >"$apt/private.sources"
}

run_apt() {
  LC_ALL=C apt-get -q -c "$apt/apt.conf" "$@" >"$apt/log" 2>&1 </dev/null
}

die_of_apt() {
  local hint="check the network and run this again"
  if grep -qE 'NO_PUBKEY|is not signed|BADSIG|EXPKEYSIG' "$apt/log"; then
    hint="the keys on this machine do not vouch for it; an administrator has to bring debian-archive-keyring up to date"
  fi
  die "$1 ($(first_error "$apt/log")): $hint"
}

# Debian's JDK looks for its settings under /etc.
localize_links() {
  local link target
  while IFS= read -r -d '' link; do
    target=$folder$(readlink -- "$link")
    cp --remove-destination -- "$target" "$link"
  done < <(find "$home" -type l -lname '/etc/java-25-openjdk/*' -print0)
}

# Libraries are found through the run path of the program that loads them, so only programs have to
# be changed. patchelf itself runs on the same C library.
localize_programs() {
  local program
  for program in "$home"/bin/* "$home/lib/jspawnhelper" "$home/lib/jexec"; do
    # shellcheck disable=SC2016 # the loader expands $ORIGIN
    "$lib/ld-linux-x86-64.so.2" --library-path "$lib" "$folder/usr/bin/patchelf" \
      --set-interpreter "$lib/ld-linux-x86-64.so.2" \
      --force-rpath --set-rpath '$ORIGIN:$ORIGIN/../lib:$ORIGIN/../../../x86_64-linux-gnu' \
      "$program" 2>"$apt/log" ||
      die "$program cannot be adapted to this machine: $(tail -n 1 "$apt/log")"
  done
}

# Downloads over TLS need authorities to trust: the machine's, or else Debian's
# and those an administrator has put where Debian looks for more.
make_trust_store() {
  local certificates=/etc/ssl/certs/ca-certificates.crt
  if [[ ! -e $certificates ]]; then
    (cd -- "$apt" && run_apt download ca-certificates) ||
      die_of_apt "the certificate authorities cannot be had from $archive"
    dpkg-deb -x "$apt"/ca-certificates_*.deb "$apt/authorities"
    certificates=$apt/authorities.pem
    find "$apt/authorities/usr/share/ca-certificates" /usr/local/share/ca-certificates \
      -name '*.crt' -exec awk 1 {} + >"$certificates" 2>>"$apt/log" || true
  fi
  rm -f -- "$home/lib/security/cacerts"
  "$home/bin/java" "$ROOT/setup/TrustStore.java" "$certificates" "$home/lib/security/cacerts" \
    >"$apt/log" 2>&1 || die "the certificate authorities cannot be converted: $(head -n 1 "$apt/log")"
}
