package dev.hyperfresh.daemon;

import static dev.hyperfresh.daemon.Route.changing;
import static io.helidon.http.Method.POST;

import java.util.List;

/// `/v1/libvirt`.
///
/// @param room that has its domains
/// @param replies how requests are answered
record LibvirtRoutes(LibvirtRoom room, Replies replies) {
  List<Route> routes() {
    return List.of(
        changing(
                POST,
                "/v1/libvirt/replacements",
                Role.ADMIN,
                "Replace QEMU under running domains of libvirt, which is down meanwhile.",
                replies.working(job -> room.replace(LibvirtOrder.read(job), job.audience()).json()))
            .taking("domains", "all", "to", "canary", "dry_run", "rehearse", "max_blackout_ms"));
  }
}
