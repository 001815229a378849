package dev.hyperfresh.release;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class AptSourcesTest {

  private static final String DEB822 =
      """
      Types: deb
      # a comment
      URIs: http://mirror.example/debian
      Suites: bookworm bookworm-updates
      Components: main
      Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

      Types: deb
      URIs: http://mirror.example/debian-security
      Suites: bookworm-security
      Components: main
      Signed-By:
       -----BEGIN PGP PUBLIC KEY BLOCK-----
       .
       mDMEY865UxYJKwYBBAHaRw8BAQdAd7Z0
       -----END PGP PUBLIC KEY BLOCK-----
      """;

  @Test
  void readsTheMirrorAndItsKeysFromDeb822() {
    AptSources found =
        parse(
            """
            http://mirror.example/debian|bookworm|/d.sources:1|bookworm|Debian
            http://mirror.example/debian|bookworm-updates|/d.sources:1|bookworm-updates|Debian
            http://mirror.example/debian-security|bookworm-security|/d.sources:2||
            """,
            Map.of("/d.sources", DEB822));

    assertThat(
            found.list(
                List.of("bookworm", "bookworm-backports"),
                "bookworm",
                AptSources.Contents.PACKAGES))
        .isEqualTo(
            """
            Types: deb
            URIs: http://mirror.example/debian
            Suites: bookworm bookworm-updates bookworm-backports
            Components: main
            Architectures: amd64
            Targets: Packages
            Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

            Types: deb
            URIs: http://mirror.example/debian-security
            Suites: bookworm-security
            Components: main
            Architectures: amd64
            Targets: Packages
            Signed-By:
             -----BEGIN PGP PUBLIC KEY BLOCK-----
             .
             mDMEY865UxYJKwYBBAHaRw8BAQdAd7Z0
             -----END PGP PUBLIC KEY BLOCK-----
            """);
  }

  @Test
  void readsOneLineSourcesWithAndWithoutKeys() {
    AptSources found =
        parse(
            """
            http://mirror.example/debian|bookworm|/etc/apt/sources.list:2|$(CODENAME)|$(ORIGIN)
            http://other.example/debian-security|stable-security|/etc/apt/sources.list:3||
            """,
            Map.of(
                "/etc/apt/sources.list",
                """
                # deb [signed-by=/wrong] http://mirror.example/debian bookworm main
                deb [arch=amd64 signed-by=/a.gpg,/b.gpg] http://mirror.example/debian bookworm main
                deb http://other.example/debian-security stable-security main
                """));

    assertThat(found.main().signedBy()).isEqualTo("Signed-By: /a.gpg /b.gpg\n");
    assertThat(found.updates()).isFalse();
    assertThat(found.security())
        .contains(new AptSources.Site("http://other.example/debian-security", ""));
  }

  @Test
  void prefersDebianToAnotherVendorsArchiveOfTheSameSuiteName() {
    Map<String, String> files =
        Map.of(
            "/v.list", "deb [signed-by=/v.gpg] http://vendor.example/apt bookworm main",
            "/d.list", "deb http://mirror.example/debian bookworm main");

    AptSources neverUpdated =
        parse(
            """
            http://vendor.example/apt|bookworm|/v.list:1|$(CODENAME)|$(ORIGIN)
            http://mirror.example/debian|bookworm|/d.list:1|$(CODENAME)|$(ORIGIN)
            """,
            files);
    AptSources updated =
        parse(
            """
            http://vendor.example/apt|bookworm|/v.list:1|bookworm|Vendor for debian
            http://mirror.example/debian|bookworm|/d.list:1|bookworm|Debian
            """,
            files);

    assertThat(neverUpdated.main().uri()).isEqualTo("http://mirror.example/debian");
    assertThat(updated.main().uri()).isEqualTo("http://mirror.example/debian");
  }

  @Test
  void findsUbuntusArchivesAsUbuntuConfiguresThem() {
    String file =
        """
        Types: deb
        URIs: http://archive.ubuntu.com/ubuntu/
        Suites: noble noble-updates noble-backports
        Components: main universe restricted multiverse
        Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg

        Types: deb
        URIs: http://security.ubuntu.com/ubuntu/
        Suites: noble-security
        Components: main universe restricted multiverse
        Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg
        """;
    String targets =
        """
        http://vendor.example/apt|noble|/v.list:1|noble|Vendor
        http://archive.ubuntu.com/ubuntu|noble|/u.sources:1|noble|Ubuntu
        http://archive.ubuntu.com/ubuntu|noble-updates|/u.sources:1|noble|Ubuntu
        http://security.ubuntu.com/ubuntu|noble-security|/u.sources:2|noble|Ubuntu
        http://vendor.example/apt|noble|/v.list:1|$(CODENAME)|$(ORIGIN)
        """;

    AptSources found =
        AptSources.parse(
                targets,
                "noble",
                Map.of(
                        "/u.sources",
                        file,
                        "/v.list",
                        "deb [signed-by=/v.gpg] http://vendor.example/apt noble main")
                    ::get)
            .orElseThrow();

    assertThat(found.list(List.of("noble"), "noble", AptSources.Contents.PACKAGES))
        .isEqualTo(
            """
            Types: deb
            URIs: http://archive.ubuntu.com/ubuntu
            Suites: noble noble-updates
            Components: main
            Architectures: amd64
            Targets: Packages
            Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg

            Types: deb
            URIs: http://security.ubuntu.com/ubuntu
            Suites: noble-security
            Components: main
            Architectures: amd64
            Targets: Packages
            Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg
            """);
    assertThat(found.list(List.of("noble"), "noble", AptSources.Contents.SOURCES))
        .startsWith("Types: deb-src\n")
        .contains("Targets: Sources\n")
        .doesNotContain("Packages");
  }

  @Test
  void findsNothingWithoutThatRelease() {
    String targets =
        """
        cdrom:[Debian 12]|bookworm|/c.list:1||
        http://mirror.example/debian|trixie|/d.list:1|trixie|Debian
        nonsense
        """;

    assertThat(AptSources.parse(targets, "bookworm", Map.of("/d.list", "")::get)).isEmpty();
  }

  private static AptSources parse(String targets, Map<String, String> files) {
    Optional<AptSources> found = AptSources.parse(targets, "bookworm", files::get);
    return found.orElseThrow();
  }
}
