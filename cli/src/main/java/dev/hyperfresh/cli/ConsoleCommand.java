package dev.hyperfresh.cli;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.JsonNode;

/// `hyperfresh guest console`.
@Command(
    name = "console",
    description = "Use a guest's serial console; Ctrl-] leaves it.",
    footer = {
      "",
      "The console stays open while the guest's hypervisor is replaced. Earlier output of the",
      "guest is in console.log in the guest's folder.",
      "",
      "Example:",
      "  hyperfresh guest console web1"
    })
final class ConsoleCommand implements Callable<Integer> {
  private static final int LEAVE = 0x1d;

  @Mixin private Options options = new Options();

  @Parameters(paramLabel = "GUEST")
  private String name = "";

  private final AtomicInteger exitCode = new AtomicInteger();
  private final AtomicReference<@Nullable SocketChannel> current = new AtomicReference<>();

  @Override
  public Integer call() {
    Client client = options.client();
    // Before the terminal is touched: an unknown guest or a missing daemon is an error like others.
    client.get("/v1/guests/" + name);
    boolean terminal = Terminal.isThere();
    if (terminal) {
      System.err.println("hyperfresh: console of " + name + "; Ctrl-] leaves it");
      stty("raw", "-echo");
    }
    try {
      Thread.ofPlatform().name("hf-console-out").daemon().start(() -> output(client));
      input();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } finally {
      if (terminal) {
        stty("sane");
        System.err.println();
      }
    }
    return exitCode.get();
  }

  /// Copies the guest's output; after a replacement it continues with the new hypervisor.
  private void output(Client client) {
    try {
      follow(client);
    } catch (HyperFreshException e) {
      Output.problem(e, Format.table);
      exitCode.set(e.problem().exitCode());
      leave();
    }
  }

  private void follow(Client client) {
    String last = "";
    while (true) {
      JsonNode guest = client.get("/v1/guests/" + name);
      String path = guest.path("console").asString("");
      if (path.isEmpty() || path.equals(last)) {
        System.err.print(
            "\r\nhyperfresh: " + name + " is " + guest.path("state").asString() + "\r\n");
        leave();
        return;
      }
      last = path;
      try (SocketChannel channel = SocketChannel.open(UnixDomainSocketAddress.of(Path.of(path)))) {
        current.set(channel);
        copy(channel);
      } catch (IOException e) {
        System.err.print("\r\nhyperfresh: " + e.getMessage() + "\r\n");
      }
    }
  }

  private static void copy(SocketChannel channel) throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(4096);
    while (channel.read(buffer) >= 0) {
      System.out.write(buffer.array(), 0, buffer.position());
      System.out.flush();
      buffer.clear();
    }
  }

  private void input() throws IOException {
    InputStream in = System.in;
    for (int next = in.read(); next >= 0 && next != LEAVE; next = in.read()) {
      SocketChannel channel = current.get();
      if (channel != null && channel.isConnected()) {
        channel.write(ByteBuffer.wrap(new byte[] {(byte) next}));
      }
    }
  }

  private static void leave() {
    try {
      System.in.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// The terminal's own tool: Java has no call for raw mode.
  private static void stty(String... arguments) {
    String[] command = new String[arguments.length + 1];
    command[0] = "stty";
    System.arraycopy(arguments, 0, command, 1, arguments.length);
    try {
      new ProcessBuilder(command).inheritIO().start().waitFor();
    } catch (IOException e) {
      throw Problem.HOST_MISSING.because("stty cannot be run: " + e.getMessage(), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
