package dev.hyperfresh.cli;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.JsonNode;

/// `hyperfresh container run`.
@Command(
    name = "run",
    description = "Start a container.",
    footer = {
      "",
      "Its files are a copy of the bundle's. With an address it has one network card, eth0, whose",
      "port on this host stays the same when the container moves. Some things that a bundle asks",
      "for, such as a terminal, are left out with a message; anything else that cannot be provided",
      "is refused.",
      "",
      "An image is an OCI layout, or an archive of OCI or docker as `skopeo copy` and `docker",
      "save` create it; if a file holds several, a tag names one. Nothing is fetched from",
      "elsewhere. skopeo and umoci must be installed.",
      "",
      "When --restart starts it again, it has its files as it left them. It starts in the same OS,",
      "or if that has ended, in the one with the most free memory, at least 64 MiB; it waits until",
      "there is one. The delay is 100 ms and doubles up to a minute until it has run for 10 s.",
      "",
      "A volume is a folder that stays when the container is removed, and moves with it from OS to",
      "OS. It is created if it does not exist. An empty volume first gets what the container's",
      "root file system has at that path.",
      "",
      "A health check is a program in the container that exits with 0 when the container works. An",
      "unhealthy container is not moved; one that does not work in the new OS is moved back.",
      "",
      "Examples:",
      "  hyperfresh container run job1 --os os1 --bundle ./job1",
      "  hyperfresh container run web1 --os os1 --bundle ./web1 --restart always \\",
      "      --address 10.0.0.5/24 --gateway 10.0.0.1 --bridge br0",
      "  hyperfresh container run web2 --os os1 --image ./nginx.tar:nginx:1.27 \\",
      "      --address 10.0.0.6/24 --address6 fd00::6/64 --dns 10.0.0.1 --bridge br0",
      "  hyperfresh container run db1 --os os1 --bundle ./db1 -v data:/var/lib/db \\",
      "      --health-cmd 'redis-cli ping' --health-interval 10s"
    })
final class ContainerRunCommand implements Runnable {
  @Mixin private Options options = new Options();

  @Parameters(paramLabel = "NAME", description = "1 to 32 letters, digits or '-'.")
  private String name = "";

  @Option(names = "--os", required = true, paramLabel = "OS", description = "Where it runs.")
  private String os = "";

  @ArgGroup(exclusive = true, multiplicity = "1")
  private Source source = new Source();

  private static final class Source {
    @Option(
        names = "--bundle",
        paramLabel = "DIR",
        description = "An OCI bundle: a folder with config.json and a root file system.")
    private @Nullable Path bundle;

    @Option(
        names = "--image",
        paramLabel = "FILE[:TAG]",
        description = "An image: an OCI layout or an archive on this host's disk.")
    private @Nullable Path image;

    private void addTo(Map<String, Object> body) {
      if (bundle != null) {
        body.put("bundle", absolute(bundle));
      }
      if (image != null) {
        body.put("image", absolute(image));
      }
    }

    private static String absolute(Path path) {
      return path.toAbsolutePath().normalize().toString();
    }
  }

  @Mixin private NetworkOptions network = new NetworkOptions();

  @Option(
      names = "--restart",
      paramLabel = "POLICY",
      defaultValue = "no",
      description =
          "When it is started again after its end: no, on-failure, on-failure:N (at most N times in"
              + " a row) or always (default: ${DEFAULT-VALUE}).")
  private String restart = "";

  @Option(
      names = {"-v", "--volume"},
      paramLabel = "NAME:PATH[:ro]",
      description = "A volume and its path in the container; any number of times.")
  private List<String> volumes = List.of();

  @Mixin private HealthOptions health = new HealthOptions();

  @Override
  public void run() {
    Map<String, Object> body = new LinkedHashMap<>();
    body.put("name", name);
    body.put("restart", restart);
    body.put("os", os);
    source.addTo(body);
    network.addTo(body);
    body.put("volumes", volumes);
    health.addTo(body);
    JsonNode container = options.client().work("/v1/containers", body, Output::progress);
    if (!options.printed(container)) {
      System.out.printf("%s runs in %s.%n", name, container.path("os").asString());
    }
  }
}
