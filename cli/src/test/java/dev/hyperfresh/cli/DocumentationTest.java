package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;

/// The documents agree with the code. With `-Dhyperfresh.docs.write=true` the generated page is
/// written anew.
class DocumentationTest {
  static final Path ROOT = root();
  private static final Path ERRORS = ROOT.resolve("docs/ERRORS.md");
  private static final List<String> DOCUMENTS = documents();

  /// Longer than a newcomer reads in one sitting.
  private static final int LONGEST_MAP_BYTES = 12 << 10;

  private static final Pattern TEST = Pattern.compile("`([A-Z]\\w*Test)(?:#(\\w+))?`");

  private static final Pattern LINK = Pattern.compile("]\\(([^)#\\s]+)(#[^)]*)?\\)");

  /// Files as a document names them: with a folder of this project before them, or a document.
  private static final Pattern FILE =
      Pattern.compile(
          "(?<![\\w/.~-])((?:linux|hypervisor|release|host|qemu|vm|machine|hyperplexor|relocation|daemon|cli|testkit|setup|docs|\\.ci)"
              + "/[\\w./-]*[\\w/]|[A-Z]+\\.md)");

  /// What a document may say of a machine: places every Linux has, and ones of our own making; and
  /// paths of the API.
  private static final Pattern PLACE =
      Pattern.compile(
          "(?<![\\w.~:/*)\\]-])/(dev|proc|sys|v1|etc/modprobe\\.d|usr/bin|usr/lib/jvm|(etc|usr/lib|var/cache|var/lib|run)/hyperfresh)(/[\\w./-]+)?\\b");

  private static final Pattern ABSOLUTE =
      Pattern.compile("(?<![\\w.~:/*>)\\]-])/[a-z][\\w.-]*/[\\w./-]+");

  @Test
  void theErrorPageIsTheCatalogue() throws IOException {
    if (Boolean.getBoolean("hyperfresh.docs.write")) {
      Files.writeString(ERRORS, errorPage());
    }
    assertThat(Files.readString(ERRORS))
        .as("docs/ERRORS.md; regenerate it with -Dhyperfresh.docs.write=true")
        .isEqualTo(errorPage());
  }

  private static String errorPage() {
    StringBuilder page =
        new StringBuilder(
            """
            # Errors

            This page is generated from the catalogue, `Problem`. Every error shows its code, what happened,
            one sentence about this occurrence, and what to do. The command ends with the exit code; the API
            answers with `application/problem+json`, the HTTP status and the same words.

            | Exit code | Meaning |
            |---|---|
            | 0 | done |
            | 2 | bad input; nothing was changed |
            | 3 | not possible now; nothing was changed. `outdated`, `explain`: not known |
            | 4 | the host lacks something |
            | 5 | the replacement was refused or rolled back; the guest runs on the source. `explain`: something cannot move |
            | 6 | the guest was lost |
            | 7 | no daemon, or not this one |
            | 8 | `outdated`: a QEMU runs another build than the installed one |
            | 70 | a defect of HyperFresh |
            """);
    String area = "";
    for (Problem problem : Problem.values()) {
      String next = problem.code().split("-", 3)[1];
      if (!next.equals(area)) {
        area = next;
        page.append("\n## ").append(area).append("\n\n");
        page.append("| Code | What happened | Guest | Exit | HTTP | What to do |\n");
        page.append("|---|---|---|---|---|---|\n");
      }
      page.append(
          "| `%s` | %s | %s | %d | %d | %s |\n"
              .formatted(
                  problem.code(),
                  problem.summary(),
                  guest(problem),
                  problem.exitCode(),
                  problem.httpStatus(),
                  problem.advice()));
    }
    return page.toString();
  }

  /// In what state the problem leaves the guest it is about.
  private static String guest(Problem problem) {
    return switch (problem.code().split("-", 3)[1]) {
      case "SPEC" -> "was not created";
      case "REPLACE" ->
          switch (problem) {
            case REPLACE_LOST -> "stopped";
            case REPLACE_OBSTACLES -> "untouched";
            case REPLACE_BUSY -> "is being replaced";
            case REPLACE_STANDS -> "paused on the source";
            case REPLACE_DOUBT -> "paused, in doubt";
            case REPLACE_OFF -> "powered off";
            default -> "runs on the source";
          };
      case "GUEST" ->
          problem == Problem.GUEST_START ? "was not created, or stays stopped" : "untouched";
      case "LIBVIRT" ->
          switch (problem) {
            case LIBVIRT_BETWEEN -> "runs, unknown to libvirt";
            case LIBVIRT_STARTED -> "runs, perhaps unknown to libvirt";
            default -> "untouched";
          };
      case "RUN" -> "belonged to the run";
      default -> "untouched";
    };
  }

