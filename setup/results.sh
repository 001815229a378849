# shellcheck shell=bash
# What ./verify shows of Maven's output and of the test reports.

# One line for each module and each test class.
show_progress() {
  local line
  while IFS= read -r line; do
    if [[ $line =~ ^\[INFO\]\ Building\ ([A-Za-z]+)\ .*\[([0-9]+/[0-9]+)\]$ ]]; then
      printf '%s (%s)\n' "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
    elif [[ $line =~ ^\[[A-Z]+\]\ Tests\ run:\ ([0-9]+),.*Time\ elapsed:\ ([0-9.]+)\ s.*\ in\ ([A-Za-z0-9_.$]+)$ ]]; then
      printf '  %s: %s tests, %s s%s\n' "${BASH_REMATCH[3]}" "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" \
        "$([[ $line != *FAILURE* ]] || printf ', FAILED')"
    fi
  done
}

# Prints "tests failed skipped" of all modules. Only the first element of a report counts: what a
# test prints is in there too.
count_tests() {
  local report counts tests=0 failed=0 skipped=0
  for report in "$ROOT"/*/target/surefire-reports/TEST-*.xml; do
    [[ -e $report ]] || continue
    counts=$(grep -m 1 '<testsuite ' -- "$report") || continue
    tests=$((tests + $(attribute tests "$counts")))
    failed=$((failed + $(attribute failures "$counts") + $(attribute errors "$counts")))
    skipped=$((skipped + $(attribute skipped "$counts")))
  done
  printf '%d %d %d\n' "$tests" "$failed" "$skipped"
}

attribute() {
  if [[ $2 =~ \ $1=\"([0-9]+)\" ]]; then
    printf '%s' "${BASH_REMATCH[1]}"
  else
    printf 0
  fi
}

# Prints "class.method: what it said" of every test that failed; a long text is cut.
failed_tests() {
  local report
  for report in "$ROOT"/*/target/surefire-reports/TEST-*.xml; do
    [[ ! -e $report ]] || awk '
      function attribute(name, line) {
        if (!match(line, " " name "=\"[^\"]*\"")) return ""
        line = substr(line, RSTART + length(name) + 3, RLENGTH - length(name) - 4)
        gsub(/&#10;/, " ", line); gsub(/&lt;/, "<", line); gsub(/&gt;/, ">", line)
        gsub(/&quot;/, "\"", line); gsub(/&apos;/, "\047", line); gsub(/&amp;/, "\\&", line)
        return line
      }
      /^  <testcase / { test = attribute("classname", $0) "." attribute("name", $0) }
      /^    <(failure|error)[ >]/ {
        said = attribute("message", $0)
        if (said == "") said = attribute("type", $0)
        if (length(said) > 700) said = substr(said, 1, 300) " ... " substr(said, length(said) - 399)
        print test ": " said
      }' "$report"
  done
}

# summarize STATUS LOG: the closing lines, and the exit status of the script. Maven is told to go on
# after a failed test, and then takes a test process that dies for one: an error without a failed
# test in the reports is a failure of the build.
summarize() {
  local status=$1 log=$2 tests failed skipped line
  read -r tests failed skipped < <(count_tests)
  grep -aE '^skipped: ' -- "$log" | sort -u || true
  while IFS= read -r line; do
    printf 'failed: %s\n' "$line"
  done < <(failed_tests)
  local passed=$((tests - failed - skipped))
  if ((status != 0)) || { ((failed == 0)) && grep -qaE '^\[ERROR\]' -- "$log"; }; then
    failed=$((failed + 1))
    grep -m 12 -aE '^\[ERROR\]' -- "$log" || true
    printf 'failed: the build itself\n'
  elif ((tests == 0)); then
    failed=1
    printf 'failed: no test ran\n'
  fi
  if ((failed != 0)); then
    printf 'read more in %s and in */target/surefire-reports\n' "$log"
  fi
  printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
  ((status == 0 && failed == 0))
}
