package dev.hyperfresh.testkit;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;

/// The records that a Linux test guest wrote to its disk; the layout stands in the guests' README.
///
/// @param highest the highest sequence among whole records of the boot
/// @param whole how many records of the boot are whole and at their place
/// @param damaged a sentence about the first record that is not, or empty
record DiskRecords(long highest, long whole, String damaged) {
  /// The largest number of records a disk holds; a later record takes the place of an earlier one.
  static final int SLOTS = 4096;

  private static final long MAGIC = 0x4859504653444b31L;
  private static final int BYTES = 4096;
  private static final int WORDS = BYTES / Long.BYTES;
  private static final long FNV_START = 0xcbf29ce484222325L;
  private static final long FNV_PRIME = 0x100000001b3L;

  /// Reads a raw image that no hypervisor writes to any more.
  static DiskRecords read(Path image, long bootId) throws IOException {
    long highest = 0;
    long whole = 0;
    String damaged = "";
    try (FileChannel file = FileChannel.open(image)) {
      long slots = Math.min(SLOTS, file.size() / BYTES);
      ByteBuffer record = ByteBuffer.allocate(BYTES).order(ByteOrder.LITTLE_ENDIAN);
      for (long slot = 0; slot < slots; slot++) {
        record.clear();
        file.read(record, slot * BYTES);
        record.flip();
        if (isEmpty(record)) {
          continue;
        }
        String fault = fault(record, slot, slots, bootId);
        if (fault.isEmpty()) {
          whole++;
          highest = Math.max(highest, record.getLong(Long.BYTES));
        } else if (damaged.isEmpty()) {
          damaged = "slot " + slot + ": " + fault;
        }
      }
    }
    return new DiskRecords(highest, whole, damaged);
  }

  private static boolean isEmpty(ByteBuffer record) {
    for (int i = 0; i < WORDS; i++) {
      if (record.getLong(i * Long.BYTES) != 0) {
        return false;
      }
    }
    return true;
  }

  private static String fault(ByteBuffer record, long slot, long slots, long bootId) {
    long sequence = record.getLong(Long.BYTES);
    if (record.getLong(0) != MAGIC) {
      return "is not a record";
    }
    if (record.getLong(4 * Long.BYTES) != bootId) {
      return "is of another boot";
    }
    if (sequence % slots != slot) {
      return "holds record " + sequence;
    }
    for (int i = 5; i < WORDS; i++) {
      if (record.getLong(i * Long.BYTES) != sequence) {
        return "record " + sequence + " is torn at word " + i;
      }
    }
    return record.getLong(3 * Long.BYTES) == checksum(record)
        ? ""
        : "record " + sequence + " has a wrong checksum";
  }

  private static long checksum(ByteBuffer record) {
    long sum = FNV_START;
    for (int i = 0; i < WORDS; i++) {
      long word = i == 3 ? 0 : record.getLong(i * Long.BYTES);
      sum = Long.rotateLeft((sum ^ word) * FNV_PRIME, 29);
    }
    return sum;
  }
}