  @Test
  void everyExitCodeIsExplained() throws IOException {
    String page = Files.readString(ERRORS);
    String help = Said.by("--help").out();
    for (Problem problem : Problem.values()) {
      assertThat(page).contains("\n| " + problem.exitCode() + " | ");
      assertThat(help).contains(" " + problem.exitCode() + " ");
    }
  }

  @Test
  void everyCommandInTheReadmeIsOne() throws IOException {
    List<String> lines = commandLines(Files.readString(ROOT.resolve("README.md")));

    assertThat(lines).hasSizeGreaterThan(10);
    for (String line : lines) {
      List<String> words = List.of(line.split("\\s+"));
      List<String> arguments = words.subList(1, words.size());
      if (extraCommands().contains(arguments.getFirst())) {
        assertThat(arguments).as(line).hasSize(1);
      } else {
        new CommandLine(Main.class).parseArgs(arguments.toArray(String[]::new));
      }
    }
  }

  /// Commands in code blocks, without comments and the shell's own signs.
  private static List<String> commandLines(String document) {
    List<String> commands = new ArrayList<>();
    boolean code = false;
    for (String line : document.lines().toList()) {
      if (line.startsWith("```")) {
        code = !code;
      } else if (code && line.matches("(\\./)?hyperfresh .*")) {
        commands.add(line.replaceFirst("\\s+#.*", "").replaceFirst("\\s*&$", ""));
      }
    }
    return commands;
  }

  /// Names of the commands that other modules add, from their sources.
  private static Set<String> extraCommands() throws IOException {
    Path services =
        ROOT.resolve(
            "testkit/src/main/resources/META-INF/services/" + ExtraCommand.class.getName());
    Set<String> names = new TreeSet<>();
    for (String type : Files.readAllLines(services)) {
      Path source =
          ROOT.resolve("testkit/src/main/java/" + type.strip().replace('.', '/') + ".java");
      Pattern.compile("name = \"(\\w+)\"")
          .matcher(Files.readString(source))
          .results()
          .findFirst()
          .ifPresent(found -> names.add(found.group(1)));
    }
    return names;
  }

  @Test
  void everyFileThatADocumentNamesIsThere() throws IOException {
    Set<String> missing = new TreeSet<>();
    for (String document : DOCUMENTS) {
      FILE.matcher(Files.readString(ROOT.resolve(document)))
          .results()
          .map(MatchResult::group)
          .filter(file -> !file.startsWith("testkit/target"))
          .filter(file -> !Files.exists(ROOT.resolve(file)))
          .filter(file -> !Files.exists(ROOT.resolve(document).resolveSibling(file)))
          .forEach(file -> missing.add(document + " names " + file));
    }
    assertThat(missing).isEmpty();
  }

