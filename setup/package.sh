# shellcheck shell=bash
# Puts a Debian package together from the application that is built. Every file has the time that pom.xml
# names.
# shellcheck disable=SC2034,SC2153 # variables of the scripts that source this

# The modules of the runtime, a fixed list: jdeps would take in java.desktop with its fonts for classes of jackson
# that are never reached here.
MODULES=(
  java.base
  java.logging     # slf4j-jdk14
  java.management  # micrometer: memory and threads of the JVM
  java.naming      # helidon: names of hosts
  java.sql         # sqlite-jdbc
  java.xml         # jackson
  jdk.jfr          # events of replacements
  jdk.management   # micrometer
  jdk.unsupported  # helidon and sqlite-jdbc: sun.misc
)

# What the package needs of the host: the libraries of the runtime and of this program, tools that set up
# networks, and those with which release build puts images together.
DEPENDS='libc6 (>= 2.36), zlib1g, init-system-helpers, iproute2, binutils, xz-utils'

# make_package VERSION
make_package() {
  local version=$1 stage=$ROOT/target/package/root deb=$ROOT/target/package/hyperfresh_$1_amd64.deb
  require_packaging
  rm -rf -- "$stage"
  mkdir -p -- "$stage"
  say "packaging HyperFresh $version ..."
  stage_runtime
  stage_application
  stage_manual
  stage_units
  stage_hooks
  stage_control "$version"
  export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(stamp)}
  find "$stage" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
  dpkg-deb --root-owner-group -Zxz --build "$stage" "$deb" >/dev/null
  say "$deb"
}

require_packaging() {
  local tool
  for tool in dpkg-deb gcc ld; do
    type -P "$tool" >/dev/null || die "$tool is missing; a package is made on Debian with gcc and binutils"
  done
  [[ -x $JDK/bin/jlink ]] || die "$JDK has no jlink; set JAVA_HOME to a whole JDK"
  # It was made to run with a C library beside it, which is not the host's where the package goes.
  [[ $JDK != "$CACHE"/* ]] ||
    die "the private JDK in $CACHE runs on this host only; install a JDK 25, such as Temurin's, and set JAVA_HOME to it"
}

# The archive of classes that jlink makes lets the JVM start fast where there is no ahead-of-time cache.
stage_runtime() {
  local modules
  modules=$(IFS=,; printf '%s' "${MODULES[*]}")
  mkdir -p -- "$stage/usr/lib/hyperfresh"
  "$JDK/bin/jlink" --add-modules "$modules" --no-header-files --no-man-pages --generate-cds-archive \
    --output "$stage/usr/lib/hyperfresh/runtime" >"$ROOT/target/package/jlink.log" 2>&1 ||
    die "jlink failed: $(tail -n 1 "$ROOT/target/package/jlink.log")"
}

stage_application() {
  local lib=$stage/usr/lib/hyperfresh file
  mkdir -p -- "$lib/lib" "$stage/usr/bin"
  cp -- "$APP"/lib/*.jar "$lib/lib"
  stage_database
  cp -- "$ROOT/setup/launch.sh" "$lib"
  for file in make-cache keeper reload shutdown after-packages policy-due; do
    install -m 755 -- "$ROOT/setup/package/$file" "$lib/$file"
  done
  install -m 755 -- "$ROOT/setup/package/hyperfresh" "$stage/usr/bin/hyperfresh"
  "$JDK/bin/java" "${JVM_OPTIONS[@]}" -cp "$JARS" dev.hyperfresh.testkit.PackageCompilation "$lib/programs" ||
    die "what guests, machines and operating systems run cannot be compiled"
}

# The library of the history's database. By itself it would unpack that into /tmp at each start, which every user can
# fill, and from which nothing may be executed on some hosts.
stage_database() {
  local inside=org/sqlite/native/Linux/x86_64/libsqlitejdbc.so
  mkdir -p -- "$lib/native"
  (cd -- "$lib/native" && "$JDK/bin/jar" --extract --file "$(echo "$lib"/lib/sqlite-jdbc-*.jar)" "$inside")
  [[ -e $lib/native/$inside ]] || die "sqlite-jdbc has no $inside"
  mv -- "$lib/native/$inside" "$lib/native"
  rm -rf -- "$lib/native/org"
}

# Manual pages, completion, the configuration file and the policy are written from the commands and settings.
stage_manual() {
  local doc=$stage/usr/share/doc/hyperfresh
  "$JDK/bin/java" "${JVM_OPTIONS[@]}" -cp "$JARS" dev.hyperfresh.cli.Manual "$stage" ||
    die "the manual cannot be written"
  find "$stage/usr/share/man" -type f -exec gzip -9n {} +
  mkdir -p -- "$doc"
  cp -- "$ROOT/LICENSE" "$doc/copyright"
  cp -- "$ROOT/README.md" "$doc"
  gzip -9nc -- "$ROOT/CHANGELOG.md" >"$doc/changelog.gz"
}

stage_units() {
  local units=$stage/usr/lib/systemd/system file
  mkdir -p -- "$units"
  for file in hyperfresh.service hyperfresh-guests.service hyperfresh-shutdown.service hyperfresh.slice \
    hyperfresh-policy.service hyperfresh-policy.path hyperfresh-policy.timer; do
    install -m 644 -- "$ROOT/setup/package/$file" "$units/$file"
  done
}

# What tells other programs of this one: apt, and needrestart, whose folders are there without it, too.
stage_hooks() {
  local parts=$ROOT/setup/package etc=$stage/etc
  install -D -m 644 -- "$parts/apt.conf" "$etc/apt/apt.conf.d/90hyperfresh"
  install -D -m 644 -- "$parts/needrestart.conf" "$etc/needrestart/conf.d/hyperfresh.conf"
  install -D -m 755 -- "$parts/needrestart-reload" "$etc/needrestart/restart.d/hyperfresh.service"
}

stage_control() {
  local control=$stage/DEBIAN script
  mkdir -p -- "$control"
  cat >"$control/control" <<CONTROL
Package: hyperfresh
Version: $1
Architecture: amd64
Maintainer: ${DEBFULLNAME:-HyperFresh} <${DEBEMAIL:-root@localhost}>
Installed-Size: $(du -sk --exclude=DEBIAN "$stage" | cut -f 1)
Depends: $DEPENDS
Section: admin
Priority: optional
Description: replaces the hypervisor under running guests, on the same host
 The target hypervisor maps the guest's memory instead of copying it, so the guest
 stops for milliseconds. Releases of QEMU, machines with a kernel of their own and
 operating systems under containers are replaced.
 .
 This package has a Java runtime of its own and needs no compiler on the host.
CONTROL
  (cd -- "$stage" && find etc -type f -printf '/%p\n' | sort) >"$control/conffiles"
  for script in postinst prerm postrm; do
    sed -e "/^# TENANTS\$/{r $ROOT/setup/package/tenants.sh" -e 'd}' "$ROOT/setup/package/$script" \
      >"$control/$script"
    chmod 755 -- "$control/$script"
  done
  chmod -R u+w,go-w,a+rX -- "$stage"
  (cd -- "$stage" && find . \( -path ./DEBIAN -o -path ./etc \) -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum) \
    >"$control/md5sums"
}

# The time that pom.xml gives to what Maven makes, in seconds.
stamp() {
  date -d "$(sed -nE 's|.*<project.build.outputTimestamp>(.*)</.*|\1|p' "$ROOT/pom.xml")" +%s
}
