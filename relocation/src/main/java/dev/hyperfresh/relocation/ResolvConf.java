package dev.hyperfresh.relocation;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SeekableByteChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SecureDirectoryStream;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFileAttributeView;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;

/// The file in which a container's programs look for name servers. What is in the container's root
/// file system was written by somebody else: none of its links is followed.
final class ResolvConf {
  private static final Path NAME = Path.of("resolv.conf");

  private ResolvConf() {}

  /// Puts it in the place of what is there. Does nothing without servers.
  ///
  /// @param root the container's own root file system
  /// @param servers their addresses
  /// @throws IOException also when there is no folder `etc` for it
  static void write(Path root, List<String> servers) throws IOException {
    if (servers.isEmpty()) {
      return;
    }
    String text =
        servers.stream().map(server -> "nameserver " + server + "\n").collect(Collectors.joining());
    try (DirectoryStream<Path> opened = Files.newDirectoryStream(root)) {
      if (!(opened instanceof SecureDirectoryStream<Path> folder)) {
        throw new IOException("links cannot be distinguished from files on this host");
      }
      write(folder, text);
    }
  }

  private static void write(SecureDirectoryStream<Path> root, String text) throws IOException {
    try (SecureDirectoryStream<Path> etc =
        root.newDirectoryStream(Path.of("etc"), LinkOption.NOFOLLOW_LINKS)) {
      try {
        etc.deleteFile(NAME);
      } catch (NoSuchFileException e) {
        // None came with it.
      }
      try (SeekableByteChannel file =
          etc.newByteChannel(
              NAME, Set.of(StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE))) {
        ByteBuffer bytes = StandardCharsets.US_ASCII.encode(text);
        while (bytes.hasRemaining()) {
          file.write(bytes);
        }
      }
      etc.getFileAttributeView(NAME, PosixFileAttributeView.class, LinkOption.NOFOLLOW_LINKS)
          .setPermissions(PosixFilePermissions.fromString("rw-r--r--"));
    } catch (IOException e) {
      throw new IOException(
          "name servers cannot be written into its folder etc: " + e.getMessage(), e);
    }
  }
}
