package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.relocation.ContainerSpec;
import dev.hyperfresh.relocation.Systems;
import dev.hyperfresh.relocation.VolumeMount;
import dev.hyperfresh.relocation.VolumeView;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/// A container that lives in one OS or another, and what is seen of it from outside. For one
/// thread.
abstract class Lodger implements AutoCloseable {
  private static final Duration LIMIT = Duration.ofMinutes(2);

  final OsStage stage;
  final ContainerSpec spec;
  final String name;

  Lodger(OsStage stage, ContainerSpec spec) {
    this.stage = stage;
    this.spec = spec;
    this.name = spec.name();
  }

  /// One that is reached on the bridge of the stage.
  static ContainerSpec spec(String name, String address, Path bundle) {
    return new ContainerSpec(
        name,
        bundle,
        Optional.of(
            new ContainerSpec.Network(address + "/24", Optional.empty(), Optional.of("br0"))));
  }

  /// The address of one that is.
  String address() {
    return spec.network().orElseThrow().address().orElseThrow().replaceFirst("/.*", "");
  }

  Systems systems() {
    return stage.daemon().systems;
  }

  /// Makes it, in the network of the stage.
  void begin(String os) {
    var _ = stage.network().within(() -> systems().run(spec, os, Progress.NONE));
    meet();
  }

  /// It was lost with its OS.
  void beginAgain(String os) {
    var _ = stage.network().within(() -> systems().start(name, Optional.of(os), Progress.NONE));
    meet();
  }

  /// Begins to watch one that was started.
  abstract void meet();

  /// It runs, and nothing of it was lost or done twice.
  abstract void check(String told);

  /// How long its client has waited since this was asked last, in ms; 0 without one.
  double waitedMs() {
    return 0;
  }

  interface Opening<T> {
    T open() throws IOException;
  }

  final <T> T inside(Opening<T> opening) {
    return stage
        .network()
        .within(() -> {
          try {
            return opening.open();
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        });
  }

  @Override
  public void close() {}

  /// One that writes its memory all the time and serves on a connection.
  static final class Serving extends Lodger {
    private Optional<OutageClient> client = Optional.empty();

    Serving(OsStage stage, ContainerSpec spec) {
      super(stage, spec);
    }

    @Override
    void meet() {
      close();
      client =
          Optional.of(
              inside(() ->
                  OutageClient.open(
                      new InetSocketAddress(address(), ContainerBundle.PORT), LIMIT)));
    }

    @Override
    void check(String told) {
      OutageClient one = client.orElseThrow();
      assertThat(one.verified()).as(told).startsWith("good ");
      assertThat(one.fault()).as(told).isEmpty();
      String kernel = systems().container(name).os().settings().release().kernelRelease();
      // A client that has just come has not been answered yet.
      Workshop.await("an answer: " + told, LIMIT, () -> one.kernel().equals(kernel));
    }

    @Override
    double waitedMs() {
      return client.orElseThrow().takeLongestMs();
    }

    @Override
    public void close() {
      client.ifPresent(OutageClient::close);
    }
  }

  /// One that counts, in a file and in a shared mapping of one, both in a volume.
  static final class Counting extends Lodger {
    Counting(OsStage stage, String name, JobBundle bundles) {
      super(
          stage,
          new ContainerSpec(
              name,
              bundles.build(name, 0, "count", "/data"),
              Optional.empty(),
              List.of(new VolumeMount("of-" + name, "/data", false)),
              Optional.empty()));
    }

    private String volume() {
      return spec.volumes().getFirst().volume();
    }

    /// What an OS has not written yet is lost with it, so it begins anew.
    @Override
    void beginAgain(String os) {
      systems().remove(name, true);
      systems().removeVolume(volume());
      begin(os);
    }

    @Override
    void meet() {}

    /// The number that it has come to; each line is the next one of the line before.
    private long counted(String told) {
      Path folder =
          systems().volumes().stream()
              .filter(volume -> volume.name().equals(volume()))
              .map(VolumeView::path)
              .findFirst()
              .orElseThrow();
      List<String> lines = Workshop.wholeLines(folder.resolve("lines"));
      for (int i = 0; i < lines.size(); i++) {
        assertThat(lines.get(i)).as(told).isEqualTo(Integer.toString(i + 1));
      }
      return lines.size();
    }

    @Override
    void check(String told) {
      long before = counted(told);
      Workshop.await("it to count on: " + told, LIMIT, () -> counted(told) > before);
    }
  }

  /// A server whose client asks it over one connection, and knows every answer.
  static final class Answering extends Lodger {
    private final Calling calling;
    private Optional<OneConnection> client = Optional.empty();

    /// Makes a client of the server at an address.
    interface Calling {
      OneConnection call(String address, Duration patience) throws IOException;
    }

    Answering(OsStage stage, ContainerSpec spec, Calling calling) {
      super(stage, spec);
      this.calling = calling;
    }

    @Override
    void beginAgain(String os) {
      systems().remove(name, true);
      begin(os);
    }

    @Override
    void meet() {
      close();
      client = Optional.of(inside(() -> calling.call(address(), LIMIT)));
    }

    @Override
    void check(String told) {
      OneConnection one = client.orElseThrow();
      long before = one.answered();
      Workshop.await(
          name + ": " + told, LIMIT, () -> one.answered() > before || !one.fault().isEmpty());
      assertThat(one.fault()).as(told + " / " + name).isEmpty();
    }

    @Override
    public void close() {
      client.ifPresent(OneConnection::close);
    }
  }
}