  /// Every page, but those that show the paths of other people's hosts.
  private static List<String> documents() {
    try (Stream<Path> all = Files.walk(ROOT.resolve("docs"));
        Stream<Path> top = Files.list(ROOT)) {
      return Stream.concat(all, top)
          .filter(page -> page.toString().endsWith(".md"))
          .map(page -> ROOT.relativize(page).toString())
          .filter(page -> !page.equals("docs/ADOPT.md"))
          .sorted()
          .toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Test
  void everyLinkLeadsSomewhere() throws IOException {
    Set<String> dead = new TreeSet<>();
    for (String document : DOCUMENTS) {
      Path folder = ROOT.resolve(document).resolveSibling("");
      LINK.matcher(Files.readString(ROOT.resolve(document)))
          .results()
          .map(link -> link.group(1))
          .filter(link -> !link.startsWith("http"))
          .filter(link -> !Files.exists(folder.resolve(link)))
          .forEach(link -> dead.add(document + " links " + link));
    }
    assertThat(dead).isEmpty();
  }

  @Test
  void everyModuleAndChapterStandsOnTheMap() throws IOException {
    String map = Files.readString(ROOT.resolve("ARCHITECTURE.md"));
    assertThat(Files.size(ROOT.resolve("ARCHITECTURE.md"))).isLessThanOrEqualTo(LONGEST_MAP_BYTES);
    Pattern.compile("<module>(\\w+)</module>")
        .matcher(read(ROOT.resolve("pom.xml")))
        .results()
        .forEach(module -> assertThat(map).contains("| `" + module.group(1) + "` |"));
    DOCUMENTS.stream()
        .filter(page -> page.startsWith("docs/design/"))
        .forEach(page -> assertThat(map).contains("(" + page + ")"));
  }

  @Test
  void everyTestThatADocumentNamesIsThere() throws IOException {
    Set<String> missing = new TreeSet<>();
    for (String document : DOCUMENTS) {
      TEST.matcher(Files.readString(ROOT.resolve(document)))
          .results()
          .filter(test -> !isTest(test.group(1), test.group(2)))
          .forEach(test -> missing.add(document + " names " + test.group()));
    }
    assertThat(missing).isEmpty();
  }

  private static boolean isTest(String type, @Nullable String method) {
    List<String> sources = testSources(type + ".java");
    return !sources.isEmpty()
        && (method == null
            || sources.stream().anyMatch(source -> source.contains("void " + method + "(")));
  }

  private static List<String> testSources(String name) {
    try (Stream<Path> modules = Files.list(ROOT)) {
      return modules
          .map(module ->
              module.resolve("src/test/java/dev/hyperfresh/" + module.getFileName()).resolve(name))
          .filter(Files::exists)
          .map(DocumentationTest::read)
          .toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Test
  void theDiagramIsTheSourcesOwn() {
    String source =
        read(
            ROOT.resolve(
                "hyperplexor/src/main/java/dev/hyperfresh/hyperplexor/ReplacementState.java"));
    List<String> diagram =
        source
            .lines()
            .dropWhile(line -> !line.equals("/// ```"))
            .skip(1)
            .takeWhile(line -> !line.equals("/// ```"))
            .map(line -> line.replaceFirst("^/// ?", ""))
            .toList();

    assertThat(diagram).isNotEmpty();
    assertThat(read(ROOT.resolve("ARCHITECTURE.md"))).contains(String.join("\n", diagram));
  }

  @Test
  void everyLibraryAndPluginHasItsReason() {
    String pom = read(ROOT.resolve("pom.xml"));
    String reasons = read(ROOT.resolve("docs/design/build.md"));
    Set<String> unexplained =
        Pattern.compile("<artifactId>([\\w-]+)</artifactId>\\s*<version>([\\w.]+)</version>")
            .matcher(pom)
            .results()
            .filter(found -> !found.group(1).equals("hyperfresh"))
            .filter(found -> !reasons.contains(found.group(2)))
            .map(found -> found.group(1) + " " + found.group(2))
            .collect(Collectors.toCollection(TreeSet::new));

    assertThat(unexplained).isEmpty();
  }

  /// A document that names one machine's folders, a ticket or somebody's server is of no use to
  /// anybody else.
  @Test
  void theDocumentsSpeakOfTheProjectAlone() throws IOException {
    for (String document : DOCUMENTS) {
      String text = Files.readString(ROOT.resolve(document));
      assertThat(text).as(document).doesNotContainPattern("(?<![\\w&])#[0-9]+\\b");
      assertThat(found("https?://[^/\\s)]+", text)).isSubsetOf("https://doi.org");
      Set<String> places = found(ABSOLUTE.pattern(), PLACE.matcher(text).replaceAll(""));
      assertThat(places).as(document + " names places of one machine").isEmpty();
    }
  }

  private static Set<String> found(String pattern, String text) {
    return Pattern.compile(pattern)
        .matcher(text)
        .results()
        .map(MatchResult::group)
        .collect(Collectors.toCollection(TreeSet::new));
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Maven runs tests in the module's folder.
  private static Path root() {
    Path here = Path.of("").toAbsolutePath();
    return Files.exists(here.resolve("verify")) ? here : here.resolve("..").normalize();
  }
}
