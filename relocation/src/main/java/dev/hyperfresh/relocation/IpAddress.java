package dev.hyperfresh.relocation;

import java.net.Inet4Address;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.Optional;
import java.util.regex.Pattern;

/// Addresses as people write them. Nobody is asked for a name.
final class IpAddress {
  private static final Pattern IPV4 = Pattern.compile("[0-9]{1,3}(\\.[0-9]{1,3}){3}");

  /// Without a zone or brackets.
  private static final Pattern IPV6 = Pattern.compile("[0-9A-Fa-f:.]{2,45}");

  private static final Pattern PREFIX = Pattern.compile("/[0-9]{1,3}");

  private IpAddress() {}

  private static Optional<InetAddress> parsed(String text) {
    try {
      if (IPV4.matcher(text).matches()) {
        return Optional.of(Inet4Address.ofLiteral(text));
      }
      return IPV6.matcher(text).matches() && text.indexOf(':') >= 0
          ? Optional.of(Inet6Address.ofLiteral(text))
          : Optional.empty();
    } catch (IllegalArgumentException e) {
      return Optional.empty();
    }
  }

  /// Whether it is an address of one host.
  static boolean isIpv4(String text) {
    return parsed(text)
            .filter(address -> address instanceof Inet4Address && isOfHost(address))
            .isPresent()
        && IPV4.matcher(text).matches();
  }

  static boolean isIpv6(String text) {
    return parsed(text)
        .filter(address -> address instanceof Inet6Address && isOfHost(address))
        .isPresent();
  }

  private static boolean isOfHost(InetAddress address) {
    return !address.isAnyLocalAddress()
        && !address.isLoopbackAddress()
        && !address.isMulticastAddress();
  }

  static boolean isIpv4WithPrefix(String text) {
    return isIpv4(host(text)) && hasPrefix(text, Integer.SIZE);
  }

  static boolean isIpv6WithPrefix(String text) {
    return isIpv6(host(text)) && hasPrefix(text, 4 * Integer.SIZE);
  }

  private static String host(String text) {
    return text.replaceFirst("/.*", "");
  }

  private static boolean hasPrefix(String text, int most) {
    String prefix = text.substring(host(text).length());
    return PREFIX.matcher(prefix).matches() && Integer.parseInt(prefix.substring(1)) <= most;
  }

  /// The network in which an address with a prefix is, such as `10.0.0.0/24`.
  static String network(String address) {
    int prefix = Integer.parseInt(address.substring(host(address).length() + 1));
    byte[] bytes = parsed(host(address)).map(InetAddress::getAddress).orElse(new byte[0]);
    for (int bit = prefix; bit < bytes.length * Byte.SIZE; bit++) {
      bytes[bit / Byte.SIZE] &= (byte) ~(0x80 >> (bit % Byte.SIZE));
    }
    try {
      String network = InetAddress.getByAddress(bytes).getHostAddress();
      return network.replaceFirst("(:0)+$", "::") + "/" + prefix;
    } catch (UnknownHostException e) {
      throw new IllegalStateException(address + " was checked before", e);
    }
  }
}
