package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.Fd;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Optional;

/// The formats of disk images that say at their start what they are. Sources: the `block` folder of
/// QEMU, where each format has its magic number. LUKS is not among them: a guest may well have it
/// on a raw disk.
enum ImageMagic {
  QCOW2(0, "QFI\u00fb"),
  QED(0, "QED\0"),
  VMDK(0, "KDMV"),
  OLD_VMDK(0, "COWD"),
  VHDX(0, "vhdxfile"),
  VPC(0, "conectix"),
  VDI(64, "\u007f\u0010\u00da\u00be"),
  PARALLELS(0, "WithoutFreeSpace"),
  PARALLELS_EXTENDED(0, "WithouFreSpacExt");

  private static final int READ_BYTES = 128;

  private final int at;
  private final String magic;

  ImageMagic(int at, String magic) {
    this.at = at;
    this.magic = magic;
  }

  /// QEMU's word for the format that the open file says it has; empty when it says nothing, as a
  /// raw image does.
  static Optional<String> of(Fd file) {
    byte[] start = new byte[READ_BYTES];
    int filled = 0;
    for (int got = 0; got >= 0 && filled < start.length; filled += Math.max(got, 0)) {
      got = file.read(start, filled, start.length - filled);
    }
    return Arrays.stream(values())
        .filter(format -> format.begins(start))
        .map(ImageMagic::word)
        .findFirst();
  }

  private boolean begins(byte[] start) {
    return new String(start, at, magic.length(), StandardCharsets.ISO_8859_1).equals(magic);
  }

  private String word() {
    return switch (this) {
      case QCOW2 -> "qcow2";
      case QED -> "qed";
      case VMDK, OLD_VMDK -> "vmdk";
      case VHDX -> "vhdx";
      case VPC -> "vpc";
      case VDI -> "vdi";
      case PARALLELS, PARALLELS_EXTENDED -> "parallels";
    };
  }
}
