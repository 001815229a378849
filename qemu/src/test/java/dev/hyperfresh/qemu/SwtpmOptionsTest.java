package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SwtpmOptionsTest {
  private static final Path WORKING = Path.of("/srv/vm");

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          socket --tpm2 --tpmstate dir=/var/lib/tpm,mode=0600 --ctrl type=unixio,path=/s   | /var/lib/tpm
          socket --tpmstate dir=tpm --ctrl type=unixio,path=s --tpm2 --daemon              | /srv/vm/tpm
          socket --tpmstate=dir=../tpm/. --tpm2 -t -d                                      | /srv/tpm
          socket --tpmstate backend-uri=dir:///var/lib/tpm,lock --tpm2 --log file=/l       | /var/lib/tpm
          socket --pid file=/p --log file=/l,level=1 --tpm2 --terminate --tpmstate dir=/t  | /t
          socket --tpm2 --runas tss --seccomp action=none --tpmstate dir=/a --tpmstate dir=/t | /t
          socket --tpm2 --flags startup-clear --migration release-lock-outgoing --tpmstate dir=/t | /t
          """)
  void aFolderIsFound(String words, Path state) {
    assertThat(read(words)).isEqualTo(new SwtpmOptions(true, found(state), List.of()));
  }

  private static Optional<Path> found(Path state) {
    return Optional.of(state);
  }

  @Test
  void aStateInAFileIsInNoFolder() {
    SwtpmOptions options = read("socket --tpmstate backend-uri=file:///dev/vg/tpm,mode=0600");

    assertThat(options.faults()).isEmpty();
    assertThat(options.state()).isEmpty();
    assertThat(options.isTwo()).isFalse();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          chardev --tpmstate dir=/t --vtpm-proxy                         | not started as `swtpm socket`
          socket --tpm2                                                  | does not say where
          socket --tpmstate dir=/t --key pwdfd=5,mode=aes-256-cbc        | encrypted
          socket --tpmstate dir=/t --key=file=/k                         | encrypted
          socket --tpmstate dir=/t --migration-key file=/k               | encrypted
          socket --tpmstate dir=/t --server type=tcp,port=1              | option --server
          socket --tpmstate dir=/t --locality reject-locality-4          | option --locality
          socket --tpmstate dir=/t --chroot /c                           | option --chroot
          socket --tpmstate backend-uri=nbd://h                          | neither in a folder nor
          socket --tpmstate =                                            | cannot be understood
          socket --tpmstate                                              | neither in a folder nor
          """)
  void whatIsNotKnownIsAFault(String words, String fault) {
    assertThat(String.join("; ", read(words).faults())).contains(fault);
  }

  private static SwtpmOptions read(String words) {
    return SwtpmOptions.parse(List.of(words.strip().split(" ")), WORKING);
  }
}
